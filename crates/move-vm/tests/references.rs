//! Each rule about references, acquired resources and generic calls, shown by a module written by
//! hand that breaks it and nothing else.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use cactus_move_vm::{AccountAddress, VmStatus};
use support::World;
use support::assembler::{
    ADDRESS, Assembler, BOOL, COPY, DROP, Function, KEY, STORE, T, U64, U64S, mutable, number, op,
    shared, structure,
};

const AT: AccountAddress = AccountAddress::small(0xf1);
/// `struct Pair has copy, drop, store { a: u64, b: u64 }`, its handle and its definition.
const PAIR: u8 = 0;
/// `struct Vault has key { pair: Pair }`, its handle and its definition.
const VAULT: u8 = 1;

fn pair() -> Vec<u8> {
    structure(PAIR)
}

fn vault() -> Vec<u8> {
    structure(VAULT)
}

/// A module with the two structs, the fields 0 `Pair.a` and 1 `Pair.b`, and the signature 0
/// `u64`, the element of vectors.
fn module() -> Assembler {
    let mut module = Assembler::new(AT, "evil");
    assert_eq!(module.signature(&[U64.to_vec()]), 0);
    assert_eq!(module.struct_handle(0, "Pair", COPY | DROP | STORE, &[]), PAIR);
    assert_eq!(module.struct_handle(0, "Vault", KEY, &[]), VAULT);
    module.define_struct(PAIR, &[("a", U64.to_vec()), ("b", U64.to_vec())]);
    module.define_struct(VAULT, &[("pair", pair())]);
    assert_eq!(module.field(0, 0), 0);
    assert_eq!(module.field(0, 1), 1);
    module
}

fn publish(module: Assembler) -> Result<(), VmStatus> {
    World::default().publish(AT, vec![module.finish()])
}

/// Publishes a module with one function and compares the status, empty for success.
fn check(function: &Function, code: &[&[u8]], expected: &str) {
    let mut module = module();
    let code: Vec<Vec<u8>> = code.iter().map(|one| one.to_vec()).collect();
    module.function("f", function, &code);
    let status = publish(module);
    let found = status.as_ref().map_or_else(VmStatus::code_name, |()| "");
    assert_eq!(found, expected, "{code:x?}: {status:?}");
}

/// A function of parameters and locals.
fn function(parameters: &[Vec<u8>], locals: &[Vec<u8>]) -> Function {
    Function { parameters: parameters.to_vec(), locals: locals.to_vec(), ..Function::default() }
}

use op::*;

#[test]
fn a_borrowed_local_is_not_moved_copied_or_overwritten() {
    let one = function(&[pair()], &[]);
    check(
        &one,
        &[&[IMM_BORROW_LOC, 0], &[MOVE_LOC, 0], &[POP], &[POP], &[RET]],
        "MOVELOC_EXISTS_BORROW_ERROR",
    );
    check(
        &one,
        &[&[MUT_BORROW_LOC, 0], &[COPY_LOC, 0], &[POP], &[POP], &[RET]],
        "COPYLOC_EXISTS_BORROW_ERROR",
    );
    check(&one, &[&[IMM_BORROW_LOC, 0], &[COPY_LOC, 0], &[POP], &[POP], &[RET]], "");
    check(
        &one,
        &[&[MUT_BORROW_LOC, 0], &[IMM_BORROW_LOC, 0], &[POP], &[POP], &[RET]],
        "BORROWLOC_EXISTS_BORROW_ERROR",
    );
    check(
        &function(&[pair(), pair()], &[]),
        &[&[IMM_BORROW_LOC, 0], &[MOVE_LOC, 1], &[ST_LOC, 0], &[POP], &[RET]],
        "STLOC_UNSAFE_TO_DESTROY_ERROR",
    );
}

