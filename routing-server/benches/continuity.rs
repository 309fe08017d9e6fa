//! What survives when everything breaks at random: the test `mayhem` at length. Prints one JSON
//! document per run; a rule that does not hold ends it with a panic that names the request.
//!
//! `cargo bench -p cactus-routing-server --bench continuity -- --streams 100000`

#[path = "../tests/network/chaos/mod.rs"]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a broken rule ends the run")]
mod chaos;
#[path = "../tests/network/support/mod.rs"]
#[allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "the tests' own support")]
mod support;

use chaos::{Odds, Plan, Summary, run};
use clap::Parser;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[derive(Parser)]
struct Args {
    /// Requests in all; seven of ten are streamed.
    #[arg(long, default_value_t = 100_000)]
    streams: u64,
    /// Requests under way.
    #[arg(long, default_value_t = 128)]
    at_once: usize,
    /// Linked nodes.
    #[arg(long, default_value_t = 64)]
    nodes: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let kills = Odds { cut: 30, hang: 5, forget: 10, fail: 50, leave_early: 250, leave: 400 };
    // Nothing but clients who leave, most of them before the first token.
    let leaving = Odds { leave_early: 500, leave: 500, ..Odds::default() };
    for (case, odds, parts) in [("kills and disconnects", kills, 1), ("cancellation", leaving, 10)]
    {
        let plan = Plan {
            requests: args.streams / parts,
            nodes: args.nodes,
            at_once: args.at_once,
            cadence: Duration::from_millis(5),
            odds,
            seed: args.seed,
        };
        let started = Instant::now();
        let summary = runtime.block_on(run(plan));
        println!("{}", describe(case, &summary, started.elapsed()));
    }
    Ok(())
}

fn describe(case: &str, summary: &Summary, elapsed: Duration) -> Value {
    let stayed = summary.whole + u64::try_from(summary.errors.len()).unwrap_or(u64::MAX);
    let milliseconds = |thousandths| summary.cancelled_within(thousandths).as_secs_f64() * 1e3;
    json!({
        "case": case,
        "answers_whole": summary.whole,
        "answers_failed": summary.errors.len(),
        "whole_of_those_who_stayed": summary.whole as f64 / stayed.max(1) as f64,
        "clients_left": summary.left,
        "nodes_broken_off": summary.breaks,
        "attempts_resumed": summary.resumed,
        "cancels": summary.cancels.len(),
        "cancel_p50_ms": milliseconds(500),
        "cancel_p99_ms": milliseconds(990),
        "cancel_p999_ms": milliseconds(999),
        "paid_octas": summary.paid_octas,
        "seconds": elapsed.as_secs_f64(),
    })
}
