//! What is remembered of a node's key while the process lives, between links too: measurements,
//! its breaker, its quarantine. It decides nothing about requests.

use crate::{
    breaker::Breaker,
    statistics::{Statistics, Timing},
};
use std::time::{Duration, Instant};

/// How long a node that said it has no room gets no task; its next heartbeat comes after that.
const OVERLOAD_PAUSE: Duration = Duration::from_secs(1);

/// What came of a task.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    /// An answer whose receipt stood. Without timing its times say nothing of the node.
    Verified(Option<Timing>),
    /// None.
    Failed,
    /// The node had no room.
    Overloaded,
    /// A lie: the receipt did not stand, or the protocol was broken. No task before `until`.
    Fault {
        /// The end of its quarantine.
        until: Instant,
    },
    /// No first token for so long; another node was faster.
    Late(Duration),
    /// A task is late, and the node has said nothing of any task since it got that one.
    Silent,
}

/// What is remembered of a node.
#[derive(Debug, Clone)]
pub struct Record {
    /// What was measured.
    pub statistics: Statistics,
    /// Opens after failures in a row.
    pub breaker: Breaker,
    pub(crate) quarantined_until: Option<Instant>,
    overloaded_until: Option<Instant>,
}

impl Record {
    /// Of a node that was never used.
    pub fn new(now: Instant) -> Self {
        Self::recalled(Statistics::new(now), None)
    }

    /// Of a node that was known before.
    pub(crate) fn recalled(statistics: Statistics, quarantined_until: Option<Instant>) -> Self {
        let (breaker, overloaded_until) = (Breaker::default(), None);
        Self { statistics, breaker, quarantined_until, overloaded_until }
    }

    /// Adds an outcome of a node that says it has so many slots.
    pub fn add(&mut self, outcome: Outcome, slots: u16, now: Instant) {
        match outcome {
            Outcome::Verified(timing) => {
                self.statistics.record_success(timing, slots, now);
                self.breaker = self.breaker.succeed();
            }
            Outcome::Failed => {
                self.statistics.record_failure(now);
                self.breaker = self.breaker.fail(now);
            }
            Outcome::Overloaded => {
                self.statistics.record_failure(now);
                self.overloaded_until = Some(now + OVERLOAD_PAUSE);
            }
            Outcome::Fault { until } => {
                self.statistics.record_fault(now);
                self.breaker = self.breaker.fail(now);
                self.quarantined_until = Some(until);
            }
            Outcome::Late(waited) => self.statistics.record_late(waited),
            Outcome::Silent => self.breaker = self.breaker.fail(now),
        }
    }

    /// Whether it is in quarantine.
    pub fn is_quarantined(&self, now: Instant) -> bool {
        self.quarantined_until.is_some_and(|until| now < until)
    }

    /// Until when it gets no task.
    pub fn blocked_until(&self) -> Option<Instant> {
        let opened = self.breaker.opened_until();
        [self.quarantined_until, self.overloaded_until, opened].into_iter().flatten().max()
    }
}
