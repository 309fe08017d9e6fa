//! The circuit breaker of one node: closed, open for a while after failures in a row, then half
//! open for one probe. Pure: it takes the moment from its caller.

use std::time::{Duration, Instant};

/// Failures in a row that open it.
const THRESHOLD: u32 = 3;
/// How long it stays open the first time; each time in a row twice as long as before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest that it stays open.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether a node may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// Freely; it failed so many times in a row.
    Closed {
        /// Failures since the last success.
        failures: u32,
    },
    /// Not before `until`, then with one request at a time until one succeeds.
    Open {
        /// The end of the pause.
        until: Instant,
        /// How long the pause is.
        pause: Duration,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// After an answer.
    pub fn succeed(self) -> Self {
        Self::default()
    }

    /// After a failure. Those of requests that were under way when it opened change nothing.
    pub fn fail(self, now: Instant) -> Self {
        let open = |pause| Self::Open { until: now + pause, pause };
        match self {
            Self::Closed { failures } if failures + 1 < THRESHOLD => {
                Self::Closed { failures: failures + 1 }
            }
            Self::Closed { .. } => open(FIRST_PAUSE),
            Self::Open { until, .. } if now < until => self,
            Self::Open { pause, .. } => open((pause * 2).min(LONGEST_PAUSE)),
        }
    }

    /// The end of the pause, if it is open or half open.
    pub fn opened_until(self) -> Option<Instant> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { until, .. } => Some(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_a_success_closes_it() {
        let now = Instant::now();
        let twice = Breaker::default().fail(now).fail(now);
        assert_eq!(twice.opened_until(), None);
        assert_eq!(twice.succeed().fail(now).opened_until(), None);
        let open = twice.fail(now);
        assert_eq!(open.opened_until(), Some(now + FIRST_PAUSE));
        assert_eq!(open.succeed(), Breaker::default());
    }

    #[test]
    fn failures_of_earlier_requests_do_not_prolong_the_pause_and_failed_probes_do() {
        let now = Instant::now();
        let open = (0..THRESHOLD).fold(Breaker::default(), |breaker, _| breaker.fail(now));
        assert_eq!(open.fail(now), open);
        let mut probed = open;
        let mut at = now;
        for _ in 0..20 {
            at = probed.opened_until().unwrap();
            probed = probed.fail(at);
        }
        assert_eq!(probed.opened_until(), Some(at + LONGEST_PAUSE));
    }
}
