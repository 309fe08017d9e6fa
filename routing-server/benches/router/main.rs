//! What the routing server costs, against a reverse proxy and the routers that people use, all in
//! one run on the same two cores: the system under test alone on one, the mock engine and the load
//! generator on the other. Each measurement stands between two of nginx; a ratio is kept only if
//! those two agree within a tenth. Prints one JSON document per measurement.
//!
//! `cargo bench -p cactus-routing-server --bench router -- --peers DIRECTORY`

#[path = "../../tests/network/support/mod.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "of the tests; only its double of the chain is used"
)]
mod support;

mod cases;
mod clock;
mod faults;
mod load;
mod node;
mod process;
mod router;
mod script;
mod systems;
mod upstream;

use anyhow::{Context, Result, bail, ensure};
use cases::Case;
use clap::{Parser, Subcommand};
use futures::{StreamExt, TryStreamExt, stream};
use load::Measured;
use process::{OTHER_CORE, Process};
use serde_json::{Value, json};
use std::{
    env,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use systems::{Peer, free_address};
use tempfile::TempDir;

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Nginx runs around a measurement may differ by this much.
const BRACKET_TOLERANCE: f64 = 0.1;
const MICROSECONDS: f64 = 1e6;
/// Nodes that link at the same time: as many as a server takes beyond those that are linked.
const HANDSHAKES_AT_ONCE: usize = 128;

#[derive(Parser)]
struct Args {
    /// A Python virtual environment with PyPI `sglang-router` and `vllm-router`.
    #[arg(long, default_value = "target/bench/peers")]
    peers: PathBuf,
    /// How long each measurement lasts.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Only the cases whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Also 2, 1,000 and 10,000 linked nodes.
    #[arg(long)]
    fleet: bool,
    /// Only these.
    #[arg(long)]
    only_fleet: bool,
    /// Only requests while one of several engines is killed or hangs.
    #[arg(long)]
    faults: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What a copy of this program does on its own core.
#[derive(Subcommand)]
enum Role {
    #[command(hide = true)]
    Measure,
    #[command(hide = true)]
    Serve { address: SocketAddr, data_dir: PathBuf, nodes: u32 },
}

fn main() -> Result<()> {
    let args = Args::parse();
    // The HTTP client wants to know, though nothing here uses TLS. Err: it is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &args.role {
        Some(Role::Serve { address, data_dir, nodes }) => {
            // The router as it is deployed: its own runtime with all its threads, on one core.
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(router::serve_forever(*address, data_dir.clone(), *nodes))
        }
        Some(Role::Measure) => runtime.block_on(measure_all(&args)),
        None => {
            let program = env::current_exe()?;
            let words = env::args_os().skip(1);
            let mut measure = Command::new("taskset");
            measure.args(["-c", OTHER_CORE]).arg(program).args(words).arg("measure");
            Err(measure.exec()).context("start taskset")
        }
    }
}

/// One measurement of one system.
struct Sample {
    measured: Measured,
    cpu_seconds: f64,
    resident_bytes: u64,
}

impl Sample {
    fn cpu_per_answer(&self) -> f64 {
        self.cpu_seconds * MICROSECONDS / self.measured.answers.max(1) as f64
    }

    fn describe(&mut self, frames: u32) -> Value {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let measured = &mut self.measured;
        let quantile =
            |values: &mut Vec<u64>, thousandths| micros(Measured::quantile(values, thousandths));
        let delivered = measured.answers.max(1) as f64 * f64::from(frames);
        json!({
            "answers_per_second": measured.answers as f64 / measured.seconds,
            "cpu_us_per_answer": self.cpu_seconds * MICROSECONDS / measured.answers.max(1) as f64,
            "cpu_us_per_frame": self.cpu_seconds * MICROSECONDS / delivered,
            "whole_p50_us": quantile(&mut measured.whole, 500),
            "whole_p99_us": quantile(&mut measured.whole, 990),
            "first_p50_us": quantile(&mut measured.first, 500),
            "transit_p50_us": quantile(&mut measured.transit, 500),
            "transit_p99_us": quantile(&mut measured.transit, 990),
            "resident_mb": self.resident_bytes as f64 / 1e6,
        })
    }
}

/// A system under test that is ready for requests.
struct Running {
    process: Process,
    address: SocketAddr,
    headers: String,
    _folder: TempDir,
}

impl Running {
    /// With so many nodes; how long they took to link, from the server's start.
    async fn cactus(nodes: u32) -> Result<(Self, Duration)> {
        let started = Instant::now();
        let (process, address, folder) = Self::server(nodes).await?;
        let linking = (0..nodes).map(|index| node::start(address, node::Identity::numbered(index)));
        stream::iter(linking).buffer_unordered(HANDSHAKES_AT_ONCE).try_collect::<()>().await?;
        router::linked(address, nodes).await?;
        let waited = started.elapsed();
        Ok((Self::authorized(process, address, folder).await?, waited))
    }

    /// With a node for each engine.
    async fn cactus_with(engines: &[faults::Engine]) -> Result<Self> {
        let nodes = u32::try_from(engines.len())?;
        let (process, address, folder) = Self::server(nodes).await?;
        faults::link(address, engines).await?;
        router::linked(address, nodes).await?;
        Self::authorized(process, address, folder).await
    }

    async fn authorized(process: Process, address: SocketAddr, folder: TempDir) -> Result<Self> {
        let headers = format!("Authorization: Bearer {}\r\n", router::api_key(address).await?);
        Ok(Self { process, address, headers, _folder: folder })
    }

    async fn server(nodes: u32) -> Result<(Process, SocketAddr, TempDir)> {
        let (folder, address) = (tempfile::tempdir()?, free_address()?);
        let program = env::current_exe()?;
        let program = program.to_str().context("this program's path is text")?;
        let data_dir = folder.path().display().to_string();
        let words = ["serve".into(), address.to_string(), data_dir, nodes.to_string()];
        let mut process = Process::start(program, &words)?;
        process.listening(address).await?;
        Ok((process, address, folder))
    }

    async fn peer(
        peer: Peer,
        (peers, patience): (&Path, Option<u32>),
        engines: &[SocketAddr],
    ) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let started = peer.start((peers, folder.path(), patience), engines).await?;
        let running =
            |(process, address)| Self { process, address, headers: String::new(), _folder: folder };
        Ok(started.map(running))
    }

    async fn measure(&self, case: &Case, seconds: u64) -> Result<Sample> {
        let warm_up = case.load(self.address, (&self.headers, Duration::from_millis(500)));
        load::run(&warm_up).await?;
        let before = self.process.cpu_seconds()?;
        let load = case.load(self.address, (&self.headers, Duration::from_secs(seconds)));
        let measured = load::run(&load).await?;
        let cpu_seconds = self.process.cpu_seconds()? - before;
        let resident_bytes = self.process.resident_bytes()?;
        Ok(Sample { measured, cpu_seconds, resident_bytes })
    }
}

