//! Memory of a chain's process under hours of moderate load: transfers, tasks paid one by one and
//! in batches, and readers. Prints one line a minute. A transaction that fails ends the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::http::Api;
use super::network::{Account, Network, Server, Size};
use super::process::{ChainProcess, memory_kib, processor_seconds};
use super::workload::transfer;

const SIZE: Size = Size { servers: 8, clients_each: 8, operators_each: 4, senders: 16 };
/// Between two transfers of one sender, and between two rounds of one server.
const TRANSFER_EVERY: Duration = Duration::from_millis(100);
const ROUND_EVERY: Duration = Duration::from_millis(500);
/// A server's round creates so many tasks, pays so many one by one and the rest in a batch.
const CREATED: usize = 10;
const PAID_SINGLY: usize = 5;

/// Runs for `minutes`.
pub async fn run(minutes: u64) {
    let data = tempfile::tempdir().unwrap();
    let chain = ChainProcess::start(data.path());
    let api = Api::new(&chain.root);
    let network = Network::found(&api, SIZE).await;
    let (stop, done) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
    let mut actors = JoinSet::new();
    for sender in network.senders {
        actors.spawn(send(api.clone(), sender, stop.clone(), Arc::clone(&done)));
    }
    for server in network.servers {
        actors.spawn(settle(api.clone(), server, stop.clone(), Arc::clone(&done)));
    }
    let started = Instant::now();
    let mut samples = Vec::new();
    for minute in 0..=minutes {
        tokio::select! {
            () = tokio::time::sleep_until((started + Duration::from_secs(60 * minute)).into()) => {}
            ended = actors.join_next() => panic!("an actor gave up: {ended:?}"),
        }
        let sample = sample(&chain, minute, done.load(Ordering::Relaxed), data.path());
        println!("{sample}");
        samples.push(sample);
    }
    stop.cancel();
    while let Some(ended) = actors.join_next().await {
        ended.unwrap();
    }
    println!("{}", trend(&samples));
    chain.stop();
}

fn sample(chain: &ChainProcess, minute: u64, done: u64, data: &std::path::Path) -> Value {
    json!({
        "minute": minute,
        "transactions": done,
        "resident_kib": memory_kib(chain.id(), "VmRSS"),
        "anonymous_kib": memory_kib(chain.id(), "RssAnon"),
        "peak_kib": memory_kib(chain.id(), "VmHWM"),
        "threads": memory_kib(chain.id(), "Threads"),
        "processor_seconds": processor_seconds(chain.id()),
        "database_mib": std::fs::metadata(data.join("chain.redb")).unwrap().len() >> 20,
    })
}

/// The least-squares slope of the second half of the run.
fn trend(samples: &[Value]) -> Value {
    let half = &samples[samples.len() / 2..];
    let points: Vec<(f64, f64)> = half
        .iter()
        .map(|one| (one["minute"].as_f64().unwrap(), one["resident_kib"].as_f64().unwrap()))
        .collect();
    let count = f64::from(u32::try_from(points.len()).unwrap());
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    json!({
        "second_half_mean_kib": y,
        "second_half_kib_per_minute": covariance / variance,
    })
}

async fn send(api: Api, mut sender: Account, stop: CancellationToken, done: Arc<AtomicU64>) {
    let mut pace = tokio::time::interval(TRANSFER_EVERY);
    let mut index = 0;
    while !stop.is_cancelled() {
        pace.tick().await;
        api.run(&transfer(&mut sender, index)).await;
        index += 1;
        done.fetch_add(1, Ordering::Relaxed);
    }
}

async fn settle(api: Api, mut server: Server, stop: CancellationToken, done: Arc<AtomicU64>) {
    let mut pace = tokio::time::interval(ROUND_EVERY);
    while !stop.is_cancelled() {
        pace.tick().await;
        let mut tasks = Vec::new();
        let mut signed = Vec::new();
        for _ in 0..CREATED {
            let (task, created) = server.create();
            tasks.push(task);
            signed.push(created);
        }
        let (singly, together) = tasks.split_at(PAID_SINGLY);
        signed.extend(singly.iter().map(|task| server.complete(task)));
        signed.push(server.complete_all(together));
        let mut hashes = Vec::new();
        for one in &signed {
            hashes.push(api.submit(one).await);
        }
        for hash in &hashes {
            api.committed(hash).await;
        }
        done.fetch_add(u64::try_from(hashes.len()).unwrap(), Ordering::Relaxed);
    }
}
