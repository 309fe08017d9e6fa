//! Transactions per second, and how long a commit takes at a given load: from the submission of
//! signed bytes through signature check and execution until the block is durable on disk.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use cactus_localnet::{Hash, Localnet, LocalnetConfig, SubmitError, TransactionStatus};
use ed25519_dalek::{Signer, SigningKey};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::http::Api;
use super::network::{Network, Size};
use super::process::processor_seconds;

const SIZE: Size = Size { servers: 32, clients_each: 4, operators_each: 2, senders: 250 };
/// Tasks paid by one transaction.
const BATCH: u64 = 50;
/// Requests under way at once.
const CONNECTIONS: usize = 64;
/// The loads at which commits are timed: what the chain is to carry.
const TRANSFERS_PER_SECOND: u32 = 2_000;
const SETTLEMENTS_PER_SECOND: u32 = 500;
/// For so long.
const LOAD_SECONDS: u32 = 10;
/// Verifications that are timed as the yardstick.
const VERIFICATIONS: u32 = 20_000;

/// Measures `count` transfers and half as many settlements.
pub async fn run(count: u64) {
    let data = tempfile::tempdir().unwrap();
    let config =
        LocalnetConfig { data_dir: Some(data.path().to_owned()), ..LocalnetConfig::default() };
    let chain = Localnet::open(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = Api::new(&format!("http://{}", listener.local_addr().unwrap()));
    let stop = CancellationToken::new();
    let (serving, stopping) = (chain.clone(), stop.clone());
    let server = tokio::spawn(async move { serving.serve(listener, stopping).await.unwrap() });
    let mut network = Network::found(&api, SIZE).await;
    let yardstick = verifications_per_second();
    let per = |mut rate: Value| {
        let cost = rate["per_processor_second"].as_f64().unwrap();
        rate["verifications_each"] = json!(yardstick / cost);
        rate
    };
    let transfers = per(flood(&chain, network.transfers(count), count).await);
    let tasks = count / 2;
    let settlements = per(flood(&chain, network.settlements(tasks), tasks).await);
    let tasks = tasks / BATCH * BATCH;
    let batches = per(flood(&chain, network.batches(tasks, BATCH), tasks).await);
    let transfers_over_http = per(over_http(&api, network.transfers(count), count).await);
    let settlements_over_http = per(over_http(&api, network.settlements(tasks), tasks).await);
    let load = u64::from(TRANSFERS_PER_SECOND * LOAD_SECONDS);
    let transfers_at_load = paced(&chain, network.transfers(load), TRANSFERS_PER_SECOND).await;
    let load = u64::from(SETTLEMENTS_PER_SECOND * LOAD_SECONDS);
    let settlements_at_load =
        paced(&chain, network.settlements(load), 2 * SETTLEMENTS_PER_SECOND).await;
    stop.cancel();
    server.await.unwrap();
    let audited = Instant::now();
    let audit = chain.audit().unwrap();
    let document = json!({
        "cores": std::thread::available_parallelism().unwrap().get(),
        "ed25519_verifications_per_second": [yardstick, verifications_per_second()],
        "transfers": transfers,
        "settlements": settlements,
        "settlements_in_batches_of_50": batches,
        "transfers_over_http": transfers_over_http,
        "settlements_over_http": settlements_over_http,
        "commit_at_2000_transfers_per_second": transfers_at_load,
        "commit_at_500_settlements_per_second": settlements_at_load,
        "replay": { "transactions": audit.user_transactions, "seconds": audited.elapsed().as_secs_f64() },
    });
    println!("{document:#}");
}

/// Strict verifications of ed25519 signatures per second of processor time: what no chain can do
/// without, and a yardstick that other work on the machine hardly bends.
fn verifications_per_second() -> f64 {
    let key = SigningKey::from_bytes(&[7; 32]);
    let message = [3; 200];
    let signature = key.sign(&message);
    let before = processor_seconds(std::process::id());
    for _ in 0..VERIFICATIONS {
        key.verifying_key().verify_strict(&message, &signature).unwrap();
    }
    f64::from(VERIFICATIONS) / (processor_seconds(std::process::id()) - before)
}

/// Submits from one thread as fast as the mempool takes it; ends when the last is durable.
async fn flood(chain: &Localnet, signed: Vec<Vec<u8>>, count: u64) -> Value {
    let (started, before) = (Instant::now(), processor_seconds(std::process::id()));
    let mut hashes = Vec::with_capacity(signed.len());
    for transaction in signed {
        hashes.push(submit(chain, &transaction).await);
    }
    for hash in &hashes {
        committed(chain, hash).await;
    }
    rate(count, started, before)
}

async fn submit(chain: &Localnet, transaction: &[u8]) -> Hash {
    loop {
        match chain.submit(transaction.to_vec()) {
            Ok(hash) => return hash,
            Err(SubmitError::NotAdmitted(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn committed(chain: &Localnet, hash: &Hash) {
    let status = chain.wait(hash, Duration::from_secs(60)).await.unwrap();
    assert!(matches!(status, TransactionStatus::Committed { success: true, .. }), "{status:?}");
}

/// Submits over HTTP from this very process, client and server on the same cores.
async fn over_http(api: &Api, signed: Vec<Vec<u8>>, count: u64) -> Value {
    let (started, before) = (Instant::now(), processor_seconds(std::process::id()));
    let submissions = stream::iter(signed).map(async |one| api.submit(&one).await);
    let hashes: Vec<String> = submissions.buffered(CONNECTIONS).collect().await;
    for hash in hashes.iter().rev().take(2 * SIZE.senders as usize) {
        api.committed(hash).await;
    }
    rate(count, started, before)
}

fn rate(count: u64, started: Instant, processor_before: f64) -> Value {
    let seconds = started.elapsed().as_secs_f64();
    let processor = processor_seconds(std::process::id()) - processor_before;
    let count = f64::from(u32::try_from(count).unwrap());
    json!({
        "per_second": count / seconds,
        "seconds": seconds,
        "processor_seconds": processor,
        "per_processor_second": count / processor,
    })
}

/// Submits at a steady pace, whatever the chain does, and times each commit from the moment when
/// it was due. Those who wait see their answers in order, so a figure may be too large.
async fn paced(chain: &Localnet, signed: Vec<Vec<u8>>, per_second: u32) -> Value {
    let (due, mut waiting) = mpsc::unbounded_channel::<(Hash, Instant)>();
    let watched = chain.clone();
    let watching = tokio::spawn(async move {
        let mut delays = Vec::new();
        while let Some((hash, due)) = waiting.recv().await {
            committed(&watched, &hash).await;
            delays.push(due.elapsed());
        }
        delays
    });
    let started = Instant::now();
    for (index, transaction) in signed.into_iter().enumerate() {
        let moment = started + Duration::from_secs(1) / per_second * u32::try_from(index).unwrap();
        tokio::time::sleep_until(moment.into()).await;
        due.send((submit(chain, &transaction).await, moment)).unwrap();
    }
    drop(due);
    let mut delays = watching.await.unwrap();
    let achieved =
        f64::from(u32::try_from(delays.len()).unwrap()) / started.elapsed().as_secs_f64();
    delays.sort_unstable();
    let at = |percent: usize| delays[delays.len() * percent / 100].as_secs_f64() * 1_000.0;
    json!({
        "transactions_per_second": achieved,
        "p50_ms": at(50),
        "p99_ms": at(99),
        "longest_ms": delays.last().unwrap().as_secs_f64() * 1_000.0,
    })
}
