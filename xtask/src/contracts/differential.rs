//! `cargo xtask contracts differential`: random sequences run on our Move machine, and a reference
//! runner confirms what it answered. Never keeps the tests it generates, unless told where.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, anyhow, ensure};
use cactus_truth::Differential;
use clap::Args;

use super::stage::{self, Stage};
use super::{compiler, root, toolchain};

#[derive(Args)]
pub struct Options {
    /// At least so many operations
    #[arg(long, default_value_t = 10_000)]
    operations: u64,
    /// Names the run: the same seed repeats it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Operations of one test; the last of them aborts
    #[arg(long, default_value_t = 25)]
    per_test: u64,
    /// Also write the generated tests to this folder
    #[arg(long)]
    keep: Option<PathBuf>,
}

pub fn run(options: Options) -> anyhow::Result<()> {
    let Options { operations, seed, per_test, keep } = options;
    println!("seed {seed}");
    let start = Instant::now();
    let made = cactus_truth::differential(seed, operations, per_test)
        .map_err(|violation| anyhow!("a rule of money is broken: {violation}"))?;
    println!("{} operations executed; {:.0} s", made.operations, start.elapsed().as_secs_f64());
    let stage = Stage::new(&root(), stage::CONTRACT_ADDRESS)?;
    let contracts = stage.packages().last().context("the contracts are staged")?;
    for module in &made.modules {
        let file = format!("{}.move", module.name);
        std::fs::write(contracts.dir.join("sources").join(&file), &module.source)?;
        if let Some(folder) = &keep {
            std::fs::create_dir_all(folder)?;
            std::fs::write(folder.join(&file), &module.source)?;
        }
    }
    let library = toolchain::library(&root())?;
    let (passed, report) = compiler::test_report(&library, &contracts.dir, "differential_")?;
    let confirmed = report.lines().filter(|line| line.contains("[ PASS")).count();
    let failed: Vec<&str> = report.lines().skip_while(|line| line.contains("[ PASS")).collect();
    ensure!(passed, "the reference runner disagrees:\n{}", failed.join("\n"));
    ensure!(
        confirmed == made.tests,
        "{confirmed} of {} tests were confirmed:\n{report}",
        made.tests
    );
    print(&made);
    println!("all confirmed by the reference runner; {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn print(made: &Differential) {
    for (function, calls) in &made.functions {
        println!("{function:<40} {calls:>7}");
    }
    println!(
        "{} operations in {} tests, {} assertions on views and balances, {} distinct aborts",
        made.operations,
        made.tests,
        made.assertions,
        made.aborts.len()
    );
}
