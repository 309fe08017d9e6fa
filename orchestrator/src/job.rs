//! One task from admission to its receipt: passes the model's events on as far as the server's
//! credits go, then signs what was delivered. It never signs for more than it delivered.

use crate::{
    output::Output,
    task_book::Claim,
    text_model::TextModel,
    worker::{Identity, Totals},
};
use cactus_inference::{
    FinishReason as EngineFinish, GenerateError, GenerateEvent, GenerateRequest, Overloaded,
};
use cactus_protocol::{
    Address, FinishReason, Hash, NodeFrame, Receipt, Signed, TaskId,
    frame::{Done, Failed, Failure, Task},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// What a job is made of.
pub(crate) struct JobParts {
    pub(crate) identity: Identity,
    pub(crate) model: Arc<dyn TextModel>,
    pub(crate) server: Address,
    pub(crate) task: Task,
    pub(crate) claim: Claim,
    pub(crate) room: OwnedSemaphorePermit,
    pub(crate) cancel: CancellationToken,
    pub(crate) totals: Arc<Totals>,
    pub(crate) shutdown: CancellationToken,
}

/// A task that the model has.
pub(crate) struct Job {
    parts: JobParts,
    request_hash: Hash,
    events: mpsc::Receiver<GenerateEvent>,
    started: Instant,
    started_ms: u64,
}

/// Where a job's frames go and how many deltas may go there.
pub(crate) struct Outlet {
    /// To the link's writer.
    pub(crate) frames: mpsc::Sender<NodeFrame>,
    /// All deltas granted so far.
    pub(crate) granted: watch::Receiver<u64>,
}

/// How the model ended.
struct Completion {
    reason: FinishReason,
    prompt_tokens: u32,
    output_tokens: u32,
}

/// A job that gets no receipt.
struct Fault {
    reason: Failure,
    message: String,
}

/// What came from the model and what of it is on its way.
struct Progress {
    output: Output,
    prompt_tokens: Option<u32>,
    first_token: Option<Instant>,
    last_token: Instant,
    completion: Option<Completion>,
}

impl Job {
    /// Hands the request to the model.
    pub(crate) fn start(parts: JobParts, request: GenerateRequest) -> Result<Self, Overloaded> {
        let request_hash = parts.task.work.hash();
        let events = parts.model.generate(request, parts.cancel.clone())?;
        Ok(Self {
            parts,
            request_hash,
            events,
            started: Instant::now(),
            started_ms: unix_milliseconds(),
        })
    }

    /// Runs to the end; the last frame is `Done` or `Failed`.
    pub(crate) async fn run(mut self, mut outlet: Outlet) {
        let task_id = self.parts.task.task_id;
        let streamed = self.stream(&mut outlet).await;
        // Whatever happened, the model stops now.
        self.parts.cancel.cancel();
        let last = match streamed.and_then(|progress| self.seal(progress)) {
            Ok(done) => NodeFrame::Done(Box::new(done)),
            Err(Fault { reason, message }) => {
                tracing::info!(%task_id, ?reason, message, "task not answered");
                NodeFrame::Failed(Failed { task_id, reason, message })
            }
        };
        // An error means that the link is gone: there is nobody left to tell.
        let _ = outlet.frames.send(last).await;
    }

    async fn stream(&mut self, outlet: &mut Outlet) -> Result<Progress, Fault> {
        let limit = Duration::from_millis(u64::from(self.parts.task.deadline_ms));
        let deadline = sleep_until(self.started + limit);
        tokio::pin!(deadline);
        let mut progress = Progress::new(self.parts.task.task_id, self.started);
        let mut sent = 0u64;
        while !progress.is_delivered() {
            let may_send = sent < *outlet.granted.borrow();
            // Every branch is cancel-safe: a lost race loses no event, no credit and no text.
            tokio::select! {
                biased;
                () = self.parts.cancel.cancelled() => return self.cut(progress),
                () = &mut deadline => return Err(Fault::cancelled("the deadline passed")),
                permit = outlet.frames.reserve(), if may_send && !progress.output.is_empty() => {
                    let permit = permit.map_err(|_| Fault::cancelled("the link closed"))?;
                    if let Some(delta) = progress.output.take_delta() {
                        permit.send(NodeFrame::Delta(delta));
                        sent += 1;
                    }
                }
                event = self.events.recv(), if progress.completion.is_none() => {
                    progress.absorb(event)?;
                }
                changed = outlet.granted.changed(), if !may_send => {
                    changed.map_err(|_| Fault::cancelled("the link closed"))?;
                }
            }
        }
        Ok(progress)
    }

    /// Stopped before its end: what was delivered until now is the answer, if anything was.
    fn cut(&self, mut progress: Progress) -> Result<Progress, Fault> {
        let delivered = progress.output.delivered_tokens();
        match progress.prompt_tokens {
            Some(prompt_tokens) if delivered > 0 && !self.parts.shutdown.is_cancelled() => {
                let reason = FinishReason::Cancelled;
                let end = Completion { reason, prompt_tokens, output_tokens: delivered };
                progress.completion = Some(end);
                Ok(progress)
            }
            _ => Err(self.stopped()),
        }
    }

    /// The token was cancelled: by the server, or because the node has no more time.
    fn stopped(&self) -> Fault {
        if self.parts.shutdown.is_cancelled() {
            Fault::new(Failure::Overloaded, "the node is shutting down")
        } else {
            Fault::cancelled("cancelled")
        }
    }

    /// Signs for what was delivered, and gives the slot back.
    fn seal(self, progress: Progress) -> Result<Done, Fault> {
        let parts = self.parts;
        let missing = || Fault::new(Failure::Internal, "the answer has no end");
        let completion = progress.completion.ok_or_else(missing)?;
        let (delivered_tokens, output_hash) = progress.output.finish();
        if delivered_tokens != completion.output_tokens {
            tracing::error!(
                delivered_tokens,
                counted_tokens = completion.output_tokens,
                "the engine delivered another number of tokens than it counted; not signed"
            );
            return Err(Fault::new(Failure::Internal, "inconsistent token count"));
        }
        let since_start = |instant: Instant| milliseconds(instant - self.started);
        let card = parts.model.card();
        let receipt = Receipt {
            task_id: parts.task.task_id,
            server: parts.server,
            operator: parts.identity.operator,
            node: parts.identity.node_key.public(),
            model: card.id.clone(),
            model_revision: Hash(card.revision),
            request_hash: self.request_hash,
            output_hash,
            prompt_tokens: completion.prompt_tokens,
            output_tokens: delivered_tokens,
            started_ms: self.started_ms,
            ttft_ms: since_start(progress.first_token.unwrap_or(progress.last_token)),
            total_ms: since_start(progress.last_token),
            delegate: None,
            evidence_root: Hash::default(),
            price: parts.task.price,
        };
        log_answer(&receipt);
        parts.claim.close();
        let receipt = Signed::new(receipt, parts.identity.scope, &parts.identity.node_key)
            .map_err(|_| Fault::new(Failure::Internal, "the receipt cannot be signed"))?;
        parts.totals.add(delivered_tokens);
        drop(parts.room);
        Ok(Done { finish_reason: completion.reason, receipt })
    }
}

impl Progress {
    fn new(task_id: TaskId, started: Instant) -> Self {
        Self {
            output: Output::new(task_id),
            prompt_tokens: None,
            first_token: None,
            last_token: started,
            completion: None,
        }
    }

    fn is_delivered(&self) -> bool {
        self.completion.is_some() && self.output.is_empty()
    }

    fn absorb(&mut self, event: Option<GenerateEvent>) -> Result<(), Fault> {
        match event {
            Some(GenerateEvent::Started { prompt_tokens }) => {
                self.prompt_tokens = Some(prompt_tokens);
            }
            Some(GenerateEvent::Delta { text, token_ids, .. }) => {
                self.last_token = Instant::now();
                self.first_token.get_or_insert(self.last_token);
                self.output.push(&text, &token_ids);
            }
            Some(GenerateEvent::Finished { reason, prompt_tokens, output_tokens, .. }) => {
                let reason = match reason {
                    EngineFinish::Stop => FinishReason::Stop,
                    EngineFinish::Length => FinishReason::Length,
                    EngineFinish::Cancelled => {
                        return Err(Fault::new(Failure::Overloaded, "the model was stopped"));
                    }
                };
                self.completion = Some(Completion { reason, prompt_tokens, output_tokens });
            }
            Some(GenerateEvent::Failed(error)) => return Err(Fault::of_engine(error)),
            None => return Err(Fault::new(Failure::Internal, "the engine stopped")),
        }
        Ok(())
    }
}

impl Fault {
    fn new(reason: Failure, message: &str) -> Self {
        Self { reason, message: message.to_owned() }
    }

    fn cancelled(message: &str) -> Self {
        Self::new(Failure::Cancelled, message)
    }

    /// Internals stay in our log.
    fn of_engine(error: GenerateError) -> Self {
        match error {
            GenerateError::BadRequest(message) => Self { reason: Failure::BadRequest, message },
            GenerateError::DeadlineExceeded => {
                Self::new(Failure::Overloaded, "the deadline passed in the queue")
            }
            GenerateError::OutOfMemory => Self::new(Failure::OutOfMemory, "out of memory"),
            GenerateError::Internal(detail) => {
                tracing::error!(detail, "the engine failed");
                Self::new(Failure::Internal, "the engine failed")
            }
        }
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

fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
