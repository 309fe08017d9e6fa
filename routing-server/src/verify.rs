//! L0: every receipt is checked against what this server itself sent, received and timed. It only
//! gathers the observation; the judgement is the verification crate's.

use cactus_protocol::{
    Address, Feature, FinishReason, OutputHasher, PublicKey, Receipt, Scope, Signed, TaskId,
    Verified, Work, frame::ModelOffer, task::Delivery,
};
use cactus_verification::{Observation, ReceiptFault, check_receipt};
use std::{sync::Arc, time::Duration};

/// Who was asked for what.
#[derive(Debug, Clone)]
pub struct Assigned {
    /// The task.
    pub task_id: TaskId,
    /// This server.
    pub server: Address,
    /// Who is paid.
    pub operator: Address,
    /// Who works.
    pub node: PublicKey,
    /// What was offered and agreed.
    pub offer: Arc<ModelOffer>,
}

/// What came back and when.
#[derive(Debug)]
pub struct Received {
    /// Over every delta.
    pub output: OutputHasher,
    /// From sending the task to its first delta.
    pub first_delta_after: Option<Duration>,
    /// From sending the task to its last frame.
    pub done_after: Duration,
    /// The node's word.
    pub finish_reason: FinishReason,
    /// This server told the node to stop.
    pub stopped: bool,
}

/// A receipt that stood, and what is owed for it.
#[derive(Debug)]
pub struct Proof {
    /// The receipt.
    pub receipt: Verified<Receipt>,
    /// What the chain is told.
    pub delivery: Delivery,
    /// JSON of the signed receipt, to be kept.
    pub json: String,
}

/// Checks a receipt.
///
/// # Errors
/// [`ReceiptFault`]: pay nothing.
pub fn verify(
    scope: Scope,
    work: &Work,
    (assigned, received): (&Assigned, Received),
    receipt: Signed<Receipt>,
) -> Result<Proof, ReceiptFault> {
    let observed = observe(work, assigned, received);
    let receipt_hash = receipt.hash();
    // A receipt always has a JSON form; without one it is kept by its hash alone.
    let json = serde_json::to_string(&receipt).unwrap_or_default();
    let receipt = check_receipt(scope, &observed, receipt)?;
    let delivery = Delivery {
        prompt_tokens: receipt.prompt_tokens,
        output_tokens: receipt.output_tokens,
        compute_ms: receipt.total_ms,
        receipt_hash,
    };
    Ok(Proof { receipt, delivery, json })
}

fn observe(work: &Work, assigned: &Assigned, received: Received) -> Observation {
    Observation {
        task_id: assigned.task_id,
        server: assigned.server,
        operator: assigned.operator,
        node: assigned.node,
        model: work.model().to_owned(),
        model_revision: assigned.offer.revision,
        price: assigned.offer.price,
        request_hash: work.hash(),
        prompt_tokens_bound: work.prompt_tokens_bound(),
        max_tokens: work.max_tokens(),
        context_length: context_length(work, &assigned.offer),
        finish_reason: received.finish_reason,
        stopped: received.stopped,
        delivered_tokens: received.output.token_count(),
        unknown_tokens: received.output.unknown_count(),
        token_ids_promised: assigned.offer.features.contains(&Feature::TokenIds),
        text_bytes: received.output.text_bytes(),
        output_hash: received.output.finish(),
        first_delta_after: received.first_delta_after,
        done_after: received.done_after,
    }
}

/// The context bounds each prompt: of embeddings there are several.
fn context_length(work: &Work, offer: &ModelOffer) -> u32 {
    match work {
        Work::Chat(_) => offer.context_length,
        Work::Embed(request) => {
            let inputs = u32::try_from(request.inputs.len()).unwrap_or(u32::MAX);
            offer.context_length.saturating_mul(inputs)
        }
    }
}
