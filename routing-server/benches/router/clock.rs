//! One clock for everyone in this process, so that a frame's age can be told. It never goes back.

use std::{sync::OnceLock, time::Instant};

/// Nanoseconds since the first call.
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_nanos()).expect("a benchmark lasts less than 500 years")
}
