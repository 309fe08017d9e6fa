//! The durable ledger in redb: state, transactions, blocks and indexes.
//! Never shows a reader half a block: readers hold a snapshot, and a block is one commit.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use cactus_move_vm::{AccountAddress, ModuleId, Storage, StorageError, StructTag};
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;

use crate::records::{BlockRecord, ChangeRecord, Ledger, TransactionRecord, Version};
use crate::state::{
    Checksum, Write, changes_a_module, module_key, module_prefix, resource_key, resource_prefix,
    table_key,
};
use crate::transaction::Hash;

const STATE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("state");
const TRANSACTIONS: TableDefinition<u64, &[u8]> = TableDefinition::new("transactions");
const CHANGES: TableDefinition<u64, &[u8]> = TableDefinition::new("changes");
const BLOCKS: TableDefinition<u64, &[u8]> = TableDefinition::new("blocks");
const HASHES: TableDefinition<&[u8; 32], u64> = TableDefinition::new("hashes");
const ACCOUNTS: TableDefinition<(&[u8; 32], u64), u64> =
    TableDefinition::new("account_transactions");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// The one key of `META`: BCS of [`Ledger`].
const LEDGER: &str = "ledger";
/// Bytes of the database that redb may keep in memory.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The store failed. The chain cannot go on writing; what was committed is safe.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database or its disk.
    #[error("database: {0}")]
    Database(#[from] Box<redb::Error>),
    /// Bytes in the database that no release of this chain wrote.
    #[error("the database holds a malformed {what}: {cause}")]
    Malformed {
        /// Which record.
        what: &'static str,
        /// Why.
        cause: aptos_bcs::Error,
    },
}

impl From<StoreError> for StorageError {
    fn from(error: StoreError) -> Self {
        StorageError(error.to_string())
    }
}

/// redb has one error type per operation; all of them mean the same here.
fn database<E: Into<redb::Error>>(error: E) -> StoreError {
    StoreError::Database(Box::new(error.into()))
}

fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, StoreError> {
    aptos_bcs::from_bytes(bytes).map_err(|cause| StoreError::Malformed { what, cause })
}

fn encode<T: serde::Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, StoreError> {
    aptos_bcs::to_bytes(value).map_err(|cause| StoreError::Malformed { what, cause })
}

/// A transaction with all that goes to disk for it.
pub struct CommittedTransaction {
    pub record: TransactionRecord,
    /// BCS of its [`ChangeRecord`]s.
    pub changes: Vec<u8>,
    /// Sender and sequence number of a user transaction.
    pub sender: Option<(AccountAddress, u64)>,
}

/// A whole block, ready to be made durable.
pub struct CommittedBlock {
    pub transactions: Vec<CommittedTransaction>,
    pub block: BlockRecord,
    /// The last write per key.
    pub writes: Vec<Write>,
    /// Where the chain stands afterwards.
    pub ledger: Ledger,
}

/// The database.
pub struct Store {
    database: Database,
}

/// A key of the state and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

type Modules = Arc<RwLock<HashMap<ModuleId, Arc<[u8]>>>>;

impl Store {
    /// Opens or creates the database file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::with(Builder::new().set_cache_size(CACHE_BYTES).create(path))
    }

    /// A store that is gone when dropped.
    pub fn in_memory() -> Result<Self, StoreError> {
        let backend = InMemoryBackend::new();
        Self::with(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend))
    }

    fn with(opened: Result<Database, redb::DatabaseError>) -> Result<Self, StoreError> {
        Ok(Self { database: opened.map_err(database)? })
    }

    /// The committed ledger; `None` before genesis.
    pub fn snapshot(&self) -> Result<Option<Arc<Snapshot>>, StoreError> {
        let snapshot = Snapshot::open(&self.database, Modules::default())?;
        Ok(snapshot.map(Arc::new))
    }

    /// Makes a block durable and answers the ledger after it. `base` is the ledger before it. When
    /// this fails the block may or may not be on disk: the store must be reopened before it is
    /// written again.
    pub fn commit(
        &self,
        base: Option<&Snapshot>,
        block: &CommittedBlock,
    ) -> Result<Arc<Snapshot>, StoreError> {
        let transaction = self.database.begin_write().map_err(database)?;
        write_block(&transaction, block)?;
        transaction.commit().map_err(database)?;
        // Cached bytecode stays only while no module changes.
        let modules = match base {
            Some(base) if !block.writes.iter().any(changes_a_module) => Arc::clone(&base.modules),
            _ => Modules::default(),
        };
        let snapshot = Snapshot::open(&self.database, modules)?;
        let gone = || database(redb::Error::Corrupted("the ledger is gone".to_owned()));
        snapshot.map(Arc::new).ok_or_else(gone)
    }
}