async fn measure_all(args: &Args) -> Result<()> {
    if args.faults {
        return faults::measure(&args.peers, args.seconds).await;
    }
    if args.only_fleet {
        return fleets(args.seconds).await;
    }
    let engine = upstream::start().await?;
    let nginx = Running::peer(Peer::Nginx, (&args.peers, None), &[engine]).await?;
    let Some(nginx) = nginx else { bail!("nginx is not installed: apt-get install nginx-light") };
    let (cactus, _) = Running::cactus(1).await?;
    let wanted = |case: &&Case| args.only.as_ref().is_none_or(|part| case.name.contains(part));
    for case in Case::ALL.iter().filter(wanted) {
        bracketed("cactus", &cactus, &nginx, (case, args.seconds)).await?;
    }
    drop(cactus);
    for peer in [Peer::SglangRouter, Peer::VllmRouter] {
        let Some(running) = Running::peer(peer, (&args.peers, None), &[engine]).await? else {
            eprintln!("{} is not installed in {}: left out", peer.name(), args.peers.display());
            continue;
        };
        for case in Case::ALL.iter().filter(wanted) {
            bracketed(peer.name(), &running, &nginx, (case, args.seconds)).await?;
        }
    }
    if args.fleet {
        drop(nginx);
        fleets(args.seconds).await?;
    }
    Ok(())
}

/// Nginx, the system, nginx again.
async fn bracketed(
    name: &str,
    system: &Running,
    nginx: &Running,
    (case, seconds): (&Case, u64),
) -> Result<()> {
    let mut before = nginx.measure(case, seconds).await?;
    let mut sample = system.measure(case, seconds).await?;
    let after = nginx.measure(case, seconds).await?;
    let (low, high) = (before.cpu_per_answer(), after.cpu_per_answer());
    let floor = f64::midpoint(low, high);
    let is_steady = (low - high).abs() <= BRACKET_TOLERANCE * floor;
    let document = json!({
        "case": case.name,
        "system": name,
        "cpu_ratio_to_nginx": is_steady.then(|| sample.cpu_per_answer() / floor),
        "measured": sample.describe(case.script.frames),
        "nginx": before.describe(case.script.frames),
    });
    println!("{document}");
    Ok(())
}

/// What more nodes cost: the same load on 2, 1,000 and 10,000 links.
async fn fleets(seconds: u64) -> Result<()> {
    let mut of_two = None;
    for nodes in [2, 1_000, 10_000] {
        let (cactus, ready) = Running::cactus(nodes).await?;
        let mut sample = cactus.measure(&Case::SMALL, seconds).await?;
        let per_answer = sample.cpu_per_answer();
        let of_two = *of_two.get_or_insert(per_answer);
        ensure!(of_two > 0.0, "no processor time was counted");
        let document = json!({
            "case": "fleet",
            "system": "cactus",
            "nodes": nodes,
            "all_linked_seconds": ready.as_secs_f64(),
            "cpu_ratio_to_two_nodes": per_answer / of_two,
            "measured": sample.describe(1),
        });
        println!("{document}");
    }
    Ok(())
}
