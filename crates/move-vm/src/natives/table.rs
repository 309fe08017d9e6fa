//! Table items: storage slots of their own, by handle and encoded key.
//! Never lists keys: a table does not know them.

use std::rc::Rc;

use sha3::{Digest, Sha3_256};

use super::NativeCall;
use crate::AccountAddress;
use crate::codec;
use crate::failure::{Failure, Outcome, TYPE_CONFUSION};
use crate::gas::cost;
use crate::state::Slot;
use crate::value::{Reference, Value};

/// Abort code for a key that is there already, as in Aptos: category 1, reason 100.
const ALREADY_EXISTS: u64 = (100 << 8) + 1;
/// Abort code for a key that is not there, as in Aptos: category 1, reason 101.
const NOT_FOUND: u64 = (101 << 8) + 1;

/// `new_table_handle<K, V>(): address`
pub(super) fn new_table_handle(call: &mut NativeCall) -> Outcome<()> {
    call.state.meter.charge(cost::HASH)?;
    let digest = Sha3_256::new()
        .chain_update(call.state.context.transaction_hash)
        .chain_update(call.state.tables_made.to_be_bytes())
        .finalize();
    call.state.tables_made += 1;
    call.push(Value::address(AccountAddress(digest.into())))
}

/// Takes key and table off the stack and finds the slot. Type arguments are `K, V, Box<V>`.
fn slot<'c>(call: &'c mut NativeCall) -> Outcome<&'c mut Slot> {
    call.state.meter.charge(cost::GLOBAL)?;
    let key = call.pop()?;
    let table = call.pop_reference()?;
    let mut size = 0;
    let handle = table.item(0)?.ok_or(TYPE_CONFUSION)?.read(&mut size)?.into_address()?;
    let key_type = call.type_argument(0)?;
    let layout = call.state.loader.layout(key_type, &call.state.source)?;
    let key = codec::encode(&layout, &key)?;
    let boxed = call.type_argument(2)?;
    call.state.item(handle, key, boxed)
}

/// `add_box<K, V, B>(&mut Table<K, V>, K, Box<V>)`
pub(super) fn add_box(call: &mut NativeCall) -> Outcome<()> {
    let Value::Composite(value) = call.pop()? else {
        return Err(TYPE_CONFUSION);
    };
    let slot = slot(call)?;
    if slot.value.is_some() {
        return Err(Failure::Abort(ALREADY_EXISTS));
    }
    slot.value = Some(value);
    slot.dirty = true;
    Ok(())
}

fn borrow(call: &mut NativeCall, mutable: bool) -> Outcome<()> {
    let slot = slot(call)?;
    slot.dirty |= mutable;
    let content = slot.value.as_ref().map(Rc::clone).ok_or(Failure::Abort(NOT_FOUND))?;
    call.push(Value::Reference(Reference::Composite(content)))
}

/// `borrow_box<K, V, B>(&Table<K, V>, K): &Box<V>`
pub(super) fn borrow_box(call: &mut NativeCall) -> Outcome<()> {
    borrow(call, false)
}

/// `borrow_box_mut<K, V, B>(&mut Table<K, V>, K): &mut Box<V>`
pub(super) fn borrow_box_mut(call: &mut NativeCall) -> Outcome<()> {
    borrow(call, true)
}

/// `contains_box<K, V, B>(&Table<K, V>, K): bool`
pub(super) fn contains_box(call: &mut NativeCall) -> Outcome<()> {
    let there = slot(call)?.value.is_some();
    call.push(Value::Bool(there))
}

/// `remove_box<K, V, B>(&mut Table<K, V>, K): Box<V>`
pub(super) fn remove_box(call: &mut NativeCall) -> Outcome<()> {
    let slot = slot(call)?;
    let value = slot.value.take().ok_or(Failure::Abort(NOT_FOUND))?;
    slot.dirty = true;
    call.push(Value::Composite(value))
}

/// `destroy_empty_box` and `drop_unchecked_box`: the handle goes, items stay where they are.
pub(super) fn forget(call: &mut NativeCall) -> Outcome<()> {
    call.pop().map(drop)
}
