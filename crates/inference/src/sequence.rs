//! One request from the queue to its last event. It never computes logits and never waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::SequenceId;
use crate::gauges::Ticket;
use crate::logprobs::logprobs;
use crate::request::{FinishReason, GenerateError, GenerateEvent, Sampling, TokenLogprobs};
use crate::sampler::{History, sample};
use crate::scheduler::Rank;
use crate::text::answer::{Answer, Progress};
use crate::text::codec::Codec;
use crate::text::format::Constraint;

/// A tokenised request that waits for a slot.
pub(crate) struct Job {
    /// The tokens of the prompt, and of the answer as far as another node came with it.
    pub(crate) prompt: Vec<u32>,
    pub(crate) beginning: Beginning,
    pub(crate) sampling: Sampling,
    /// At least 1, what another node generated included; with the prompt before it fits the
    /// context.
    pub(crate) max_tokens: usize,
    pub(crate) logprobs: Option<u8>,
    pub(crate) priority: u8,
    pub(crate) deadline: Option<Instant>,
    pub(crate) cache_salt: u64,
    pub(crate) reply: Reply,
    /// The place in the queue, given up on admission.
    pub(crate) ticket: Option<Ticket>,
}

/// Where an answer begins: at nothing, or where another node stopped.
pub(crate) struct Beginning {
    pub(crate) history: History,
    pub(crate) answer: Answer,
    pub(crate) constraint: Option<Constraint>,
    /// How many tokens the other node generated.
    resumed: u32,
    /// Set if the other node had come to the end.
    pub(crate) ended: Option<FinishReason>,
}

impl Beginning {
    /// Replays what another node generated, so that what follows is what would have followed
    /// there. The constraint is that of what follows.
    pub(crate) fn new(
        stops: Vec<String>,
        constraint: Option<Constraint>,
        resume: &[u32],
        codec: &Codec,
    ) -> Result<Self, GenerateError> {
        let (mut answer, mut history) = (Answer::new(stops), History::default());
        let mut ended = None;
        for token in resume {
            if ended.is_some() {
                let reason = "`resume` goes on after the end of the answer".to_owned();
                return Err(GenerateError::BadRequest(reason));
            }
            history.push(*token);
            let stopped = codec.is_end(*token) || answer.push(*token, codec)?.stopped;
            ended = stopped.then_some(FinishReason::Stop);
        }
        answer.mark_reported();
        Ok(Self { resumed: history.len(), history, answer, constraint, ended })
    }
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

    /// Whether it is known by `until` what its first token may be, or that nobody cares.
    pub(crate) fn is_prepared(&mut self, until: Instant) -> bool {
        let constraint = &mut self.beginning.constraint;
        self.reply.is_cancelled() || constraint.as_mut().is_none_or(|it| it.is_settled(until))
    }

    /// Why it cannot be served, if preparing it has shown that.
    pub(crate) fn refusal(&self) -> Option<GenerateError> {
        self.beginning.constraint.as_ref()?.allowed().err()
    }

    /// Reports a failure before it was queued; nothing follows.
    pub(crate) fn refuse(self, error: GenerateError) {
        drop(self.ticket);
        self.reply.send(GenerateEvent::Failed(error));
    }

    /// Positions at its longest.
    pub(crate) fn most_positions(&self) -> usize {
        let resumed = usize::try_from(self.beginning.resumed).unwrap_or(usize::MAX);
        self.prompt.len().saturating_add(self.max_tokens).saturating_sub(resumed)
    }

    /// Whether the answer is as long as it may be.
    fn is_full(&self) -> bool {
        let length = usize::try_from(self.beginning.history.len());
        length.unwrap_or(usize::MAX) >= self.max_tokens
    }
}

/// A request in the queue or in a slot; it may go to and fro.
pub(crate) struct Sequence {
    /// Its name in the engine, another one each time it gets a slot.
    pub(crate) id: SequenceId,
    pub(crate) rank: Rank,
    /// Not to be decoded before this: the operator's power cap.
    pub(crate) due: Instant,
    job: Job,
    /// Prompt and answer.
    tokens: Vec<u32>,
    prompt_tokens: u32,
    /// How many of `tokens` the engine has.
    computed: usize,
    /// A step failed that would have brought it to here; see [`Sequence::is_suspect`].
    trusted_from: usize,
    /// The logits of the next token, while it is not known which tokens are allowed.
    parked: Option<Vec<f32>>,
    /// Of tokens not yet reported.
    logprobs: VecDeque<TokenLogprobs>,
    started: bool,
    first_token: Option<Instant>,
}

impl Sequence {
    pub(crate) fn new(mut job: Job, rank: Rank) -> Self {
        let tokens = std::mem::take(&mut job.prompt);
        Self {
            id: SequenceId::default(),
            rank,
            due: job.reply.submitted,
            prompt_tokens: count(tokens.len()),
            tokens,
            computed: 0,
            trusted_from: 0,
            parked: None,
            logprobs: VecDeque::new(),
            started: false,
            first_token: None,
            job,
        }
    }

    /// Gives it a slot, with so many tokens in the engine; the first time, the caller is told.
    pub(crate) fn start(&mut self, id: SequenceId, computed: usize, now: Instant) {
        (self.id, self.computed, self.due) = (id, computed, now.max(self.due));
        // They come again with its last token.
        self.parked = None;
        if !self.started {
            self.started = true;
            self.job.ticket = None;
            let prompt_tokens = self.prompt_tokens;
            self.job.reply.send(GenerateEvent::Started { prompt_tokens });
        }
    }

