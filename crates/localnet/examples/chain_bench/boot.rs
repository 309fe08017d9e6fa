//! How long a chain takes from the start of its process to the first answer: with nothing on disk,
//! and with many transactions, after a clean stop and after a kill.

use std::path::Path;
use std::time::{Duration, Instant};

use cactus_localnet::{Localnet, LocalnetConfig, SubmitError, TransactionStatus};
use serde_json::json;

use super::http::Api;
use super::network::{Network, Size};
use super::process::{ChainProcess, memory_kib};

const SIZE: Size = Size { servers: 16, clients_each: 2, operators_each: 1, senders: 200 };
/// Each start is repeated so often.
const STARTS: usize = 5;

/// Measures starts with `count` transactions on disk, of which two fifths are settlements.
pub async fn run(count: u64) {
    let data = tempfile::tempdir().unwrap();
    let mut empty = Vec::new();
    for _ in 0..STARTS {
        let nothing = tempfile::tempdir().unwrap();
        let (chain, took) = start(nothing.path()).await;
        chain.stop();
        empty.push(took);
    }
    fill(data.path(), count).await;
    let (mut stopped, mut killed) = (Vec::new(), Vec::new());
    let mut memory = 0;
    for _ in 0..STARTS {
        let (chain, took) = start(data.path()).await;
        stopped.push(took);
        touch(&chain).await;
        chain.kill();
        let (chain, took) = start(data.path()).await;
        killed.push(took);
        memory = memory_kib(chain.id(), "VmRSS");
        chain.stop();
    }
    let (chain, _) = start(data.path()).await;
    let versions = Api::new(&chain.root).version().await;
    chain.stop();
    let document = json!({
        "transactions": versions,
        "database_bytes": std::fs::metadata(data.path().join("chain.redb")).unwrap().len(),
        "empty_ms": summary(empty),
        "after_a_stop_ms": summary(stopped),
        "after_a_kill_ms": summary(killed),
        "memory_kib_after_boot": memory,
    });
    println!("{document:#}");
}

async fn start(directory: &Path) -> (ChainProcess, Duration) {
    let started = Instant::now();
    let chain = ChainProcess::start(directory);
    Api::new(&chain.root).first_answer().await;
    (chain, started.elapsed())
}

/// Makes the chain write, so that a kill finds it with an unclean database.
async fn touch(chain: &ChainProcess) {
    let somebody = aptos_sdk::types::AccountAddress::new([0xb0; 32]);
    Api::new(&chain.root).fund(somebody, 1).await;
}

async fn fill(directory: &Path, count: u64) {
    let served = ChainProcess::start(directory);
    let mut network = Network::found(&Api::new(&served.root), SIZE).await;
    served.stop();
    let config =
        LocalnetConfig { data_dir: Some(directory.to_owned()), ..LocalnetConfig::default() };
    let chain = Localnet::open(config).unwrap();
    let mut signed = network.transfers(count * 3 / 5);
    signed.extend(network.settlements(count / 5));
    let mut last = [0; 32];
    for transaction in signed {
        last = loop {
            match chain.submit(transaction.clone()) {
                Ok(hash) => break hash,
                Err(SubmitError::NotAdmitted(_)) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
    }
    let status = chain.wait(&last, Duration::from_secs(60)).await.unwrap();
    assert!(matches!(status, TransactionStatus::Committed { success: true, .. }), "{status:?}");
}

fn summary(mut times: Vec<Duration>) -> serde_json::Value {
    times.sort_unstable();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    json!({ "median": milliseconds(median), "longest": milliseconds(longest) })
}
