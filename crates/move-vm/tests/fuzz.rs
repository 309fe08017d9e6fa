//! The fuzz targets' bodies over their committed seeds and some generated modules.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use support::{fuzzing, generating};

/// A fuzz target's body.
type Body = fn(&[u8]);

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn every_seed_is_harmless() {
    let targets: [(&str, Body); 3] =
        [("parse", fuzzing::parse), ("check", fuzzing::check), ("execute", fuzzing::execute)];
    for (target, body) in targets {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "no seeds for {target}");
        seeds.iter().for_each(|(_, data)| body(data));
    }
}

/// Accepted code never meets a value of the wrong kind, and enough code is accepted for that to
/// mean something.
#[test]
fn generated_code_that_is_accepted_is_sound() {
    // PROPTEST_CASES asks for more.
    let cases = ProptestConfig::default().cases.max(2_000);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    let accepted = std::cell::Cell::new(0u32);
    let data = prop::collection::vec(any::<u8>(), 0..240);
    let result = runner.run(&data, |data| {
        accepted.set(accepted.get() + u32::from(fuzzing::run(&generating::generate(&data))));
        Ok(())
    });
    result.unwrap();
    assert!(accepted.get() > cases / 100, "{} of {cases}", accepted.get());
}
