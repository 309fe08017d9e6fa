//! Unrelated parties write no place of the chain's state in common.

use cactus_truth::access_report;

#[test]
fn unrelated_tasks_stakes_and_channels_write_disjoint_places() {
    let pairs = access_report().unwrap();
    assert!(pairs.len() >= 12);
    for pair in pairs {
        assert!(pair.writes.0 > 0 && pair.writes.1 > 0, "{} writes nothing", pair.function);
        assert!(pair.shared.is_empty(), "{}: {:?}", pair.function, pair.shared);
    }
}