    /// Whether it had a slot before, so that the caller knows of it.
    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.job.reply.is_cancelled()
    }

    /// Whether its deadline passed before it could start.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        !self.started && self.job.deadline.is_some_and(|deadline| deadline < now)
    }

    /// How it ended on another node.
    pub(crate) fn ended_before(&self) -> Option<FinishReason> {
        self.job.beginning.ended.or(self.job.is_full().then_some(FinishReason::Length))
    }

    pub(crate) fn priority(&self) -> u8 {
        self.job.priority
    }

    pub(crate) fn cache_salt(&self) -> u64 {
        self.job.cache_salt
    }

    /// Prompt and answer so far: never empty.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The tokens that the engine does not have yet.
    pub(crate) fn pending(&self) -> &[u32] {
        self.tokens.get(self.computed..).unwrap_or_default()
    }

    pub(crate) fn computed(&self) -> usize {
        self.computed
    }

    /// Whether all but its last token is in the engine.
    pub(crate) fn is_decoding(&self) -> bool {
        self.computed > 0 && self.pending().len() == 1
    }

    /// The engine has so many tokens now; whether that is all.
    pub(crate) fn set_computed(&mut self, tokens: usize) -> bool {
        self.computed = tokens;
        self.computed == self.tokens.len()
    }

    /// A step failed in which it would have computed so many tokens.
    pub(crate) fn suspect(&mut self, tokens: usize) {
        self.trusted_from = self.computed.saturating_add(tokens);
    }

    /// Whether it has not come past the tokens with which a step failed.
    pub(crate) fn is_suspect(&self) -> bool {
        self.computed < self.trusted_from
    }

    /// Keeps the logits of the next token until it can be chosen.
    pub(crate) fn park(&mut self, logits: Vec<f32>) {
        self.parked = Some(logits);
    }

    /// Whether it waits to choose a token and computes nothing.
    pub(crate) fn is_parked(&self) -> bool {
        self.parked.is_some()
    }

    /// The logits that were kept, once the token can be chosen, and at `until` at the latest.
    pub(crate) fn unpark(&mut self, until: Instant) -> Option<Vec<f32>> {
        let constraint = &mut self.job.beginning.constraint;
        let settled = constraint.as_mut().is_none_or(|constraint| constraint.is_settled(until));
        if settled { self.parked.take() } else { None }
    }

    /// Chooses the token after `logits` and reports it. Some reason means that it was the last.
    pub(crate) fn advance(
        &mut self,
        logits: &[f32],
        codec: &Codec,
        now: Instant,
    ) -> Result<Option<FinishReason>, GenerateError> {
        let Beginning { history, answer, constraint, .. } = &mut self.job.beginning;
        let allowed = constraint.as_ref().map(Constraint::allowed).transpose()?;
        let token = sample(logits, history, &self.job.sampling, allowed);
        let token = token.map_err(|error| GenerateError::Internal(error.to_string()))?;
        if let Some(alternatives) = self.job.logprobs {
            self.logprobs.push_back(logprobs(logits, token, alternatives, codec));
        }
        self.first_token.get_or_insert(now);
        history.push(token);
        if codec.is_end(token) {
            answer.push_silent(token);
            return Ok(Some(FinishReason::Stop));
        }
        let progress = answer.push(token, codec)?;
        let stopped = progress.stopped;
        self.report(progress);
        if stopped {
            return Ok(Some(FinishReason::Stop));
        }
        self.tokens.push(token);
        if self.job.is_full() {
            return Ok(Some(FinishReason::Length));
        }
        if let Some(constraint) = &mut self.job.beginning.constraint {
            constraint.accept(token);
        }
        Ok(None)
    }

    /// Reports what is left, then the end.
    pub(crate) fn finish(mut self, reason: FinishReason, codec: &Codec, now: Instant) {
        match self.job.beginning.answer.finish(codec) {
            Ok(progress) => self.report(progress),
            Err(error) => return self.fail(error),
        }
        let since = |instant: Instant| instant.saturating_duration_since(self.job.reply.submitted);
        self.job.ticket = None;
        self.job.reply.send(GenerateEvent::Finished {
            reason,
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.output_tokens(),
            ttft: self.first_token.map_or(Duration::ZERO, since),
            total: since(now),
        });
    }

    /// Reports a failure; nothing follows.
    pub(crate) fn fail(mut self, error: GenerateError) {
        self.job.ticket = None;
        self.job.reply.send(GenerateEvent::Failed(error));
    }

    /// Tokens generated here.
    fn output_tokens(&self) -> u32 {
        self.job.beginning.history.len().saturating_sub(self.job.beginning.resumed)
    }

    fn report(&mut self, progress: Progress) {
        let Progress { text, token_ids, .. } = progress;
        if text.is_empty() && token_ids.is_empty() {
            return;
        }
        let logprobs = self.logprobs.drain(..token_ids.len().min(self.logprobs.len())).collect();
        self.job.reply.send(GenerateEvent::Delta { text, token_ids, logprobs });
    }
}

/// Prompts fit the context, which fits 32 bits.
pub(crate) fn count(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}
