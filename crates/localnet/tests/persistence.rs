//! What was answered as committed survives `kill -9`, and the ledger replays to the same state.
#![allow(clippy::unwrap_used)] // A test that cannot go on should panic.

mod support;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aptos_sdk::account::Ed25519Account;
use aptos_sdk::types::HashValue;
use cactus_localnet::{Localnet, LocalnetConfig, OpenError};
use serde_json::Value;
use support::{APT, Node, SECOND, bcs, client, contract, raw, signed, somebody, transfer};
use tokio_util::sync::CancellationToken;

/// Names the data directory to the child process.
const CHILD_DATA: &str = "CACTUS_LOCALNET_TEST_DATA";

fn config(data: &Path) -> LocalnetConfig {
    LocalnetConfig { data_dir: Some(data.to_owned()), ..LocalnetConfig::default() }
}

/// Not a test: the process that the parent kills. Without its variable it has nothing to do.
#[tokio::test]
#[ignore = "started by a_killed_node_keeps_all_that_it_answered"]
async fn child_serves_until_killed() {
    let Some(data) = std::env::var_os(CHILD_DATA) else {
        return;
    };
    let chain = Localnet::open(config(Path::new(&data))).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("\nlistening {}", listener.local_addr().unwrap());
    chain.serve(listener, CancellationToken::new()).await.unwrap();
}

struct ChildNode {
    process: Child,
    root: String,
}

impl ChildNode {
    fn start(data: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child_serves_until_killed", "--nocapture"])
            .env(CHILD_DATA, data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| line.unwrap().strip_prefix("listening ").map(str::to_owned))
            .unwrap();
        // The rest of the output is of no interest but must not block the child.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, root: format!("http://{address}") }
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Sends transfers one after the other until the node is gone; answers those it called committed.
async fn load(root: String, sender: Ed25519Account, done: Arc<AtomicUsize>) -> Vec<Value> {
    let aptos = client(&root);
    let http = reqwest::Client::new();
    let mut committed = Vec::new();
    for sequence_number in 0.. {
        let to = transfer(somebody(), 1);
        let transaction = signed(&sender, &raw(sender.address(), sequence_number, to));
        let Ok(pending) = aptos.submit_transaction(&transaction).await else {
            break;
        };
        let url = format!("{root}/v1/transactions/wait_by_hash/{}", pending.data.hash);
        let Ok(answer) = http.get(url).send().await else {
            break;
        };
        let Ok(found) = answer.json::<Value>().await else {
            break;
        };
        if found["type"] == "user_transaction" {
            committed.push(found);
            done.fetch_add(1, Ordering::AcqRel);
        }
    }
    committed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_keeps_all_that_it_answered() {
    let data = tempfile::tempdir().unwrap();
    let child = ChildNode::start(data.path());
    let aptos = client(&child.root);
    let done = Arc::new(AtomicUsize::new(0));
    let mut loads = Vec::new();
    for _ in 0..4 {
        let sender = aptos.create_funded_account(10 * APT).await.unwrap();
        loads.push(tokio::spawn(load(child.root.clone(), sender, Arc::clone(&done))));
    }
    let patience = Instant::now() + Duration::from_secs(60);
    while done.load(Ordering::Acquire) < 100 {
        assert!(Instant::now() < patience, "only {} transactions", done.load(Ordering::Acquire));
        tokio::task::yield_now().await;
    }
    child.kill();
    let mut answered = Vec::new();
    for load in loads {
        answered.extend(load.await.unwrap());
    }
    assert!(answered.len() >= 100);

    let node = Node::start_with(config(data.path()));
    for before in &answered {
        let hash = HashValue::from_hex(before["hash"].as_str().unwrap()).unwrap();
        let after = node.aptos.fullnode().get_transaction_by_hash(&hash).await.unwrap().data;
        assert_eq!(&after, before);
    }
    let audit = node.chain.audit().unwrap();
    assert!(audit.user_transactions >= u64::try_from(answered.len()).unwrap());
    // The chain goes on where it stopped.
    let account = node.funded(APT).await;
    node.run(&account, transfer(somebody(), 1)).await.unwrap();
    node.chain.audit().unwrap();
    node.stop().await;
}

#[tokio::test]
async fn a_reopened_chain_is_the_same_chain() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start_with(config(data.path()));
    let alice = node.funded(5 * APT).await;
    node.run(&alice, contract("payment", "deposit", vec![bcs(&APT)])).await.unwrap();
    let chain = node.chain.clone();
    tokio::task::spawn_blocking(move || chain.advance_clock(86_400 * SECOND)).await.unwrap();
    let (before, info) = (node.chain.audit().unwrap(), node.aptos.ledger_info().await.unwrap());
    node.stop().await;

    let node = Node::start_with(config(data.path()));
    assert_eq!(node.chain.audit().unwrap(), before);
    let again = node.aptos.ledger_info().await.unwrap();
    assert_eq!(again.ledger_version, info.ledger_version);
    assert_eq!(again.ledger_timestamp, info.ledger_timestamp);
    // The clock stays ahead.
    node.run(&alice, transfer(somebody(), 1)).await.unwrap();
    let later: u64 = node.aptos.ledger_info().await.unwrap().ledger_timestamp.parse().unwrap();
    assert!(later > info.ledger_timestamp.parse().unwrap());
    node.stop().await;
}

#[tokio::test]
async fn a_data_directory_belongs_to_one_chain_and_one_process() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start_with(config(data.path()));
    assert!(matches!(Localnet::open(config(data.path())), Err(OpenError::Store(_))));
    node.stop().await;
    let other = LocalnetConfig { chain_id: 9, ..config(data.path()) };
    assert!(matches!(Localnet::open(other), Err(OpenError::OtherChain { wanted: 9, found: 4 })));
}
