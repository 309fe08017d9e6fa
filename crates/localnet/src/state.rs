//! The chain's state: how keys are laid out, and a view of it with a block's writes on top.
//! Never writes to disk.

use std::collections::HashMap;
use std::sync::Arc;

use cactus_move_vm::{AccountAddress, ModuleId, StateKey, Storage, StorageError, StructTag};
use sha3::{Digest, Sha3_256};

use crate::store::Snapshot;

const MODULE: u8 = 0;
const RESOURCE: u8 = 1;
const TABLE_ITEM: u8 = 2;

/// Bytes of a state key: kind, address or table handle, then module name, BCS of the type, or the
/// table's key. Keys of one account and kind are neighbours.
pub type KeyBytes = Box<[u8]>;

/// A value; `None` deletes.
pub type Write = (KeyBytes, Option<Arc<[u8]>>);

/// Whether a write changes bytecode.
pub fn changes_a_module(write: &Write) -> bool {
    write.0.first() == Some(&MODULE)
}

/// Lays out a key.
pub fn encode_key(key: &StateKey) -> Result<KeyBytes, aptos_bcs::Error> {
    Ok(match key {
        StateKey::Module(id) => module_key(id),
        StateKey::Resource(address, tag) => resource_key(address, tag)?,
        StateKey::TableItem(handle, key) => table_key(handle, key),
    })
}

/// Reads a key back; `None` for bytes that no key has.
pub fn decode_key(bytes: &[u8]) -> Option<StateKey> {
    let (kind, rest) = bytes.split_first()?;
    let (address, rest) = rest.split_at_checked(32)?;
    let address = AccountAddress(address.try_into().ok()?);
    match *kind {
        MODULE => {
            let name = std::str::from_utf8(rest).ok()?;
            Some(StateKey::Module(ModuleId::new(address, name)))
        }
        RESOURCE => Some(StateKey::Resource(address, aptos_bcs::from_bytes(rest).ok()?)),
        TABLE_ITEM => Some(StateKey::TableItem(address, rest.to_vec())),
        _ => None,
    }
}

fn laid_out(kind: u8, address: &AccountAddress, rest: &[u8]) -> KeyBytes {
    let mut bytes = Vec::with_capacity(33 + rest.len());
    bytes.push(kind);
    bytes.extend_from_slice(&address.0);
    bytes.extend_from_slice(rest);
    bytes.into_boxed_slice()
}

pub fn module_key(id: &ModuleId) -> KeyBytes {
    laid_out(MODULE, &id.address, id.name.as_bytes())
}

pub fn resource_key(
    address: &AccountAddress,
    tag: &StructTag,
) -> Result<KeyBytes, aptos_bcs::Error> {
    Ok(laid_out(RESOURCE, address, &aptos_bcs::to_bytes(tag)?))
}

pub fn table_key(handle: &AccountAddress, key: &[u8]) -> KeyBytes {
    laid_out(TABLE_ITEM, handle, key)
}

/// What every module of an account starts with.
pub fn module_prefix(address: &AccountAddress) -> KeyBytes {
    laid_out(MODULE, address, &[])
}

/// What every resource of an account starts with.
pub fn resource_prefix(address: &AccountAddress) -> KeyBytes {
    laid_out(RESOURCE, address, &[])
}

/// Committed state with the writes of a block under construction on top.
pub struct Overlay {
    base: Option<Arc<Snapshot>>,
    writes: HashMap<KeyBytes, Option<Arc<[u8]>>>,
    checksum: Checksum,
}

impl Overlay {
    /// Over `base`; over nothing at genesis.
    pub fn new(base: Option<Arc<Snapshot>>) -> Self {
        let checksum = base.as_ref().map(|base| base.ledger().checksum);
        Self { base, writes: HashMap::new(), checksum: checksum.unwrap_or_default() }
    }

    /// Puts one transaction's writes on top.
    pub fn apply(&mut self, writes: &[Write]) -> Result<(), StorageError> {
        for (key, value) in writes {
            if let Some(old) = self.read(key)? {
                self.checksum.remove(key, &old);
            }
            if let Some(new) = value {
                self.checksum.add(key, new);
            }
            self.writes.insert(key.clone(), value.clone());
        }
        Ok(())
    }

