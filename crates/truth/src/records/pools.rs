//! The resources of domains, pools and reward funds, as BCS lays them out. Only what the books need
//! is named; never written, only read.

use cactus_move_vm::AccountAddress as Address;
use serde::Deserialize;

use super::Vault;

/// `domain::Domains`; the domains themselves are items of a table.
#[derive(Debug, Clone, Deserialize)]
pub enum Domains {
    V1 { next_id: u64, domains: Address, _ids: Address },
}

/// `domain::Domain`.
#[derive(Debug, Clone, Deserialize)]
pub enum Domain {
    V1 { name: String, _validation_logic: String, _parameters_uri: String },
}

/// `pool::Pool`.
#[derive(Debug, Clone, Deserialize)]
pub enum PoolRecord {
    V1(Pool),
}

#[derive(Debug, Clone, Deserialize)]
pub struct Pool {
    pub _extend_ref: Address,
    pub terms: Terms,
    pub state: PoolState,
    pub active_nodes: u64,
    pub members: Address,
    pub works: Address,
    pub invites: Invites,
    pub banned_operators: Address,
    pub banned_nodes: Address,
}

/// `pool_terms::Terms`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Terms {
    pub creator: Address,
    pub domain_id: u64,
    pub name: String,
    pub data_uri: String,
    pub invite_key: Vec<u8>,
    pub max_nodes: u64,
    pub max_units_per_work: u64,
    pub lock_seconds: u64,
    pub end_seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum PoolState {
    Pending,
    Active,
    Completed { ended_seconds: u64 },
}

/// `invite::Invites`.
#[derive(Debug, Clone, Deserialize)]
pub enum Invites {
    V1 { key: Vec<u8>, used: Address },
}

/// `member::Member`.
#[derive(Debug, Clone, Deserialize)]
pub enum MemberRecord {
    V1(Member),
}

#[derive(Debug, Clone, Deserialize)]
pub struct Member {
    pub operator: Address,
    pub active: bool,
    pub from_seconds: u64,
    pub intervals: Vec<Interval>,
    pub works: Address,
    pub first_work: u64,
    pub next_work: u64,
    pub void_after_seconds: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Interval {
    pub from_seconds: u64,
    pub to_seconds: u64,
}

/// `member::Work`.
#[derive(Debug, Clone, Deserialize)]
pub enum Work {
    V1 { _units: u64, submitted_seconds: u64, valid: bool },
}

/// `pool::WorkPlace`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WorkPlace {
    pub node: Vec<u8>,
    pub number: u64,
}

/// `rewards::Fund`.
#[derive(Debug, Clone, Deserialize)]
pub enum FundRecord {
    V1(Fund),
}

#[derive(Debug, Clone, Deserialize)]
pub struct Fund {
    pub vault: Vault,
    pub time_rate: u64,
    pub work_rate: u64,
    pub claim_seconds: u64,
    pub funded: u64,
    pub accounts: Address,
}

/// `rewards::Account`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Account {
    pub earned_scaled: u128,
    pub paid: u64,
}

/// `rewards::Reclaimed`.
#[derive(Debug, Deserialize)]
pub enum Reclaimed {
    V1 { pool: Address, _creator: Address, octas: u64 },
}
