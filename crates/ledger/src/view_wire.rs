//! The BCS form of the contracts' view structs, field by field as Move declares them, and what
//! they become. Never seen outside this crate.

use crate::view::{
    Availability, ClientBalance, NodeInfo, OrchestratorInfo, Reputation, ServerInfo, StakeInfo,
    TaskInfo, TaskStage,
};
use cactus_protocol::{Address, Octas, PublicKey};
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Balance {
    available: Octas,
    locked: Octas,
    requested: Octas,
    withdraw_from_seconds: u64,
}

impl From<Balance> for ClientBalance {
    fn from(wire: Balance) -> Self {
        Self {
            available: wire.available,
            locked: wire.locked,
            requested: wire.requested,
            withdraw_from_seconds: wire.withdraw_from_seconds,
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Orchestrator {
    registered: bool,
    metadata_uri: String,
    status: u8,
    whitelisted: bool,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    public_key: PublicKey,
    specs_uri: String,
    validated: bool,
}

impl From<Orchestrator> for Option<OrchestratorInfo> {
    fn from(wire: Orchestrator) -> Self {
        wire.registered.then(|| OrchestratorInfo {
            metadata_uri: wire.metadata_uri,
            status: Availability::of_code(wire.status),
            whitelisted: wire.whitelisted,
            nodes: wire.nodes.into_iter().map(NodeInfo::from).collect(),
        })
    }
}

impl From<Node> for NodeInfo {
    fn from(wire: Node) -> Self {
        Self { public_key: wire.public_key, specs_uri: wire.specs_uri, validated: wire.validated }
    }
}

#[derive(Deserialize)]
pub(crate) struct Stake {
    bonded: Octas,
    unbonding: Octas,
    withdrawable: Octas,
    next_unlock_seconds: u64,
}

impl From<Stake> for StakeInfo {
    fn from(wire: Stake) -> Self {
        Self {
            bonded: wire.bonded,
            unbonding: wire.unbonding,
            withdrawable: wire.withdrawable,
            next_unlock_seconds: wire.next_unlock_seconds,
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Standing {
    served: u64,
    failed_by_user: u64,
    failed_by_provider: u64,
    volume: Octas,
    output_tokens: u64,
    compute_ms: u64,
    idle: u64,
}

impl From<Standing> for Reputation {
    fn from(wire: Standing) -> Self {
        Self {
            served: wire.served,
            failed_by_user: wire.failed_by_user,
            failed_by_provider: wire.failed_by_provider,
            volume: wire.volume,
            output_tokens: wire.output_tokens,
            compute_ms: wire.compute_ms,
            idle: wire.idle,
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Server {
    registered: bool,
    url: String,
    // Empty for an account that is no server, hence no `PublicKey` yet.
    public_key: Vec<u8>,
    bond: Octas,
    authorized: bool,
    fees_earned: Octas,
    treasury_due: Octas,
}

impl Server {
    /// `None` for an account that is no server.
    ///
    /// # Errors
    /// The length of a key that is none.
    pub(crate) fn info(self) -> Result<Option<ServerInfo>, usize> {
        if !self.registered {
            return Ok(None);
        }
        let length = self.public_key.len();
        let key = <[u8; 32]>::try_from(self.public_key).map_err(|_| length)?;
        Ok(Some(ServerInfo {
            url: self.url,
            public_key: PublicKey(key),
            bond: self.bond,
            authorized: self.authorized,
            fees_earned: self.fees_earned,
            treasury_due: self.treasury_due,
        }))
    }
}

#[derive(Deserialize)]
pub(crate) struct Task {
    state: u8,
    server: Address,
    orchestrator: Address,
    lock: Octas,
    orchestrator_paid: Octas,
    fee_paid: Octas,
    refunded: Octas,
    deadline_seconds: u64,
    _prompt_tokens: u64,
    _output_tokens: u64,
    _compute_ms: u64,
    _receipt_hash: Vec<u8>,
    review_until_seconds: u64,
    case: Address,
}

impl From<Task> for TaskInfo {
    fn from(wire: Task) -> Self {
        let stage = match wire.state {
            1 => TaskStage::Assigned,
            2 => TaskStage::Settled,
            3 => TaskStage::Refunded,
            4 => TaskStage::Delivered,
            5 => TaskStage::Disputed,
            _ => TaskStage::Unknown,
        };
        Self {
            stage,
            server: wire.server,
            orchestrator: wire.orchestrator,
            lock: wire.lock,
            orchestrator_paid: wire.orchestrator_paid,
            fee_paid: wire.fee_paid,
            refunded: wire.refunded,
            deadline_seconds: wire.deadline_seconds,
            review_until_seconds: wire.review_until_seconds,
            case: wire.case,
        }
    }
}
