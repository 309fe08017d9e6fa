//! A chain for development in one process: executes the contracts' real bytecode and answers
//! Aptos' REST API, with a faucet, on one listener.
//! Never holds a rule of money: those are Move code, executed by `cactus-move-vm`.
#![warn(missing_docs)]

mod authenticator;
mod block;
mod chain;
mod clock;
mod execution;
mod faucet;
mod framework;
mod genesis;
mod interfaces;
mod mempool;
mod nonces;
mod producer;
mod records;
mod refusal;
mod replay;
mod rest;
mod signature;
mod state;
mod store;
mod transaction;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cactus_move_vm::{AccountAddress, Vm};
use tokio_util::sync::CancellationToken;

pub use chain::SubmitError;
pub use faucet::address as faucet_address;
pub use genesis::GenesisError;
pub use mempool::NotAdmitted;
pub use refusal::Refusal;
pub use replay::{Audit, AuditError};
pub use rest::ServeError;
pub use store::StoreError;
pub use transaction::Hash;

use chain::{Chain, Lookup};
use store::{Snapshot, Store};

/// The address of the contracts and of their first admin: that of the key from [`admin_seed`].
pub const CONTRACT_ADDRESS: AccountAddress = AccountAddress([
    0x77, 0x0e, 0xb1, 0xb3, 0x17, 0x0b, 0xcd, 0xd2, 0x7a, 0xab, 0x10, 0xae, 0xd5, 0x4a, 0x73, 0xbf,
    0x2b, 0x40, 0xf4, 0x9c, 0x88, 0xae, 0x43, 0x09, 0x57, 0x99, 0x27, 0x98, 0xc9, 0xcd, 0xfe, 0xd8,
]);

/// The chain id that Aptos' local networks have.
pub const LOCALNET_CHAIN_ID: u8 = 4;

/// The database file in the data directory.
const DATABASE_FILE: &str = "chain.redb";

/// The ed25519 seed of the admin of a local chain. Public knowledge: nothing there has value.
pub fn admin_seed() -> [u8; 32] {
    transaction::sha3(b"cactus::localnet::admin")
}

/// How to open a chain.
#[derive(Clone, Debug)]
pub struct LocalnetConfig {
    /// Where the chain lives; in memory when `None`.
    pub data_dir: Option<PathBuf>,
    /// Which network a new chain is; an existing one must be the same.
    pub chain_id: u8,
}

impl Default for LocalnetConfig {
    /// In memory, with the chain id of Aptos' local networks.
    fn default() -> Self {
        Self { data_dir: None, chain_id: LOCALNET_CHAIN_ID }
    }
}

/// Why a chain did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be created.
    #[error("cannot create the data directory {path}: {cause}")]
    DataDirectory {
        /// Which one.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The database cannot be opened: often because another process has it open.
    #[error("cannot open the chain's database: {0}")]
    Store(#[from] StoreError),
    /// The committed bytecode cannot start a chain.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The data directory holds another network.
    #[error("the data directory holds chain {found}, not chain {wanted}")]
    OtherChain {
        /// What was asked for.
        wanted: u8,
        /// What is there.
        found: u8,
    },
    /// No thread for the block producer.
    #[error("cannot start the block producer: {0}")]
    Thread(std::io::Error),
}

/// What is known about a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// It waits for a block.
    Pending,
    /// It is durable.
    Committed {
        /// Its place in the ledger.
        version: u64,
        /// Whether it did what it was asked to; gas is charged either way.
        success: bool,
    },
    /// It was never seen, or it was discarded.
    Unknown,
}

/// A running chain. Clones share it; the last one dropped stops the block producer.
#[derive(Clone)]
pub struct Localnet {
    running: Arc<Running>,
}

struct Running {
    chain: Arc<Chain>,
    producer: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let waiting = self.chain.lock_waiting();
        self.chain.stopped.store(true, Ordering::Release);
        self.chain.work.notify_all();
        drop(waiting);
        let producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if producer.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the block producer panicked");
        }
    }
}

