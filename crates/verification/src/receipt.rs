//! L0: the check of every answer. It compares a node's signed receipt with what the routing
//! server itself sent, received and timed. It cannot see which model ran; that is L1's work.

use cactus_protocol::{
    Address, FinishReason, Hash, Price, PublicKey, Receipt, Scope, Signed, TaskId, Verified,
};
use std::time::Duration;

/// How much longer than the routing server measured a node may say it worked. Covers the
/// rounding to milliseconds on both clocks; both are durations, so clock offsets do not matter.
const TIME_TOLERANCE: Duration = Duration::from_millis(50);

/// More tokens per second than any single stream reaches on known hardware. A claim above it was
/// not computed for this task.
const MAX_TOKENS_PER_SECOND: u128 = 20_000;

/// How many tokens without any text an answer may have when their ids are not told: the end of the
/// turn, and markers that engines keep to themselves. Any other token has at least one byte.
const MAX_SILENT_TOKENS: u64 = 16;

/// What the routing server knows about a task without asking the node.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The task that was assigned.
    pub task_id: TaskId,
    /// This server.
    pub server: Address,
    /// The operator that it was assigned to.
    pub operator: Address,
    /// The node whose link carried it.
    pub node: PublicKey,
    /// The model that was asked for.
    pub model: String,
    /// The revision that the node advertised.
    pub model_revision: Hash,
    /// The price that was agreed.
    pub price: Price,
    /// Of the request as sent.
    pub request_hash: Hash,
    /// [`cactus_protocol::ChatRequest::prompt_tokens_bound`] of the request.
    pub prompt_tokens_bound: u32,
    /// The request's limit.
    pub max_tokens: u32,
    /// The advertised context, in tokens.
    pub context_length: u32,
    /// What the node's last frame said.
    pub finish_reason: FinishReason,
    /// The server told the node to stop before the answer ended.
    pub stopped: bool,
    /// Over every delta received.
    pub output_hash: Hash,
    /// Token ids received, [`cactus_protocol::UNKNOWN_TOKEN`]s included.
    pub delivered_tokens: u32,
    /// How many of them were [`cactus_protocol::UNKNOWN_TOKEN`].
    pub unknown_tokens: u32,
    /// The offer promised the id of every token.
    pub token_ids_promised: bool,
    /// Text received, in bytes.
    pub text_bytes: u64,
    /// From sending the task to the first delta; `None` when there was none.
    pub first_delta_after: Option<Duration>,
    /// From sending the task to the last frame.
    pub done_after: Duration,
}

/// Why a receipt does not stand. Each means: pay nothing, the provider is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// Not signed by the node for this network.
    #[error("the receipt is not signed by the node for this network")]
    BadSignature,
    /// It is about another task, server, operator or node.
    #[error("the receipt is about another task")]
    OtherTask,
    /// It is about another request, model or revision.
    #[error("the receipt is about another request or model")]
    OtherRequest,
    /// The price is not what was agreed.
    #[error("the receipt names another price")]
    OtherPrice,
    /// The output is not what was delivered.
    #[error("the receipt's output is not what was delivered")]
    OtherOutput,
    /// More or fewer tokens are billed than were delivered, or more than were asked for.
    #[error("the receipt bills other token counts than were delivered")]
    TokenCount,
    /// Token ids that were promised are missing, or more tokens without an id are billed than the
    /// text can consist of.
    #[error("tokens without an id are billed that were not to be, or that the text cannot hold")]
    TokenIds,
    /// The stated reason to stop is not true.
    #[error("the stated finish reason is not true")]
    FinishReason,
    /// Times that cannot be, or faster than hardware is.
    #[error("the receipt's times are impossible")]
    Time,
    /// Work was passed on to an operator that the contract does not know as a delegate.
    #[error("the receipt names a delegate, which this network does not allow")]
    Delegate,
}

