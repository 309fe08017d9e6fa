//! `cargo xtask contracts conservation`: the long form of the conservation tests. Never judges
//! time: it prints how long it took, for the record.

use std::time::Instant;

use anyhow::{anyhow, bail, ensure};
use cactus_truth::{Settings, Tally};
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
    /// Also print why operations were refused, and how often
    #[arg(long)]
    refusals: bool,
}

/// How often each entry function must succeed, as a share of all operations: once in this many.
/// Below that a run proves too little.
const SUCCEEDED_ONE_IN: u64 = 10_000;
/// The same for how often it must be refused.
const REFUSED_ONE_IN: u64 = 50_000;

pub fn run(options: Options) -> anyhow::Result<()> {
    let Options { operations, seed, sequence, threads, refusals } = options;
    println!("seed {seed}");
    let start = Instant::now();
    let settings = Settings { seed, operations, sequence_steps: sequence, threads };
    let report = match cactus_truth::run(settings) {
        Ok(report) => report,
        Err(failure) => bail!("seed {seed}, sequence of {sequence} steps, {failure}"),
    };
    println!("{report}");
    for ((function, error), times) in report.refusals.iter().filter(|_| refusals) {
        println!("{function:<40} {times:>10} {error}");
    }
    println!("no rule was broken; {:.0} s", start.elapsed().as_secs_f64());
    let (succeeded, refused) = (operations / SUCCEEDED_ONE_IN, operations / REFUSED_ONE_IN);
    let rare = report.too_rare(Tally { succeeded, refused });
    ensure!(rare.is_empty(), "tried too little to prove anything: {rare:?}");
    Ok(())
}

/// `cargo xtask contracts accesses`: what pairs of operations write, and what of it both write.
pub fn print_accesses() -> anyhow::Result<()> {
    let pairs = cactus_truth::access_report().map_err(|violation| anyhow!(violation.0))?;
    let head = ["two calls of", "in common", "writes", "writes", "shared"];
    println!("{:<26} {:<12} {:>7} {:>7} {:>7}", head[0], head[1], head[2], head[3], head[4]);
    for pair in &pairs {
        let ((one, other), shared) = (pair.writes, pair.shared.len());
        let common = pair.common.to_string();
        println!("{:<26} {common:<12} {one:>7} {other:>7} {shared:>7}", pair.function);
        pair.shared.iter().for_each(|place| println!("    {place}"));
    }
    let surprises = pairs.iter().any(|pair| !pair.surprises().is_empty());
    ensure!(!surprises, "calls hinder each other that need not");
    Ok(())
}
