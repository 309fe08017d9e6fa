//! `cargo xtask simulate`: whole networks in simulated time, driven by the code that serves, against
//! the usual ways to choose a node. It judges nothing: the simulator's tests do.

use anyhow::{Context, Result};
use cactus_simulator::{Row, Scale, Scenario, compare};
use clap::Args;

#[derive(Args)]
pub struct Options {
    /// Honest nodes
    #[arg(long, default_value_t = 300)]
    nodes: usize,
    /// Simulated seconds of arrivals
    #[arg(long, default_value_t = 120)]
    seconds: u32,
    /// Names the run: the same seed repeats it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this scenario
    #[arg(long)]
    scenario: Option<String>,
    /// One JSON document per line instead of a table
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let scale = Scale { nodes: options.nodes, seconds: options.seconds, seed: options.seed };
    for scenario in chosen(options.scenario.as_deref())? {
        let rows = compare(scenario, &scale);
        if options.json {
            for row in &rows {
                println!("{}", serde_json::to_string(row)?);
            }
        } else {
            print_table(scenario, &rows);
        }
    }
    Ok(())
}

fn chosen(name: Option<&str>) -> Result<Vec<Scenario>> {
    let Some(name) = name else { return Ok(Scenario::ALL.to_vec()) };
    let found = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
    let names = || Scenario::ALL.map(Scenario::name).join(", ");
    Ok(vec![found.with_context(|| format!("no scenario {name}; there are {}", names()))?])
}

fn print_table(scenario: Scenario, rows: &[Row]) {
    println!(
        "{:<18} {:>9} {:>8} {:>7} {:>7} {:>7} {:>9} {:>7}",
        scenario.name(),
        "answers/s",
        "failed",
        "p50 s",
        "p99 s",
        "to bad",
        "fairness",
        "twice"
    );
    for row in rows {
        println!(
            "  {:<16} {:>9.1} {:>7.2}% {:>7.2} {:>7.2} {:>6.1}% {:>9.2} {:>6.1}%",
            row.policy.name(),
            row.goodput,
            100.0 * row.failed,
            row.p50,
            row.p99,
            100.0 * row.to_bad_nodes,
            row.fairness,
            100.0 * row.extra_work
        );
    }
    println!();
}
