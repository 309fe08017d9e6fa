//! The link between an orchestrator and a routing server: BCS frames on one WebSocket that the
//! orchestrator opened. What may come from which side is in the types.
//!
//! ```text
//! server → Challenge            node → Hello (signed over the challenge)
//! server → Welcome | Refused    node → Heartbeat, every few seconds
//! server → Task                 node → Delta… or Embedded…, then Done (with a signed receipt) | Failed
//! server → Credit | Cancel      node → Done for what was delivered until then
//! ```

pub use crate::{
    advert::{Advert, Feature, Gpu, HardwareReport, ModelKind, ModelOffer},
    answer::{Alternative, Delta, Done, Embedded, Failed, Failure, TokenLogprob},
};

use crate::{
    amount::Price,
    id::{Address, TaskId},
    key::PublicKey,
    signed::{Canonical, Signed},
    trace_context::TraceContext,
    work::Work,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of this file. An unknown version is refused with a clear reason.
pub const PROTOCOL_VERSION: u16 = 3;
/// The longest frame that is read, in bytes.
pub const MAX_FRAME_BYTES: usize = 1 << 20;
/// How often a node reports, in seconds.
pub const HEARTBEAT_SECONDS: u16 = 5;
/// A node is suspect after this many missed heartbeats.
pub const SUSPECT_AFTER_MISSED: u16 = 2;
/// A node is gone after this many missed heartbeats.
pub const GONE_AFTER_MISSED: u16 = 6;
/// How many [`Delta`]s or [`Embedded`]s of a task may be under way before the server grants more.
pub const INITIAL_CREDITS: u32 = 64;

/// The bytes were no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// Longer than [`MAX_FRAME_BYTES`].
    #[error("frame of {0} bytes; the limit is {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// Not BCS of a frame of this protocol version.
    #[error("malformed frame: {0}")]
    Malformed(String),
}

/// From the routing server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerFrame {
    /// The first frame on a link.
    Challenge(Challenge),
    /// The node is in.
    Welcome(Welcome),
    /// The node is not; the link closes.
    Refused(Refused),
    /// Work.
    Task(Box<Task>),
    /// More deltas of a task may be sent.
    Credit {
        /// The task.
        task_id: TaskId,
        /// How many more deltas.
        deltas: u32,
    },
    /// Stop now: the client is gone, the time is up, or the task moved. A node that delivered
    /// something answers `Done` with [`crate::FinishReason::Cancelled`] and a receipt for just that.
    Cancel {
        /// The task.
        task_id: TaskId,
    },
}

/// From the orchestrator's node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeFrame {
    /// The answer to the challenge.
    Hello(Box<Signed<Hello>>),
    /// Load, every [`HEARTBEAT_SECONDS`].
    Heartbeat(Heartbeat),
    /// The next part of an answer.
    Delta(Delta),
    /// The next vectors of an answer.
    Embedded(Embedded),
    /// The answer is complete.
    Done(Box<Done>),
    /// The task cannot be done here.
    Failed(Failed),
}

/// What the node's `Hello` must be signed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// [`PROTOCOL_VERSION`] of the server.
    pub protocol_version: u16,
    /// The chain that the server settles on.
    pub chain_id: u8,
    /// The contract that the server settles with.
    pub contract: Address,
    /// The server's account.
    pub server: Address,
    /// Fresh for each link; a `Hello` counts for one nonce only.
    pub nonce: [u8; 32],
    /// Unix milliseconds on the server.
    pub server_time_ms: u64,
}

/// Who the node is and what it offers. All of it is a claim: the operator and the node key are
/// checked against the chain, the rest against what the server measures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the node.
    pub protocol_version: u16,
    /// The challenge's nonce.
    pub nonce: [u8; 32],
    /// The challenge's server.
    pub server: Address,
    /// Who owns the stake.
    pub operator: Address,
    /// The key that signs this and every receipt.
    pub node: PublicKey,
    /// What is for sale.
    pub advert: Advert,
    /// What it runs on.
    pub hardware: HardwareReport,
    /// Name and version of the software.
    pub software: String,
}

impl Canonical for Hello {
    const PURPOSE: &'static str = "hello";
}

/// The node may take tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Names this link in logs on both sides.
    pub session_id: u64,
    /// How often to send `Heartbeat`.
    pub heartbeat_seconds: u16,
    /// The longest frame that the server reads.
    pub max_frame_bytes: u32,
}

/// The node may not take tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// For programs.
    pub reason: Refusal,
    /// For people: what to do.
    pub message: String,
}

/// Why a node is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Another [`PROTOCOL_VERSION`].
    Version,
    /// The signature, nonce or server is not right.
    BadSignature,
    /// The operator or the node's key is not on the chain.
    NotRegistered,
    /// The operator's stake is below the minimum.
    StakeTooLow,
    /// The advert is empty or out of bounds.
    BadAdvert,
    /// The node is already linked; the newer link loses.
    AlreadyLinked,
    /// The server cannot check now (chain away, draining, full): try later.
    Unavailable,
}

impl Refusal {
    /// Whether trying again without changing anything can help.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::AlreadyLinked | Self::Unavailable)
    }
}

/// A node's load.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Tasks running.
    pub active: u16,
    /// Slots free.
    pub free_slots: u16,
    /// Tasks waiting.
    pub queued: u16,
    /// Use of the KV cache in thousandths.
    pub kv_cache_milli: u16,
    /// Degrees Celsius of the hottest GPU; 0 without one.
    pub gpu_celsius: u16,
    /// Bytes of GPU memory in use.
    pub gpu_memory_bytes: u64,
    /// Places in the advert's `models` that cannot serve now: an engine of their own is away.
    pub unavailable: Vec<u16>,
}

/// Work for a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Names the task on the link, in the receipt and on the chain.
    pub task_id: TaskId,
    /// What is asked.
    pub work: Work,
    /// Milliseconds from now after which nobody wants the answer.
    pub deadline_ms: u32,
    /// Higher is more urgent.
    pub priority: u8,
    /// What the server pays; the node refuses a price below its advert.
    pub price: Price,
    /// How many deltas may be sent before a `Credit`.
    pub credits: u32,
    /// The same for all tasks of one payer. A node shares what it keeps of prompts (its prefix
    /// cache) between tasks of one scope only, so that no payer learns what another asked.
    pub cache_scope: u64,
    /// The trace that the request belongs to, for a node that records its part.
    pub trace: Option<TraceContext>,
}

/// The bytes of a frame.
///
/// # Errors
/// [`BadFrame::TooLong`] when the other side would refuse it.
pub fn encode<F: Serialize>(frame: &F) -> Result<Vec<u8>, BadFrame> {
    let bytes = aptos_bcs::to_bytes(frame).map_err(|e| BadFrame::Malformed(e.to_string()))?;
    if bytes.len() > MAX_FRAME_BYTES { Err(BadFrame::TooLong(bytes.len())) } else { Ok(bytes) }
}

/// Reads a frame: [`ServerFrame`] on the node's side, [`NodeFrame`] on the server's.
///
/// # Errors
/// [`BadFrame`] for anything that is not exactly one frame.
pub fn parse<F: DeserializeOwned>(bytes: &[u8]) -> Result<F, BadFrame> {
    if bytes.len() > MAX_FRAME_BYTES {
        return Err(BadFrame::TooLong(bytes.len()));
    }
    aptos_bcs::from_bytes(bytes).map_err(|e| BadFrame::Malformed(e.to_string()))
}

#[cfg(test)]
mod tests;
