//! Packages are published and upgraded by transactions, as on Aptos.
#![allow(clippy::unwrap_used)] // A test that cannot go on should panic.

mod support;

use std::path::Path;

use aptos_sdk::account::Ed25519Account;
use aptos_sdk::transaction::EntryFunction;
use serde::Serialize;
use serde_json::json;
use support::{APT, Node, bcs, contract_address};

/// `0x1::code::PackageMetadata`; an empty vector is also an absent option.
#[derive(Serialize)]
struct PackageMetadata {
    name: &'static str,
    upgrade_policy: u8,
    upgrade_number: u64,
    source_digest: String,
    manifest: Vec<u8>,
    modules: Vec<ModuleMetadata>,
    deps: Vec<u8>,
    extension: Vec<u8>,
}

#[derive(Serialize)]
struct ModuleMetadata {
    name: String,
    source: Vec<u8>,
    source_map: Vec<u8>,
    extension: Vec<u8>,
}

/// Names and bytecode of the committed contracts, in publication order.
fn contracts() -> (Vec<String>, Vec<Vec<u8>>) {
    let bytecode = Path::new(env!("CARGO_MANIFEST_DIR")).join("bytecode");
    let order = std::fs::read_to_string(bytecode.join("order.txt")).unwrap();
    let names = order.lines().filter_map(|line| line.strip_prefix("cactus/")).map(str::to_owned);
    names
        .map(|name| {
            let code = std::fs::read(bytecode.join(format!("cactus/{name}.mv"))).unwrap();
            (name, code)
        })
        .unzip()
}

fn publication(names: Vec<String>, code: &[Vec<u8>]) -> EntryFunction {
    let module = |name| ModuleMetadata {
        name,
        source: Vec::new(),
        source_map: Vec::new(),
        extension: Vec::new(),
    };
    let metadata = PackageMetadata {
        name: "cactus",
        upgrade_policy: 1,
        upgrade_number: 0,
        source_digest: String::new(),
        manifest: Vec::new(),
        modules: names.into_iter().map(module).collect(),
        deps: Vec::new(),
        extension: Vec::new(),
    };
    let args = vec![bcs(&bcs(&metadata)), bcs(&code)];
    EntryFunction::from_function_id("0x1::code::publish_package_txn", Vec::new(), args).unwrap()
}

fn admin() -> Ed25519Account {
    Ed25519Account::from_private_key_bytes(&cactus_localnet::admin_seed()).unwrap()
}

#[tokio::test]
async fn the_admin_upgrades_the_contracts() {
    let node = Node::start();
    assert_eq!(admin().address(), contract_address());
    node.aptos.fund_account(admin().address(), 5 * APT).await.unwrap();
    let (names, code) = contracts();
    let count = names.len();
    let done = node.run(&admin(), publication(names, &code)).await.unwrap();
    let events = done["events"].as_array().unwrap();
    let published = events.iter().find(|event| event["type"] == json!("0x1::code::PublishPackage"));
    assert_eq!(published.unwrap()["data"]["is_upgrade"], json!(true));
    let changes = done["changes"].as_array().unwrap();
    let written = changes.iter().filter(|change| change["type"] == json!("write_module")).count();
    assert_eq!(written, count);
    let function = format!("{}::config::admin", contract_address());
    let view = node.aptos.view(&function, Vec::new(), Vec::new()).await.unwrap();
    assert_eq!(view, [json!(contract_address().to_string())]);
    node.chain.audit().unwrap();
    node.stop().await;
}

#[tokio::test]
async fn nobody_publishes_at_anothers_address_or_publishes_garbage() {
    let node = Node::start();
    let mallory = node.funded(5 * APT).await;
    let (names, code) = contracts();
    let error = node.run(&mallory, publication(names, &code)).await.unwrap_err();
    assert!(error.to_string().contains("MODULE_ADDRESS_DOES_NOT_MATCH_SENDER"), "{error}");
    let garbage =
        publication(vec!["garbage".to_owned()], &[vec![0xa1, 0x1c, 0xeb, 0x0b, 7, 0, 0, 0]]);
    assert!(node.run(&mallory, garbage).await.is_err());
    assert_eq!(node.aptos.get_sequence_number(mallory.address()).await.unwrap(), 2);
    let modules = node.aptos.fullnode().get_account_modules(mallory.address()).await.unwrap();
    assert!(modules.data.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn an_upgrade_may_not_drop_what_others_call() {
    let node = Node::start();
    node.aptos.fund_account(admin().address(), 5 * APT).await.unwrap();
    let (names, code) = contracts();
    let last = names.len() - 1;
    let fewer = publication(names[..last].to_vec(), &code[..last]);
    let error = node.run(&admin(), fewer).await.unwrap_err();
    assert!(error.to_string().contains("EMODULE_MISSING"), "{error}");
    node.stop().await;
}
