//! How long the worker pauses after a pass. Pure but for the jitter.

use super::worker::Pass;
use std::time::Duration;

/// With nothing open, the table is read this often in case nobody rang.
const IDLE: Duration = Duration::from_secs(2);
/// The first and the longest pause while transactions wait for the chain.
const POLL: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));
/// The first and the longest pause while the chain is in trouble.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// A pause, and whether new work may end it early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) length: Duration,
    pub(crate) interruptible: bool,
}

/// Counts passes of one kind in a row.
#[derive(Debug, Default)]
pub(crate) struct Pacing {
    waiting: u32,
    troubled: u32,
}

impl Pacing {
    pub(crate) fn after(&mut self, pass: Pass) -> Pause {
        self.troubled = match pass {
            Pass::Troubled => self.troubled.saturating_add(1),
            _ => 0,
        };
        self.waiting = match pass {
            Pass::Waiting => self.waiting.saturating_add(1),
            _ => 0,
        };
        match pass {
            Pass::Idle => Pause { length: IDLE, interruptible: true },
            Pass::Elsewhere => Pause { length: IDLE, interruptible: false },
            Pass::Moved | Pass::Waiting => {
                Pause { length: doubled(POLL, self.waiting), interruptible: true }
            }
            // New work must not hammer a chain that is down.
            Pass::Troubled => Pause {
                length: jittered(doubled(BACKOFF, self.troubled.saturating_sub(1))),
                interruptible: false,
            },
        }
    }
}

fn doubled((first, longest): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}

/// Between half and all of it, so that many servers do not return at the same moment.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_backs_off_to_a_cap_and_recovery_resets_it() {
        let mut pacing = Pacing::default();
        let first = pacing.after(Pass::Troubled);
        assert!(first.length <= BACKOFF.0 && !first.interruptible);
        for _ in 0..100 {
            let pause = pacing.after(Pass::Troubled);
            assert!(pause.length <= BACKOFF.1);
        }
        assert!(pacing.after(Pass::Troubled).length >= BACKOFF.1 / 2);
        pacing.after(Pass::Moved);
        assert!(pacing.after(Pass::Troubled).length <= BACKOFF.0);
    }

    #[test]
    fn waiting_slows_down_and_movement_speeds_up() {
        let mut pacing = Pacing::default();
        assert_eq!(pacing.after(Pass::Moved).length, POLL.0);
        let lengths: Vec<_> = (0..8).map(|_| pacing.after(Pass::Waiting).length).collect();
        assert!(lengths.is_sorted() && lengths[7] == POLL.1);
        assert_eq!(pacing.after(Pass::Moved).length, POLL.0);
    }
}
