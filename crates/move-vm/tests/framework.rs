//! The committed framework runs: coins are minted, moved and counted.

#![allow(clippy::unwrap_used)]

mod support;

use cactus_move_vm::{AccountAddress, CompiledModule, TypeTag};
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
    for bytes in bytecode("../localnet/bytecode/framework") {
        let module = CompiledModule::deserialize(&bytes).unwrap();
        println!("{} {:?}", module.id(), module.aptos_metadata().error_map.len());
        for function in module.functions() {
            println!("  {} {:?} -> {:?}", function.name, function.params, function.returns);
        }
    }
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
