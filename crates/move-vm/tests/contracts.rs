//! The committed contracts run: from registration to a paid task.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use cactus_move_vm::{AccountAddress, Effects, VmStatus};
use ed25519_dalek::{Signer, SigningKey};
use serde::Serialize;
use sha3::{Digest, Sha3_256};
use support::{World, bcs, bytecode};

const APT: u64 = 100_000_000;
const SERVER: AccountAddress = AccountAddress::small(0x51);
const OPERATOR: AccountAddress = AccountAddress::small(0x0e);
const NODE_KEY: [u8; 32] = [9; 32];
const CLIENT_KEY: [u8; 32] = [5; 32];

/// `0x1::ed25519::SignedMessage<T>`: what is signed, after its type's name.
#[derive(Serialize)]
struct SignedMessage<T> {
    address: AccountAddress,
    module: Vec<u8>,
    name: Vec<u8>,
    inner: T,
}

#[derive(Serialize)]
struct NodeKeyProof {
    chain_id: u8,
    operator: AccountAddress,
    node_public_key: Vec<u8>,
}

#[derive(Serialize)]
struct Order {
    chain_id: u8,
    client: AccountAddress,
    server: AccountAddress,
    order_id: Vec<u8>,
    max_total: u64,
    max_per_task: u64,
    expires_seconds: u64,
}

fn admin() -> AccountAddress {
    "0x770eb1b3170bcdd27aab10aed54a73bf2b40f49c88ae430957992798c9cdfed8".parse().unwrap()
}

fn sign<T: Serialize>(key: &SigningKey, module: &str, name: &str, inner: T) -> Vec<u8> {
    let (module, name) = (module.as_bytes().to_vec(), name.as_bytes().to_vec());
    let message = SignedMessage { address: admin(), module, name, inner };
    key.sign(&bcs(&message)).to_bytes().to_vec()
}

fn client_key() -> SigningKey {
    SigningKey::from_bytes(&CLIENT_KEY)
}

/// The address of an account of one ed25519 key.
fn client() -> AccountAddress {
    let public = client_key().verifying_key();
    let hash = Sha3_256::new().chain_update(public.as_bytes()).chain_update([0]).finalize();
    AccountAddress(hash.into())
}

fn cactus(function: &str) -> String {
    format!("{}::{function}", admin())
}

/// A chain with the contracts, a server, an orchestrator with a node, and a client's deposit.
fn network() -> World {
    let mut world = World::default();
    world.publish(AccountAddress::ONE, bytecode("../localnet/bytecode/framework")).unwrap();
    world.system("0x1::genesis::initialize", vec![bcs(&4u8)]).unwrap();
    for owner in [admin(), SERVER, OPERATOR, client()] {
        world.system("0x1::genesis::mint", vec![bcs(&owner), bcs(&(10 * APT))]).unwrap();
    }
    world.publish(admin(), bytecode("../localnet/bytecode/cactus")).unwrap();
    let node = SigningKey::from_bytes(&NODE_KEY);
    let node_public_key = node.verifying_key().to_bytes().to_vec();
    let proof =
        NodeKeyProof { chain_id: 4, operator: OPERATOR, node_public_key: node_public_key.clone() };
    let proof = sign(&node, "registry", "NodeKeyProof", proof);
    let key = bcs(&node_public_key);
    let calls: Vec<(AccountAddress, &str, Vec<Vec<u8>>)> = vec![
        (
            SERVER,
            "server_registry::register_server",
            vec![bcs(&"http://s"), key.clone(), bcs(&APT)],
        ),
        (admin(), "server_registry::authorize_server", vec![bcs(&SERVER)]),
        (OPERATOR, "registry::register_orchestrator", vec![bcs(&"http://o")]),
        (OPERATOR, "registry::add_node", vec![key.clone(), bcs(&"{}"), bcs(&proof)]),
        (OPERATOR, "registry::set_status", vec![bcs(&1u8)]),
        (OPERATOR, "stake::bond", vec![bcs(&(2 * APT))]),
        (admin(), "registry::whitelist", vec![bcs(&OPERATOR), bcs(&true)]),
        (admin(), "registry::validate_node", vec![bcs(&OPERATOR), key]),
        (client(), "payment::deposit", vec![bcs(&(5 * APT))]),
    ];
    for (signer, function, args) in calls {
        world
            .entry(&[signer], &cactus(function), args)
            .unwrap_or_else(|status| panic!("{function}: {status}"));
    }
    world
}

