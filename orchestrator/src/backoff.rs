//! How long to wait before dialling again. It never sleeps itself and is never in step with other
//! nodes: every pause is drawn at random from the upper half of its range, so that a server that comes back is not
//! met by all its nodes at once.

use std::time::Duration;

/// Pauses that double from `first` up to `most`.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// A link stayed open: the next failure is a first one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after one more failure; `share` is random in `0.0..=1.0`.
    pub(crate) fn next_pause(&mut self, share: f64) -> Duration {
        let doubled = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let ceiling = self.first.saturating_mul(doubled).min(self.most);
        self.failures = self.failures.saturating_add(1);
        jittered(ceiling, share)
    }
}

/// Between half of `pause` and all of it.
pub(crate) fn jittered(pause: Duration, share: f64) -> Duration {
    pause.mul_f64(0.5 + share.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_start_over_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let mut last = Duration::ZERO;
        for _ in 0..100 {
            let pause = backoff.next_pause(1.0);
            assert!(pause >= last && pause <= Duration::from_secs(30));
            last = pause;
        }
        assert_eq!(last, Duration::from_secs(30));
        backoff.reset();
        assert_eq!(backoff.next_pause(0.0), Duration::from_millis(250));
    }
}
