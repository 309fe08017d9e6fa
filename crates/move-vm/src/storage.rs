//! What a session reads from the chain's state and what it leaves to be written.
//! Never writes anything itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{AccountAddress, ModuleId, StructTag, TypeTag};

/// The state as of the transaction's start. Reads must not change during a session.
pub trait Storage {
    /// The bytecode of a module. The same `Arc` for the same bytes makes module caching cheap.
    fn module(&self, id: &ModuleId) -> Result<Option<Arc<[u8]>>, StorageError>;
    /// The BCS bytes of a resource.
    fn resource(
        &self,
        address: &AccountAddress,
        tag: &StructTag,
    ) -> Result<Option<Vec<u8>>, StorageError>;
    /// The BCS bytes of a table's value under the BCS bytes of its key.
    fn table_item(
        &self,
        handle: &AccountAddress,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StorageError>;
}

/// The state could not be read. The session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state could not be read: {0}")]
pub struct StorageError(pub String);

/// What one transaction knows of its surroundings.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Chain id, as signed by the sender.
    pub chain_id: u8,
    /// Block time in microseconds.
    pub timestamp_us: u64,
    /// Hash of the transaction; seeds table handles and unique addresses.
    pub transaction_hash: [u8; 32],
    /// The transaction's sender; zero for views.
    pub sender: AccountAddress,
}

/// Where a value lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateKey {
    /// A module's bytecode.
    Module(ModuleId),
    /// A resource under an address.
    Resource(AccountAddress, StructTag),
    /// A table item: handle and BCS key.
    TableItem(AccountAddress, Vec<u8>),
}

/// An emitted event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The type of the data.
    pub type_tag: TypeTag,
    /// Its BCS bytes.
    pub data: Vec<u8>,
}

/// All that a finished session wants changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// New bytes per key; `None` deletes.
    pub writes: BTreeMap<StateKey, Option<Vec<u8>>>,
    /// Events in the order of emission.
    pub events: Vec<Event>,
    /// Gas units used, rounded up.
    pub gas_used: u64,
}