fn create_task(world: &mut World, task: u8, signature_of: u64) -> Result<Effects, VmStatus> {
    let max_total = 4 * APT;
    let (order_id, expires_seconds) = (vec![1u8; 32], 1_000u64);
    let order = Order {
        chain_id: 4,
        client: client(),
        server: SERVER,
        order_id: order_id.clone(),
        max_total: signature_of,
        max_per_task: APT,
        expires_seconds,
    };
    let signature = sign(&client_key(), "payment", "Order", order);
    let node_public_key = SigningKey::from_bytes(&NODE_KEY).verifying_key().to_bytes().to_vec();
    let args = vec![
        bcs(&client()),
        bcs(&client_key().verifying_key().to_bytes().to_vec()),
        bcs(&order_id),
        bcs(&max_total),
        bcs(&APT),
        bcs(&expires_seconds),
        bcs(&signature),
        bcs(&vec![task; 32]),
        bcs(&OPERATOR),
        bcs(&node_public_key),
        bcs(&APT),
        bcs(&1_000_000u64),
        bcs(&2_000_000u64),
        bcs(&500u64),
    ];
    world.entry(&[SERVER], &cactus("payment::create_task"), args)
}

fn complete_task(world: &mut World, task: u8) -> Result<Effects, VmStatus> {
    let args = vec![
        bcs(&client()),
        bcs(&vec![task; 32]),
        bcs(&1_000u64),
        bcs(&2_000u64),
        bcs(&300u64),
        bcs(&vec![3u8; 32]),
    ];
    world.entry(&[SERVER], &cactus("payment::complete_task"), args)
}

fn apt(world: &World, owner: AccountAddress) -> u64 {
    let coin = "0x1::aptos_coin::AptosCoin".parse().unwrap();
    let results = world.call("0x1::coin::balance", vec![coin], vec![bcs(&owner)]).unwrap();
    aptos_bcs::from_bytes(&results[0].1).unwrap()
}

fn client_balance(world: &World) -> (u64, u64) {
    let results = world.call(&cactus("payment::balance"), vec![], vec![bcs(&client())]).unwrap();
    let (available, locked, _requested, _withdraw_from): (u64, u64, u64, u64) =
        aptos_bcs::from_bytes(&results[0].1).unwrap();
    (available, locked)
}

#[test]
fn a_task_is_paid_and_the_rest_returns() {
    let mut world = network();
    create_task(&mut world, 1, 4 * APT).unwrap();
    assert_eq!(client_balance(&world), (4 * APT, APT));
    let (before_server, before_operator) = (apt(&world, SERVER), apt(&world, OPERATOR));
    let effects = complete_task(&mut world, 1).unwrap();
    // 1,000 prompt and 2,000 output tokens at 1 and 2 million octas per 1,000: 5 million.
    let charge = 5_000_000;
    let (server_fee, treasury_fee) = (charge / 20, charge / 100);
    assert_eq!(apt(&world, SERVER) - before_server, server_fee);
    assert_eq!(apt(&world, OPERATOR) - before_operator, charge - server_fee - treasury_fee);
    assert_eq!(client_balance(&world), (5 * APT - charge, 0));
    let settled =
        effects.events.iter().find(|event| event.type_tag.to_string().ends_with("TaskSettled"));
    assert!(settled.is_some());
    assert!(effects.gas_used > 0 && effects.gas_used < 100, "{}", effects.gas_used);
}

#[test]
fn a_settled_task_is_not_paid_twice() {
    let mut world = network();
    create_task(&mut world, 1, 4 * APT).unwrap();
    complete_task(&mut world, 1).unwrap();
    let status = complete_task(&mut world, 1).unwrap_err();
    assert_eq!(status.code_name(), "ABORTED", "{status}");
    assert!(status.to_string().contains("::payment: E"), "{status}");
    assert!(create_task(&mut world, 1, 4 * APT).is_err());
}

#[test]
fn an_order_signed_for_another_sum_is_refused() {
    let mut world = network();
    let status = create_task(&mut world, 1, 3 * APT).unwrap_err();
    assert!(status.to_string().starts_with("Move abort in "), "{status}");
    assert_eq!(client_balance(&world), (5 * APT, 0));
}

#[test]
fn republishing_the_same_contracts_keeps_their_state() {
    let mut world = network();
    world.publish(admin(), bytecode("../localnet/bytecode/cactus")).unwrap();
    assert_eq!(client_balance(&world), (5 * APT, 0));
    create_task(&mut world, 1, 4 * APT).unwrap();
}

#[test]
fn text_in_arguments_is_utf8() {
    let mut world = network();
    let mut register = |uri: Vec<u8>| {
        let signer = AccountAddress::small(0x77);
        world.entry(&[signer], &cactus("registry::register_orchestrator"), vec![bcs(&uri)])
    };
    assert_eq!(register(vec![0xff]).unwrap_err().code_name(), "FAILED_TO_DESERIALIZE_ARGUMENT");
    register("http://é".into()).unwrap();
}

/// A measurement: `cargo test -p cactus-move-vm --test contracts -- --ignored --nocapture`.
#[test]
#[ignore = "measures the machine it runs on"]
fn settlements_run_at_more_than_the_rate_the_chain_promises() {
    let mut world = network();
    let (mut creating, mut completing) = (Duration::ZERO, Duration::ZERO);
    let count = 60;
    for task in 0..count {
        let start = Instant::now();
        create_task(&mut world, task, 4 * APT).unwrap();
        creating += start.elapsed();
        let start = Instant::now();
        let effects = complete_task(&mut world, task).unwrap();
        completing += start.elapsed();
        if task == 0 {
            println!("gas units of a settlement: {}", effects.gas_used);
        }
    }
    let rate = |time: Duration| f64::from(count) / time.as_secs_f64();
    println!("create_task {:.0}/s, complete_task {:.0}/s", rate(creating), rate(completing));
    assert!(rate(completing) > 500.0);
}