fn write_block(
    transaction: &redb::WriteTransaction,
    block: &CommittedBlock,
) -> Result<(), StoreError> {
    write_state(transaction, &block.writes)?;
    write_transactions(transaction, block)?;
    let mut blocks = transaction.open_table(BLOCKS).map_err(database)?;
    let bytes = encode("block", &block.block)?;
    blocks.insert(block.ledger.height, bytes.as_slice()).map_err(database)?;
    let mut meta = transaction.open_table(META).map_err(database)?;
    let bytes = encode("ledger", &block.ledger)?;
    meta.insert(LEDGER, bytes.as_slice()).map_err(database)?;
    Ok(())
}

fn write_state(transaction: &redb::WriteTransaction, writes: &[Write]) -> Result<(), StoreError> {
    let mut state = transaction.open_table(STATE).map_err(database)?;
    for (key, value) in writes {
        match value {
            Some(value) => drop(state.insert(&**key, &**value).map_err(database)?),
            None => drop(state.remove(&**key).map_err(database)?),
        }
    }
    Ok(())
}

fn write_transactions(
    transaction: &redb::WriteTransaction,
    block: &CommittedBlock,
) -> Result<(), StoreError> {
    let mut transactions = transaction.open_table(TRANSACTIONS).map_err(database)?;
    let mut changes = transaction.open_table(CHANGES).map_err(database)?;
    let mut hashes = transaction.open_table(HASHES).map_err(database)?;
    let mut accounts = transaction.open_table(ACCOUNTS).map_err(database)?;
    for (version, one) in (block.block.first_version..).zip(&block.transactions) {
        let bytes = encode("transaction", &one.record)?;
        transactions.insert(version, bytes.as_slice()).map_err(database)?;
        changes.insert(version, one.changes.as_slice()).map_err(database)?;
        hashes.insert(&one.record.hash, version).map_err(database)?;
        if let Some((address, sequence_number)) = &one.sender {
            accounts.insert((&address.0, *sequence_number), version).map_err(database)?;
        }
    }
    Ok(())
}

