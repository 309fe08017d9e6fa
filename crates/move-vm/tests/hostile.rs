//! Hostile bytecode is refused with an error, and what is not refused runs within its bounds.

#![allow(clippy::unwrap_used)]

mod support;

use cactus_move_vm::{AccountAddress, CompiledModule};
use proptest::prelude::*;
use support::{World, bcs, bytecode};

const AT: AccountAddress = AccountAddress::small(0xf1);

fn framework() -> World {
    let mut world = World::default();
    world.publish(AccountAddress::ONE, bytecode("../localnet/bytecode/framework")).unwrap();
    world
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/{name}.mv", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The fixture with the first occurrence of a byte run replaced by one of the same length.
fn patched(name: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = fixture(name);
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes[at..at + from.len()].copy_from_slice(to);
    bytes
}

#[test]
fn unsafe_code_is_refused_by_name() {
    // `sub64`: MoveLoc 0, MoveLoc 1, Sub, Ret. `narrow`: MoveLoc 0, CastU8, Ret.
    let (sub, narrow) = ([0x0b, 0, 0x0b, 1, 0x17, 0x02], [0x0b, 0, 0x33, 0x02]);
    let cases: Vec<(&[u8], &[u8], &str)> = vec![
        (&narrow, &[0x0b, 0, 0x28, 0x02], "TYPE_MISMATCH"),
        (&narrow, &[0x0b, 0, 0x33, 0x28], "INVALID_FALL_THROUGH"),
        (&narrow, &[0x0b, 0, 0xff, 0x02], "UNKNOWN_OPCODE"),
        (&narrow, &[0x0b, 1, 0x33, 0x02], "INDEX_OUT_OF_BOUNDS"),
        (&narrow, &[0x0a, 0, 0x33, 0x20], "INVALID_FALL_THROUGH"),
        (&narrow, &[0x0e, 0, 0x33, 0x02], "INTEGER_OP_TYPE_MISMATCH_ERROR"),
        (&sub, &[0x0b, 0, 0x0b, 0, 0x17, 0x02], "MOVELOC_UNAVAILABLE_ERROR"),
        (&sub, &[0x0b, 0, 0x0c, 1, 0x17, 0x02], "NEGATIVE_STACK_SIZE_WITHIN_BLOCK"),
        (&sub, &[0x0b, 0, 0x0b, 1, 0x28, 0x02], "POSITIVE_STACK_SIZE_AT_BLOCK_END"),
        (&sub, &[0x0b, 0, 0x0b, 1, 0x1f, 0x02], "TYPE_MISMATCH"),
        (&sub, &[0x0b, 0, 0x0b, 1, 0x2f, 0x02], "TYPE_MISMATCH"),
        (&sub, &[0x0b, 0, 0x0b, 1, 0x15, 0x02], "TYPE_MISMATCH"),
        (&sub, &[0x0b, 0, 0x0b, 1, 0x5a, 0x02], "FEATURE_NOT_ENABLED"),
    ];
    let mut world = framework();
    for (from, to, code) in cases {
        let status = world.publish(AT, vec![patched("arith", from, to)]).unwrap_err();
        assert_eq!(status.code_name(), code, "{to:x?}: {status}");
    }
    world.publish(AT, vec![fixture("arith")]).unwrap();
}

#[test]
fn bundles_are_published_whole_or_not_at_all() {
    let mut world = framework();
    let broken = patched("lists", &[0xa1, 0x1c], &[0, 0]);
    world.publish(AT, vec![fixture("arith"), broken]).unwrap_err();
    assert!(world.modules.keys().all(|id| id.address != AT));
    let elsewhere = world.publish(AccountAddress::small(0xf2), vec![fixture("arith")]).unwrap_err();
    assert_eq!(elsewhere.code_name(), "MODULE_ADDRESS_DOES_NOT_MATCH_SENDER");
    let twice = world.publish(AT, vec![fixture("arith"), fixture("arith")]).unwrap_err();
    assert_eq!(twice.code_name(), "DUPLICATE_MODULE_NAME");
}

#[test]
fn imports_must_exist() {
    let mut world = World::default();
    let status = world.publish(AT, vec![fixture("chain")]).unwrap_err();
    assert_eq!(status.code_name(), "LINKER_ERROR");
}

#[test]
fn an_upgrade_must_keep_what_others_rely_on() {
    let mut world = framework();
    world.publish(AT, vec![fixture("arith"), fixture("shapes")]).unwrap();
    // Another name for a public function takes the old one away.
    let renamed = patched("arith", b"sub64", b"sub65");
    let status = world.publish(AT, vec![renamed]).unwrap_err();
    assert_eq!(status.code_name(), "BACKWARD_INCOMPATIBLE_MODULE_UPDATE");
    let renamed = patched("shapes", b"width", b"depth");
    let status = world.publish(AT, vec![renamed]).unwrap_err();
    assert_eq!(status.code_name(), "BACKWARD_INCOMPATIBLE_MODULE_UPDATE");
}

#[test]
fn an_upgrade_takes_effect_at_once() {
    let mut world = framework();
    world.publish(AT, vec![fixture("arith")]).unwrap();
    let sub = |world: &World| {
        world.call(&format!("{AT}::arith::sub64"), vec![], vec![bcs(&7u64), bcs(&3u64)]).unwrap()
    };
    assert_eq!(sub(&world)[0].1, bcs(&4u64));
    // Sub becomes Add.
    let changed = patched("arith", &[0x0b, 0, 0x0b, 1, 0x17, 2], &[0x0b, 0, 0x0b, 1, 0x16, 2]);
    world.publish(AT, vec![changed]).unwrap();
    assert_eq!(sub(&world)[0].1, bcs(&10u64));
}

/// Publishes bytes and calls whatever they offer with little gas. Only panics matter.
fn exercise(world: &World, bytes: &[u8]) {
    let mut session = world.vm.session(world, world.context(), 10_000);
    let Ok(module) = CompiledModule::deserialize(bytes) else { return };
    if session.publish(module.id().address, vec![bytes.to_vec()]).is_err() {
        return;
    }
    for function in module.functions() {
        for argument in [vec![], vec![0; 8], vec![1; 32]] {
            let count = function.params.len();
            let mut session = world.vm.session(world, world.context(), 40);
            if session.publish(module.id().address, vec![bytes.to_vec()]).is_err() {
                continue;
            }
            let types = vec!["u64".parse().unwrap(); function.type_params.len()];
            let args = vec![argument.clone(); count];
            let _ = session.call(module.id(), &function.name, types.clone(), args.clone());
            let args = args.into_iter().skip(1).collect();
            let _ = session.call_with_signers(module.id(), &function.name, types, args, &[AT]);
            let _ = session.finish();
        }
    }
}

const NAMES: [&str; 6] = ["arith", "places", "lists", "generics", "shapes", "chain"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = CompiledModule::deserialize(&bytes);
        let mut headed = vec![0xa1, 0x1c, 0xeb, 0x0b, 7, 0, 0, 0x0a];
        headed.extend(bytes);
        let _ = CompiledModule::deserialize(&headed);
    }

    #[test]
    fn cut_modules_never_panic(name in 0usize..6, cut in any::<prop::sample::Index>()) {
        let bytes = fixture(NAMES[name]);
        let kept = cut.index(bytes.len());
        prop_assert!(CompiledModule::deserialize(&bytes[..kept]).is_err());
    }
}

