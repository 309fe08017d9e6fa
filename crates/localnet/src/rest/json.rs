//! Values and transactions as Aptos' REST API prints them.
//! Never fails a whole answer because one value cannot be decoded: it is then printed as bytes.

use cactus_move_vm::{AnnotatedValue, Storage, StructTag, TypeTag};
use serde_json::{Map, Value, json};

use super::abi;
use crate::authenticator::{
    AccountAuthenticator, AnyPublicKey, AnySignature, TransactionAuthenticator,
};
use crate::chain::Chain;
use crate::framework::FRAMEWORK;
use crate::records::EventRecord;
use crate::transaction::{
    EntryFunction, RawTransaction, TransactionExecutable, TransactionPayload,
    TransactionPayloadInner,
};

/// Bytes as text.
pub fn hexadecimal(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Decodes and prints a value.
pub fn value(chain: &Chain, state: &dyn Storage, tag: &TypeTag, bytes: &[u8]) -> Value {
    match chain.annotate(state, tag, bytes) {
        Ok(annotated) => print(&annotated),
        Err(_) => Value::String(hexadecimal(bytes)),
    }
}

/// Small numbers as numbers, large ones as text, bytes in hexadecimal, structs as objects.
pub fn print(value: &AnnotatedValue) -> Value {
    match value {
        AnnotatedValue::Bool(value) => json!(value),
        AnnotatedValue::U8(value) => json!(value),
        AnnotatedValue::U16(value) => json!(value),
        AnnotatedValue::U32(value) => json!(value),
        AnnotatedValue::U64(value) => json!(value.to_string()),
        AnnotatedValue::U128(value) => json!(value.to_string()),
        AnnotatedValue::U256(value) => json!(value.to_string()),
        AnnotatedValue::Address(address) | AnnotatedValue::Signer(address) => {
            json!(address.to_string())
        }
        AnnotatedValue::Bytes(bytes) => json!(hexadecimal(bytes)),
        AnnotatedValue::Vector(items) => items.iter().map(print).collect(),
        AnnotatedValue::Struct { tag, fields } => {
            if let (true, [(_, AnnotatedValue::Bytes(text))]) = (is_string(tag), &fields[..]) {
                return json!(String::from_utf8_lossy(text));
            }
            Value::Object(print_fields(fields))
        }
        AnnotatedValue::Enum { variant, fields, .. } => {
            let mut object = Map::from_iter([("__variant__".to_owned(), json!(variant))]);
            object.extend(print_fields(fields));
            Value::Object(object)
        }
    }
}

fn print_fields(fields: &[(String, AnnotatedValue)]) -> Map<String, Value> {
    let printed = fields.iter().map(|(name, value)| (name.clone(), print(value)));
    printed.collect()
}

/// Whether a struct is `0x1::string::String`.
pub fn is_string(tag: &StructTag) -> bool {
    tag.address == FRAMEWORK && tag.module == "string" && tag.name == "String"
}

/// An event. Module events have no handle, which the API prints as the zero id.
pub fn event(chain: &Chain, state: &dyn Storage, event: &EventRecord) -> Value {
    json!({
        "guid": { "creation_number": "0", "account_address": "0x0" },
        "sequence_number": "0",
        "type": event.type_tag.to_string(),
        "data": value(chain, state, &event.type_tag, &event.data.0),
    })
}

/// The parts of a user transaction that its sender chose.
pub fn request(chain: &Chain, state: &dyn Storage, raw: &RawTransaction) -> Map<String, Value> {
    Map::from_iter([
        ("sender".to_owned(), json!(raw.sender.to_string())),
        ("sequence_number".to_owned(), json!(raw.sequence_number.to_string())),
        (
            "replay_protection_nonce".to_owned(),
            raw.nonce().map_or(Value::Null, |nonce| json!(nonce.to_string())),
        ),
        ("max_gas_amount".to_owned(), json!(raw.max_gas_amount.to_string())),
        ("gas_unit_price".to_owned(), json!(raw.gas_unit_price.to_string())),
        ("expiration_timestamp_secs".to_owned(), json!(raw.expiration_timestamp_secs.to_string())),
        ("payload".to_owned(), payload(chain, state, &raw.payload)),
    ])
}

fn payload(chain: &Chain, state: &dyn Storage, payload: &TransactionPayload) -> Value {
    match payload {
        TransactionPayload::EntryFunction(entry)
        | TransactionPayload::Payload(TransactionPayloadInner::V1 {
            executable: TransactionExecutable::EntryFunction(entry),
            ..
        }) => entry_function(chain, state, entry),
        // No other payload is ever committed.
        _ => Value::Null,
    }
}

fn entry_function(chain: &Chain, state: &dyn Storage, entry: &EntryFunction) -> Value {
    let tags = abi::argument_types(chain, state, entry);
    let argument = |(index, bytes): (usize, &Vec<u8>)| {
        let tag = tags.as_ref().and_then(|tags| tags.get(index));
        match tag {
            Some(tag) => value(chain, state, tag, bytes),
            None => json!(hexadecimal(bytes)),
        }
    };
    let arguments: Vec<Value> = entry.args.iter().enumerate().map(argument).collect();
    let type_arguments: Vec<String> = entry.type_args.iter().map(TypeTag::to_string).collect();
    let EntryFunction { module, function, .. } = entry;
    json!({
        "type": "entry_function_payload",
        "function": format!("{}::{}::{function}", module.address, module.name),
        "type_arguments": type_arguments,
        "arguments": arguments,
    })
}

/// A transaction's authenticator.
pub fn signature(authenticator: &TransactionAuthenticator) -> Value {
    use TransactionAuthenticator as T;
    match authenticator {
        T::Ed25519 { public_key, signature } => ed25519(public_key, signature),
        T::MultiEd25519 { public_key, signature } => multi_ed25519(public_key, signature),
        T::SingleSender { sender } => account_signature(sender),
        T::MultiAgent { sender, secondary_signer_addresses, secondary_signers } => json!({
            "type": "multi_agent_signature",
            "sender": account_signature(sender),
            "secondary_signer_addresses": texts(secondary_signer_addresses),
            "secondary_signers": all_signatures(secondary_signers),
        }),
        T::FeePayer {
            sender,
            secondary_signer_addresses,
            secondary_signers,
            fee_payer_address,
            fee_payer_signer,
        } => json!({
            "type": "fee_payer_signature",
            "sender": account_signature(sender),
            "secondary_signer_addresses": texts(secondary_signer_addresses),
            "secondary_signers": all_signatures(secondary_signers),
            "fee_payer_address": fee_payer_address.to_string(),
            "fee_payer_signer": account_signature(fee_payer_signer),
        }),
    }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn all_signatures(signers: &[AccountAuthenticator]) -> Vec<Value> {
    signers.iter().map(account_signature).collect()
}

fn account_signature(authenticator: &AccountAuthenticator) -> Value {
    use AccountAuthenticator as A;
    match authenticator {
        A::Ed25519 { public_key, signature } => ed25519(public_key, signature),
        A::MultiEd25519 { public_key, signature } => multi_ed25519(public_key, signature),
        A::SingleKey { public_key, signature } => json!({
            "type": "single_key_signature",
            "public_key": any_key(public_key),
            "signature": any_signature(signature),
        }),
        A::MultiKey { public_keys, signatures, bitmap } => json!({
            "type": "multi_key_signature",
            "public_keys": public_keys.keys.iter().map(any_key).collect::<Vec<_>>(),
            "signatures": indexed(signatures, bitmap),
            "signatures_required": public_keys.signatures_required,
        }),
        A::Absent => json!({ "type": "no_account_signature" }),
    }
}

/// Signatures with the places of their keys, which the bitmap names.
fn indexed(signatures: &[AnySignature], bitmap: &[u8]) -> Vec<Value> {
    let bits =
        (0..8 * bitmap.len()).filter(|index| bitmap[index / 8] & (0b1000_0000 >> (index % 8)) != 0);
    let print =
        |(index, signature)| json!({ "index": index, "signature": any_signature(signature) });
    bits.zip(signatures).map(print).collect()
}

fn ed25519(public_key: &[u8], signature: &[u8]) -> Value {
    json!({
        "type": "ed25519_signature",
        "public_key": hexadecimal(public_key),
        "signature": hexadecimal(signature),
    })
}

fn multi_ed25519(keys: &[u8], signatures: &[u8]) -> Value {
    let (threshold, keys) = keys.split_last().map_or((0, keys), |(last, rest)| (*last, rest));
    let (signatures, bitmap) = signatures.split_at(signatures.len().saturating_sub(4));
    json!({
        "type": "multi_ed25519_signature",
        "public_keys": keys.chunks(32).map(hexadecimal).collect::<Vec<_>>(),
        "signatures": signatures.chunks(64).map(hexadecimal).collect::<Vec<_>>(),
        "threshold": threshold,
        "bitmap": hexadecimal(bitmap),
    })
}

fn any_key(key: &AnyPublicKey) -> Value {
    let (kind, bytes) = match key {
        AnyPublicKey::Ed25519(bytes) => ("ed25519", bytes),
        AnyPublicKey::Secp256k1Ecdsa(bytes) => ("secp256k1_ecdsa", bytes),
        AnyPublicKey::Secp256r1Ecdsa(bytes) => ("secp256r1_ecdsa", bytes),
    };
    json!({ "type": kind, "value": hexadecimal(bytes) })
}

fn any_signature(signature: &AnySignature) -> Value {
    let (kind, bytes) = match signature {
        AnySignature::Ed25519(bytes) => ("ed25519", bytes),
        AnySignature::Secp256k1Ecdsa(bytes) => ("secp256k1_ecdsa", bytes),
    };
    json!({ "type": kind, "value": hexadecimal(bytes) })
}