/// The ledger as of one block. Cheap to share; holding one for long keeps old pages on disk.
pub struct Snapshot {
    ledger: Ledger,
    state: ReadOnlyTable<&'static [u8], &'static [u8]>,
    transactions: ReadOnlyTable<u64, &'static [u8]>,
    changes: ReadOnlyTable<u64, &'static [u8]>,
    blocks: ReadOnlyTable<u64, &'static [u8]>,
    hashes: ReadOnlyTable<&'static [u8; 32], u64>,
    accounts: ReadOnlyTable<(&'static [u8; 32], u64), u64>,
    /// Bytecode already read: one `Arc` per module, which the machine's own cache relies on.
    modules: Modules,
}

impl Snapshot {
    fn open(from: &Database, modules: Modules) -> Result<Option<Self>, StoreError> {
        let read = from.begin_read().map_err(database)?;
        let meta = match read.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            opened => opened.map_err(database)?,
        };
        let Some(ledger) = meta.get(LEDGER).map_err(database)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            ledger: decode("ledger", ledger.value())?,
            state: read.open_table(STATE).map_err(database)?,
            transactions: read.open_table(TRANSACTIONS).map_err(database)?,
            changes: read.open_table(CHANGES).map_err(database)?,
            blocks: read.open_table(BLOCKS).map_err(database)?,
            hashes: read.open_table(HASHES).map_err(database)?,
            accounts: read.open_table(ACCOUNTS).map_err(database)?,
            modules,
        }))
    }

    /// Where the chain stands.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The value under a laid-out key.
    pub fn state(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.state.get(key).map_err(database)?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    /// Keys and values that start with `prefix`, at most `limit` of them, from `start` on.
    fn scan(&self, prefix: &[u8], start: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        for entry in self.state.range(start..).map_err(database)? {
            let (key, value) = entry.map_err(database)?;
            if found.len() == limit || !key.value().starts_with(prefix) {
                break;
            }
            found.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(found)
    }

    /// Resources of an account, at most `limit` of them, from the key `start` on.
    pub fn resources(
        &self,
        address: &AccountAddress,
        start: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let prefix = resource_prefix(address);
        self.scan(&prefix, start.unwrap_or(&prefix), limit)
    }

    /// Modules of an account, at most `limit` of them, from the key `start` on.
    pub fn modules(
        &self,
        address: &AccountAddress,
        start: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let prefix = module_prefix(address);
        self.scan(&prefix, start.unwrap_or(&prefix), limit)
    }

    /// The transaction at a version.
    pub fn transaction(&self, version: Version) -> Result<Option<TransactionRecord>, StoreError> {
        let bytes = self.transactions.get(version).map_err(database)?;
        bytes.map(|bytes| decode("transaction", bytes.value())).transpose()
    }

    /// What the transaction at a version changed.
    pub fn changes(&self, version: Version) -> Result<Vec<ChangeRecord>, StoreError> {
        let bytes = self.changes.get(version).map_err(database)?;
        let changes = bytes.map(|bytes| decode("change set", bytes.value())).transpose()?;
        Ok(changes.unwrap_or_default())
    }

    /// The version of the transaction with a hash.
    pub fn version_of(&self, hash: &Hash) -> Result<Option<Version>, StoreError> {
        let version = self.hashes.get(hash).map_err(database)?;
        Ok(version.map(|version| version.value()))
    }

    /// Versions of an account's transactions from a sequence number on.
    pub fn account_versions(
        &self,
        address: &AccountAddress,
        start: u64,
        limit: usize,
    ) -> Result<Vec<Version>, StoreError> {
        let range = (&address.0, start)..=(&address.0, u64::MAX);
        let found = self.accounts.range(range).map_err(database)?;
        found
            .take(limit)
            .map(|entry| entry.map(|(_, version)| version.value()).map_err(database))
            .collect()
    }

    /// The number of an account's committed transactions that are on record.
    pub fn last_sequence_number(
        &self,
        address: &AccountAddress,
    ) -> Result<Option<u64>, StoreError> {
        let range = (&address.0, 0)..=(&address.0, u64::MAX);
        let last = self.accounts.range(range).map_err(database)?.next_back();
        let last = last.transpose().map_err(database)?;
        Ok(last.map(|(key, _)| key.value().1))
    }

    /// A block.
    pub fn block(&self, height: u64) -> Result<Option<BlockRecord>, StoreError> {
        let bytes = self.blocks.get(height).map_err(database)?;
        bytes.map(|bytes| decode("block", bytes.value())).transpose()
    }

    /// The checksum computed anew from every entry of the state.
    pub fn recompute_checksum(&self) -> Result<Checksum, StoreError> {
        let mut checksum = Checksum::default();
        for entry in self.state.iter().map_err(database)? {
            let (key, value) = entry.map_err(database)?;
            checksum.add(key.value(), value.value());
        }
        Ok(checksum)
    }
}

impl Storage for Snapshot {
    fn module(&self, id: &ModuleId) -> Result<Option<Arc<[u8]>>, StorageError> {
        let cached = self.modules.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = cached.get(id) {
            return Ok(Some(Arc::clone(bytes)));
        }
        drop(cached);
        let Some(bytes) = self.state(&module_key(id))? else {
            return Ok(None);
        };
        let mut cache = self.modules.write().unwrap_or_else(PoisonError::into_inner);
        let bytes = cache.entry(id.clone()).or_insert_with(|| Arc::from(bytes));
        Ok(Some(Arc::clone(bytes)))
    }

    fn resource(
        &self,
        address: &AccountAddress,
        tag: &StructTag,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let key = resource_key(address, tag).map_err(|error| StorageError(error.to_string()))?;
        Ok(self.state(&key)?)
    }

    fn table_item(
        &self,
        handle: &AccountAddress,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.state(&table_key(handle, key))?)
    }
}
