//! `cargo xtask contracts conservation`: the long form of the conservation tests. Never judges
//! time: it prints how long it took, for the record.

use std::time::Instant;

use anyhow::{anyhow, bail, ensure};
use cactus_truth::Settings;
use clap::Args;

#[derive(Args)]
pub struct Options {
    /// At least so many operations
    #[arg(long, default_value_t = 1_000_000)]
    operations: u64,
    /// Names the run: the same seed repeats it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Operations of one sequence; each starts from a new chain
    #[arg(long, default_value_t = 4_000)]
    sequence: u64,
    /// Threads that share the sequences; the result does not depend on it
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Operations per function below which a run proves too little, as a share of all: one in this many.
const RARE_ONE_IN: u64 = 50_000;

pub fn run(options: Options) -> anyhow::Result<()> {
    let Options { operations, seed, sequence, threads } = options;
    println!("seed {seed}");
    let start = Instant::now();
    let settings = Settings { seed, operations, sequence_steps: sequence, threads };
    let report = match cactus_truth::run(settings) {
        Ok(report) => report,
        Err(failure) => bail!("seed {seed}, sequence of {sequence} steps, {failure}"),
    };
    println!("{report}");
    println!("no rule was broken; {:.0} s", start.elapsed().as_secs_f64());
    let rare = report.too_rare(operations / RARE_ONE_IN);
    ensure!(rare.is_empty(), "tried too little to prove anything: {rare:?}");
    Ok(())
}

/// `cargo xtask contracts accesses`: what unrelated operations write, and what of it both write.
pub fn print_accesses() -> anyhow::Result<()> {
    let pairs = cactus_truth::access_report().map_err(|violation| anyhow!(violation.0))?;
    println!("{:<26} {:>7} {:>7} {:>7}", "two unrelated calls of", "writes", "writes", "shared");
    for pair in &pairs {
        let (one, other) = pair.writes;
        println!("{:<26} {one:>7} {other:>7} {:>7}", pair.function, pair.shared.len());
        pair.shared.iter().for_each(|place| println!("    {place}"));
    }
    ensure!(pairs.iter().all(|pair| pair.shared.is_empty()), "unrelated calls hinder each other");
    Ok(())
}
