//! Spans that cross machines: where one begins from a peer's, and what the next machine is told.
//! Without a collector all of it is a look for one, and nothing more.

use crate::ids::while_chosen;
use cactus_protocol::TraceContext;
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Makes `span` the first one here of the trace with this name: under the peer's span if there is
/// one, whose trace that then is.
pub fn begin(span: &Span, trace_id: [u8; 16], peer: Option<TraceContext>) {
    go_on(span, peer);
    while_chosen(trace_id, || span.context());
}

/// Makes a peer's span the parent of `span`, which must be new.
pub fn go_on(span: &Span, peer: Option<TraceContext>) {
    if let Some(peer) = peer.filter(TraceContext::is_valid) {
        // Fails where nothing is traced; then there is nothing to do.
        let _ = span.set_parent(Context::new().with_remote_span_context(of_peer(&peer)));
    }
}

/// What the next machine is told so that its spans belong under `span`; nothing when nothing is
/// traced here.
pub fn context_of(span: &Span) -> Option<TraceContext> {
    let context = span.context();
    let span = context.span();
    let place = span.span_context();
    place.is_valid().then(|| TraceContext {
        trace_id: place.trace_id().to_bytes(),
        span_id: place.span_id().to_bytes(),
        is_sampled: place.is_sampled(),
    })
}

fn of_peer(peer: &TraceContext) -> SpanContext {
    let flags = if peer.is_sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    SpanContext::new(
        TraceId::from_bytes(peer.trace_id),
        SpanId::from_bytes(peer.span_id),
        flags,
        true,
        TraceState::default(),
    )
}
