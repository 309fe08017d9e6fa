//! The committed framework runs: coins are minted, moved and counted.

#![allow(clippy::unwrap_used)]

mod support;

use cactus_move_vm::{AccountAddress, CompiledModule, StateKey, TypeTag};
use support::{World, bcs, bytecode};

#[test]
fn the_framework_publishes() {
    let mut world = World::default();
    let modules = bytecode("../localnet/bytecode/framework");
    assert!(modules.len() > 20);
    world.publish(AccountAddress::ONE, modules).unwrap();
}

#[test]
fn the_faces_of_the_framework_are_readable() {
    let path = format!("{}/../localnet/bytecode/framework/coin.mv", env!("CARGO_MANIFEST_DIR"));
    let module = CompiledModule::deserialize(&std::fs::read(path).unwrap()).unwrap();
    let balance = module.function("balance").unwrap();
    assert_eq!(balance.params[0].to_string(), "address");
    assert_eq!(balance.type_params.len(), 1);
    assert!(module.aptos_metadata().is_view("balance"));
    assert!(module.dependencies().iter().any(|id| id.name == "primary_fungible_store"));
}

const ALICE: AccountAddress = AccountAddress::small(0xa1);
const BOB: AccountAddress = AccountAddress::small(0xb0);

fn chain() -> World {
    let mut world = World::default();
    world.publish(AccountAddress::ONE, bytecode("../localnet/bytecode/framework")).unwrap();
    world.system("0x1::genesis::initialize", vec![bcs(&4u8)]).unwrap();
    world
}

fn balance(world: &World, owner: AccountAddress) -> u64 {
    let coin = "0x1::aptos_coin::AptosCoin".parse().unwrap();
    let results = world.call("0x1::coin::balance", vec![coin], vec![bcs(&owner)]).unwrap();
    assert_eq!(results[0].0, TypeTag::U64);
    aptos_bcs::from_bytes(&results[0].1).unwrap()
}

#[test]
fn minted_coins_move_and_none_is_lost() {
    let mut world = chain();
    world.system("0x1::genesis::mint", vec![bcs(&ALICE), bcs(&1_000u64)]).unwrap();
    let effects = world
        .entry(&[ALICE], "0x1::aptos_account::transfer", vec![bcs(&BOB), bcs(&300u64)])
        .unwrap();
    assert_eq!((balance(&world, ALICE), balance(&world, BOB)), (700, 300));
    assert!(effects.gas_used > 0 && effects.gas_used < 1_000, "{}", effects.gas_used);
    let types: Vec<String> =
        effects.events.iter().map(|event| event.type_tag.to_string()).collect();
    assert!(types.contains(&"0x1::fungible_asset::Withdraw".to_owned()), "{types:?}");
}

#[test]
fn an_overdraft_aborts_and_leaves_no_trace() {
    let mut world = chain();
    world.system("0x1::genesis::mint", vec![bcs(&ALICE), bcs(&10u64)]).unwrap();
    let status = world
        .entry(&[ALICE], "0x1::aptos_account::transfer", vec![bcs(&BOB), bcs(&11u64)])
        .unwrap_err();
    assert!(status.to_string().starts_with("Move abort in 0x1::fungible_asset: "), "{status}");
    assert_eq!((balance(&world, ALICE), balance(&world, BOB)), (10, 0));
}

#[test]
fn objects_in_arguments_must_exist() {
    let mut world = chain();
    world.system("0x1::genesis::mint", vec![bcs(&ALICE), bcs(&10u64)]).unwrap();
    let mut transfer = |object: AccountAddress| {
        let args = vec![bcs(&object), bcs(&BOB), bcs(&4u64)];
        world.entry(&[ALICE], "0x1::aptos_account::transfer_fungible_assets", args).map(|_| ())
    };
    transfer(AccountAddress::small(10)).unwrap();
    let status = transfer(AccountAddress::small(11)).unwrap_err();
    assert!(status.to_string().starts_with("Move abort in 0x1::object: "), "{status}");
}

/// A package's metadata as `0x1::code` reads it, with one module.
fn metadata(module: &str) -> Vec<u8> {
    let no_modules: Vec<u8> = Vec::new();
    let module = (module, Vec::<u8>::new(), Vec::<u8>::new(), None::<u8>);
    let digest = "";
    bcs(&("fixtures", 1u8, 0u64, digest, Vec::<u8>::new(), vec![module], no_modules, None::<u8>))
}

#[test]
fn a_package_publishes_through_the_framework() {
    let owner = AccountAddress::small(0xf1);
    let code = std::fs::read(format!("{}/tests/fixtures/arith.mv", env!("CARGO_MANIFEST_DIR")));
    let code = bcs(&vec![code.unwrap()]);
    let mut world = chain();
    let publish = "0x1::code::publish_package_txn";
    let wrong = world.entry(&[owner], publish, vec![bcs(&metadata("other")), code.clone()]);
    assert_eq!(wrong.unwrap_err().code_name(), "CONSTRAINT_NOT_SATISFIED");
    let effects = world.entry(&[owner], publish, vec![bcs(&metadata("arith")), code]).unwrap();
    assert!(effects.writes.keys().any(|key| matches!(key, StateKey::Module(_))));
    let two = vec![bcs(&2u8), bcs(&3u8)];
    let sum = world.call(&format!("{owner}::arith::add8"), vec![], two).unwrap();
    assert_eq!(sum, [(TypeTag::U8, vec![5])]);
}
