//! Unrelated parties write no place of the chain's state in common, and those who share a server or
//! a pool only the few that they must.

use cactus_truth::{Common, access_report};

#[test]
fn unrelated_parties_write_disjoint_places() {
    let pairs = access_report().unwrap();
    let unrelated: Vec<_> = pairs.iter().filter(|pair| pair.common == Common::Nothing).collect();
    assert!(unrelated.len() >= 24);
    for pair in unrelated {
        assert!(pair.writes.0 > 0 && pair.writes.1 > 0, "{} writes nothing", pair.function);
        assert!(pair.shared.is_empty(), "{}: {:?}", pair.function, pair.shared);
    }
}

#[test]
fn parties_with_something_in_common_share_what_they_must_and_no_more() {
    let pairs = access_report().unwrap();
    let related: Vec<_> = pairs.iter().filter(|pair| pair.common != Common::Nothing).collect();
    assert!(related.len() >= 6);
    for pair in related {
        assert!(pair.surprises().is_empty(), "{}: {:?}", pair.function, pair.surprises());
        // What may be shared is shared, or the report excuses too much.
        for kind in pair.may_share {
            let used = pair.shared.iter().any(|place| place.starts_with(kind));
            assert!(used, "{} shares no {kind}", pair.function);
        }
    }
}
