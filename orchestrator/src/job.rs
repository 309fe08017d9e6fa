//! A chat task from admission to its receipt: passes the model's events on as far as the server's
//! credits go, then bills what was delivered. It never bills more than it delivered.

use crate::{
    assignment::{Assignment, Bill, Fault, Outlet},
    output::Output,
};
use cactus_inference::{FinishReason as EngineFinish, GenerateError, GenerateEvent};
use cactus_protocol::{
    FinishReason, NodeFrame, TaskId,
    frame::{Done, Failure},
};
use std::mem;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::{Span, field};

/// A task that the model has.
pub(crate) struct Job {
    assignment: Assignment,
    events: mpsc::Receiver<GenerateEvent>,
    engine: Span,
}

/// The span of the model's own work on a task, from its queue to its last token.
pub(crate) fn engine_span(model: &str) -> Span {
    tracing::info_span!(
        "engine",
        model,
        prompt_tokens = field::Empty,
        output_tokens = field::Empty,
        ttft_ms = field::Empty,
    )
}

/// How the model ended.
struct Completion {
    reason: FinishReason,
    prompt_tokens: u32,
    output_tokens: u32,
}

/// What came from the model and what of it is on its way.
struct Progress {
    output: Output,
    prompt_tokens: Option<u32>,
    first_token: Option<Instant>,
    last_token: Instant,
    completion: Option<Completion>,
    /// Ends with the model's work.
    engine: Span,
}

impl Job {
    pub(crate) fn new(
        assignment: Assignment,
        events: mpsc::Receiver<GenerateEvent>,
        engine: Span,
    ) -> Self {
        Self { assignment, events, engine }
    }

    /// Runs to the end; the last frame is `Done` or `Failed`.
    pub(crate) async fn run(mut self, mut outlet: Outlet) {
        let streamed = self.stream(&mut outlet).await;
        // Whatever happened, the model stops now.
        self.assignment.cancel.cancel();
        let task = self.assignment.task.clone();
        let outcome = streamed.and_then(|progress| seal(self.assignment, progress));
        outlet.close(&task, outcome).await;
    }

    async fn stream(&mut self, outlet: &mut Outlet) -> Result<Progress, Fault> {
        let deadline = sleep_until(self.assignment.deadline());
        tokio::pin!(deadline);
        let engine = mem::replace(&mut self.engine, Span::none());
        let (task_id, started) = (self.assignment.task.task_id, self.assignment.started);
        let mut progress = Progress::new(task_id, started, engine);
        let mut sent = 0u64;
        while !progress.is_delivered() {
            let may_send = sent < *outlet.granted.borrow();
            // Every branch is cancel-safe: a lost race loses no event, no credit and no text.
            tokio::select! {
                biased;
                () = self.assignment.cancel.cancelled() => return self.cut(progress),
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
            Some(prompt_tokens) if delivered > 0 && !self.assignment.shutdown.is_cancelled() => {
                let reason = FinishReason::Cancelled;
                let end = Completion { reason, prompt_tokens, output_tokens: delivered };
                progress.completion = Some(end);
                Ok(progress)
            }
            _ => Err(self.assignment.stopped()),
        }
    }
}

/// Bills what was delivered.
fn seal(assignment: Assignment, progress: Progress) -> Result<Done, Fault> {
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
    assignment.sign(&Bill {
        finish_reason: completion.reason,
        prompt_tokens: completion.prompt_tokens,
        output_tokens: delivered_tokens,
        output_hash,
        first_part: progress.first_token.unwrap_or(progress.last_token),
        last_part: progress.last_token,
    })
}

impl Progress {
    fn new(task_id: TaskId, started: Instant, engine: Span) -> Self {
        Self {
            output: Output::new(task_id),
            prompt_tokens: None,
            first_token: None,
            last_token: started,
            completion: None,
            engine,
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
            Some(GenerateEvent::Delta { text, token_ids, logprobs }) => {
                self.last_token = Instant::now();
                self.first_token.get_or_insert(self.last_token);
                self.output.push(&text, &token_ids, logprobs);
            }
            Some(GenerateEvent::Finished {
                reason, prompt_tokens, output_tokens, ttft, ..
            }) => {
                let engine = mem::replace(&mut self.engine, Span::none());
                engine.record("prompt_tokens", prompt_tokens);
                engine.record("output_tokens", output_tokens);
                engine.record("ttft_ms", u64::try_from(ttft.as_millis()).unwrap_or(u64::MAX));
                let reason = match reason {
                    EngineFinish::Stop => FinishReason::Stop,
                    EngineFinish::Length => FinishReason::Length,
                    EngineFinish::Cancelled => {
                        return Err(Fault::new(Failure::Overloaded, "the model was stopped"));
                    }
                };
                self.completion = Some(Completion { reason, prompt_tokens, output_tokens });
            }
            Some(GenerateEvent::Failed(error)) => return Err(fault_of_engine(error)),
            None => return Err(Fault::new(Failure::Internal, "the engine stopped")),
        }
        Ok(())
    }
}

/// Internals stay in our log.
fn fault_of_engine(error: GenerateError) -> Fault {
    match error {
        GenerateError::BadRequest(message) => Fault { reason: Failure::BadRequest, message },
        GenerateError::DeadlineExceeded => {
            Fault::new(Failure::Overloaded, "the deadline passed in the queue")
        }
        GenerateError::Unavailable(detail) => {
            tracing::warn!(detail, "the engine cannot take a request");
            Fault::new(Failure::Overloaded, "the engine cannot take the request now")
        }
        GenerateError::OutOfMemory => Fault::new(Failure::OutOfMemory, "out of memory"),
        GenerateError::Internal(detail) => Fault::of_broken_engine(&detail),
    }
}
