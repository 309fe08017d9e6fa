//! What the contracts hold, typed. Views ask one node for its newest state; they never change
//! anything and never cache.

use cactus_protocol::{Address, Octas, PublicKey};
use serde::{Deserialize, Serialize};

/// Whether an orchestrator takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// Takes work.
    Online,
    /// Finishes what it has.
    Draining,
    /// Takes none.
    Offline,
}

impl Availability {
    /// The contract's code.
    pub fn code(self) -> u8 {
        match self {
            Self::Online => 1,
            Self::Draining => 2,
            Self::Offline => 3,
        }
    }

    /// Unknown codes count as offline: no work for what we do not understand.
    pub(crate) fn of_code(code: u8) -> Self {
        match code {
            1 => Self::Online,
            2 => Self::Draining,
            _ => Self::Offline,
        }
    }
}

/// A client's money in the escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientBalance {
    /// Free to be locked, what is requested included.
    pub available: Octas,
    /// Locked by tasks.
    pub locked: Octas,
    /// What the client announced that it takes back; zero if nothing.
    pub requested: Octas,
    /// From when on it may take that, in Unix seconds; 0 if nothing is announced.
    pub withdraw_from_seconds: u64,
}

impl ClientBalance {
    /// Nothing at all.
    pub const EMPTY: Self = Self {
        available: Octas::ZERO,
        locked: Octas::ZERO,
        requested: Octas::ZERO,
        withdraw_from_seconds: 0,
    };

    /// What new work may be admitted against: what the client announced counts as gone.
    pub fn uncommitted(&self) -> Octas {
        self.available.saturating_sub(self.requested)
    }
}

/// A registered orchestrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrchestratorInfo {
    /// Where its description is.
    pub metadata_uri: String,
    /// Whether it takes work.
    pub status: Availability,
    /// Whether a validator put it on the whitelist.
    pub whitelisted: bool,
    /// Its nodes.
    pub nodes: Vec<NodeInfo>,
}

/// A node of an orchestrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// The key that signs its receipts.
    pub public_key: PublicKey,
    /// Where its hardware is described.
    pub specs_uri: String,
    /// Whether a validator vouches for it.
    pub validated: bool,
}

/// An operator's stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StakeInfo {
    /// At stake.
    pub bonded: Octas,
    /// On its way out; still slashable.
    pub unbonding: Octas,
    /// Of what is on its way out, what may be withdrawn now.
    pub withdrawable: Octas,
    /// When the next part may be withdrawn, in Unix seconds; 0 when none is on its way.
    pub next_unlock_seconds: u64,
}

/// What an orchestrator has done, as the chain counted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reputation {
    /// Tasks paid for.
    pub served: u64,
    /// Tasks that failed through the client.
    pub failed_by_user: u64,
    /// Tasks that failed through the orchestrator.
    pub failed_by_provider: u64,
    /// Earned so far.
    pub volume: Octas,
    /// Tokens written so far.
    pub output_tokens: u64,
    /// Milliseconds of compute so far.
    pub compute_ms: u64,
    /// Tasks that nobody delivered or ended in time.
    pub idle: u64,
}

/// A registered routing server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Where clients reach it.
    pub url: String,
    /// Its key for messages.
    pub public_key: PublicKey,
    /// Held until it leaves.
    pub bond: Octas,
    /// Whether it may create tasks.
    pub authorized: bool,
    /// Fees it earned so far.
    pub fees_earned: Octas,
    /// The treasury's share, waiting to be swept.
    pub treasury_due: Octas,
}

/// Where a task stands on the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskStage {
    /// Never created.
    Unknown,
    /// Money is locked.
    Assigned,
    /// The orchestrator put its delivery on record, and is paid for it unless someone objects.
    Delivered,
    /// A case holds it until it is closed.
    Disputed,
    /// Paid.
    Settled,
    /// The lock went back.
    Refunded,
}

/// A task as the chain holds it. All amounts are zero while the stage is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskInfo {
    /// Where it stands.
    pub stage: TaskStage,
    /// Who created it.
    pub server: Address,
    /// Who is or was to be paid.
    pub orchestrator: Address,
    /// The most it can cost.
    pub lock: Octas,
    /// Paid to the orchestrator.
    pub orchestrator_paid: Octas,
    /// Paid to server and treasury.
    pub fee_paid: Octas,
    /// Returned to the client.
    pub refunded: Octas,
    /// After this moment anyone may return the lock of what was not delivered, in Unix seconds.
    pub deadline_seconds: u64,
    /// After this moment anyone may have a delivery paid, in Unix seconds; 0 unless delivered.
    pub review_until_seconds: u64,
    /// The case that holds it; the zero address unless disputed.
    pub case: Address,
}

impl TaskInfo {
    /// A task that was never created.
    pub const UNKNOWN: Self = Self {
        stage: TaskStage::Unknown,
        server: Address([0; 32]),
        orchestrator: Address([0; 32]),
        lock: Octas::ZERO,
        orchestrator_paid: Octas::ZERO,
        fee_paid: Octas::ZERO,
        refunded: Octas::ZERO,
        deadline_seconds: 0,
        review_until_seconds: 0,
        case: Address([0; 32]),
    };
}
