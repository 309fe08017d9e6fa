//! A short run of the long proof: `cargo xtask contracts conservation` is the long one.

use cactus_truth::{Report, Settings, Tally, run};

fn report(settings: Settings) -> Report {
    match run(settings) {
        Ok(report) => report,
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn no_coin_is_lost_in_random_sequences() {
    let report =
        report(Settings { seed: 1, operations: 30_000, sequence_steps: 3_000, threads: 1 });
    assert!(report.operations() >= 30_000);
    let lame = report.too_rare(Tally { succeeded: 3, refused: 1 });
    assert!(lame.is_empty(), "tried too little to prove anything: {lame:?}\n{report}");
}

#[test]
fn a_seed_names_one_run() {
    let run = |threads| {
        report(Settings { seed: 7, operations: 2_000, sequence_steps: 500, threads }).tallies
    };
    assert_eq!(run(1), run(2));
}
