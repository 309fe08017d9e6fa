//! Measures a chain on this machine: time to boot and transfers per second, in the process and
//! over HTTP. Prints one JSON document.
//!
//! `cargo run --release -p cactus-localnet --example chain_throughput -- 20000`; for one core, put
//! `taskset -c 0` in front.
#![allow(clippy::unwrap_used)] // A measurement that cannot go on should say where.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use aptos_sdk::account::Ed25519Account;
use aptos_sdk::transaction::builder::sign_transaction;
use aptos_sdk::transaction::{EntryFunction, TransactionBuilder};
use aptos_sdk::types::{AccountAddress, ChainId};
use cactus_localnet::{Localnet, LocalnetConfig, SubmitError, TransactionStatus};
use futures::stream::{self, StreamExt};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Accounts that send at once.
const SENDERS: usize = 256;
/// HTTP requests under way at once.
const CONNECTIONS: usize = 64;
/// Octas for each sender.
const ENDOWMENT: u64 = 1_000_000_000_000;

struct Sender {
    account: Ed25519Account,
    next: u64,
}

#[tokio::main]
async fn main() {
    let wanted: usize = std::env::args().nth(1).map_or(20_000, |text| text.parse().unwrap());
    // The SDK installs the TLS provider that reqwest asks for even without TLS.
    drop(aptos_sdk::Aptos::local().unwrap());
    let data = tempfile::tempdir().unwrap();
    let (first_boot, chain) = boot(data.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let root = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let (serving, stopping) = (chain.clone(), stop.clone());
    let server = tokio::spawn(async move { serving.serve(listener, stopping).await.unwrap() });
    let first_answer = first_boot.elapsed_to_answer(&root).await;

    let mut senders = fund(&root).await;
    let signed = sign(&mut senders, wanted);
    let in_process = in_process(&chain, signed).await;
    let signed = sign(&mut senders, wanted);
    let over_http = over_http(&root, signed).await;
    let database = std::fs::metadata(data.path().join("chain.redb")).unwrap().len();
    stop.cancel();
    server.await.unwrap();
    drop(chain);
    let (again, chain) = boot(data.path());
    let reopened = again.opened;
    let audited = Instant::now();
    let audit = chain.audit().unwrap();
    let document = json!({
        "cores": std::thread::available_parallelism().unwrap().get(),
        "transactions": wanted,
        "boot_ms": milliseconds(first_boot.opened),
        "boot_to_first_answer_ms": milliseconds(first_answer),
        "reopen_ms": milliseconds(reopened),
        "in_process": in_process,
        "over_http": over_http,
        "database_bytes": database,
        "replay": { "transactions": audit.user_transactions, "seconds": audited.elapsed().as_secs_f64() },
    });
    println!("{document:#}");
}

struct Boot {
    started: Instant,
    opened: Duration,
}

fn boot(data: &Path) -> (Boot, Localnet) {
    let started = Instant::now();
    let config = LocalnetConfig { data_dir: Some(data.to_owned()), ..LocalnetConfig::default() };
    let chain = Localnet::open(config).unwrap();
    let opened = started.elapsed();
    (Boot { started, opened }, chain)
}

impl Boot {
    async fn elapsed_to_answer(&self, root: &str) -> Duration {
        let answer = reqwest::get(format!("{root}/v1")).await.unwrap();
        assert!(answer.status().is_success());
        self.started.elapsed()
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

async fn fund(root: &str) -> Vec<Sender> {
    let http = reqwest::Client::new();
    let senders = (0..SENDERS).map(|_| Sender { account: Ed25519Account::generate(), next: 0 });
    let gifts = stream::iter(senders).map(|sender| {
        let address = sender.account.address();
        let url = format!("{root}/mint?address={address}&amount={ENDOWMENT}");
        let gift = http.post(url).send();
        async move {
            assert!(gift.await.unwrap().status().is_success());
            sender
        }
    });
    gifts.buffer_unordered(16).collect().await
}

/// `count` transfers, round robin over the senders.
fn sign(senders: &mut [Sender], count: usize) -> Vec<Vec<u8>> {
    let mut signed = Vec::with_capacity(count);
    for index in 0..count {
        let sender = &mut senders[index % SENDERS];
        let mut recipient = [0; 32];
        recipient[..8].copy_from_slice(&u64::try_from(index % 1_000).unwrap().to_be_bytes());
        recipient[31] = 0xff;
        let transfer = EntryFunction::apt_transfer(AccountAddress::new(recipient), 1).unwrap();
        let raw = TransactionBuilder::new()
            .sender(sender.account.address())
            .sequence_number(sender.next)
            .payload(transfer.into())
            .max_gas_amount(10_000)
            .gas_unit_price(100)
            .chain_id(ChainId::new(4))
            .expiration_from_now(3_600)
            .build()
            .unwrap();
        sender.next += 1;
        signed.push(sign_transaction(&raw, &sender.account).unwrap().to_bcs().unwrap());
    }
    signed
}

/// Submits from one thread as fast as the mempool takes it; ends when the last is durable.
async fn in_process(chain: &Localnet, signed: Vec<Vec<u8>>) -> serde_json::Value {
    let count = signed.len();
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut hashes = Vec::with_capacity(count);
    for transaction in signed {
        hashes.push(submit(chain, transaction).await);
    }
    for hash in &hashes {
        let status = chain.wait(hash, Duration::from_secs(60)).await.unwrap();
        assert!(matches!(status, TransactionStatus::Committed { success: true, .. }), "{status:?}");
    }
    rate(count, started.elapsed(), cpu)
}

async fn submit(chain: &Localnet, transaction: Vec<u8>) -> [u8; 32] {
    loop {
        match chain.submit(transaction.clone()) {
            Ok(hash) => return hash,
            Err(SubmitError::NotAdmitted(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Submits over HTTP, then asks for the last of each sender until it is durable.
async fn over_http(root: &str, signed: Vec<Vec<u8>>) -> serde_json::Value {
    let count = signed.len();
    let http = reqwest::Client::new();
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let submissions = stream::iter(signed).map(|body| submit_over_http(&http, root, body));
    let hashes: Vec<String> = submissions.buffered(CONNECTIONS).collect().await;
    let last = hashes.iter().rev().take(SENDERS);
    for hash in last {
        loop {
            let url = format!("{root}/v1/transactions/wait_by_hash/{hash}");
            let found: serde_json::Value =
                http.get(url).send().await.unwrap().json().await.unwrap();
            if found["type"] == "user_transaction" {
                assert_eq!(found["success"], json!(true));
                break;
            }
        }
    }
    rate(count, started.elapsed(), cpu)
}

async fn submit_over_http(http: &reqwest::Client, root: &str, body: Vec<u8>) -> String {
    loop {
        let request = http
            .post(format!("{root}/v1/transactions"))
            .header("content-type", "application/x.aptos.signed_transaction+bcs")
            .body(body.clone());
        let answer = request.send().await.unwrap();
        if answer.status().as_u16() == 507 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        assert_eq!(answer.status(), 202);
        let pending: serde_json::Value = answer.json().await.unwrap();
        return pending["hash"].as_str().unwrap().to_owned();
    }
}

/// Processor seconds that this process has used, where the system tells; shows what a machine
/// with other work on it hides.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok();
    Some(f64::from(ticks(11)? + ticks(12)?) / 100.0)
}

fn rate(count: usize, took: Duration, cpu_before: Option<f64>) -> serde_json::Value {
    let count = f64::from(u32::try_from(count).unwrap());
    let cpu = cpu_seconds().zip(cpu_before).map(|(after, before)| after - before);
    json!({
        "transactions_per_second": count / took.as_secs_f64(),
        "seconds": took.as_secs_f64(),
        "cpu_seconds": cpu,
        "transactions_per_cpu_second": cpu.map(|cpu| count / cpu),
    })
}
