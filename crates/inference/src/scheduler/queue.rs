//! The requests that wait to compute, in the order in which they may. It never decides how many
//! run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::sequence::Sequence;

/// How much earlier a request seems to have come for each unit of its priority.
const LEAD: Duration = Duration::from_secs(1);

/// Who goes first: the lesser. It never changes, and all who come later than
/// 255 × [`LEAD`] after a request are behind it, whatever their priority: nobody waits for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    arrival: Duration,
    number: u64,
}

impl Rank {
    /// Of a request that came so long after the scheduler's start; `number` orders those that
    /// came together.
    pub(crate) fn new(arrival: Duration, priority: u8, number: u64) -> Self {
        let behind = LEAD * u32::from(u8::MAX - priority);
        Self { arrival: arrival.saturating_add(behind), number }
    }
}

/// Waiting sequences by rank: new ones, and ones that gave way to others.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: BTreeMap<Rank, Sequence>,
    started: usize,
}

impl Queue {
    pub(crate) fn push(&mut self, sequence: Sequence) {
        self.started += usize::from(sequence.has_started());
        self.waiting.insert(sequence.rank, sequence);
    }

    /// Who is next.
    pub(crate) fn first(&self) -> Option<&Sequence> {
        self.waiting.first_key_value().map(|(_, sequence)| sequence)
    }

    pub(crate) fn pop(&mut self) -> Option<Sequence> {
        let rank = *self.waiting.first_key_value()?.0;
        self.remove(rank)
    }

    /// Takes out everyone who is cancelled or, not having started, too late.
    pub(crate) fn take_over(&mut self, now: Instant) -> Vec<Sequence> {
        let over = |sequence: &&Sequence| sequence.is_cancelled() || sequence.is_late(now);
        let over: Vec<Rank> =
            self.waiting.values().filter(over).map(|sequence| sequence.rank).collect();
        over.into_iter().filter_map(|rank| self.remove(rank)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many had started before they came here.
    pub(crate) fn started(&self) -> usize {
        self.started
    }

    fn remove(&mut self, rank: Rank) -> Option<Sequence> {
        let sequence = self.waiting.remove(&rank)?;
        self.started -= usize::from(sequence.has_started());
        Some(sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_overtakes_by_its_lead_and_no_more() {
        let second = Duration::from_secs(1);
        let rank = |arrival: u32, priority| Rank::new(second * arrival, priority, 0);
        assert!(rank(10, 0) < rank(11, 0));
        assert!(rank(12, 5) < rank(10, 0));
        assert!(rank(16, 5) > rank(10, 0));
        assert!(rank(300, 255) > rank(10, 0), "no priority keeps another waiting for ever");
        assert!(Rank::new(second, 3, 1) < Rank::new(second, 3, 2));
    }
}
