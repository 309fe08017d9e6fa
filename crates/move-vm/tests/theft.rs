//! What a thief would publish: modules that copy, forge, hide or lose coins, or reach into other
//! accounts' stores. None is accepted, each for its own reason.

#![allow(clippy::unwrap_used)]

mod support;

use cactus_move_vm::AccountAddress;
use support::World;
use support::assembler::{
    ADDRESS, Assembler, COPY, DROP, Function, KEY, STORE, T, U64, generic, mutable, number, op::*,
    shared, structure,
};
use support::{bcs, bytecode};

const THIEF: AccountAddress = AccountAddress::small(0xbd);
const OWNER: AccountAddress = AccountAddress::small(0x0e);
const ONE: AccountAddress = AccountAddress::ONE;
/// `0x1::fungible_asset::FungibleAsset`, as its handle in [`module`].
const COIN: u8 = 0;
/// `struct Mine has copy, drop, store, key { n: u64 }`: its handle and its definition.
const MINE: (u8, u8) = (1, 0);

fn world() -> World {
    let mut world = World::default();
    world.publish(ONE, bytecode("../localnet/bytecode/framework")).unwrap();
    world.system("0x1::genesis::initialize", vec![bcs(&4u8)]).unwrap();
    world.system("0x1::genesis::mint", vec![bcs(&OWNER), bcs(&500u64)]).unwrap();
    world
}

/// A module that imports coins, claiming `abilities` for them.
fn module(abilities: u8) -> Assembler {
    let mut module = Assembler::new(THIEF, "thief");
    let assets = module.module(ONE, "fungible_asset");
    assert_eq!(module.struct_handle(assets, "FungibleAsset", abilities, &[]), COIN);
    assert_eq!(module.struct_handle(0, "Mine", COPY | DROP | STORE | KEY, &[]), MINE.0);
    module.define_struct(MINE.0, &[("n", U64.to_vec())]);
    module
}

fn coin() -> Vec<u8> {
    structure(COIN)
}

fn takes(parameters: &[Vec<u8>]) -> Function {
    Function { parameters: parameters.to_vec(), ..Function::default() }
}

fn refused(module: Assembler, code: &str) {
    let mut world = world();
    let before = (world.modules.clone(), world.values.clone());
    let status = world.publish(THIEF, vec![module.finish()]).unwrap_err();
    assert_eq!(status.code_name(), code, "{status}");
    assert!(before == (world.modules, world.values), "{code}: the state changed");
}

/// Refused with the truth about coins for one reason, and with a lie about them for another.
fn refused_either_way(function: &Function, code: &[&[u8]], lie: u8, reason: &str) {
    for (abilities, reason) in [(0, reason), (lie, "TYPE_MISMATCH")] {
        let mut module = module(abilities);
        let code: Vec<Vec<u8>> = code.iter().map(|one| one.to_vec()).collect();
        module.function("steal", function, &code);
        refused(module, reason);
    }
}

#[test]
fn coins_are_not_copied() {
    let two = Function { returns: vec![coin(), coin()], ..takes(&[coin()]) };
    refused_either_way(
        &two,
        &[&[COPY_LOC, 0], &[MOVE_LOC, 0], &[RET]],
        COPY,
        "COPYLOC_WITHOUT_COPY_ABILITY",
    );
    let from_reference = Function { returns: vec![coin()], ..takes(&[shared(&coin())]) };
    refused_either_way(
        &from_reference,
        &[&[MOVE_LOC, 0], &[READ_REF], &[RET]],
        COPY,
        "READREF_WITHOUT_COPY_ABILITY",
    );
}

#[test]
fn coins_are_not_lost() {
    refused_either_way(&takes(&[coin()]), &[&[RET]], DROP, "UNSAFE_RET_UNUSED_VALUES_WITHOUT_DROP");
    refused_either_way(
        &takes(&[coin()]),
        &[&[MOVE_LOC, 0], &[POP], &[RET]],
        DROP,
        "POP_WITHOUT_DROP_ABILITY",
    );
    refused_either_way(
        &takes(&[coin(), mutable(&coin())]),
        &[&[MOVE_LOC, 0], &[MOVE_LOC, 1], &[WRITE_REF], &[RET]],
        DROP,
        "WRITEREF_WITHOUT_DROP_ABILITY",
    );
}

#[test]
fn a_coin_given_away_leaves_no_way_back() {
    let mut module = module(0);
    let merge = takes(&[mutable(&coin()), coin()]);
    let assets = module.module(ONE, "fungible_asset");
    let merge = module.function_handle(assets, "merge", &merge);
    // Merges a coin into itself, through a reference that should have died with the move.
    let code = [vec![MUT_BORROW_LOC, 0], vec![MOVE_LOC, 0], vec![CALL, merge], vec![RET]];
    module.function("double", &takes(&[coin()]), &code);
    refused(module, "MOVELOC_EXISTS_BORROW_ERROR");
}

