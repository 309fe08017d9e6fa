//! Hashes, signatures, text and BCS.
//! Never touches state.

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use sha3::Sha3_256;

use super::NativeCall;
use crate::codec;
use crate::failure::{Failure, Outcome};
use crate::gas::cost;
use crate::value::{Value, length};

/// Abort code of `from_bcs::from_bytes` for bytes of another type.
const FROM_BYTES: u64 = 0x1_0001;

fn hash<H: Digest>(call: &mut NativeCall) -> Outcome<()> {
    let bytes = call.pop_bytes()?;
    let per_byte = cost::HASH_PER_BYTE.saturating_mul(length(bytes.len()));
    call.state.meter.charge(cost::HASH.saturating_add(per_byte))?;
    call.push_bytes(H::digest(&bytes).to_vec())
}

pub(super) fn sha2_256(call: &mut NativeCall) -> Outcome<()> {
    hash::<Sha256>(call)
}

pub(super) fn sha3_256(call: &mut NativeCall) -> Outcome<()> {
    hash::<Sha3_256>(call)
}

/// `to_bytes<T>(&T): vector<u8>`
pub(super) fn to_bytes(call: &mut NativeCall) -> Outcome<()> {
    let reference = call.pop_reference()?;
    let ty = call.type_argument(0)?;
    let layout = call.state.loader.layout(ty, &call.state.source)?;
    let bytes = codec::encode_reference(&layout, &reference)?;
    call.push_bytes(bytes)
}

/// `from_bytes<T>(vector<u8>): T`
pub(super) fn from_bytes(call: &mut NativeCall) -> Outcome<()> {
    let bytes = call.pop_bytes()?;
    let ty = call.type_argument(0)?;
    let layout = call.state.loader.layout(ty, &call.state.source)?;
    call.state.meter.allocate(32u64.saturating_mul(length(bytes.len())))?;
    let value = codec::decode(&layout, &bytes).map_err(|_| Failure::Abort(FROM_BYTES))?;
    call.push(value)
}

/// Strict verification: no malleable signature and no weak key passes.
fn verify_strict(message: &[u8], public_key: &[u8], signature: &[u8]) -> bool {
    let key = <&[u8; 32]>::try_from(public_key).ok();
    let key = key.and_then(|bytes| VerifyingKey::from_bytes(bytes).ok());
    let signature = Signature::from_slice(signature).ok();
    match (key, signature) {
        (Some(key), Some(signature)) => key.verify_strict(message, &signature).is_ok(),
        _ => false,
    }
}

fn charge_signature(call: &mut NativeCall, message: &[u8]) -> Outcome<()> {
    let per_byte = cost::HASH_PER_BYTE.saturating_mul(length(message.len()));
    call.state.meter.charge(cost::SIGNATURE.saturating_add(per_byte))
}

/// `verify_internal(message, public_key, signature): bool`
pub(super) fn ed25519_verify(call: &mut NativeCall) -> Outcome<()> {
    let (signature, public_key) = (call.pop_bytes()?, call.pop_bytes()?);
    let message = call.pop_bytes()?;
    charge_signature(call, &message)?;
    call.push(Value::Bool(verify_strict(&message, &public_key, &signature)))
}

/// `signature_verify_strict_internal(signature, public_key, message): bool`
pub(super) fn ed25519_signature_verify_strict(call: &mut NativeCall) -> Outcome<()> {
    let (message, public_key) = (call.pop_bytes()?, call.pop_bytes()?);
    let signature = call.pop_bytes()?;
    charge_signature(call, &message)?;
    call.push(Value::Bool(verify_strict(&message, &public_key, &signature)))
}

/// `public_key_validate_internal(bytes): bool`: a point of the curve, and not of small order.
pub(super) fn ed25519_public_key_validate(call: &mut NativeCall) -> Outcome<()> {
    let bytes = call.pop_bytes()?;
    call.state.meter.charge(cost::HASH)?;
    let key = <&[u8; 32]>::try_from(bytes.as_slice()).ok();
    let key = key.and_then(|bytes| VerifyingKey::from_bytes(bytes).ok());
    call.push(Value::Bool(key.is_some_and(|key| !key.is_weak())))
}

fn pop_text(call: &mut NativeCall) -> Outcome<Vec<u8>> {
    let bytes = call.pop_reference()?.to_bytes()?;
    call.state.meter.allocate(length(bytes.len()))?;
    Ok(bytes)
}

fn pop_index(call: &mut NativeCall) -> Outcome<usize> {
    Ok(usize::try_from(call.pop()?.into_u64()?).unwrap_or(usize::MAX))
}

/// `internal_check_utf8(&vector<u8>): bool`
pub(super) fn check_utf8(call: &mut NativeCall) -> Outcome<()> {
    let bytes = pop_text(call)?;
    call.push(Value::Bool(std::str::from_utf8(&bytes).is_ok()))
}

/// `internal_is_char_boundary(&vector<u8>, u64): bool`
pub(super) fn is_char_boundary(call: &mut NativeCall) -> Outcome<()> {
    let index = pop_index(call)?;
    let bytes = pop_text(call)?;
    let inside = std::str::from_utf8(&bytes).is_ok_and(|text| text.is_char_boundary(index));
    call.push(Value::Bool(inside))
}

/// `internal_sub_string(&vector<u8>, u64, u64): vector<u8>`
pub(super) fn sub_string(call: &mut NativeCall) -> Outcome<()> {
    let (end, start) = (pop_index(call)?, pop_index(call)?);
    let bytes = pop_text(call)?;
    let part = bytes.get(start..end).ok_or(Failure::Abort(1))?.to_vec();
    call.push_bytes(part)
}

/// `internal_index_of(&vector<u8>, &vector<u8>): u64`: the length if there is none.
pub(super) fn index_of(call: &mut NativeCall) -> Outcome<()> {
    let part = pop_text(call)?;
    let bytes = pop_text(call)?;
    let work = length(bytes.len()).saturating_mul(length(part.len()));
    call.state.meter.charge(work)?;
    let found = match part.len() {
        0 => Some(0),
        size => bytes.windows(size).position(|window| window == part),
    };
    call.push(Value::U64(length(found.unwrap_or(bytes.len()))))
}
