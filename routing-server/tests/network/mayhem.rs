//! Kills and disconnects at random. `cargo xtask bench continuity` does the same at length.

use crate::chaos::{Odds, Plan, run};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_lost_whenever_each_token_comes_once_and_is_paid_once() {
    let odds = Odds { cut: 30, hang: 5, forget: 10, fail: 20, leave_early: 50, leave: 100 };
    let plan = Plan {
        requests: 600,
        nodes: 24,
        at_once: 48,
        cadence: Duration::from_millis(2),
        odds,
        seed: 1,
    };
    let summary = run(plan).await;
    assert!(summary.cancelled_within(500) < Duration::from_millis(100), "{:?}", summary.cancels);
    assert!(summary.errors.is_empty(), "{:?}", summary.errors);
    assert!(summary.paid_octas > 0);
    assert!(summary.breaks > 20 && summary.left > 20 && summary.resumed > 10, "{summary:?}");
}
