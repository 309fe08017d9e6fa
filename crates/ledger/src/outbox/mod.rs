//! Carries calls to the chain exactly once, across crashes, lost answers and a chain that is
//! away. An intent is written in the caller's own database transaction; a worker then signs it,
//! stores the signed transaction, sends it, and after any doubt looks it up by hash until the
//! chain's time has passed its expiry. Only then is it signed anew. It never decides what should
//! happen, and never forgets what was decided.
//!
//! ```text
//! enqueue → pending → submitted(hash, sequence number, expiry) → confirmed | failed
//!              ↑________________ expired, never happened ______|
//! ```
//!
//! Calls about one task happen in the order in which they were enqueued, each after the one
//! before it is final; all others are in flight together. Payments that are ready together share a
//! transaction and each gets its own word of the contract. One worker per account and database: of
//! several processes on one PostgreSQL the leader works, and the others wait to take its place.

mod batch;
mod decide;
mod judge;
mod leader;
mod pacing;
mod probe;
mod store;
#[cfg(test)]
mod tests;
mod worker;

use crate::{
    call::Call,
    event::{Abort, ChainEvent},
    ledger::Ledger,
    rest::Rest,
    transaction::{Signer, Unsignable},
};
use cactus_database::{Dialect, dialect};
use cactus_protocol::{Octas, SecretKey, TaskId};
use leader::Leader;
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, AnyPool};
use std::{fmt, sync::Arc};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use worker::Worker;

pub use probe::{Point, Probe};

/// How many outcomes a slow subscriber may be behind before it has to ask [`outcome`] instead.
const SETTLED_CAPACITY: usize = 1024;

/// The name of an intent, unique for ever: the same name enqueued twice happens once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IntentId(String);

impl IntentId {
    /// Any name, for example `register:0x…`.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The lock of a task's money.
    pub fn create(task: TaskId) -> Self {
        Self(format!("create:{task}"))
    }

    /// The end of a task, paid or refunded: one name for both, so that only one can be decided.
    pub fn close(task: TaskId) -> Self {
        Self(format!("close:{task}"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an intent ended. Final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// It happened.
    Confirmed {
        /// The transaction, `0x…`.
        hash: String,
        /// Its place in the chain.
        version: u64,
        /// What it cost the sender.
        gas_octas: Octas,
        /// The contracts' events. Empty when the chain had the effect already, by an earlier
        /// transaction that this database does not know.
        events: Vec<ChainEvent>,
    },
    /// It did not happen and will not.
    Failed {
        /// The contract's reason, if the contract was asked.
        abort: Option<Abort>,
        /// The reason in words.
        message: String,
    },
}

/// An intent that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Which.
    pub id: IntentId,
    /// How.
    pub outcome: Outcome,
}

/// How many intents are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Not signed yet.
    pub pending: u64,
    /// Signed and perhaps sent.
    pub submitted: u64,
}

/// Creates the table `outbox`. Idempotent.
///
/// # Errors
/// Those of the database.
pub async fn migrate(pool: &AnyPool) -> Result<(), sqlx::Error> {
    let scripts = (include_str!("sqlite.sql"), include_str!("postgres.sql"));
    cactus_database::create(pool, scripts).await
}

/// Writes an intent, in the caller's transaction if `connection` is in one. An id that is there
/// already stays as it is. Call [`Outbox::wake`] after the commit.
///
/// # Errors
/// Those of the database.
pub async fn enqueue(
    connection: &mut AnyConnection,
    id: &IntentId,
    call: &Call,
) -> Result<(), sqlx::Error> {
    enqueue_all(connection, &[(id.clone(), call.clone())]).await
}

/// [`enqueue`] of many intents, in their order.
///
/// # Errors
/// Those of the database.
pub async fn enqueue_all(
    connection: &mut AnyConnection,
    intents: &[(IntentId, Call)],
) -> Result<(), sqlx::Error> {
    store::insert(connection, intents).await
}

/// How an intent ended; `None` while it is open or unknown.
///
/// # Errors
/// Those of the database.
pub async fn outcome(pool: &AnyPool, id: &IntentId) -> Result<Option<Outcome>, sqlx::Error> {
    store::outcome(pool, id).await
}

/// How many intents are open.
///
/// # Errors
/// Those of the database.
pub async fn backlog(pool: &AnyPool) -> Result<Backlog, sqlx::Error> {
    store::backlog(pool).await
}

/// The handle on the worker of one account. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

struct Shared {
    ledger: Ledger,
    pool: AnyPool,
    key: SecretKey,
    bell: Arc<Notify>,
    settled: broadcast::Sender<Settled>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbox(of {:?})", self.shared.key.address())
    }
}

impl Outbox {
    /// An outbox whose calls `key` signs. Nothing is sent until [`Outbox::run`].
    pub fn new(ledger: Ledger, pool: AnyPool, key: SecretKey) -> Self {
        let (settled, _) = broadcast::channel(SETTLED_CAPACITY);
        Self {
            shared: Arc::new(Shared { ledger, pool, key, bell: Arc::new(Notify::new()), settled }),
        }
    }

    /// Carries intents to the chain until `shutdown`. Whatever is in flight then is found again by
    /// the next run. A file takes one run at a time; on PostgreSQL others wait for the leader's end.
    pub async fn run(&self, shutdown: CancellationToken) {
        self.run_probed((), shutdown).await;
    }

    /// [`Outbox::run`], telling `probe` of each point at which a process may die: for tests that
    /// let it.
    pub async fn run_probed(&self, probe: impl Probe, shutdown: CancellationToken) {
        let worker = match self.worker() {
            Ok(worker) => worker.probed(probe),
            Err(error) => {
                tracing::error!(%error, "the outbox cannot sign");
                return;
            }
        };
        worker.run(&self.shared.bell, shutdown).await;
    }

    fn worker(&self) -> Result<Worker<Rest>, Unsignable> {
        let shared = &self.shared;
        let ledger = &shared.ledger;
        let signer = Signer::new(&shared.key, ledger.chain_id(), ledger.contract())?;
        let settled = shared.settled.clone();
        let worker = Worker::new(ledger.rest().clone(), shared.pool.clone(), signer, settled);
        Ok(match dialect(&shared.pool) {
            Dialect::Sqlite => worker,
            Dialect::Postgres => worker.led(Leader::new(shared.pool.clone())),
        })
    }

    /// Says that something was enqueued. Without it the worker looks again within seconds.
    pub fn wake(&self) {
        self.shared.bell.notify_one();
    }

    /// Outcomes from now on. A subscriber that lags or starts late asks [`outcome`].
    pub fn subscribe(&self) -> broadcast::Receiver<Settled> {
        self.shared.settled.subscribe()
    }
}
