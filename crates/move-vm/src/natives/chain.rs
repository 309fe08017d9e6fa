//! Accounts, events, types and the transaction's surroundings.
//! Never reads anything that the session's context or state does not hold.

use sha3::{Digest, Sha3_256};

use super::NativeCall;
use crate::failure::{Failure, Outcome, TYPE_CONFUSION};
use crate::gas::cost;
use crate::state::PublishRequest;
use crate::value::{Reference, Value, length};
use crate::{AccountAddress, TypeTag};

/// Ends the preimage of unique addresses, as in Aptos.
const UNIQUE_ADDRESS_DOMAIN: u8 = 0xfb;
/// Abort code of `type_of` for a type that is no struct.
const NOT_A_STRUCT: u64 = 1;

/// `create_signer(address): signer`
pub(super) fn create_signer(call: &mut NativeCall) -> Outcome<()> {
    let address = call.pop()?.into_address()?;
    call.push(Value::signer(address))
}

/// `borrow_address(&signer): &address`
pub(super) fn borrow_address(call: &mut NativeCall) -> Outcome<()> {
    let address = call.pop_reference()?.item(0)?.ok_or(TYPE_CONFUSION)?;
    call.push(Value::Reference(address))
}

/// `emit_event<T>(&T)`
pub(super) fn emit_event(call: &mut NativeCall) -> Outcome<()> {
    let ty = call.type_argument(0)?;
    match call.pop_reference()? {
        Reference::Composite(content) => call.state.emit(ty, &Value::Composite(content)),
        _ => Err(TYPE_CONFUSION),
    }
}

/// `write_module_event_to_store<T>(T)`
pub(super) fn write_module_event(call: &mut NativeCall) -> Outcome<()> {
    let ty = call.type_argument(0)?;
    let message = call.pop()?;
    call.state.emit(ty, &message)
}

/// `exists_at<T>(address): bool`
pub(super) fn exists_at(call: &mut NativeCall) -> Outcome<()> {
    let ty = call.type_argument(0)?;
    let address = call.pop()?.into_address()?;
    let exists = call.state.exists(address, ty)?;
    call.push(Value::Bool(exists))
}

/// `type_name<T>(): String`
pub(super) fn type_name(call: &mut NativeCall) -> Outcome<()> {
    let ty = call.type_argument(0)?;
    let name = call.state.loader.tag(ty).to_canonical_string().into_bytes();
    call.state.meter.allocate(length(name.len()))?;
    call.push(Value::composite(0, vec![Value::bytes(name)]))
}

/// `type_of<T>(): TypeInfo`
pub(super) fn type_of(call: &mut NativeCall) -> Outcome<()> {
    let ty = call.type_argument(0)?;
    let tag = call.state.loader.tag(ty);
    let TypeTag::Struct(tag) = tag.as_ref() else {
        return Err(Failure::Abort(NOT_A_STRUCT));
    };
    let arguments: Vec<String> = tag.type_args.iter().map(TypeTag::to_canonical_string).collect();
    let name = match arguments.is_empty() {
        true => tag.name.clone(),
        false => format!("{}<{}>", tag.name, arguments.join(", ")),
    };
    call.state.meter.allocate(length(name.len() + tag.module.len()))?;
    let (module, name) = (tag.module.clone().into_bytes(), name.into_bytes());
    let fields = vec![Value::address(tag.address), Value::bytes(module), Value::bytes(name)];
    call.push(Value::composite(0, fields))
}

/// `get_transaction_hash(): vector<u8>`
pub(super) fn transaction_hash(call: &mut NativeCall) -> Outcome<()> {
    let hash = call.state.context.transaction_hash.to_vec();
    call.push_bytes(hash)
}

/// `sender_internal(): address`
pub(super) fn sender(call: &mut NativeCall) -> Outcome<()> {
    let sender = call.state.context.sender;
    call.push(Value::address(sender))
}

/// `chain_id_internal(): u8`
pub(super) fn chain_id(call: &mut NativeCall) -> Outcome<()> {
    let id = call.state.context.chain_id;
    call.push(Value::U8(id))
}

/// `generate_unique_address(): address`
pub(super) fn generate_unique_address(call: &mut NativeCall) -> Outcome<()> {
    call.state.meter.charge(cost::HASH)?;
    call.state.addresses_made += 1;
    let digest = Sha3_256::new()
        .chain_update(call.state.context.transaction_hash)
        .chain_update(call.state.addresses_made.to_le_bytes())
        .chain_update([UNIQUE_ADDRESS_DOMAIN])
        .finalize();
    call.push(Value::address(AccountAddress(digest.into())))
}

/// `request_publish(owner, expected_modules, bundle, policy)`: carried out after the entry
/// function, once per transaction, as in Aptos.
pub(super) fn request_publish(call: &mut NativeCall) -> Outcome<()> {
    let _policy = call.pop()?;
    let bundle = call.pop()?.into_composite()?.items;
    let names = call.pop()?.into_composite()?.items;
    let owner = call.pop()?.into_address()?;
    let modules = bundle.into_iter().map(Value::into_bytes).collect::<Outcome<Vec<_>>>()?;
    let name = |text: Value| text.into_composite()?.items.pop().ok_or(TYPE_CONFUSION)?.into_bytes();
    let expected = names.into_iter().map(name).collect::<Outcome<Vec<_>>>()?;
    if call.state.publish_request.is_some() {
        return Err(Failure::Abort(ALREADY_REQUESTED));
    }
    call.state.publish_request = Some(PublishRequest { owner, expected, modules });
    Ok(())
}

/// Abort code of a second publication in one transaction, as in Aptos.
const ALREADY_REQUESTED: u64 = 0x3_0000;
