//! Each feature of the language runs as the language says: compiled fixtures, called with BCS.

#![allow(clippy::unwrap_used)]

mod support;

use cactus_move_vm::{AccountAddress, AnnotatedValue, TypeTag, U256, VmStatus};
use serde::Serialize;
use serde::de::DeserializeOwned;
use support::{World, bcs, bytecode, split};

const AT: AccountAddress = AccountAddress::small(0xf1);
const ALICE: AccountAddress = AccountAddress::small(0xa1);

fn world() -> World {
    let mut world = World::default();
    world.publish(AccountAddress::ONE, bytecode("../localnet/bytecode/framework")).unwrap();
    world.publish(AT, bytecode("tests/fixtures")).unwrap();
    world
}

fn run<T: DeserializeOwned>(
    world: &World,
    function: &str,
    args: Vec<Vec<u8>>,
) -> Result<T, VmStatus> {
    let results = world.call(&format!("{AT}::{function}"), vec![], args)?;
    let bytes: Vec<u8> = results.into_iter().flat_map(|(_, bytes)| bytes).collect();
    Ok(aptos_bcs::from_bytes(&bytes).unwrap())
}

/// Calls the function and expects the value.
fn check<T>(function: &str, args: Vec<Vec<u8>>, expected: T)
where
    T: DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let value: T =
        run(&world(), function, args).unwrap_or_else(|status| panic!("{function}: {status}"));
    assert_eq!(value, expected, "{function}");
}

/// Calls the function and expects an error of this name.
fn check_fails(function: &str, args: Vec<Vec<u8>>, code: &str) {
    let results = world().call(&format!("{AT}::{function}"), vec![], args);
    assert_eq!(results.unwrap_err().code_name(), code, "{function}");
}

fn two<T: Serialize>(left: T, right: T) -> Vec<Vec<u8>> {
    vec![bcs(&left), bcs(&right)]
}

fn word(value: U256) -> [u8; 32] {
    value.to_le_bytes()
}

#[test]
fn integers_compute() {
    check("arith::mixed", two(10u64, 5), 25u64);
    check("arith::bits", two(0b1100u64, 0b1010), 6u64);
    check("arith::add8", two(200u8, 55), 255u8);
    check("arith::mul128", two(1u128 << 64, 1 << 63), 1u128 << 127);
    check(
        "arith::mul256",
        two(word(U256::from(3u8)), word(U256::from(5u8))),
        word(U256::from(15u8)),
    );
    check("arith::shl64", vec![bcs(&3u64), bcs(&63u8)], 1u64 << 63);
    check("arith::shr256", vec![bcs(&word(U256::MAX)), bcs(&255u8)], word(U256::ONE));
    check("arith::narrow", vec![bcs(&255u64)], 255u8);
    check("arith::widen", vec![bcs(&7u8)], word(U256::from(7u8)));
    check("arith::compare", two(1u128, 2), vec![true, true, false, true, false, false]);
    check("arith::logic", two(true, false), vec![false, true, false]);
    let constants = (b"abc".to_vec(), vec![1u64, 2, 3], AT, word(U256::MAX));
    check("arith::constants", vec![], constants);
}

#[test]
fn what_does_not_fit_is_an_arithmetic_error() {
    for (function, args) in [
        ("arith::add8", two(200u8, 56)),
        ("arith::add16", two(u16::MAX, 1)),
        ("arith::add32", two(u32::MAX, 1)),
        ("arith::sub64", two(1u64, 2)),
        ("arith::mul128", two(1u128 << 64, 1 << 64)),
        ("arith::mul256", two(word(U256::MAX), word(U256::from(2u8)))),
        ("arith::div64", two(1u64, 0)),
        ("arith::rem64", two(1u64, 0)),
        ("arith::shl64", vec![bcs(&1u64), bcs(&64u8)]),
        ("arith::narrow", vec![bcs(&256u64)]),
        ("arith::u256_to_u128", vec![bcs(&word(U256::MAX))]),
    ] {
        check_fails(function, args, "ARITHMETIC_ERROR");
    }
}

