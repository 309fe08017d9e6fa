//! The chain as its users see it: submit, look up, simulate, view.
//! Never executes a block itself: that is the producer's, on its own thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cactus_move_vm::{
    AccountAddress, AnnotatedValue, Context, Storage, StorageError, TypeTag, Vm, VmStatus,
};
use tokio::sync::watch;

use crate::authenticator::{Authenticated, AuthenticationError, authenticate, for_simulation};
use crate::clock::{Clock, wall_clock_seconds};
use crate::execution::{Discarded, Executed, Execution, check_accounts, check_stateless};
use crate::faucet::Faucet;
use crate::framework;
use crate::interfaces::Interfaces;
use crate::mempool::{Mempool, NotAdmitted};
use crate::nonces;
use crate::records::Version;
use crate::refusal::Refusal;
use crate::state::Overlay;
use crate::store::{Snapshot, Store, StoreError};
use crate::transaction::{EntryFunction, Hash, MalformedTransaction};

/// Gas units for one view.
const VIEW_GAS: u64 = 2_000_000;

/// Why a submission was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Not a transaction.
    #[error(transparent)]
    Malformed(#[from] MalformedTransaction),
    /// A transaction that can never be executed as it is.
    #[error("Invalid transaction: Type: Validation Code: {0}")]
    Refused(#[from] Refusal),
    /// Try again later: too much is waiting.
    #[error("{0}")]
    NotAdmitted(NotAdmitted),
    /// The chain does not go on: its disk failed or it is shutting down.
    #[error("the chain has stopped")]
    Stopped,
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StorageError),
    /// The framework itself failed.
    #[error("the framework failed: {0}")]
    Framework(VmStatus),
}

impl From<NotAdmitted> for SubmitError {
    fn from(reason: NotAdmitted) -> Self {
        match reason {
            NotAdmitted::Refused(refusal) => Self::Refused(refusal),
            other => Self::NotAdmitted(other),
        }
    }
}