/// Checks a receipt against what was observed. In well under a millisecond: one strict signature
/// check and comparisons.
///
/// # Errors
/// The first [`ReceiptFault`] found.
pub fn check_receipt(
    scope: Scope,
    observed: &Observation,
    receipt: Signed<Receipt>,
) -> Result<Verified<Receipt>, ReceiptFault> {
    let receipt = receipt.verify(scope, &observed.node).map_err(|_| ReceiptFault::BadSignature)?;
    check_identity(observed, &receipt)?;
    check_output(observed, &receipt)?;
    check_token_ids(observed)?;
    check_finish_reason(observed, &receipt)?;
    check_times(observed, &receipt)?;
    Ok(receipt)
}

fn require(holds: bool, fault: ReceiptFault) -> Result<(), ReceiptFault> {
    if holds { Ok(()) } else { Err(fault) }
}

fn check_identity(observed: &Observation, receipt: &Receipt) -> Result<(), ReceiptFault> {
    let same_task = receipt.task_id == observed.task_id
        && receipt.server == observed.server
        && receipt.operator == observed.operator
        && receipt.node == observed.node;
    let same_request = receipt.request_hash == observed.request_hash
        && receipt.model == observed.model
        && receipt.model_revision == observed.model_revision;
    require(same_task, ReceiptFault::OtherTask)?;
    require(same_request, ReceiptFault::OtherRequest)?;
    require(receipt.price == observed.price, ReceiptFault::OtherPrice)?;
    require(receipt.delegate.is_none(), ReceiptFault::Delegate)
}

fn check_output(observed: &Observation, receipt: &Receipt) -> Result<(), ReceiptFault> {
    let counts_hold = receipt.output_tokens == observed.delivered_tokens
        && receipt.output_tokens <= observed.max_tokens
        && receipt.prompt_tokens >= 1
        && receipt.prompt_tokens <= observed.prompt_tokens_bound
        && tokens_in_context(receipt) <= u64::from(observed.context_length);
    require(receipt.output_hash == observed.output_hash, ReceiptFault::OtherOutput)?;
    require(counts_hold, ReceiptFault::TokenCount)
}

/// A token whose id is not told can only be counted; its text bounds how many there were.
fn check_token_ids(observed: &Observation) -> Result<(), ReceiptFault> {
    let bound = observed.text_bytes.saturating_add(MAX_SILENT_TOKENS);
    let holds = if observed.token_ids_promised {
        observed.unknown_tokens == 0
    } else {
        u64::from(observed.unknown_tokens) <= bound
    };
    require(holds, ReceiptFault::TokenIds)
}

fn tokens_in_context(receipt: &Receipt) -> u64 {
    u64::from(receipt.prompt_tokens) + u64::from(receipt.output_tokens)
}

/// `length` is only true when a limit was reached, `cancelled` when this server said so. `stop`
/// cannot be refuted here: whether the model really ended is visible in its logits alone.
fn check_finish_reason(observed: &Observation, receipt: &Receipt) -> Result<(), ReceiptFault> {
    let limit_reached = receipt.output_tokens == observed.max_tokens
        || tokens_in_context(receipt) == u64::from(observed.context_length);
    let holds = match observed.finish_reason {
        FinishReason::Stop => true,
        FinishReason::Length => limit_reached,
        FinishReason::Cancelled => observed.stopped,
    };
    require(holds, ReceiptFault::FinishReason)
}

fn check_times(observed: &Observation, receipt: &Receipt) -> Result<(), ReceiptFault> {
    let total = Duration::from_millis(receipt.total_ms.into());
    let ttft = Duration::from_millis(receipt.ttft_ms.into());
    let first_delta = observed.first_delta_after.unwrap_or(observed.done_after);
    let ordered = ttft <= total
        && total <= observed.done_after + TIME_TOLERANCE
        && ttft <= first_delta + TIME_TOLERANCE;
    let spent_ms = observed.done_after.as_millis().max(1);
    let tokens_per_second = u128::from(receipt.output_tokens) * 1000 / spent_ms;
    // A handful of tokens may share one millisecond of a fast link's batching.
    let possible = tokens_per_second <= MAX_TOKENS_PER_SECOND || receipt.output_tokens < 64;
    require(ordered && possible, ReceiptFault::Time)
}

#[cfg(test)]
mod tests;