#[test]
fn coins_are_not_hidden_in_what_can_be_copied_or_kept() {
    // `struct Box<T> has copy, drop, store, key { inner: T }` takes the coin but not the abilities.
    let boxed = |module: &mut Assembler| {
        let handle = module.struct_handle(0, "Box", COPY | DROP | STORE | KEY, &[0]);
        let def = module.define_struct(handle, &[("inner", T.to_vec())]);
        (handle, module.struct_instance(def, &[coin()]))
    };
    let mut copying = module(0);
    let (handle, instance) = boxed(&mut copying);
    let held = generic(handle, &coin());
    let two = Function {
        returns: vec![held.clone(), held.clone()],
        locals: vec![held],
        ..takes(&[coin()])
    };
    let code = [
        vec![MOVE_LOC, 0],
        vec![PACK_GENERIC, instance],
        vec![ST_LOC, 1],
        vec![COPY_LOC, 1],
        vec![MOVE_LOC, 1],
        vec![RET],
    ];
    copying.function("double", &two, &code);
    refused(copying, "COPYLOC_WITHOUT_COPY_ABILITY");
    // A field of a resource must have `store`.
    let mut keeping = module(0);
    let handle = keeping.struct_handle(0, "Keep", KEY, &[]);
    keeping.define_struct(handle, &[("coin", coin())]);
    refused(keeping, "FIELD_MISSING_TYPE_ABILITY");
}

#[test]
fn coins_and_stores_are_defined_by_their_module_only() {
    let mut forging = module(0);
    forging.define_struct(COIN, &[("amount", U64.to_vec())]);
    let code = [number(1), vec![PACK, 1], vec![RET]];
    let forge = Function { returns: vec![coin()], ..Function::default() };
    forging.function("forge", &forge, &code);
    refused(forging, "INVALID_MODULE_HANDLE");

    let mut reaching = module(0);
    let assets = reaching.module(ONE, "fungible_asset");
    let store = reaching.struct_handle(assets, "FungibleStore", KEY, &[]);
    let def = reaching.define_struct(store, &[("balance", U64.to_vec())]);
    let reach = Function { acquires: vec![def], ..takes(&[ADDRESS.to_vec()]) };
    let code = [vec![MOVE_LOC, 0], vec![MUT_BORROW_GLOBAL, def], vec![POP], vec![RET]];
    reaching.function("reach", &reach, &code);
    refused(reaching, "INVALID_MODULE_HANDLE");
}

#[test]
fn a_value_of_another_type_is_no_coin() {
    let mut module = module(0);
    let code = [number(9), vec![PACK, MINE.1], vec![RET]];
    let forge = Function { returns: vec![coin()], ..Function::default() };
    module.function("forge", &forge, &code);
    refused(module, "TYPE_MISMATCH");
}

#[test]
fn forgers_tools_are_for_the_framework() {
    // `0x1::from_bcs::from_bytes<FungibleAsset>` and `0x1::account::create_signer`.
    let mut decoding = module(0);
    let from_bcs = decoding.module(ONE, "from_bcs");
    let bytes = vec![0xa, 2];
    let handle = decoding.function_handle(
        from_bcs,
        "from_bytes",
        &Function {
            returns: vec![T.to_vec()],
            type_parameters: vec![0],
            ..takes(std::slice::from_ref(&bytes))
        },
    );
    let decode = decoding.function_instance(handle, &[coin()]);
    let forge = Function { returns: vec![coin()], ..takes(&[bytes]) };
    let code = [vec![MOVE_LOC, 0], vec![CALL_GENERIC, decode], vec![RET]];
    decoding.function("forge", &forge, &code);
    refused(decoding, "FUNCTION_NOT_VISIBLE");

    let mut signing = module(0);
    let account = signing.module(ONE, "account");
    let sign = Function { returns: vec![vec![0xc]], ..takes(&[ADDRESS.to_vec()]) };
    let handle = signing.function_handle(account, "create_signer", &sign);
    signing.function("sign", &sign, &[vec![MOVE_LOC, 0], vec![CALL, handle], vec![RET]]);
    refused(signing, "FUNCTION_NOT_VISIBLE");
}

#[test]
fn an_honest_module_that_handles_coins_is_welcome() {
    let mut module = module(0);
    let assets = module.module(ONE, "fungible_asset");
    let merge = module.function_handle(assets, "merge", &takes(&[mutable(&coin()), coin()]));
    let both = Function { returns: vec![coin()], ..takes(&[coin(), coin()]) };
    let code = [
        vec![MUT_BORROW_LOC, 0],
        vec![MOVE_LOC, 1],
        vec![CALL, merge],
        vec![MOVE_LOC, 0],
        vec![RET],
    ];
    module.function("join", &both, &code);
    world().publish(THIEF, vec![module.finish()]).unwrap();
}
