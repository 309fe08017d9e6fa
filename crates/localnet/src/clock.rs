//! The chain's clock: the wall clock plus what tests added.
//! Never runs backwards and never shows the same microsecond for two blocks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Block time.
pub struct Clock {
    ahead_us: AtomicU64,
}

impl Clock {
    /// A clock that runs `ahead_us` microseconds ahead of the wall clock.
    pub fn new(ahead_us: u64) -> Self {
        Self { ahead_us: AtomicU64::new(ahead_us) }
    }

    /// Microseconds that the clock runs ahead.
    pub fn ahead_us(&self) -> u64 {
        self.ahead_us.load(Ordering::Acquire)
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        let saturating = |ahead: u64| Some(ahead.saturating_add(by));
        let _ = self.ahead_us.try_update(Ordering::AcqRel, Ordering::Acquire, saturating);
    }

    /// The time of a block that follows one of time `last_us`.
    pub fn after(&self, last_us: u64) -> u64 {
        let now = wall_clock_us().saturating_add(self.ahead_us());
        now.max(last_us.saturating_add(1))
    }
}

/// Seconds since 1970 by the wall clock. Expiry is measured by it, because clients set a
/// transaction's expiry by theirs, however far a test has moved the chain's.
pub fn wall_clock_seconds() -> u64 {
    wall_clock_us() / 1_000_000
}

fn wall_clock_us() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |elapsed| u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_time_only_moves_forward() {
        let clock = Clock::new(0);
        let far_ahead = u64::MAX / 2;
        assert_eq!(clock.after(far_ahead), far_ahead + 1);
        let before = clock.after(0);
        clock.advance(Duration::from_secs(3600));
        assert!(clock.after(0) >= before + 3_600_000_000);
        clock.advance(Duration::MAX);
        assert_eq!(clock.after(0), u64::MAX);
    }
}