#[test]
fn aborts_carry_code_and_place() {
    let world = world();
    let status = world.call(&format!("{AT}::arith::fail"), vec![], vec![bcs(&77u64)]).unwrap_err();
    let (module, function) = split(&format!("{AT}::arith::fail"));
    assert_eq!(status, VmStatus::MoveAbort { module, function, code: 77, reason: None });
    assert_eq!(status.vm_status(), "Move abort in 0xf1::arith: 0x4d");
    check("arith::check", vec![bcs(&true)], ());
    check_fails("arith::check", vec![bcs(&false)], "ABORTED");
    let status = world.call(&format!("{AT}::arith::add8"), vec![], two(255u8, 1)).unwrap_err();
    assert_eq!(status.vm_status(), "Execution failed in 0xf1::arith::add8 at code offset 2");
}

#[test]
fn references_reach_locals_fields_and_elements() {
    check("places::local", vec![], 7u64);
    check("places::fields", vec![], 23u64);
    check("places::replace", vec![], 5u64);
    check("places::cursor", vec![bcs(&5u64)], 10u64);
}

#[test]
fn resources_live_under_their_account() {
    let mut world = world();
    let entry = |world: &mut World, function: &str, args| {
        world.entry(&[ALICE], &format!("{AT}::{function}"), args)
    };
    let has = |world: &World| run::<bool>(world, "places::has", vec![bcs(&ALICE)]).unwrap();
    let read = |world: &World| run::<u64>(world, "places::read", vec![bcs(&ALICE)]);
    assert!(!has(&world));
    assert_eq!(read(&world).unwrap_err().code_name(), "MISSING_DATA");
    entry(&mut world, "places::create", vec![bcs(&5u64)]).unwrap();
    entry(&mut world, "places::increment", vec![]).unwrap();
    assert_eq!(read(&world).unwrap(), 6);
    let again = entry(&mut world, "places::create", vec![bcs(&5u64)]).unwrap_err();
    assert_eq!(again.code_name(), "RESOURCE_ALREADY_EXISTS");
    let looked = entry(&mut world, "places::look", vec![]).unwrap();
    assert!(looked.writes.is_empty(), "looking is not writing");
    let removed = entry(&mut world, "places::remove", vec![]).unwrap();
    assert_eq!(removed.writes.into_values().collect::<Vec<_>>(), [None]);
    assert!(!has(&world));
}

#[test]
fn vectors_hold_bytes_numbers_and_structs() {
    check("lists::bytes", vec![], vec![9u8, 3, 2]);
    check("lists::numbers", vec![bcs(&4u64)], 3_004u64);
    check("lists::items", vec![], 105u64);
    check("lists::nested", vec![], vec![b"a".to_vec(), b"bc".to_vec()]);
    check("lists::at", vec![bcs(&1u64)], b'b');
    check("lists::contains", vec![bcs(&b"y".to_vec())], true);
    check_fails("lists::at", vec![bcs(&3u64)], "VECTOR_OPERATION_ERROR");
    check_fails("lists::at", vec![bcs(&u64::MAX)], "VECTOR_OPERATION_ERROR");
    check_fails("lists::pop_empty", vec![], "VECTOR_OPERATION_ERROR");
}

#[test]
fn generic_code_runs_for_each_type() {
    let mut world = world();
    let call = |world: &World, function: &str, types: &[&str], args| {
        let types = types.iter().map(|tag| tag.parse().unwrap()).collect();
        let results = world.call(&format!("{AT}::generics::{function}"), types, args).unwrap();
        results.into_iter().flat_map(|(_, bytes)| bytes).collect::<Vec<u8>>()
    };
    assert_eq!(call(&world, "swap", &["u8", "bool"], vec![bcs(&7u8), bcs(&true)]), [1, 7]);
    assert_eq!(call(&world, "box_of", &["vector<u8>"], vec![bcs(&b"z".to_vec())]), [1, b'z']);
    assert_eq!(call(&world, "singleton", &["u8"], vec![bcs(&3u8)]), [1, 3]);
    assert_eq!(call(&world, "bytes_of", &["u16"], vec![bcs(&258u16)]), [2, 2, 1]);
    let name = call(&world, "name", &["vector<address>"], vec![]);
    assert_eq!(
        aptos_bcs::from_bytes::<String>(&name).unwrap(),
        "0xf1::generics::Box<vector<address>>"
    );
    world.entry(&[ALICE], &format!("{AT}::generics::store_pair"), vec![]).unwrap();
    for (tag, there) in [("u64", 1), ("vector<u8>", 1), ("u8", 0)] {
        assert_eq!(call(&world, "stored", &[tag], vec![bcs(&ALICE)]), [there], "{tag}");
    }
    assert_eq!(call(&world, "stored_bytes", &[], vec![bcs(&ALICE)]), [3, b't', b'w', b'o']);
    let nested = world.call(&format!("{AT}::generics::nest"), vec![], vec![bcs(&3u8)]).unwrap();
    assert_eq!(nested[0].0.to_string(), format!("{AT}::generics::Box<{AT}::generics::Box<u8>>"));
}

