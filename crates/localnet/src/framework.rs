//! The framework as the chain itself uses it: names of its functions and layouts of its resources.
//! Never decides anything: rules of money live in the framework's bytecode.

use std::sync::Arc;

use cactus_move_vm::{AccountAddress, ModuleId, Storage, StorageError, StructTag};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha3::{Digest, Sha3_256};

use crate::state::{Write, resource_key};
use crate::transaction::Hash;

/// Where the framework lives: `0x1`.
pub const FRAMEWORK: AccountAddress = AccountAddress::ONE;
/// The metadata object of APT: `0xa`.
pub const APT_METADATA: AccountAddress = AccountAddress::small(10);
/// Marks addresses of primary stores (`object::OBJECT_DERIVED_SCHEME`).
const DERIVED_OBJECT: u8 = 0xFC;

/// `0x1::account::Account`, from its first field on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// What a signer's key must hash to.
    pub authentication_key: Vec<u8>,
    /// How many transactions the account has sent.
    pub sequence_number: u64,
    /// How many handles and objects it has created.
    pub guid_creation_number: u64,
}

#[derive(Deserialize)]
struct FungibleStore {
    _metadata: AccountAddress,
    balance: u64,
    _frozen: bool,
}

/// A framework module's id.
pub fn module(name: &str) -> ModuleId {
    ModuleId::new(FRAMEWORK, name)
}

/// The account resource; `None` when nothing created it yet.
pub fn account(
    state: &dyn Storage,
    address: &AccountAddress,
) -> Result<Option<Account>, StorageError> {
    read(state, address, "account", "Account")
}

/// An account's sequence number; 0 when it has no resource.
pub fn sequence_number(state: &dyn Storage, address: &AccountAddress) -> Result<u64, StorageError> {
    Ok(account(state, address)?.map_or(0, |account| account.sequence_number))
}

/// Octas in an account's primary store of APT.
pub fn apt_balance(state: &dyn Storage, owner: &AccountAddress) -> Result<u64, StorageError> {
    balance(state, owner, &APT_METADATA)
}

/// Units in an account's primary store of the asset whose metadata object is `metadata`.
pub fn balance(
    state: &dyn Storage,
    owner: &AccountAddress,
    metadata: &AccountAddress,
) -> Result<u64, StorageError> {
    let store = primary_store(owner, metadata);
    let store: Option<FungibleStore> = read(state, &store, "fungible_asset", "FungibleStore")?;
    Ok(store.map_or(0, |store| store.balance))
}

/// The address of `owner`'s primary store: `sha3(owner ‖ metadata ‖ FC)`.
pub fn primary_store(owner: &AccountAddress, metadata: &AccountAddress) -> AccountAddress {
    let mut hasher = Sha3_256::new();
    hasher.update(owner.0);
    hasher.update(metadata.0);
    hasher.update([DERIVED_OBJECT]);
    AccountAddress(Hash::from(hasher.finalize()))
}

fn read<T: DeserializeOwned>(
    state: &dyn Storage,
    address: &AccountAddress,
    module: &str,
    name: &str,
) -> Result<Option<T>, StorageError> {
    let Some(bytes) = state.resource(address, &tag(module, name))? else {
        return Ok(None);
    };
    let malformed = |error| StorageError(format!("{module}::{name} is malformed: {error}"));
    aptos_bcs::from_bytes(&bytes).map(Some).map_err(malformed)
}

/// The write that sets `0x1::timestamp::CurrentTimeMicroseconds`.
pub fn clock_write(timestamp_us: u64) -> Result<Write, StorageError> {
    let key = resource_key(&FRAMEWORK, &tag("timestamp", "CurrentTimeMicroseconds"))
        .map_err(|error| StorageError(error.to_string()))?;
    Ok((key, Some(Arc::from(timestamp_us.to_le_bytes()))))
}

fn tag(module: &str, name: &str) -> StructTag {
    StructTag {
        address: FRAMEWORK,
        module: module.to_owned(),
        name: name.to_owned(),
        type_args: Vec::new(),
    }
}
