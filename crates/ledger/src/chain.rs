//! What this crate needs from a chain. Two implementations: a node's REST API, and the scripted
//! chain of the tests. It says what was observed and never what to do about it.

use crate::{event::ChainEvent, view::TaskInfo};
use aptos_sdk::transaction::SignedTransaction;
use cactus_protocol::{Address, Octas, TaskId};
use std::future::Future;

/// A node's newest state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Which chain.
    pub(crate) chain_id: u8,
    /// The time of its newest block in Unix seconds; stands still on a chain that only makes
    /// blocks when there is something to put in.
    pub(crate) seconds: u64,
    /// Our own clock when the answer came, in Unix seconds.
    pub(crate) local_seconds: u64,
}

impl Head {
    /// The expiry of a transaction that has `seconds` to commit, by whichever clock is ahead: a
    /// chain at rest shows an old time, and our clock may be slow.
    pub(crate) fn expiry(&self, seconds: u64) -> u64 {
        self.seconds.max(self.local_seconds).saturating_add(seconds)
    }
}

/// Why a request brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChainError {
    /// No answer, or one that says to come back later. What was asked may have happened.
    #[error("the chain does not answer: {0}")]
    Unavailable(String),
    /// The node understood and said no.
    #[error("the chain refused: {0}")]
    Refused(Refusal),
    /// The node's answer makes no sense to us.
    #[error("the chain gave an answer that cannot be read: {0}")]
    Unreadable(String),
}

/// A node's no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// Which kind.
    pub(crate) kind: RefusalKind,
    /// In the node's words.
    pub(crate) message: String,
}

/// What a refusal means for whoever sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// Nothing is there (HTTP 404).
    NotFound,
    /// The sequence number is taken: by this very transaction, or by another.
    SequenceTaken,
    /// The transaction's time is over, by the clock that the chain goes by.
    Expired,
    /// The sender cannot pay for gas, or does not exist.
    Unfunded,
    /// Anything else, as it stands.
    Other,
}

/// What a node knows of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Lookup {
    /// Nothing. It may still be on its way until it expires.
    Unknown,
    /// Waiting.
    Pending,
    /// In the chain for ever.
    Committed(Execution),
}

/// A committed transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Execution {
    pub(crate) version: u64,
    pub(crate) success: bool,
    pub(crate) vm_status: String,
    pub(crate) gas: Octas,
    pub(crate) events: Vec<ChainEvent>,
}

/// A chain, asked one thing at a time.
pub(crate) trait Chain: Send + Sync + 'static {
    /// The newest state.
    fn head(&self) -> impl Future<Output = Result<Head, ChainError>> + Send;
    /// The next sequence number of an account; 0 for one that does not exist.
    fn sequence_number(
        &self,
        account: Address,
    ) -> impl Future<Output = Result<u64, ChainError>> + Send;
    /// Octas per unit of gas.
    fn gas_unit_price(&self) -> impl Future<Output = Result<u64, ChainError>> + Send;
    /// Hands a transaction to the node. Handing the same one in twice is harmless.
    fn submit(
        &self,
        transaction: &SignedTransaction,
    ) -> impl Future<Output = Result<(), ChainError>> + Send;
    /// What became of a transaction, by its hash (`0x…`).
    fn look_up(&self, hash: &str) -> impl Future<Output = Result<Lookup, ChainError>> + Send;
    /// The view of a task.
    fn task(
        &self,
        client: Address,
        task_id: TaskId,
    ) -> impl Future<Output = Result<TaskInfo, ChainError>> + Send;
}