#[test]
fn type_arguments_are_counted_constrained_and_bounded() {
    let world = world();
    let call = |function: &str, types: Vec<TypeTag>, args| {
        world.call(&format!("{AT}::generics::{function}"), types, args).unwrap_err().code_name()
    };
    assert_eq!(call("name", vec![], vec![]), "NUMBER_OF_TYPE_ARGUMENTS_MISMATCH");
    assert_eq!(
        call("stored", vec![TypeTag::Signer], vec![bcs(&ALICE)]),
        "CONSTRAINT_NOT_SATISFIED"
    );
    let mut deep = TypeTag::U8;
    for _ in 0..40 {
        deep = TypeTag::Vector(Box::new(deep));
    }
    assert_eq!(call("name", vec![deep], vec![]), "TYPE_TAG_LIMIT_EXCEEDED");
    let missing = format!("{AT}::generics::Absent").parse().unwrap();
    assert_eq!(call("name", vec![missing], vec![]), "TYPE_RESOLUTION_FAILURE");
}

#[test]
fn enums_match_and_refuse_other_variants() {
    check("shapes::areas", vec![], vec![0u64, 12, 12]);
    check("shapes::common", vec![bcs(&false)], 41u64);
    check("shapes::common", vec![bcs(&true)], 42u64);
    check("shapes::maybes", vec![], 15u64);
    check_fails("shapes::radius_of_point", vec![], "STRUCT_VARIANT_MISMATCH");
    check_fails("shapes::take_point", vec![], "STRUCT_VARIANT_MISMATCH");
    let mut world = world();
    world.entry(&[ALICE], &format!("{AT}::shapes::keep"), vec![]).unwrap();
    world.entry(&[], &format!("{AT}::shapes::widen"), vec![bcs(&ALICE)]).unwrap();
    assert_eq!(run::<u64>(&world, "shapes::kept_area", vec![bcs(&ALICE)]).unwrap(), 16);
}

#[test]
fn stored_values_show_their_names() {
    let world = world();
    let (tag, bytes) =
        world.call(&format!("{AT}::shapes::rect"), vec![], vec![]).unwrap().remove(0);
    let shown = world.vm.annotate(&tag, &bytes, &world).unwrap();
    let AnnotatedValue::Enum { variant, fields, .. } = shown else { panic!("an enum") };
    assert_eq!(variant, "Rect");
    assert_eq!(fields[0], ("width".to_owned(), AnnotatedValue::U64(3)));
    assert_eq!(fields[2], ("name".to_owned(), AnnotatedValue::Bytes(b"r".to_vec())));
    assert!(world.vm.annotate(&tag, &bytes[1..], &world).is_err());
    assert!(world.vm.annotate(&tag, &[9], &world).is_err());
}

#[test]
fn tables_keep_items_apart_and_events_tell() {
    let mut world = world();
    let write = |world: &mut World, page: u64, text: &str| {
        world.entry(&[ALICE], &format!("{AT}::chain::write"), vec![bcs(&page), bcs(&text)])
    };
    let effects = write(&mut world, 1, "one").unwrap();
    assert_eq!(effects.events.len(), 1);
    assert_eq!(effects.events[0].type_tag.to_string(), format!("{AT}::chain::Happened"));
    assert_eq!(effects.events[0].data, bcs(&(1u64, "one")));
    assert_eq!(effects.writes.len(), 2, "two items, and not the book itself");
    write(&mut world, 2, "two").unwrap();
    assert_eq!(run::<String>(&world, "chain::page", vec![bcs(&2u64)]).unwrap(), "two");
    assert_eq!(run::<u64>(&world, "chain::count", vec![]).unwrap(), 2);
    assert_eq!(
        write(&mut world, 2, "x").unwrap_err().to_string(),
        "Move abort in 0x1::table: 0x6401"
    );
    world.entry(&[ALICE], &format!("{AT}::chain::tear"), vec![bcs(&2u64)]).unwrap();
    assert!(!run::<bool>(&world, "chain::has_page", vec![bcs(&2u64)]).unwrap());
    let gone = run::<String>(&world, "chain::page", vec![bcs(&2u64)]).unwrap_err();
    assert_eq!(gone.to_string(), "Move abort in 0x1::table: 0x6501");
}

