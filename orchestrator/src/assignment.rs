//! One task of one server that this node has taken: who asked, at what price, since when. It signs
//! the one receipt that the task may get, and never for more than was delivered.

use crate::{
    task_book::Claim,
    worker::{Identity, Totals},
};
use cactus_protocol::{
    Address, FinishReason, Hash, NodeFrame, Receipt, Signed,
    frame::{Done, Failed, Failure, Task},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// A task with everything that its receipt and its end need.
pub(crate) struct Assignment {
    pub(crate) identity: Identity,
    /// Of the model that serves it.
    pub(crate) revision: Hash,
    pub(crate) server: Address,
    pub(crate) task: Task,
    pub(crate) claim: Claim,
    pub(crate) room: OwnedSemaphorePermit,
    pub(crate) cancel: CancellationToken,
    pub(crate) totals: Arc<Totals>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) started: Instant,
    pub(crate) started_ms: u64,
}

/// Where a task's frames go and how many parts may go there.
pub(crate) struct Outlet {
    /// To the link's writer.
    pub(crate) frames: mpsc::Sender<NodeFrame>,
    /// All parts granted so far.
    pub(crate) granted: watch::Receiver<u64>,
}

/// What was delivered.
pub(crate) struct Bill {
    pub(crate) finish_reason: FinishReason,
    pub(crate) prompt_tokens: u32,
    pub(crate) output_tokens: u32,
    pub(crate) output_hash: Hash,
    pub(crate) first_part: Instant,
    pub(crate) last_part: Instant,
}

/// A task that gets no receipt.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) reason: Failure,
    pub(crate) message: String,
}

impl Assignment {
    /// When nobody wants the answer any more.
    pub(crate) fn deadline(&self) -> Instant {
        self.started + Duration::from_millis(u64::from(self.task.deadline_ms))
    }

    /// The token was cancelled: by the server, or because the node has no more time.
    pub(crate) fn stopped(&self) -> Fault {
        if self.shutdown.is_cancelled() {
            Fault::new(Failure::Overloaded, "the node is shutting down")
        } else {
            Fault::cancelled("cancelled")
        }
    }

    /// Signs for what was delivered, and gives the slot back.
    pub(crate) fn sign(self, bill: &Bill) -> Result<Done, Fault> {
        let since_start = |instant: Instant| milliseconds(instant - self.started);
        let receipt = Receipt {
            task_id: self.task.task_id,
            server: self.server,
            operator: self.identity.operator,
            node: self.identity.node_key.public(),
            model: self.task.work.model().to_owned(),
            model_revision: self.revision,
            request_hash: self.task.work.hash(),
            output_hash: bill.output_hash,
            // A template may add more tokens than the bound allows for; those are not billed.
            prompt_tokens: bill.prompt_tokens.min(self.task.work.prompt_tokens_bound()),
            output_tokens: bill.output_tokens,
            started_ms: self.started_ms,
            ttft_ms: since_start(bill.first_part),
            total_ms: since_start(bill.last_part),
            delegate: None,
            evidence_root: Hash::default(),
            price: self.task.price,
        };
        log_answer(&receipt);
        self.claim.close();
        let receipt = Signed::new(receipt, self.identity.scope, &self.identity.node_key)
            .map_err(|_| Fault::new(Failure::Internal, "the receipt cannot be signed"))?;
        self.totals.add(bill.output_tokens);
        drop(self.room);
        Ok(Done { finish_reason: bill.finish_reason, receipt })
    }
}

impl Outlet {
    /// The last frame of a task. When the link is gone there is nobody left to tell.
    pub(crate) async fn close(self, task: &Task, outcome: Result<Done, Fault>) {
        let task_id = task.task_id;
        let last = match outcome {
            Ok(done) => NodeFrame::Done(Box::new(done)),
            Err(Fault { reason, message }) => {
                tracing::info!(%task_id, ?reason, message, "task not answered");
                NodeFrame::Failed(Failed { task_id, reason, message })
            }
        };
        let _ = self.frames.send(last).await;
    }
}

impl Fault {
    pub(crate) fn new(reason: Failure, message: &str) -> Self {
        Self { reason, message: message.to_owned() }
    }

    pub(crate) fn cancelled(message: &str) -> Self {
        Self::new(Failure::Cancelled, message)
    }

    /// The detail stays in our log.
    pub(crate) fn of_broken_engine(detail: &str) -> Self {
        tracing::error!(detail, "the engine failed");
        Self::new(Failure::Internal, "the engine failed")
    }
}

fn log_answer(receipt: &Receipt) {
    let price = receipt.price;
    let at_most = price.ceiling(receipt.prompt_tokens, receipt.output_tokens);
    let milliseconds = receipt.total_ms.saturating_sub(receipt.ttft_ms).max(1);
    let after_first = receipt.output_tokens.saturating_sub(1);
    tracing::info!(
        task_id = %receipt.task_id,
        server = %receipt.server,
        prompt_tokens = receipt.prompt_tokens,
        output_tokens = receipt.output_tokens,
        ttft_ms = receipt.ttft_ms,
        tokens_per_second = f64::from(after_first) * 1000.0 / f64::from(milliseconds),
        asked_octas = at_most.map(|octas| octas.0),
        "task answered; receipt signed"
    );
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// The clock for `started_ms`.
pub(crate) fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
