//! Packages are published and upgraded by transactions, as on Aptos.
#![allow(clippy::unwrap_used)] // A test that cannot go on should panic.

mod support;

use std::path::Path;

use aptos_sdk::account::Ed25519Account;
use aptos_sdk::transaction::EntryFunction;
use aptos_sdk::types::AccountAddress;
use serde::Serialize;
use serde_json::json;
use support::{APT, Node, bcs, contract_address, refusal};

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

/// BCS of the metadata of a package with these modules.
fn metadata(names: Vec<String>) -> Vec<u8> {
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
    bcs(&metadata)
}

fn publication(names: Vec<String>, code: &[Vec<u8>]) -> EntryFunction {
    let args = vec![bcs(&metadata(names)), bcs(&code)];
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

/// The calls that stage a package in two chunks; the module in the middle is in both.
fn chunks(names: Vec<String>, code: &[Vec<u8>], last: &str) -> [EntryFunction; 2] {
    let metadata = metadata(names);
    let middle = code.len() / 2;
    let (head, tail) = code[middle].split_at(code[middle].len() / 2);
    let index = |at: usize| u16::try_from(at).unwrap();
    let mut first: Vec<_> = (0..middle).map(|at| (index(at), code[at].as_slice())).collect();
    first.push((index(middle), head));
    let mut second = vec![(index(middle), tail)];
    second.extend((middle + 1..code.len()).map(|at| (index(at), code[at].as_slice())));
    let call = |name: &str, metadata: &[u8], parts: Vec<(u16, &[u8])>| {
        let (indices, parts): (Vec<u16>, Vec<&[u8]>) = parts.into_iter().unzip();
        let args = vec![bcs(&metadata), bcs(&indices), bcs(&parts)];
        let function = format!("0x7::large_packages::{name}");
        EntryFunction::from_function_id(&function, Vec::new(), args).unwrap()
    };
    let (start, rest) = metadata.split_at(metadata.len() / 2);
    [call("stage_code_chunk", start, first), call(last, rest, second)]
}

async fn something_is_staged(node: &Node, publisher: AccountAddress) -> bool {
    let area = "0x7::large_packages::StagingArea";
    match node.aptos.fullnode().get_account_resource(publisher, area).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(refusal(&error).1, "resource_not_found");
            false
        }
    }
}

#[tokio::test]
async fn a_package_arrives_in_chunks_and_nothing_stays_staged() {
    let node = Node::start();
    node.aptos.fund_account(admin().address(), 5 * APT).await.unwrap();
    let (names, code) = contracts();
    let [first, last] = chunks(names, &code, "stage_code_chunk_and_publish_to_account");
    node.run(&admin(), first).await.unwrap();
    assert!(something_is_staged(&node, admin().address()).await);
    let done = node.run(&admin(), last).await.unwrap();
    let written = done["changes"].as_array().unwrap().iter();
    let written = written.filter(|change| change["type"] == json!("write_module")).count();
    assert_eq!(written, code.len());
    assert!(!something_is_staged(&node, admin().address()).await);
    node.chain.audit().unwrap();
    node.stop().await;
}

#[tokio::test]
async fn an_upgrade_in_chunks_that_breaks_callers_is_refused_and_can_be_taken_back() {
    let node = Node::start();
    node.aptos.fund_account(admin().address(), 10 * APT).await.unwrap();
    let (names, code) = contracts();
    let fewer = names.len() - 1;
    let to_account = "stage_code_chunk_and_publish_to_account";
    let [first, last] = chunks(names[..fewer].to_vec(), &code[..fewer], to_account);
    node.run(&admin(), first.clone()).await.unwrap();
    let error = node.run(&admin(), last).await.unwrap_err();
    assert!(error.to_string().contains("EMODULE_MISSING"), "{error}");
    assert!(something_is_staged(&node, admin().address()).await);
    let clean_up = "0x7::large_packages::cleanup_staging_area";
    let clean_up = EntryFunction::from_function_id(clean_up, Vec::new(), Vec::new()).unwrap();
    node.run(&admin(), clean_up).await.unwrap();
    assert!(!something_is_staged(&node, admin().address()).await);
    for call in chunks(names, &code, to_account) {
        node.run(&admin(), call).await.unwrap();
    }
    node.stop().await;
}

/// The contracts with the address `to` in place of the admin's.
fn moved(code: &[Vec<u8>], to: AccountAddress) -> Vec<Vec<u8>> {
    let (from, to) = (contract_address().to_bytes(), to.to_bytes());
    let mut code = code.to_vec();
    for bytes in &mut code {
        for at in 0..=bytes.len() - from.len() {
            if bytes[at..].starts_with(&from) {
                bytes[at..at + to.len()].copy_from_slice(&to);
            }
        }
    }
    code
}

/// The address of the object that a publication creates, as clients compute it.
fn code_object(publisher: AccountAddress, sequence_number: u64) -> AccountAddress {
    let mut bytes = publisher.to_bytes().to_vec();
    bytes.extend(bcs(&b"aptos_framework::object_code_deployment".as_slice()));
    bytes.extend(bcs(&(sequence_number + 1)));
    bytes.push(0xfe);
    AccountAddress::new(aptos_sdk::crypto::sha3_256(&bytes))
}

#[tokio::test]
async fn a_package_lives_at_an_object_and_only_its_owner_upgrades_it() {
    let node = Node::start();
    let (alice, mallory) = (node.funded(10 * APT).await, node.funded(10 * APT).await);
    let (names, code) = contracts();
    // The second transaction publishes.
    let object = code_object(alice.address(), 1);
    let code = moved(&code, object);
    for call in chunks(names.clone(), &code, "stage_code_chunk_and_publish_to_object") {
        node.run(&alice, call).await.unwrap();
    }
    let function = format!("{object}::config::admin");
    let view = node.aptos.view(&function, Vec::new(), Vec::new()).await.unwrap();
    assert_eq!(view, [json!(object.to_string())]);
    let to_object = "stage_code_chunk_and_upgrade_object_code";
    for (publisher, refused) in [(&mallory, true), (&alice, false)] {
        let [first, mut last] = chunks(names.clone(), &code, to_object);
        last.args.push(bcs(&Some(object)));
        node.run(publisher, first).await.unwrap();
        match node.run(publisher, last).await {
            Ok(_) => assert!(!refused),
            Err(error) => {
                let owned = error.to_string().contains("ENOT_CODE_OBJECT_OWNER");
                assert!(refused && owned, "{error}");
            }
        }
    }
    node.chain.audit().unwrap();
    node.stop().await;
}
