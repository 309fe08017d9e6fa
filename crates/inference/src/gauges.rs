//! How busy a model is, readable from any thread. It never blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts of waiting and running requests, and of what was done.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    queued: AtomicUsize,
    active: AtomicUsize,
    prompt_tokens: AtomicU64,
    reused_tokens: AtomicU64,
    preemptions: AtomicU64,
}

/// What a model has done since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tokens of prompts that began to compute; again for each time a request gave way to others
    /// and came back.
    pub prompt_tokens: u64,
    /// How many of these were in memory already and were not computed.
    pub reused_tokens: u64,
    /// How often a running request gave way to others.
    pub preemptions: u64,
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

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            prompt_tokens: self.prompt_tokens.load(Ordering::Relaxed),
            reused_tokens: self.reused_tokens.load(Ordering::Relaxed),
            preemptions: self.preemptions.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn count_prompt(&self, tokens: usize) {
        self.prompt_tokens.fetch_add(wide(tokens), Ordering::Relaxed);
    }

    pub(crate) fn count_reused(&self, tokens: usize) {
        self.reused_tokens.fetch_add(wide(tokens), Ordering::Relaxed);
    }

    pub(crate) fn count_preemption(&self) {
        self.preemptions.fetch_add(1, Ordering::Relaxed);
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

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