    /// The checksum of the state with the writes applied.
    pub fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// The last write per key, in the order of keys.
    pub fn into_writes(self) -> Vec<Write> {
        let mut writes: Vec<Write> = self.writes.into_iter().collect();
        writes.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        writes
    }

    fn read(&self, key: &[u8]) -> Result<Option<Arc<[u8]>>, StorageError> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => Ok(self.committed(key)?.map(Arc::from)),
        }
    }

    fn read_bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self.writes.get(key) {
            Some(written) => Ok(written.as_deref().map(<[u8]>::to_vec)),
            None => self.committed(key),
        }
    }

    fn committed(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match &self.base {
            Some(base) => Ok(base.state(key)?),
            None => Ok(None),
        }
    }
}

impl Storage for Overlay {
    fn module(&self, id: &ModuleId) -> Result<Option<Arc<[u8]>>, StorageError> {
        if let Some(written) = self.writes.get(&module_key(id)) {
            return Ok(written.clone());
        }
        self.base.as_ref().map_or(Ok(None), |base| base.module(id))
    }

    fn resource(
        &self,
        address: &AccountAddress,
        tag: &StructTag,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let key = resource_key(address, tag).map_err(|error| StorageError(error.to_string()))?;
        self.read_bytes(&key)
    }

    fn table_item(
        &self,
        handle: &AccountAddress,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StorageError> {
        self.read_bytes(&table_key(handle, key))
    }
}

/// A sum over all entries of the state, so that it can follow each write and be recomputed from
/// scratch: SHA3-256 of every entry, added modulo 2^256. It finds damage and divergence between
/// replays; it is no commitment against someone who may choose the entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checksum([u64; 4]);

impl Checksum {
    /// Counts an entry in.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        let mut carry = false;
        for (limb, other) in self.0.iter_mut().zip(entry_limbs(key, value)) {
            let (sum, over) = limb.overflowing_add(other);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = over || over_again;
        }
    }

    /// Counts an entry out.
    pub fn remove(&mut self, key: &[u8], value: &[u8]) {
        let mut borrow = false;
        for (limb, other) in self.0.iter_mut().zip(entry_limbs(key, value)) {
            let (difference, under) = limb.overflowing_sub(other);
            let (difference, under_again) = difference.overflowing_sub(u64::from(borrow));
            *limb = difference;
            borrow = under || under_again;
        }
    }

    /// 32 bytes, least significant first.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }
}

fn entry_limbs(key: &[u8], value: &[u8]) -> [u64; 4] {
    let mut hasher = Sha3_256::new();
    let length = u64::try_from(key.len()).unwrap_or(u64::MAX);
    hasher.update(length.to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    let digest = hasher.finalize();
    let mut limbs = [0; 4];
    for (limb, chunk) in limbs.iter_mut().zip(digest.chunks_exact(8)) {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(chunk);
        *limb = u64::from_le_bytes(bytes);
    }
    limbs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_a_round_trip() {
        let address = AccountAddress([7; 32]);
        let tag: StructTag = "0x1::coin::CoinStore<0x1::aptos_coin::AptosCoin>".parse().unwrap();
        for key in [
            StateKey::Module(ModuleId::new(address, "payment")),
            StateKey::Resource(address, tag),
            StateKey::TableItem(address, vec![1, 2, 3]),
        ] {
            let bytes = encode_key(&key).unwrap();
            assert_eq!(decode_key(&bytes), Some(key));
        }
        assert_eq!(decode_key(&[9; 40]), None);
        assert_eq!(decode_key(&[0; 4]), None);
    }

    #[test]
    fn the_checksum_forgets_what_was_removed_and_ignores_order() {
        let entries: Vec<(Vec<u8>, Vec<u8>)> =
            (0..50u8).map(|i| (vec![i; 3], vec![i; usize::from(i)])).collect();
        let mut forwards = Checksum::default();
        let mut backwards = Checksum::default();
        for (key, value) in &entries {
            forwards.add(key, value);
        }
        for (key, value) in entries.iter().rev() {
            backwards.add(key, value);
        }
        assert_eq!(forwards, backwards);
        for (key, value) in &entries {
            forwards.remove(key, value);
        }
        assert_eq!(forwards, Checksum::default());
        // The boundary between key and value counts.
        let (mut left, mut right) = (Checksum::default(), Checksum::default());
        left.add(b"ab", b"c");
        right.add(b"a", b"bc");
        assert_ne!(left, right);
    }
}