#[test]
fn of_two_ways_to_a_place_only_the_newer_of_a_chain_is_used() {
    // Local 2 holds an older mutable reference to local 0 while a newer one is used.
    let two = function(&[pair(), pair()], &[mutable(&pair())]);
    let older: [&[u8]; 2] = [&[MUT_BORROW_LOC, 0], &[ST_LOC, 2]];
    let with = |rest: &[&'static [u8]], expected: &str| {
        check(&two, &[&older, rest].concat(), expected);
    };
    with(
        &[&[MOVE_LOC, 1], &[MUT_BORROW_LOC, 0], &[WRITE_REF], &[MOVE_LOC, 2], &[POP], &[RET]],
        "WRITEREF_EXISTS_BORROW_ERROR",
    );
    with(
        &[&[MUT_BORROW_LOC, 0], &[READ_REF], &[POP], &[MOVE_LOC, 2], &[POP], &[RET]],
        "READREF_EXISTS_MUTABLE_BORROW_ERROR",
    );
    with(
        &[&[MUT_BORROW_LOC, 0], &[MUT_BORROW_LOC, 1], &[EQ], &[POP], &[RET]],
        "READREF_EXISTS_MUTABLE_BORROW_ERROR",
    );
    with(
        &[&[MUT_BORROW_LOC, 0], &[FREEZE_REF], &[POP], &[MOVE_LOC, 2], &[POP], &[RET]],
        "FREEZEREF_EXISTS_MUTABLE_BORROW_ERROR",
    );
    // The older one is gone before the newer one is written through.
    with(&[&[MOVE_LOC, 2], &[POP], &[MOVE_LOC, 1], &[MUT_BORROW_LOC, 0], &[WRITE_REF], &[RET]], "");
}

#[test]
fn fields_are_borrowed_apart_but_not_beside_the_whole() {
    let of_pair = function(&[mutable(&pair())], &[mutable(U64), mutable(U64)]);
    let zero = number(0);
    let apart: Vec<&[u8]> = vec![
        &[COPY_LOC, 0],
        &[MUT_BORROW_FIELD, 0],
        &[ST_LOC, 1],
        &[MOVE_LOC, 0],
        &[MUT_BORROW_FIELD, 1],
        &[ST_LOC, 2],
        &zero,
        &[MOVE_LOC, 1],
        &[WRITE_REF],
        &zero,
        &[MOVE_LOC, 2],
        &[WRITE_REF],
        &[RET],
    ];
    check(&of_pair, &apart, "");
    let mut same = apart;
    same[4] = &[MUT_BORROW_FIELD, 0];
    // The newer borrow of the same field lies under the older one and is written last: allowed.
    check(&of_pair, &same, "");
    (same[7], same[10]) = (&[MOVE_LOC, 2], &[MOVE_LOC, 1]);
    check(&of_pair, &same, "WRITEREF_EXISTS_BORROW_ERROR");
    check(
        &of_pair,
        &[&[COPY_LOC, 0], &[MOVE_LOC, 0], &[MUT_BORROW_FIELD, 0], &[POP], &[POP], &[RET]],
        "FIELD_EXISTS_MUTABLE_BORROW_ERROR",
    );
    check(
        &of_pair,
        &[
            &[COPY_LOC, 0],
            &[MUT_BORROW_FIELD, 0],
            &[MOVE_LOC, 0],
            &[IMM_BORROW_FIELD, 0],
            &[POP],
            &[POP],
            &[RET],
        ],
        "FIELD_EXISTS_MUTABLE_BORROW_ERROR",
    );
}

#[test]
fn a_vector_does_not_change_under_a_reference_to_an_element() {
    let list = function(&[mutable(U64S)], &[mutable(U64), shared(U64)]);
    let zero = number(0);
    let element = |borrow: u8, local: u8| {
        vec![vec![COPY_LOC, 0], zero.clone(), vec![borrow, 0], vec![ST_LOC, local]]
    };
    let with = |element: Vec<Vec<u8>>, rest: &[&[u8]], expected: &str| {
        let code: Vec<&[u8]> =
            element.iter().map(Vec::as_slice).chain(rest.iter().copied()).collect();
        check(&list, &code, expected);
    };
    with(
        element(VEC_IMM_BORROW, 2),
        &[&[MOVE_LOC, 0], &[VEC_POP_BACK, 0], &[POP], &[MOVE_LOC, 2], &[READ_REF], &[POP], &[RET]],
        "VEC_UPDATE_EXISTS_MUTABLE_BORROW_ERROR",
    );
    with(
        element(VEC_MUT_BORROW, 1),
        &[&[MOVE_LOC, 0], &zero, &[VEC_PUSH_BACK, 0], &[RET]],
        "VEC_UPDATE_EXISTS_MUTABLE_BORROW_ERROR",
    );
    for borrow in [VEC_MUT_BORROW, VEC_IMM_BORROW] {
        with(
            element(VEC_MUT_BORROW, 1),
            &[&[MOVE_LOC, 0], &zero, &[borrow, 0], &[POP], &[RET]],
            "VEC_BORROW_ELEMENT_EXISTS_MUTABLE_BORROW_ERROR",
        );
    }
    with(
        element(VEC_MUT_BORROW, 1),
        &[&zero, &[MOVE_LOC, 1], &[WRITE_REF], &[MOVE_LOC, 0], &zero, &[VEC_PUSH_BACK, 0], &[RET]],
        "",
    );
}

