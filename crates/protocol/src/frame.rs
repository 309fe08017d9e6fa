//! The link between an orchestrator and a routing server: BCS frames on one WebSocket that the
//! orchestrator opened. What may come from which side is in the types.
//!
//! ```text
//! server → Challenge            node → Hello (signed over the challenge)
//! server → Welcome | Refused    node → Heartbeat, every few seconds
//! server → Task                 node → Delta…, then Done (with a signed receipt) | Failed
//! server → Credit | Cancel      node → Done for what was delivered until then
//! ```

use crate::{
    amount::Price,
    chat::{ChatRequest, FinishReason},
    id::{Address, Hash, TaskId},
    key::PublicKey,
    receipt::Receipt,
    signed::{Canonical, Signed},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of this file. An unknown version is refused with a clear reason.
pub const PROTOCOL_VERSION: u16 = 1;
/// The longest frame that is read, in bytes.
pub const MAX_FRAME_BYTES: usize = 1 << 20;
/// How often a node reports, in seconds.
pub const HEARTBEAT_SECONDS: u16 = 5;
/// A node is suspect after this many missed heartbeats.
pub const SUSPECT_AFTER_MISSED: u16 = 2;
/// A node is gone after this many missed heartbeats.
pub const GONE_AFTER_MISSED: u16 = 6;
/// How many deltas of a task may be under way before the server grants more.
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
    /// something answers `Done` with [`FinishReason::Cancelled`] and a receipt for just that.
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

/// What a node sells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advert {
    /// The models that are loaded.
    pub models: Vec<ModelOffer>,
    /// How many tasks run at once.
    pub slots: u16,
    /// How many tasks may wait for a slot.
    pub queue: u16,
    /// Where the node says it is, for clients that care; free text such as `eu-west`.
    pub region: String,
}

/// One model of an advert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelOffer {
    /// The id that clients ask for.
    pub id: String,
    /// Merkle root of weights, tokenizer and template.
    pub revision: Hash,
    /// Prompt and output together, in tokens.
    pub context_length: u32,
    /// Octas per 1,000 tokens.
    pub price: Price,
}

/// What a node runs on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HardwareReport {
    /// The processor's name.
    pub cpu: String,
    /// Logical cores.
    pub cores: u16,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The accelerators, if any.
    pub gpus: Vec<Gpu>,
}

/// One accelerator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// The product's name.
    pub name: String,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The driver's version.
    pub driver: String,
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
}

/// Work for a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Names the task on the link, in the receipt and on the chain.
    pub task_id: TaskId,
    /// What is asked.
    pub request: ChatRequest,
    /// Milliseconds from now after which nobody wants the answer.
    pub deadline_ms: u32,
    /// Higher is more urgent.
    pub priority: u8,
    /// What the server pays; the node refuses a price below its advert.
    pub price: Price,
    /// How many deltas may be sent before a `Credit`.
    pub credits: u32,
}

/// The next part of an answer. One delta carries at least one token id or some text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The task.
    pub task_id: TaskId,
    /// 0, 1, 2 … without gaps.
    pub sequence: u32,
    /// Whole characters only.
    pub text: String,
    /// The tokens since the last delta; their text may come later when a character is incomplete.
    pub token_ids: Vec<u32>,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// The node's signed account. It names the task.
    pub receipt: Signed<Receipt>,
}

/// A task that is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The task.
    pub task_id: TaskId,
    /// For programs.
    pub reason: Failure,
    /// For people; shown to the client only for [`Failure::BadRequest`].
    pub message: String,
}

/// Why a node did not do a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// No slot and no room in the queue.
    Overloaded,
    /// The model is not loaded here.
    ModelNotLoaded,
    /// The request cannot be served anywhere (a prompt over the context).
    BadRequest,
    /// Memory ran out.
    OutOfMemory,
    /// The server said `Cancel`, or the deadline passed.
    Cancelled,
    /// A fault of the node.
    Internal,
}

impl Failure {
    /// Whether another node may succeed.
    pub fn can_move(self) -> bool {
        !matches!(self, Self::BadRequest | Self::Cancelled)
    }
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_is_read_back() {
        let delta = Delta {
            task_id: TaskId([1; 32]),
            sequence: 3,
            text: "né".into(),
            token_ids: vec![1, 2],
        };
        let frame = NodeFrame::Delta(delta);
        assert_eq!(parse::<NodeFrame>(&encode(&frame).unwrap()).unwrap(), frame);
    }

    #[test]
    fn a_frame_with_bytes_behind_it_is_refused() {
        let mut bytes = encode(&ServerFrame::Cancel { task_id: TaskId([1; 32]) }).unwrap();
        bytes.push(0);
        assert!(parse::<ServerFrame>(&bytes).is_err());
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_on_both_sides() {
        let text = "x".repeat(MAX_FRAME_BYTES);
        let delta = Delta { task_id: TaskId([1; 32]), sequence: 0, text, token_ids: vec![] };
        assert!(matches!(encode(&NodeFrame::Delta(delta)), Err(BadFrame::TooLong(_))));
        assert!(matches!(
            parse::<NodeFrame>(&vec![0; MAX_FRAME_BYTES + 1]),
            Err(BadFrame::TooLong(_))
        ));
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse::<NodeFrame>(&bytes);
            let _ = parse::<ServerFrame>(&bytes);
        }

        #[test]
        fn what_is_read_has_no_second_form(
            text in ".{0,20}",
            token_ids in prop::collection::vec(any::<u32>(), 0..5),
            harm in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let delta = Delta { task_id: TaskId([1; 32]), sequence: 7, text, token_ids };
            let mut bytes = encode(&NodeFrame::Delta(delta)).unwrap();
            for (place, value) in harm {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(frame) = parse::<NodeFrame>(&bytes) {
                prop_assert_eq!(encode(&frame).unwrap(), bytes);
            }
        }
    }
}
