//! `cargo xtask contracts differential`: random sequences run on our Move machine, and a reference
//! runner confirms what it answered. Never keeps the tests it generates, unless told where.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow, ensure};
use cactus_truth::{Differential, TestModule};
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
    #[arg(long, default_value_t = 50)]
    per_test: u64,
    /// Also write the generated tests to this folder
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Modules that the compiler gets together: its memory grows with all of them.
const MODULES_AT_ONCE: usize = 4;
/// How often each entry function must be called, as a share of all operations: once in this many.
const RARE_ONE_IN: u64 = 5_000;

pub fn run(options: Options) -> anyhow::Result<()> {
    let Options { operations, seed, per_test, keep } = options;
    println!("seed {seed}");
    let start = Instant::now();
    let made = cactus_truth::differential(seed, operations, per_test)
        .map_err(|violation| anyhow!("a rule of money is broken: {violation}"))?;
    println!("{} operations executed; {:.0} s", made.operations, start.elapsed().as_secs_f64());
    let rare = made.too_rare(operations / RARE_ONE_IN);
    ensure!(rare.is_empty(), "tried too little to compare anything: {}", counts(&made, &rare));
    let stage = Stage::new(&root(), stage::CONTRACT_ADDRESS)?;
    let contracts = stage.packages().last().context("the contracts are staged")?;
    let library = toolchain::library(&root())?;
    let mut confirmed = 0;
    for batch in made.modules.chunks(MODULES_AT_ONCE) {
        confirmed += confirm(&library, &contracts.dir, batch, keep.as_deref())?;
    }
    ensure!(confirmed == made.tests, "{confirmed} of {} tests were confirmed", made.tests);
    print(&made);
    println!("all confirmed by the reference runner; {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Has the reference runner run some modules, and says how many of their tests passed.
fn confirm(
    library: &Path,
    contracts: &Path,
    modules: &[TestModule],
    keep: Option<&Path>,
) -> anyhow::Result<usize> {
    let mut files = Vec::new();
    for TestModule { name, source } in modules {
        let file = format!("{name}.move");
        let target = contracts.join("sources").join(&file);
        std::fs::write(&target, source)?;
        files.push(target);
        if let Some(folder) = keep {
            std::fs::create_dir_all(folder)?;
            std::fs::write(folder.join(file), source)?;
        }
    }
    let (passed, report) = compiler::test_report(library, contracts, "differential_")?;
    let failed: Vec<&str> = report.lines().skip_while(|line| line.contains("[ PASS")).collect();
    ensure!(passed, "the reference runner disagrees:\n{}", failed.join("\n"));
    files.iter().try_for_each(std::fs::remove_file)?;
    Ok(report.lines().filter(|line| line.contains("[ PASS")).count())
}

fn counts(made: &Differential, functions: &[&'static str]) -> String {
    let count = |function: &&'static str| {
        format!("{function} {}", made.functions.get(function).copied().unwrap_or(0))
    };
    functions.iter().map(count).collect::<Vec<_>>().join(", ")
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