#[test]
fn a_resource_is_borrowed_once_and_not_taken_meanwhile() {
    let acquiring = |locals: &[Vec<u8>], returns: &[Vec<u8>]| Function {
        acquires: vec![VAULT],
        returns: returns.to_vec(),
        ..function(&[ADDRESS.to_vec()], locals)
    };
    let twice = |first: u8, second: u8, expected: &str| {
        check(
            &acquiring(&[], &[]),
            &[
                &[COPY_LOC, 0],
                &[first, VAULT],
                &[MOVE_LOC, 0],
                &[second, VAULT],
                &[POP],
                &[POP],
                &[RET],
            ],
            expected,
        );
    };
    twice(MUT_BORROW_GLOBAL, MUT_BORROW_GLOBAL, "GLOBAL_REFERENCE_ERROR");
    twice(MUT_BORROW_GLOBAL, IMM_BORROW_GLOBAL, "GLOBAL_REFERENCE_ERROR");
    twice(IMM_BORROW_GLOBAL, MUT_BORROW_GLOBAL, "GLOBAL_REFERENCE_ERROR");
    twice(IMM_BORROW_GLOBAL, IMM_BORROW_GLOBAL, "");
    check(
        &acquiring(&[vault()], &[vault()]),
        &[
            &[COPY_LOC, 0],
            &[IMM_BORROW_GLOBAL, VAULT],
            &[MOVE_LOC, 0],
            &[MOVE_FROM, VAULT],
            &[ST_LOC, 1],
            &[POP],
            &[MOVE_LOC, 1],
            &[RET],
        ],
        "GLOBAL_REFERENCE_ERROR",
    );
    check(
        &acquiring(&[], &[mutable(&vault())]),
        &[&[MOVE_LOC, 0], &[MUT_BORROW_GLOBAL, VAULT], &[RET]],
        "UNSAFE_RET_LOCAL_OR_RESOURCE_STILL_BORROWED",
    );
}

#[test]
fn no_call_reaches_a_resource_that_the_caller_borrows() {
    let mut module = module();
    let taking = Function {
        acquires: vec![VAULT],
        returns: vec![vault()],
        ..function(&[ADDRESS.to_vec()], &[])
    };
    let take =
        module.function("take", &taking, &[vec![MOVE_LOC, 0], vec![MOVE_FROM, VAULT], vec![RET]]);
    let code = [
        vec![COPY_LOC, 0],
        vec![MUT_BORROW_GLOBAL, VAULT],
        vec![MOVE_LOC, 0],
        vec![CALL, take],
        vec![ST_LOC, 1],
        vec![POP],
        vec![MOVE_LOC, 1],
        vec![RET],
    ];
    module.function("f", &Function { locals: vec![vault()], ..taking }, &code);
    assert_eq!(publish(module).unwrap_err().code_name(), "GLOBAL_REFERENCE_ERROR");
}