impl From<AuthenticationError> for SubmitError {
    fn from(error: AuthenticationError) -> Self {
        match error {
            AuthenticationError::Malformed(malformed) => Self::Malformed(malformed),
            AuthenticationError::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl From<Discarded> for SubmitError {
    fn from(discarded: Discarded) -> Self {
        match discarded {
            Discarded::Refused(refusal) => Self::Refused(refusal),
            Discarded::Fault(VmStatus::Storage(error)) => Self::State(error),
            Discarded::Fault(status) => Self::Framework(status),
        }
    }
}

/// What a view function gave.
pub struct Viewed {
    /// Its results with their types.
    pub results: Vec<(TypeTag, Vec<u8>)>,
    /// Gas units that a transaction would have paid for it.
    pub gas_used: u64,
}

/// What is known about a transaction.
pub enum Lookup {
    /// It waits or is in the block under construction.
    Pending(Arc<Authenticated>),
    /// It is durable at this version.
    Committed(Version),
    /// Never seen, or discarded.
    Unknown,
}

/// What is asked of the producer besides blocks of waiting transactions.
#[derive(Default)]
pub(crate) struct Waiting {
    pub mempool: Mempool,
    /// Build a block even with nothing in it.
    pub tick: bool,
}

/// State shared by the producer, the REST server and [`crate::Localnet`].
pub struct Chain {
    pub(crate) vm: Vm,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) waiting: Mutex<Waiting>,
    /// Signalled when there is work for the producer.
    pub(crate) work: Condvar,
    /// Signalled after every block.
    pub(crate) settled: Condvar,
    pub(crate) newest: watch::Sender<Arc<Snapshot>>,
    pub(crate) stopped: AtomicBool,
    pub(crate) faucet: Faucet,
    pub(crate) interfaces: Interfaces,
    online: AtomicBool,
    chain_id: u8,
}

impl Chain {
    /// A chain on top of a store that holds at least genesis.
    pub(crate) fn new(vm: Vm, store: Store, newest: Arc<Snapshot>) -> Self {
        Self {
            vm,
            store,
            clock: Clock::new(newest.ledger().clock_ahead_us),
            waiting: Mutex::default(),
            work: Condvar::new(),
            settled: Condvar::new(),
            chain_id: newest.ledger().chain_id,
            newest: watch::Sender::new(newest),
            stopped: AtomicBool::new(false),
            faucet: Faucet::default(),
            interfaces: Interfaces::default(),
            online: AtomicBool::new(true),
        }
    }

    /// Which network this is.
    pub fn chain_id(&self) -> u8 {
        self.chain_id
    }

    /// The last committed state.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.newest.borrow())
    }

    /// Whether requests are to be answered.
    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Acquire)
    }

    /// Makes the REST server refuse everything, or serve again.
    pub fn set_online(&self, online: bool) {
        self.online.store(online, Ordering::Release);
    }

    pub(crate) fn lock_waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a transaction in, after all checks that can be made before its turn.
    pub fn submit(&self, bytes: Vec<u8>) -> Result<Arc<Authenticated>, SubmitError> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(SubmitError::Stopped);
        }
        let transaction = Arc::new(authenticate(bytes)?);
        check_stateless(&transaction, self.chain_id, wall_clock_seconds())?;
        check_accounts(&*self.snapshot(), &transaction)?;
        let sender = transaction.transaction.raw.sender;
        let mut waiting = self.lock_waiting();
        let committed = framework::sequence_number(&*self.snapshot(), &sender)?;
        if let Some(nonce) = transaction.transaction.raw.nonce() {
            nonces::mark_used(&*self.snapshot(), &transaction.transaction.raw, nonce)?;
        }
        waiting.mempool.insert(Arc::clone(&transaction), committed)?;
        if waiting.mempool.has_ready() {
            self.work.notify_one();
        }
        Ok(transaction)
    }

    /// Looks a transaction up by hash.
    pub fn look_up(&self, hash: &Hash) -> Result<Lookup, StoreError> {
        // Waiting transactions first: one that commits in between is found in the ledger.
        if let Some(pending) = self.lock_waiting().mempool.get(hash) {
            return Ok(Lookup::Pending(pending));
        }
        let version = self.snapshot().version_of(hash)?;
        Ok(version.map_or(Lookup::Unknown, Lookup::Committed))
    }

    /// Looks a transaction up and waits at most `limit` for it to be committed or discarded.
    pub async fn wait_for(&self, hash: &Hash, limit: Duration) -> Result<Lookup, StoreError> {
        let mut blocks = self.newest.subscribe();
        let committed = async {
            loop {
                blocks.mark_unchanged();
                let found = self.look_up(hash);
                if !matches!(found, Ok(Lookup::Pending(_))) || blocks.changed().await.is_err() {
                    return found;
                }
            }
        };
        match tokio::time::timeout(limit, committed).await {
            Ok(found) => found,
            Err(_) => self.look_up(hash),
        }
    }

    /// Moves the chain's clock and returns when a block shows the new time.
    pub fn advance_clock(&self, by: Duration) {
        self.clock.advance(by);
        let target = self.clock.ahead_us();
        let mut waiting = self.lock_waiting();
        while self.snapshot().ledger().clock_ahead_us < target
            && !self.stopped.load(Ordering::Acquire)
        {
            waiting.tick = true;
            self.work.notify_one();
            waiting = self.settled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Executes a transaction without committing it. `None`: its signatures are valid, so it must
    /// not be simulated. `adjust` may change what was asked for, such as the gas limit.
    pub fn simulate(
        &self,
        snapshot: &Arc<Snapshot>,
        bytes: Vec<u8>,
        adjust: impl FnOnce(&mut Authenticated, u64),
    ) -> Result<Option<(Authenticated, Executed)>, SubmitError> {
        let Some(mut transaction) = for_simulation(bytes)? else {
            return Ok(None);
        };
        let balance = framework::apt_balance(&**snapshot, &transaction.payer())?;
        adjust(&mut transaction, balance);
        check_stateless(&transaction, self.chain_id, wall_clock_seconds())?;
        let (state, timestamp_us) = self.now(snapshot)?;
        let execution =
            Execution { vm: &self.vm, state: &state, chain_id: self.chain_id, timestamp_us };
        let executed = execution.run(&transaction)?;
        Ok(Some((transaction, executed)))
    }

    /// Calls a view function.
    pub fn view(&self, snapshot: &Arc<Snapshot>, call: EntryFunction) -> Result<Viewed, VmStatus> {
        let (state, timestamp_us) = self.now(snapshot)?;
        let context = Context {
            chain_id: self.chain_id,
            timestamp_us,
            transaction_hash: [0; 32],
            sender: AccountAddress::ZERO,
        };
        let mut session = self.vm.session(&state, context, VIEW_GAS);
        let results = session.call(&call.module, &call.function, call.type_args, call.args)?;
        Ok(Viewed { results, gas_used: session.gas_used() })
    }

    /// Decodes stored bytes for people.
    pub fn annotate(
        &self,
        state: &dyn Storage,
        tag: &TypeTag,
        bytes: &[u8],
    ) -> Result<AnnotatedValue, VmStatus> {
        self.vm.annotate(tag, bytes, state)
    }

    /// The state with the clock as the next block would show it: blocks are built only when there
    /// is something to put in, so the last one may be old.
    fn now(&self, snapshot: &Arc<Snapshot>) -> Result<(Overlay, u64), StorageError> {
        let timestamp_us = self.clock.after(snapshot.ledger().timestamp_us);
        let mut state = Overlay::new(Some(Arc::clone(snapshot)));
        state.apply(&[framework::clock_write(timestamp_us)?])?;
        Ok((state, timestamp_us))
    }
}
