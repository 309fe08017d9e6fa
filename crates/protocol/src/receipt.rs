//! What a node signs when it has answered. A receipt is a claim about work; what it is worth is
//! decided by verification.

use crate::{
    amount::Price,
    id::{Address, Hash, TaskId},
    key::PublicKey,
    signed::{Canonical, Signed},
};
use serde::{Deserialize, Serialize};

/// A node's account of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The task.
    pub task_id: TaskId,
    /// The routing server that assigned it.
    pub server: Address,
    /// The operator who is paid.
    pub operator: Address,
    /// The node that signs.
    pub node: PublicKey,
    /// The model's id.
    pub model: String,
    /// Merkle root of weights, tokenizer and template.
    pub model_revision: Hash,
    /// [`crate::Work::hash`] of the work as received.
    pub request_hash: Hash,
    /// [`crate::OutputHasher`] over everything delivered.
    pub output_hash: Hash,
    /// Prompt length after the template, in tokens; for embeddings, of all inputs.
    pub prompt_tokens: u32,
    /// Delivered tokens; none for embeddings.
    pub output_tokens: u32,
    /// Unix milliseconds at which the node took the task.
    pub started_ms: u64,
    /// Milliseconds from start to the first token.
    pub ttft_ms: u32,
    /// Milliseconds from start to the last token.
    pub total_ms: u32,
    /// The operator that did the work, when it was passed on.
    pub delegate: Option<Address>,
    /// Merkle root of the evidence; zero when none was asked for.
    pub evidence_root: Hash,
    /// The price that the task was accepted at.
    pub price: Price,
}

impl Canonical for Receipt {
    const PURPOSE: &'static str = "receipt";
}

impl Signed<Receipt> {
    /// SHA3-256 of the signed receipt: what the chain keeps of it.
    pub fn hash(&self) -> Hash {
        Hash::of(&aptos_bcs::to_bytes(self).unwrap_or_default())
    }
}
