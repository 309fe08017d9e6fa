//! One request from admission to its last event. It never computes logits and never waits.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::SequenceId;
use crate::gauges::Ticket;
use crate::request::{FinishReason, GenerateError, GenerateEvent, Sampling};
use crate::sampler::{History, sample};
use crate::text::answer::{Answer, Progress};
use crate::text::codec::Codec;

/// A tokenised request that waits for a slot.
pub(crate) struct Job {
    pub(crate) prompt: Vec<u32>,
    pub(crate) sampling: Sampling,
    /// At least 1; prompt and answer together fit the context.
    pub(crate) max_tokens: usize,
    pub(crate) stop: Vec<String>,
    pub(crate) reply: Reply,
    /// The place in the queue, given up on admission.
    pub(crate) ticket: Option<Ticket>,
}

/// Where a request's events go, and when it came.
pub(crate) struct Reply {
    /// Has room for every event that the request can ever cause, so that sending never waits.
    pub(crate) events: mpsc::Sender<GenerateEvent>,
    pub(crate) cancel: CancellationToken,
    pub(crate) submitted: Instant,
}

impl Reply {
    /// Whether nobody wants the answer any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled() || self.events.is_closed()
    }

    /// Sends without waiting. A caller that dropped its receiver is found by `is_cancelled`.
    pub(crate) fn send(&self, event: GenerateEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            tracing::error!(?event, "an event found its channel full and was lost");
        }
    }
}

/// Ends a request that never left the queue, after giving up its place there.
pub(crate) fn cancel_queued(reply: &Reply, ticket: Option<Ticket>, prompt_tokens: u32) {
    drop(ticket);
    reply.send(GenerateEvent::Finished {
        reason: FinishReason::Cancelled,
        prompt_tokens,
        output_tokens: 0,
        ttft: Duration::ZERO,
        total: reply.submitted.elapsed(),
    });
}

impl Job {
    /// Ends it without an answer.
    pub(crate) fn cancel(self) {
        cancel_queued(&self.reply, self.ticket, count(self.prompt.len()));
    }
}

/// A request that holds a slot.
pub(crate) struct Sequence {
    pub(crate) id: SequenceId,
    job: Job,
    prefilled: usize,
    /// The token to feed next, once the prompt is in.
    pub(crate) next: Option<u32>,
    /// Not to be decoded before this: the operator's power cap.
    pub(crate) due: Instant,
    history: History,
    answer: Answer,
    first_token: Option<Instant>,
}

impl Sequence {
    /// Admits a job and says so to the caller.
    pub(crate) fn start(id: SequenceId, mut job: Job, now: Instant) -> Self {
        job.ticket = None;
        job.reply.send(GenerateEvent::Started { prompt_tokens: count(job.prompt.len()) });
        let answer = Answer::new(std::mem::take(&mut job.stop));
        let history = History::default();
        Self { id, job, prefilled: 0, next: None, due: now, history, answer, first_token: None }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.job.reply.is_cancelled()
    }

    /// The next prompt tokens, at most `limit`; empty once the prompt is in.
    pub(crate) fn chunk(&self, limit: usize) -> &[u32] {
        let rest = &self.job.prompt[self.prefilled..];
        &rest[..rest.len().min(limit)]
    }

    /// Counts prompt tokens as computed; true when the prompt is complete.
    pub(crate) fn prefilled(&mut self, tokens: usize) -> bool {
        self.prefilled += tokens;
        self.prefilled == self.job.prompt.len()
    }

    /// Chooses the token after `logits` and reports it. Some reason means that it was the last.
    pub(crate) fn advance(
        &mut self,
        logits: &[f32],
        codec: &Codec,
        now: Instant,
    ) -> Result<Option<FinishReason>, GenerateError> {
        let token = sample(logits, &self.history, &self.job.sampling);
        let token = token.map_err(|error| GenerateError::Internal(error.to_string()))?;
        self.first_token.get_or_insert(now);
        self.history.push(token);
        if codec.is_end(token) {
            self.answer.push_silent(token);
            return Ok(Some(FinishReason::Stop));
        }
        let progress = self.answer.push(token, codec)?;
        let stopped = progress.stopped;
        self.report(progress);
        if stopped {
            return Ok(Some(FinishReason::Stop));
        }
        self.next = Some(token);
        let full = usize::try_from(self.history.len()).unwrap_or(usize::MAX) >= self.job.max_tokens;
        Ok(full.then_some(FinishReason::Length))
    }

    /// Reports what is left, then the end.
    pub(crate) fn finish(mut self, reason: FinishReason, codec: &Codec, now: Instant) {
        match self.answer.finish(codec) {
            Ok(progress) => self.report(progress),
            Err(error) => return self.fail(error),
        }
        let since = |instant: Instant| instant.saturating_duration_since(self.job.reply.submitted);
        self.job.reply.send(GenerateEvent::Finished {
            reason,
            prompt_tokens: count(self.job.prompt.len()),
            output_tokens: self.history.len(),
            ttft: self.first_token.map_or(Duration::ZERO, since),
            total: since(now),
        });
    }

    /// Reports a failure; nothing follows.
    pub(crate) fn fail(self, error: GenerateError) {
        self.job.reply.send(GenerateEvent::Failed(error));
    }

    fn report(&self, progress: Progress) {
        let Progress { text, token_ids, .. } = progress;
        if !text.is_empty() || !token_ids.is_empty() {
            self.job.reply.send(GenerateEvent::Delta { text, token_ids, logprobs: Vec::new() });
        }
    }
}

/// Prompts fit the context, which fits 32 bits.
pub(crate) fn count(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}
