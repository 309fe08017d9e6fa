//! Functions that the machine implements, by module and name under `0x1`.
//! Never trusts a declaration: arguments of the wrong kind are an error, not a panic.

mod bytes;
mod chain;
mod table;

use crate::failure::{Outcome, TYPE_CONFUSION};
use crate::gas::cost;
use crate::state::State;
use crate::types::Ty;
use crate::value::{Reference, Value, length};
use crate::{AccountAddress, ModuleId};

/// Takes its arguments off the stack, last first, and pushes its results.
pub(crate) type Native = fn(&mut NativeCall) -> Outcome<()>;

/// A native function's surroundings.
pub(crate) struct NativeCall<'c, 's> {
    pub state: &'c mut State<'s>,
    pub types: &'c [Ty],
    pub stack: &'c mut Vec<Value>,
}

/// The implementation of a native function.
pub(crate) fn find(module: &ModuleId, function: &str) -> Option<Native> {
    if module.address != AccountAddress::ONE {
        return None;
    }
    Some(match (module.name.as_str(), function) {
        ("account" | "create_signer", "create_signer") => chain::create_signer,
        ("bcs", "to_bytes") => bytes::to_bytes,
        ("code", "request_publish") => chain::request_publish,
        ("ed25519", "public_key_validate_internal") => bytes::ed25519_public_key_validate,
        ("ed25519", "signature_verify_strict_internal") => bytes::ed25519_signature_verify_strict,
        ("ed25519", "verify_internal") => bytes::ed25519_verify,
        ("event", "emit_event") => chain::emit_event,
        ("event", "write_module_event_to_store") => chain::write_module_event,
        ("from_bcs", "from_bytes") => bytes::from_bytes,
        ("hash", "sha2_256") => bytes::sha2_256,
        ("hash", "sha3_256") => bytes::sha3_256,
        ("object", "exists_at") => chain::exists_at,
        ("signer", "borrow_address") => chain::borrow_address,
        ("string", "internal_check_utf8") => bytes::check_utf8,
        ("string", "internal_index_of") => bytes::index_of,
        ("string", "internal_is_char_boundary") => bytes::is_char_boundary,
        ("string", "internal_sub_string") => bytes::sub_string,
        ("table", "new_table_handle") => table::new_table_handle,
        ("table", "add_box") => table::add_box,
        ("table", "borrow_box") => table::borrow_box,
        ("table", "borrow_box_mut") => table::borrow_box_mut,
        ("table", "contains_box") => table::contains_box,
        ("table", "remove_box") => table::remove_box,
        ("table", "destroy_empty_box" | "drop_unchecked_box") => table::forget,
        ("transaction_context", "chain_id_internal") => chain::chain_id,
        ("transaction_context", "generate_unique_address") => chain::generate_unique_address,
        ("transaction_context", "get_transaction_hash" | "get_txn_hash") => chain::transaction_hash,
        ("transaction_context", "sender_internal") => chain::sender,
        ("type_info", "type_name") => chain::type_name,
        ("type_info", "type_of") => chain::type_of,
        _ => return None,
    })
}

impl NativeCall<'_, '_> {
    fn pop(&mut self) -> Outcome<Value> {
        self.stack.pop().ok_or(TYPE_CONFUSION)
    }

    fn pop_reference(&mut self) -> Outcome<Reference> {
        self.pop()?.into_reference()
    }

    fn pop_bytes(&mut self) -> Outcome<Vec<u8>> {
        let bytes = self.pop()?.into_bytes()?;
        self.state.meter.charge(cost::BYTE.saturating_mul(length(bytes.len())))?;
        Ok(bytes)
    }

    fn push(&mut self, value: Value) -> Outcome<()> {
        self.stack.push(value);
        Ok(())
    }

    fn push_bytes(&mut self, bytes: Vec<u8>) -> Outcome<()> {
        self.state.meter.allocate(16 + length(bytes.len()))?;
        self.push(Value::bytes(bytes))
    }

    fn type_argument(&self, index: usize) -> Outcome<Ty> {
        self.types.get(index).copied().ok_or(TYPE_CONFUSION)
    }
}
