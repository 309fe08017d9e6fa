//! The contracts' resources, as BCS lays them out. Only what the books need is named; never
//! written, only read.

mod pools;

pub use pools::*;

use cactus_move_vm::AccountAddress as Address;
use serde::Deserialize;

/// `vault::Vault`.
#[derive(Debug, Clone, Deserialize)]
pub enum Vault {
    V1 { store: Address, _extend_ref: Address },
}

impl Vault {
    pub fn store(&self) -> Address {
        let Self::V1 { store, .. } = self;
        *store
    }
}

/// `fungible_asset::FungibleStore`.
#[derive(Debug, Deserialize)]
pub struct FungibleStore {
    pub _metadata: Address,
    pub balance: u64,
    pub _frozen: bool,
}

/// `fungible_asset::Supply`, from its first field on.
#[derive(Debug, Deserialize)]
pub struct Supply {
    pub current: u128,
    pub _maximum: Option<u128>,
}

/// `parameters::Parameters`.
#[derive(Debug, Clone, Deserialize)]
pub enum Parameters {
    V1 { values: Vec<u64>, queued: Vec<QueuedChange> },
}

/// `config::Pauses`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub enum Pauses {
    V1 { mask: u64 },
}

#[derive(Debug, Clone, Deserialize)]
pub struct QueuedChange {
    pub parameter: u64,
    pub _value: u64,
    pub apply_from_seconds: u64,
}

/// `config::Roles`.
#[derive(Debug, Clone, Deserialize)]
pub enum Roles {
    V1 {
        admin: Address,
        proposed_admin: Option<Address>,
        validators: Vec<Address>,
        federators: Vec<Address>,
    },
}

/// `escrow::Escrow`.
#[derive(Debug, Clone, Deserialize)]
pub enum Escrow {
    V1 { vault: Vault, available: u64, locked: u64, requested: u64, withdraw_from_seconds: u64 },
}

/// `client_account::ClientAccount`.
#[derive(Debug, Clone, Deserialize)]
pub enum ClientAccount {
    V1 { escrow: Escrow, orders: Address, tasks: Address },
}

/// `task::Task`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub enum TaskRecord {
    V1(Task),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Task {
    pub server: Address,
    pub orchestrator: Address,
    pub order_id: Vec<u8>,
    pub lock: u64,
    pub prompt_price: u64,
    pub output_price: u64,
    pub deadline_seconds: u64,
    pub state: TaskState,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub enum TaskState {
    Assigned,
    Settled { orchestrator_octas: u64, fee_octas: u64 },
    Refunded,
    Delivered { work: Report, review_until_seconds: u64 },
    Disputed { work: Report, case: Address },
}

impl TaskState {
    /// Settled or refunded, for good.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Settled { .. } | Self::Refunded)
    }
}

impl Task {
    /// The last second in which its server may settle it.
    pub fn settle_until_seconds(&self) -> u64 {
        match self.state {
            TaskState::Delivered { review_until_seconds, .. } => review_until_seconds,
            _ => self.deadline_seconds,
        }
    }
}

/// `task::Work`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Report {
    pub prompt_tokens: u64,
    pub output_tokens: u64,
    pub compute_ms: u64,
    pub receipt_hash: Vec<u8>,
}

/// `stake::Stake`.
#[derive(Debug, Clone, Deserialize)]
pub enum Stake {
    V1 { vault: Vault, bonded: u64, unbonding: Vec<Unbonding>, quarantined: u64 },
}

#[derive(Debug, Clone, Deserialize)]
pub struct Unbonding {
    pub octas: u64,
    pub unlock_seconds: u64,
}

/// `server_registry::Server`.
#[derive(Debug, Clone, Deserialize)]
pub enum Server {
    V1 {
        registered: bool,
        authorized: bool,
        _url: String,
        _public_key: Vec<u8>,
        bond: u64,
        vault: Vault,
        _fees_earned: u64,
    },
}

/// `treasury::Treasury` and `treasury::ServerShare`: a vault and nothing else, so every coin in it
/// is the treasury's.
#[derive(Debug, Clone, Deserialize)]
pub enum VaultOnly {
    V1 { vault: Vault },
}

/// `reputation::Reputation`.
#[derive(Debug, Clone, Deserialize)]
pub enum Reputation {
    V1 {
        served: u64,
        _failed_by_user: u64,
        failed_by_provider: u64,
        _volume: u64,
        _output_tokens: u64,
        _compute_ms: u64,
        _idle: u64,
    },
}

/// `delegation::Delegates`.
#[derive(Debug, Clone, Deserialize)]
pub enum Delegates {
    V1 { operators: Vec<Address> },
}

/// `registry::Orchestrator`.
#[derive(Debug, Clone, Deserialize)]
pub enum Orchestrator {
    V1 { _metadata_uri: String, _status: u8, whitelisted: bool, nodes: Vec<Node> },
}

#[derive(Debug, Clone, Deserialize)]
pub enum Node {
    V1 { public_key: Vec<u8>, _specs_uri: String, validated: bool },
}

/// `channel::Channel`.
#[derive(Debug, Clone, Deserialize)]
pub enum ChannelRecord {
    V1(Channel),
}

#[derive(Debug, Clone, Deserialize)]
pub struct Channel {
    pub vault: Vault,
    pub payer: Address,
    pub payee: Address,
    pub voucher_key: Vec<u8>,
    pub deposited: u64,
    pub settled: u64,
    pub expires_seconds: u64,
    pub _close_seconds: u64,
    pub state: ChannelState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum ChannelState {
    Open,
    Closing { from_seconds: u64 },
    Closed,
}

/// `dispute::Record`.
#[derive(Debug, Clone, Deserialize)]
pub enum CaseHolder {
    V1 { case: CaseRecord },
}

/// `case::Case`.
#[derive(Debug, Clone, Deserialize)]
pub enum CaseRecord {
    V1(Case),
}

#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    pub vault: Vault,
    pub accuser: Address,
    pub operator: Address,
    pub client: Address,
    pub task_id: Vec<u8>,
    pub _evidence_hash: Vec<u8>,
    pub response_hash: Vec<u8>,
    pub bond: u64,
    pub quarantined: u64,
    pub ballot: Ballot,
    pub appeal_until_seconds: u64,
    pub appeal: Appeal,
    pub outcome: u8,
}

#[derive(Debug, Clone, Deserialize)]
pub enum Appeal {
    None,
    Filed { appellant: Address, bond: u64, ballot: Ballot },
}

/// `ballot::Ballot`.
#[derive(Debug, Clone, Deserialize)]
pub enum Ballot {
    V1 {
        voters: Vec<Address>,
        votes: Vec<Vote>,
        commit_from_seconds: u64,
        commit_until_seconds: u64,
        reveal_until_seconds: u64,
    },
}

#[derive(Debug, Clone, Deserialize)]
pub enum Vote {
    None,
    Committed { _commitment: Vec<u8> },
    Uphold,
    Reject,
}

/// `settlement::TaskSettled`.
#[derive(Debug, Deserialize)]
pub enum TaskSettled {
    V1(Settlement),
}

#[derive(Debug, Deserialize)]
pub struct Settlement {
    pub client: Address,
    pub task_id: Vec<u8>,
    pub server: Address,
    pub orchestrator: Address,
    pub prompt_tokens: u64,
    pub output_tokens: u64,
    pub _compute_ms: u64,
    pub _receipt_hash: Vec<u8>,
    pub orchestrator_octas: u64,
    pub server_fee_octas: u64,
    pub treasury_fee_octas: u64,
    pub refund_octas: u64,
}
