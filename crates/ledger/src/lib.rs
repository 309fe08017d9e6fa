//! Typed client of the contracts: calls, views, and an outbox that carries calls to the chain
//! exactly once. The only crate on the client side that knows Aptos; nothing of Aptos shows in
//! its API.
#![warn(missing_docs)]

mod admin;
mod argument;
mod call;
mod case;
mod chain;
mod event;
pub mod key_file;
mod ledger;
mod localnet;
pub mod outbox;
mod rest;
#[cfg(test)]
mod scripted;
mod submit;
mod transaction;
mod view;
mod view_wire;

pub use admin::{Admin, AdminError, Done};
pub use call::{Assignment, Call};
pub use case::{CaseInfo, CaseOutcome, CasePhase, Opinion};
pub use event::{Abort, ChainEvent, Settlement, SkipReason, Skipped};
pub use ledger::{ConnectError, FundError, Ledger, LedgerConfig, ViewError};
pub use localnet::{LOCALNET_CHAIN_ID, LOCALNET_CONTRACT, LOCALNET_URL};
pub use outbox::{IntentId, Outbox, Outcome, Settled};
pub use submit::{Committed, SubmitError};
pub use view::{
    Availability, ClientBalance, NodeInfo, OrchestratorInfo, Reputation, ServerInfo, StakeInfo,
    TaskInfo, TaskStage,
};
