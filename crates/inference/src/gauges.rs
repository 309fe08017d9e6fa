//! How busy a model is, readable from any thread. It never blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts of waiting and running requests.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    queued: AtomicUsize,
    active: AtomicUsize,
}

/// A place in the queue; dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Ticket(Arc<Gauges>);

impl Gauges {
    /// A place among at most `limit`, if one is free.
    pub(crate) fn ticket(self: &Arc<Self>, limit: usize) -> Option<Ticket> {
        let grow = |queued: usize| (queued < limit).then_some(queued.saturating_add(1));
        self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).ok()?;
        Some(Ticket(self.clone()))
    }

    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    pub(crate) fn set_active(&self, active: usize) {
        self.active.store(active, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::Relaxed);
    }
}
