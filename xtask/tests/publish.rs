//! `cargo xtask contracts publish`, run as a person would, against a localnet of our own.

#![allow(clippy::unwrap_used)] // A test that cannot go on should panic.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aptos_sdk::account::Ed25519Account;
use aptos_sdk::transaction::EntryFunction;
use aptos_sdk::{Aptos, AptosConfig};
use cactus_ledger::{Call, Ledger, LedgerConfig, key_file};
use cactus_localnet::{Localnet, LocalnetConfig};
use cactus_protocol::{Address, Octas, SecretKey};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A chain that serves on a free port until dropped, and a folder for keys.
struct Chain {
    root: String,
    folder: TempDir,
    shutdown: CancellationToken,
    server: Option<std::thread::JoinHandle<()>>,
}

impl Chain {
    fn start(chain_id: u8) -> Self {
        let chain = Localnet::open(LocalnetConfig { data_dir: None, chain_id }).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let root = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(chain.serve(listener, stop)).unwrap();
        });
        let folder = tempfile::tempdir().unwrap();
        Self { root, folder, shutdown, server: Some(server) }
    }

    fn key(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        key_file::store(&path, &SecretKey::random()).unwrap();
        path
    }

    fn publish(&self, key: &Path, flags: &[&str]) -> Output {
        let url = format!("{}/v1", self.root);
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["contracts", "publish", "--network", &url, "--faucet-url", &self.root]);
        command.arg("--key-file").arg(key).args(flags).output().unwrap()
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_publisher_gets_contracts_of_its_own_once() {
    let chain = Chain::start(4);
    let key = chain.key("publisher");
    let first = json(&chain.publish(&key, &["--fund", "--json"]));
    assert_eq!(first["chain_id"], 4);
    assert_eq!(first["upgraded"], false);
    // It takes more than one transaction, as everywhere.
    assert!(first["transactions"].as_array().unwrap().len() > 1);
    assert!(first["gas_octas"].as_u64().unwrap() > 0);
    let contract = first["contract"].as_str().unwrap().to_owned();
    assert_eq!(first["admin"], first["contract"]);
    assert!(first["modules"].as_array().unwrap().contains(&Value::from("payment")));
    // The same again changes nothing and costs nothing.
    let second = json(&chain.publish(&key, &["--json"]));
    assert_eq!(second["contract"], Value::from(contract.as_str()));
    assert_eq!(second["upgraded"], true);
    assert_eq!(second["transactions"], Value::Array(Vec::new()));
    // The lines for a shell say the same.
    let lines = text(&chain.publish(&key, &[]).stdout);
    assert!(lines.contains(&format!("CACTUS_ROUTER_CONTRACT={contract}\n")), "{lines}");
    assert!(lines.contains(&format!("CACTUS_CHAIN_URL={}/v1\n", chain.root)), "{lines}");
    // Somebody else's are elsewhere.
    let other = json(&chain.publish(&chain.key("other"), &["--fund", "--json"]));
    assert_ne!(other["contract"], Value::from(contract));
}

/// A contract's user: someone who pays in, at these contracts and no others.
async fn deposit(chain: &Chain, contract: Address) -> Octas {
    let config = LedgerConfig {
        url: format!("{}/v1", chain.root),
        faucet_url: Some(chain.root.clone()),
        contract,
    };
    let ledger = Ledger::connect(config).await.unwrap();
    let client = SecretKey::random();
    ledger.fund(client.address(), Octas(500_000_000)).await.unwrap();
    let amount = Octas(200_000_000);
    ledger.submit_and_wait(&client, Call::Deposit { amount }).await.unwrap();
    ledger.client_balance(client.address()).await.unwrap().available
}

#[test]
fn contracts_that_came_in_chunks_work() {
    let chain = Chain::start(4);
    let published = json(&chain.publish(&chain.key("publisher"), &["--fund", "--json"]));
    let contract: Address = published["contract"].as_str().unwrap().parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(deposit(&chain, contract)), Octas(200_000_000));
}

/// Stages something, as a publication that was interrupted.
async fn stage_garbage(chain: &Chain, key: &Path) {
    let key = key_file::load(key).unwrap();
    let account = Ed25519Account::from_private_key_bytes(key.seed().as_slice()).unwrap();
    let config = AptosConfig::custom(&format!("{}/v1", chain.root)).unwrap();
    let aptos = Aptos::new(config.with_faucet_url(&chain.root).unwrap()).unwrap();
    aptos.fund_account(account.address(), 500_000_000).await.unwrap();
    let bytes = |text: &str| aptos_bcs::to_bytes(text).unwrap();
    let arguments = vec![
        bytes("half of some"),
        aptos_bcs::to_bytes(&vec![3_u16]).unwrap(),
        aptos_bcs::to_bytes(&vec!["other package"]).unwrap(),
    ];
    let function = "0x7::large_packages::stage_code_chunk";
    let call = EntryFunction::from_function_id(function, Vec::new(), arguments).unwrap();
    aptos.sign_submit_and_wait(&account, call.into(), None).await.unwrap();
}

#[test]
fn what_an_interrupted_publication_left_is_cleaned_up_first() {
    let chain = Chain::start(4);
    let undisturbed = json(&chain.publish(&chain.key("first"), &["--fund", "--json"]));
    let key = chain.key("interrupted");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(stage_garbage(&chain, &key));
    let resumed = json(&chain.publish(&key, &["--json"]));
    let count = |report: &Value| report["transactions"].as_array().unwrap().len();
    assert_eq!(count(&resumed), count(&undisturbed) + 1);
    assert_eq!(resumed["admin"], resumed["contract"]);
}

#[test]
fn without_money_nothing_is_published_and_the_way_out_is_named() {
    let chain = Chain::start(4);
    let output = chain.publish(&chain.key("poor"), &[]);
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("--fund"), "{}", text(&output.stderr));
}

#[test]
fn mainnet_is_left_to_its_owners() {
    let chain = Chain::start(1);
    let output = chain.publish(&chain.key("hasty"), &["--fund"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("docs/publishing.md"), "{}", text(&output.stderr));
}

#[test]
fn for_a_multisig_owner_the_calls_are_written_down() {
    let chain = Chain::start(1);
    let folder = chain.folder.path().join("proposal");
    let owner = format!("0x{}", "7e".repeat(32));
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["contracts", "publish", "--network", &format!("{}/v1", chain.root)])
        .args(["--address", &owner, "--propose"])
        .arg(&folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let files = text(&output.stdout);
    assert!(files.lines().count() > 1, "{files}");
    let mut functions = Vec::new();
    for path in files.lines() {
        let bytes = std::fs::read(path).unwrap();
        let call: Value = serde_json::from_slice(&bytes).unwrap();
        functions.push(call["function_id"].as_str().unwrap().to_owned());
    }
    let last = functions.pop().unwrap();
    assert!(last.ends_with("::large_packages::stage_code_chunk_and_publish_to_account"), "{last}");
    assert!(functions.iter().all(|name| name.ends_with("::large_packages::stage_code_chunk")));
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let chain = Chain::start(4);
    let key = chain.key("shared");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = chain.publish(&key, &["--fund"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("chmod 600"), "{}", text(&output.stderr));
}