impl Localnet {
    /// Opens a chain and starts its block producer. A new one gets the framework and the
    /// contracts, published through the ordinary path.
    pub fn open(config: LocalnetConfig) -> Result<Self, OpenError> {
        let store = open_store(config.data_dir.as_deref())?;
        let vm = Vm::new();
        let newest = match store.snapshot()? {
            Some(existing) => checked(existing, config.chain_id)?,
            None => store.commit(None, &genesis::genesis_block(&vm, config.chain_id)?)?,
        };
        let ledger = *newest.ledger();
        tracing::info!(ledger.version, ledger.height, chain_id = ledger.chain_id, "chain opened");
        let chain = Arc::new(Chain::new(vm, store, newest));
        // Genesis knows no time: the first block shows it.
        chain.lock_waiting().tick = ledger.height == 0;
        let producing = Arc::clone(&chain);
        let thread = std::thread::Builder::new()
            .name("block-producer".to_owned())
            .stack_size(16 * 1024 * 1024)
            .spawn(move || producer::run(&producing))
            .map_err(OpenError::Thread)?;
        let running = Running { chain, producer: Mutex::new(Some(thread)) };
        Ok(Self { running: Arc::new(running) })
    }

    /// Serves the REST API at `/v1` and the faucet until `shutdown` is cancelled, then drains.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        rest::serve(Arc::clone(&self.running.chain), listener, shutdown).await
    }

    /// Moves block time forward and returns when a block shows it. For tests of what takes days.
    pub fn advance_clock(&self, by: Duration) {
        self.running.chain.advance_clock(by);
    }

    /// Fault injection: while offline every request is answered with 503.
    pub fn set_online(&self, online: bool) {
        self.running.chain.set_online(online);
    }

    /// Submits BCS of a signed transaction without HTTP; answers its hash.
    pub fn submit(&self, signed_transaction: Vec<u8>) -> Result<Hash, SubmitError> {
        let submitted = self.running.chain.submit(signed_transaction)?;
        Ok(submitted.hash)
    }

    /// Waits at most `limit` for a transaction to be committed or discarded.
    pub async fn wait(
        &self,
        hash: &Hash,
        limit: Duration,
    ) -> Result<TransactionStatus, StoreError> {
        let chain = &self.running.chain;
        match chain.wait_for(hash, limit).await? {
            Lookup::Pending(_) => Ok(TransactionStatus::Pending),
            Lookup::Unknown => Ok(TransactionStatus::Unknown),
            Lookup::Committed(version) => {
                let record = chain.snapshot().transaction(version)?;
                let success = record.is_some_and(|record| record.outcome.success);
                Ok(TransactionStatus::Committed { version, success })
            }
        }
    }

    /// Executes the whole ledger again in memory and compares every outcome and the state.
    pub fn audit(&self) -> Result<Audit, AuditError> {
        replay::audit(&self.running.chain.snapshot())
    }
}

fn open_store(data_dir: Option<&Path>) -> Result<Store, OpenError> {
    let Some(path) = data_dir else {
        return Ok(Store::in_memory()?);
    };
    std::fs::create_dir_all(path)
        .map_err(|cause| OpenError::DataDirectory { path: path.to_owned(), cause })?;
    Ok(Store::open(&path.join(DATABASE_FILE))?)
}

fn checked(existing: Arc<Snapshot>, wanted: u8) -> Result<Arc<Snapshot>, OpenError> {
    let found = existing.ledger().chain_id;
    if found != wanted {
        return Err(OpenError::OtherChain { wanted, found });
    }
    let different = genesis::modules_not_on_chain(&*existing);
    if !different.is_empty() {
        tracing::warn!(
            modules = different.join(" "),
            "the data directory was made by another release: its contracts differ from this one's"
        );
    }
    Ok(existing)
}