#[test]
fn the_acquired_resources_are_listed_truly() {
    let borrowing: [&[u8]; 4] = [&[MOVE_LOC, 0], &[IMM_BORROW_GLOBAL, VAULT], &[POP], &[RET]];
    let listing = |acquires: &[u8]| Function {
        acquires: acquires.to_vec(),
        ..function(&[ADDRESS.to_vec()], &[])
    };
    check(&listing(&[VAULT]), &borrowing, "");
    check(&listing(&[]), &borrowing, "MISSING_ACQUIRES_ANNOTATION");
    check(&listing(&[VAULT, VAULT]), &borrowing, "DUPLICATE_ACQUIRES_ANNOTATION");
    check(&listing(&[VAULT, PAIR]), &borrowing, "INVALID_ACQUIRES_ANNOTATION");
    check(&listing(&[VAULT]), &[&[RET]], "EXTRANEOUS_ACQUIRES_ANNOTATION");
    // What a callee acquires, its caller acquires.
    let mut module = module();
    let code: Vec<Vec<u8>> = borrowing.iter().map(|one| one.to_vec()).collect();
    let look = module.function("look", &listing(&[VAULT]), &code);
    module.function("f", &listing(&[]), &[vec![MOVE_LOC, 0], vec![CALL, look], vec![RET]]);
    assert_eq!(publish(module).unwrap_err().code_name(), "MISSING_ACQUIRES_ANNOTATION");
}

#[test]
fn no_reference_outlives_its_local_and_mutable_results_are_unique() {
    check(
        &Function { returns: vec![shared(&pair())], ..function(&[pair()], &[]) },
        &[&[IMM_BORROW_LOC, 0], &[RET]],
        "UNSAFE_RET_LOCAL_OR_RESOURCE_STILL_BORROWED",
    );
    let reference = mutable(&pair());
    check(
        &Function {
            returns: vec![reference.clone(), reference.clone()],
            ..function(std::slice::from_ref(&reference), &[])
        },
        &[&[COPY_LOC, 0], &[MOVE_LOC, 0], &[RET]],
        "RET_BORROWED_MUTABLE_REFERENCE_ERROR",
    );
    check(
        &Function { returns: vec![reference.clone()], ..function(&[reference], &[]) },
        &[&[MOVE_LOC, 0], &[RET]],
        "",
    );
}

#[test]
fn a_callee_never_gets_two_ways_to_one_place() {
    let reference = mutable(&pair());
    for (second, expected) in [
        (reference.clone(), "CALL_BORROWED_MUTABLE_REFERENCE_ERROR"),
        (shared(&pair()), "CALL_BORROWED_MUTABLE_REFERENCE_ERROR"),
    ] {
        let mut module = module();
        let both = function(&[second.clone(), reference.clone()], &[]);
        let callee = module.function("both", &both, &[vec![RET]]);
        let mut code = vec![vec![COPY_LOC, 0]];
        if second != reference {
            code.push(vec![FREEZE_REF]);
        }
        code.extend([vec![MOVE_LOC, 0], vec![CALL, callee], vec![RET]]);
        module.function("f", &function(std::slice::from_ref(&reference), &[]), &code);
        assert_eq!(publish(module).unwrap_err().code_name(), expected);
    }
}

#[test]
fn what_a_call_returned_borrows_from_its_arguments() {
    let mut module = module();
    let passing = Function { returns: vec![mutable(U64)], ..function(&[mutable(&pair())], &[]) };
    let first = module.function(
        "first",
        &passing,
        &[vec![MOVE_LOC, 0], vec![MUT_BORROW_FIELD, 0], vec![RET]],
    );
    let code = [
        vec![MUT_BORROW_LOC, 0],
        vec![CALL, first],
        vec![MOVE_LOC, 0],
        vec![POP],
        vec![POP],
        vec![RET],
    ];
    module.function("f", &function(&[pair()], &[]), &code);
    assert_eq!(publish(module).unwrap_err().code_name(), "MOVELOC_EXISTS_BORROW_ERROR");
}

