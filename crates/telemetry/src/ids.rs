//! Names of traces. A request has a name before it is known whether anybody records it, so the
//! name of its trace is chosen by whoever begins it. It never repeats a name by itself.

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use std::cell::Cell;

thread_local! {
    /// For the trace that is begun on this thread now.
    static CHOSEN: Cell<Option<[u8; 16]>> = const { Cell::new(None) };
}

/// Random names, except for the trace that [`while_chosen`] begins.
#[derive(Debug, Default)]
pub(crate) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        CHOSEN.take().map_or_else(|| self.0.new_trace_id(), TraceId::from_bytes)
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

/// Does `begin`; a trace that begins there has this name.
pub(crate) fn while_chosen<T>(trace_id: [u8; 16], begin: impl FnOnce() -> T) -> T {
    CHOSEN.set(Some(trace_id));
    let begun = begin();
    CHOSEN.set(None);
    begun
}