#[test]
fn mutated_modules_never_panic() {
    let world = framework();
    // PROPTEST_CASES asks for more.
    let cases = ProptestConfig::default().cases.max(1_500);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    let mutation = (any::<prop::sample::Index>(), any::<u8>(), any::<bool>());
    let strategy = (0usize..6, prop::collection::vec(mutation, 1..4));
    runner
        .run(&strategy, |(name, mutations)| {
            let mut bytes = fixture(NAMES[name]);
            for (at, value, small) in mutations {
                let at = at.index(bytes.len());
                bytes[at] = if small { bytes[at].wrapping_add(value % 5) } else { value };
            }
            exercise(&world, &bytes);
            Ok(())
        })
        .unwrap();
}

#[test]
fn friend_functions_are_for_friends() {
    let mut world = framework();
    let stranger = patched("friends", b"guest", b"quest");
    let status = world.publish(AT, vec![stranger, fixture("guest")]).unwrap_err();
    assert_eq!(status.code_name(), "FUNCTION_NOT_VISIBLE");
    world.publish(AT, vec![fixture("guest"), fixture("friends")]).unwrap();
    let asked = world.call(&format!("{AT}::guest::ask"), vec![], vec![]).unwrap();
    assert_eq!(asked[0].1, bcs(&7u64));
}

#[test]
fn natives_are_for_the_framework() {
    let mut world = World::default();
    let hash = std::fs::read(format!(
        "{}/../localnet/bytecode/framework/hash.mv",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    // The same module at an address of 32 bytes that is not the framework's.
    let mut address = [0u8; 32];
    address[31] = 1;
    let at = hash.windows(32).position(|window| window == address).unwrap();
    let mut moved = hash;
    moved[at] = 0xee;
    let mut owner = address;
    owner[0] = 0xee;
    let status = world.publish(AccountAddress(owner), vec![moved]).unwrap_err();
    assert_eq!(status.code_name(), "USER_DEFINED_NATIVE_NOT_ALLOWED");
}

#[test]
fn older_bytecode_runs_as_well() {
    let mut world = World::default();
    world.publish(AT, vec![fixture("v6/arith")]).unwrap();
    let result = world.call(&format!("{AT}::arith::sub64"), vec![], vec![bcs(&7u64), bcs(&3u64)]);
    assert_eq!(result.unwrap()[0].1, bcs(&4u64));
}