#[test]
fn a_borrow_on_either_way_counts_where_they_meet() {
    // Local 3 borrows local 0 or local 2.
    let f = function(&[pair(), BOOL.to_vec(), pair()], &[mutable(&pair())]);
    let meet = |moved: u8, expected: &str| {
        check(
            &f,
            &[
                &[MOVE_LOC, 1],
                &[BR_FALSE, 5],
                &[MUT_BORROW_LOC, 0],
                &[ST_LOC, 3],
                &[BRANCH, 7],
                &[MUT_BORROW_LOC, 2],
                &[ST_LOC, 3],
                &[MOVE_LOC, moved],
                &[POP],
                &[MOVE_LOC, 3],
                &[POP],
                &[RET],
            ],
            expected,
        );
    };
    meet(0, "MOVELOC_EXISTS_BORROW_ERROR");
    meet(2, "MOVELOC_EXISTS_BORROW_ERROR");
    // A reference taken in one turn of a loop still lives in the next.
    check(
        &function(&[pair(), BOOL.to_vec()], &[shared(&pair())]),
        &[
            &[COPY_LOC, 0],
            &[POP],
            &[MUT_BORROW_LOC, 0],
            &[FREEZE_REF],
            &[ST_LOC, 2],
            &[COPY_LOC, 1],
            &[BR_FALSE, 12],
            &[IMM_BORROW_LOC, 0],
            &[ST_LOC, 2],
            &[COPY_LOC, 0],
            &[ST_LOC, 0],
            &[BRANCH, 0],
            &[RET],
        ],
        "STLOC_UNSAFE_TO_DESTROY_ERROR",
    );
}

/// A module of generic functions; each call is (caller, callee, its type argument).
fn calls(calls: &[(usize, usize, &[u8])]) -> Result<(), VmStatus> {
    let mut module = Assembler::new(AT, "loops");
    let generic = Function { type_parameters: vec![DROP], ..Function::default() };
    let names = ["f", "g", "h"];
    let handles = names.map(|name| module.function_handle(0, name, &generic));
    for (index, name) in names.into_iter().enumerate() {
        let mut code = Vec::new();
        for (_, callee, argument) in calls.iter().filter(|(caller, ..)| *caller == index) {
            let inst = module.function_instance(handles[*callee], &[argument.to_vec()]);
            code.push(vec![CALL_GENERIC, inst]);
        }
        code.push(vec![RET]);
        module.function(name, &generic, &code);
    }
    World::default().publish(AT, vec![module.finish()])
}

#[test]
fn generic_calls_reach_finitely_many_instantiations() {
    let larger = [&[0xa], T].concat();
    calls(&[(0, 0, T)]).unwrap();
    calls(&[(0, 1, &larger), (1, 2, &larger)]).unwrap();
    calls(&[(0, 1, T), (1, 0, U64S)]).unwrap();
    let bad: [&[(usize, usize, &[u8])]; 3] = [
        &[(0, 0, &larger)],
        &[(0, 1, T), (1, 0, &larger)],
        &[(0, 1, T), (1, 2, &larger), (2, 0, T)],
    ];
    for case in bad {
        assert_eq!(calls(case).unwrap_err().code_name(), "LOOP_IN_INSTANTIATION_GRAPH");
    }
}

#[test]
fn a_module_that_is_hard_to_check_is_refused_soon() {
    // Every local borrows from every other's place, through every one of many blocks.
    let locals = 120u8;
    let references: Vec<Vec<u8>> = (0..locals).map(|_| mutable(&pair())).collect();
    let f = function(&[pair(), BOOL.to_vec()], &references);
    let mut code: Vec<Vec<u8>> = Vec::new();
    for local in 2..locals {
        code.extend([vec![MUT_BORROW_LOC, 0], vec![ST_LOC, local]]);
    }
    for _ in 0..10_000 {
        let next = u16::try_from(code.len() + 2).unwrap();
        let mut target = vec![BR_FALSE];
        // ULEB128 of at most three bytes.
        for (shift, more) in [(0, 0x80), (7, 0x80), (14, 0)] {
            target.push(u8::try_from(next >> shift & 0x7f).unwrap() | more);
        }
        if next < 1 << 14 {
            target.truncate(3);
            target[2] &= 0x7f;
        }
        if next < 1 << 7 {
            target.truncate(2);
            target[1] &= 0x7f;
        }
        code.extend([vec![COPY_LOC, 1], target]);
    }
    code.push(vec![RET]);
    let code: Vec<&[u8]> = code.iter().map(Vec::as_slice).collect();
    let start = Instant::now();
    check(&f, &code, "PROGRAM_TOO_COMPLEX");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