/// Each way in which a task can change on the chain, and who may change it when:
/// `state time call -> next`. The server's own states are held to the same table.
const TASK_STATES: &str = include_str!("../../protocol/tests/task_states.txt");

const DEADLINE_SECONDS: u64 = 500;
const REVIEW_SECONDS: u64 = 3_600;

/// The contract's codes, as `payment::task` shows them.
fn state_code(name: &str) -> u8 {
    let names = ["unknown", "assigned", "settled", "refunded", "delivered", "disputed"];
    u8::try_from(names.iter().position(|known| *known == name).unwrap()).unwrap()
}

fn state_of_task(world: &World) -> u8 {
    let arguments = vec![bcs(&client()), bcs(&vec![1u8; 32])];
    world.call(&cactus("payment::task"), vec![], arguments).unwrap()[0].1[0]
}

fn pass_time_until(world: &mut World, seconds: u64) {
    world.system("0x1::timestamp::update_global_time", vec![bcs(&(seconds * 1_000_000))]).unwrap();
}

/// Opens a case about the task by its server; a delivered task is then held.
fn accuse(world: &mut World) -> Result<Effects, VmStatus> {
    let arguments = vec![bcs(&OPERATOR), bcs(&client()), bcs(&vec![1u8; 32]), bcs(&vec![6u8; 32])];
    world.entry(&[SERVER], &cactus("dispute::accuse"), arguments)
}

fn change(world: &mut World, call: &str) -> Result<Effects, VmStatus> {
    let task = || vec![bcs(&client()), bcs(&vec![1u8; 32])];
    let work = || [1_000u64, 2_000, 300].iter().map(bcs).chain([bcs(&vec![3u8; 32])]);
    let (signer, function, arguments): (_, _, Vec<Vec<u8>>) = match call {
        "deliver" => {
            (OPERATOR, "payment::deliver_task", task().into_iter().chain(work()).collect())
        }
        "complete" => {
            (SERVER, "payment::complete_task", task().into_iter().chain(work()).collect())
        }
        "fail" => (SERVER, "payment::fail_task", [task(), vec![bcs(&3u8)]].concat()),
        "refund_expired" => (client(), "payment::refund_expired", task()),
        "release_expired" => (client(), "payment::release_expired", task()),
        "accuse" => return accuse(world),
        other => panic!("no call is named {other}"),
    };
    world.entry(&[signer], &cactus(function), arguments)
}

/// A task in this state, at a time within or past what bounds it there.
fn task_in(state: &str, time: &str) -> World {
    let mut world = network();
    create_task(&mut world, 1, 4 * APT).unwrap();
    let steps: &[&str] = match state {
        "assigned" => &[],
        "delivered" => &["deliver"],
        "disputed" => &["deliver", "accuse"],
        "settled" => &["complete"],
        "refunded" => &["fail"],
        other => panic!("no state is named {other}"),
    };
    for step in steps {
        change(&mut world, step).unwrap_or_else(|status| panic!("{step}: {status}"));
    }
    assert_eq!(state_of_task(&world), state_code(state));
    if time == "late" {
        pass_time_until(&mut world, DEADLINE_SECONDS.max(REVIEW_SECONDS) + 1);
    }
    world
}

#[test]
fn a_task_changes_on_the_chain_as_the_table_says_and_in_no_other_way() {
    let mut rows = 0;
    for row in TASK_STATES.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let words: Vec<&str> = row.split_whitespace().collect();
        let [state, time, call, "->", next] = words[..] else { panic!("unreadable: {row}") };
        let mut world = task_in(state, time);
        let outcome = change(&mut world, call);
        match next {
            "refused" => {
                assert!(outcome.is_err(), "{row}");
                assert_eq!(state_of_task(&world), state_code(state), "{row}");
            }
            next => {
                outcome.unwrap_or_else(|status| panic!("{row}: {status}"));
                assert_eq!(state_of_task(&world), state_code(next), "{row}");
            }
        }
        rows += 1;
    }
    assert_eq!(rows, 5 * 2 * 5, "five states, two times, five calls");
}

#[test]
fn a_case_holds_a_delivered_task_and_its_end_by_time_pays_it() {
    let mut world = task_in("disputed", "late");
    let opened = world.events.iter().find(|e| e.type_tag.to_string().ends_with("CaseOpened"));
    // The variant's number comes before the case's address.
    let case: AccountAddress = aptos_bcs::from_bytes(&opened.unwrap().data[1..33]).unwrap();
    pass_time_until(&mut world, 3 * 86_400 + 1);
    world.entry(&[client()], &cactus("dispute::finalize"), vec![bcs(&case)]).unwrap();
    assert_eq!(state_of_task(&world), state_code("settled"));
}
