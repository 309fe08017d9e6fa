//! `cargo xtask bench`: runs the measurements of docs/benchmarks.md and prints their JSON, one
//! line each. It judges nothing: machines differ, and ratios are made by the measurements
//! themselves, against a peer or a floor of the same run.

mod random_model;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use std::{
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// Tokens per second against the memory's read bandwidth: sprout, and 100 million parameters.
    Engine,
    /// Transfers and settlements per second of the local chain, time to commit, and boot.
    Chain,
    /// Memory of the local chain under an hour of load; prints a line each minute.
    Soak,
    /// What the network adds to the engine; time to ready and to the first answer.
    Network,
    /// Choosing a node among 10 to 10,000.
    Dispatch,
    /// The routing server against nginx and, where they are installed, sglang-router and
    /// vllm-router, in front of the same mock engine.
    Router,
    /// Answers and payments of the routing server while nodes and clients break off at random.
    Continuity,
    /// Build time and binary sizes from an empty target directory.
    Build,
}

/// Measures one subject, or all but the build, the router (it needs nginx), continuity and the soak,
/// which takes `minutes`.
pub fn run(subject: Option<Subject>, minutes: u32) -> Result<()> {
    let usual = [Subject::Engine, Subject::Chain, Subject::Network, Subject::Dispatch];
    for subject in subject.map_or(usual.to_vec(), |only| vec![only]) {
        match subject {
            Subject::Engine => engine()?,
            Subject::Chain => chain()?,
            Subject::Soak => chain_bench(&["soak", &minutes.to_string()])?,
            Subject::Network => example("cactus-cli", "network_latency", &["200"])?,
            Subject::Dispatch => example("cactus-dispatch", "choosing", &[])?,
            Subject::Router => server_bench("router", &["--fleet"])?,
            Subject::Continuity => server_bench("continuity", &["--streams", "100000"])?,
            Subject::Build => build()?,
        }
    }
    Ok(())
}

fn chain() -> Result<()> {
    chain_bench(&["speed", "20000"])?;
    chain_bench(&["boot", "100000"])
}

fn chain_bench(words: &[&str]) -> Result<()> {
    example("cactus-localnet", "chain_bench", words)
}

fn server_bench(name: &str, words: &[&str]) -> Result<()> {
    let fixed = ["bench", "--package", "cactus-routing-server", "--bench", name, "--"];
    succeed(Command::new("cargo").args(fixed).args(words))
}

fn engine() -> Result<()> {
    let large = Path::new("target/bench/random-100m");
    random_model::write(large, Path::new("models/sprout"))?;
    let large = large.to_str().context("the path is text")?;
    for (model, runs, tokens) in [("models/sprout", "50", "64"), (large, "5", "16")] {
        for threads in ["1", "2"] {
            let words =
                ["--model", model, "--threads", threads, "--runs", runs, "--tokens", tokens];
            example("cactus-inference", "engine_throughput", &words)?;
        }
    }
    Ok(())
}

fn example(package: &str, name: &str, words: &[&str]) -> Result<()> {
    eprintln!("measuring {name} {}", words.join(" "));
    let fixed = ["run", "--release", "--quiet", "--package", package, "--example", name, "--"];
    succeed(Command::new("cargo").args(fixed).args(words))
}

fn build() -> Result<()> {
    let target = tempfile::tempdir()?;
    let started = Instant::now();
    let words = ["build", "--release", "--quiet", "--bins", "--target-dir"];
    let bins = ["-p", "cactus-cli", "-p", "cactus-routing-server", "-p", "cactus-orchestrator"];
    succeed(Command::new("cargo").args(words).arg(target.path()).args(bins))?;
    let seconds = started.elapsed().as_secs_f64();
    let size = |name: &str| Ok(std::fs::metadata(target.path().join("release").join(name))?.len());
    let sizes = ["cactus", "cactus-router", "cactus-orchestrator"].map(size);
    let [cactus, router, orchestrator] = sizes.map(|size: Result<u64>| size.unwrap_or_default());
    let document = serde_json::json!({
        "release_build_seconds": seconds,
        "bytes": { "cactus": cactus, "cactus-router": router, "cactus-orchestrator": orchestrator },
    });
    println!("{document}");
    Ok(())
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().context("cannot start cargo")?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