#[test]
fn natives_agree_with_their_definitions() {
    use sha3::Digest;
    check("chain::sha3", vec![bcs(&b"abc".to_vec())], sha3::Sha3_256::digest(b"abc").to_vec());
    check("chain::sha2", vec![bcs(&b"abc".to_vec())], sha2::Sha256::digest(b"abc").to_vec());
    check("chain::text", vec![], (6u64, "hello".to_owned(), true));
    check("chain::own_name", vec![], "0xf1::chain::Happened".to_owned());
    let (one, other): (AccountAddress, AccountAddress) =
        run(&world(), "chain::unique", vec![]).unwrap();
    assert_ne!(one, other);
}

#[test]
fn an_aborted_transaction_leaves_nothing() {
    let mut world = world();
    let before = world.values.clone();
    let function = format!("{AT}::chain::emit_then_fail");
    world.entry(&[ALICE], &function, vec![]).unwrap_err();
    assert!(world.events.is_empty());
    assert_eq!(world.values, before);
}

#[test]
fn depth_gas_and_memory_end_what_would_not_end() {
    let world = world();
    check("chain::deep", vec![bcs(&1_000u64)], 1_000u64);
    check_fails("chain::deep", vec![bcs(&2_000u64)], "CALL_STACK_OVERFLOW");
    for (function, gas) in [("chain::spin", 10), ("lists::forever", 10), ("lists::doubling", 10)] {
        let (module, name) = split(&format!("{AT}::{function}"));
        let mut session = world.vm.session(&world, world.context(), gas);
        let status = session.call(&module, &name, vec![], vec![]).unwrap_err();
        assert_eq!(status, VmStatus::OutOfGas, "{function}");
        assert_eq!(session.gas_used(), gas);
    }
    for function in ["lists::forever", "lists::doubling"] {
        let status = world.call(&format!("{AT}::{function}"), vec![], vec![]).unwrap_err();
        let bounds = ["EXECUTION_LIMIT_REACHED", "MEMORY_LIMIT_EXCEEDED"];
        assert!(bounds.contains(&status.code_name()), "{function}: {status}");
    }
}

#[test]
fn calls_from_outside_are_checked() {
    let mut world = world();
    let mut entry = |function: &str, args, signers: &[AccountAddress]| {
        world.entry(signers, &format!("{AT}::{function}"), args).unwrap_err().code_name()
    };
    let not_entry = "EXECUTE_ENTRY_FUNCTION_CALLED_ON_NON_ENTRY_FUNCTION";
    assert_eq!(entry("places::local", vec![], &[]), not_entry);
    assert_eq!(entry("places::absent", vec![], &[]), "FUNCTION_RESOLUTION_FAILURE");
    assert_eq!(entry("absent::local", vec![], &[]), "LINKER_ERROR");
    assert_eq!(entry("places::create", vec![], &[ALICE]), "NUMBER_OF_ARGUMENTS_MISMATCH");
    let bad = entry("places::create", vec![vec![1]], &[ALICE]);
    assert_eq!(bad, "FAILED_TO_DESERIALIZE_ARGUMENT");
    let signers = entry("places::create", vec![bcs(&1u64)], &[]);
    assert_eq!(signers, "NUMBER_OF_SIGNER_ARGUMENTS_MISMATCH");
    let some = (Some(1u8), Some("ab"), Some(vec![1u64, 2, 3]));
    check("chain::options", vec![bcs(&some.0), bcs(&some.1), bcs(&some.2)], 6u64);
    check("chain::options", vec![vec![0], vec![0], vec![0]], 0u64);
    for (place, bad) in [(0, vec![2u8, 1, 1]), (1, vec![1, 1, 0xff]), (2, vec![2, 0, 0])] {
        let mut args = vec![vec![0u8]; 3];
        args[place] = bad;
        check_fails("chain::options", args, "FAILED_TO_DESERIALIZE_ARGUMENT");
    }
    // A struct that only its module may make does not come from outside.
    check_fails(
        "shapes::take",
        vec![vec![1, 0, 0, 0, 0, 0, 0, 0, 0]],
        "INVALID_MAIN_FUNCTION_SIGNATURE",
    );
}
