//! `cargo xtask contracts publish`, run as a person would, against a localnet of our own.

#![allow(clippy::unwrap_used)] // A test that cannot go on should panic.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cactus_ledger::key_file;
use cactus_localnet::{Localnet, LocalnetConfig};
use cactus_protocol::SecretKey;
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
    assert_eq!(first["transactions"].as_array().unwrap().len(), 1);
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
