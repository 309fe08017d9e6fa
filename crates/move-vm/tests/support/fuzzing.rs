//! What the fuzz targets do with their input, so that the tests can replay it: parse, check,
//! execute. Panics on a finding: a panic inside the machine, or a value of the wrong kind in code
//! that was accepted.

#![allow(dead_code, missing_docs)]

use std::cell::RefCell;

use cactus_move_vm::{AccountAddress, CompiledModule, FunctionInfo, ModuleId, VmStatus};

use super::generating::generate;
use super::{World, bytecode};

/// Who signs, and what an argument of 32 bytes says if it is an address.
const SOMEONE: AccountAddress = AccountAddress([1; 32]);
/// Enough for some thousand instructions.
const GAS: u64 = 40;
/// Enough to publish any module that fits the input.
const PUBLISHING_GAS: u64 = 10_000;
/// The status of a value that is not what the check promised.
const UNSOUND: &str = "UNKNOWN_INVARIANT_VIOLATION_ERROR";

thread_local! {
    static FRAMEWORK: RefCell<World> = {
        let mut world = World::default();
        let folder = match env!("CARGO_MANIFEST_DIR").ends_with("fuzz") {
            true => "../../localnet/bytecode/framework",
            false => "../localnet/bytecode/framework",
        };
        world.publish(AccountAddress::ONE, bytecode(folder)).unwrap();
        RefCell::new(world)
    };
}

/// Parses, and prints what parsed.
pub fn parse(data: &[u8]) {
    let Ok(module) = CompiledModule::deserialize(data) else { return };
    let faces = (module.functions(), module.structs(), module.dependencies(), module.friends());
    let _ = (format!("{faces:?}"), module.aptos_metadata());
}

/// Checks a whole module of the input's bytes.
pub fn check(data: &[u8]) {
    let Ok(module) = CompiledModule::deserialize(data) else { return };
    FRAMEWORK.with_borrow(|world| {
        let mut session = world.vm.session(world, world.context(), GAS);
        let _ = session.publish(module.id().address, vec![data.to_vec()]);
    });
}

/// Executes a module whose functions follow the input, or one of the input's own bytes.
pub fn execute(data: &[u8]) {
    if data.starts_with(&[0xa1, 0x1c]) {
        run(data)
    } else {
        run(&generate(data))
    };
}

/// Publishes a module, calls its entry functions that take a signer and nothing else, and then
/// each function on top of what those left. Returns whether it was accepted.
pub fn run(bytes: &[u8]) -> bool {
    let Ok(module) = CompiledModule::deserialize(bytes) else { return false };
    let id = module.id();
    FRAMEWORK.with_borrow_mut(|world| {
        let published = {
            let mut session = world.vm.session(world, world.context(), PUBLISHING_GAS);
            session.publish(id.address, vec![bytes.to_vec()])
        };
        if published.is_err() {
            sound(id, published.map(drop));
            return false;
        }
        let before = world.modules.insert(id.clone(), bytes.into());
        call_all(world, &module);
        world.values.clear();
        match before {
            Some(before) => world.modules.insert(id.clone(), before),
            None => world.modules.remove(id),
        };
        true
    })
}

fn call_all(world: &mut World, module: &CompiledModule) {
    let (id, functions) = (module.id(), module.functions());
    let (set_ups, others): (Vec<_>, Vec<_>) = functions.iter().partition(|one| is_set_up(one));
    for function in set_ups {
        let done = {
            let mut session = world.vm.session(world, world.context(), GAS);
            let done = session.execute_entry(id, &function.name, vec![], vec![], &[SOMEONE]);
            done.and_then(|()| session.finish())
        };
        match done {
            Ok(effects) => world.apply(effects),
            Err(status) => sound(id, Err(status)),
        }
    }
    for function in others {
        for (types, argument) in cases(function) {
            let mut session = world.vm.session(world, world.context(), GAS);
            let args = vec![argument.to_vec(); function.params.len()];
            let types = vec![types.parse().unwrap(); function.type_params.len()];
            let called = session.call(id, &function.name, types, args);
            sound(id, called.map(drop));
            sound(id, session.finish().map(drop));
        }
    }
}

/// The BCS of an empty list or nothing, of a number, of two numbers and of an address.
const ARGUMENTS: [&[u8]; 4] = [&[], &[0; 8], &[1; 16], &[1; 32]];

/// Type arguments and arguments to call a function with, as far as it has any.
fn cases(function: &FunctionInfo) -> Vec<(&'static str, &'static [u8])> {
    let types = if function.type_params.is_empty() { &["u64"][..] } else { &["u64", "bool"] };
    let arguments = if function.params.is_empty() { &ARGUMENTS[..1] } else { &ARGUMENTS };
    let of_type = |ty| arguments.iter().map(move |argument| (ty, *argument));
    types.iter().copied().flat_map(of_type).collect()
}

/// Whether a signer alone can call it.
fn is_set_up(function: &FunctionInfo) -> bool {
    let parameters: Vec<String> = function.params.iter().map(ToString::to_string).collect();
    function.is_entry && function.type_params.is_empty() && parameters == ["&signer"]
}

fn sound(module: &ModuleId, result: Result<(), VmStatus>) {
    if let Err(status) = result {
        assert_ne!(status.code_name(), UNSOUND, "{module}: {status}");
    }
}
