//! Who computes next: admits in order of arrival, feeds prompts in chunks so that no answer stalls
//! behind a long prompt, decodes all due sequences in one step. It never sleeps and never waits
//! for a reader: its caller decides what to do between steps.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::{Chunk, Decode, Engine, EngineError, Prefill, SequenceId, Step, Tap};
use crate::gauges::Gauges;
use crate::request::{FinishReason, GenerateError};
use crate::sequence::{Job, Sequence};
use crate::text::codec::Codec;

/// Prompt tokens per step, over all sequences; bounds how long a decode step can be delayed.
const PREFILL_TOKENS: usize = 128;

/// The limits of a scheduler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Sequences running together.
    pub(crate) slots: usize,
    /// Least time between two tokens of one sequence.
    pub(crate) token_interval: Duration,
}

/// When the next step has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// At once.
    Now,
    /// Not before this, unless a job arrives or one is cancelled.
    At(Instant),
    /// When a job arrives.
    Idle,
}

/// Owns the engine and everything that runs on it.
pub(crate) struct Scheduler {
    engine: Box<dyn Engine>,
    codec: Arc<Codec>,
    limits: Limits,
    gauges: Arc<Gauges>,
    waiting: VecDeque<Job>,
    running: Vec<Sequence>,
    next_id: u64,
}

/// A sequence that is over, and how.
type Ended = (SequenceId, Result<FinishReason, GenerateError>);

impl Scheduler {
    pub(crate) fn new(
        engine: Box<dyn Engine>,
        codec: Arc<Codec>,
        limits: Limits,
        gauges: Arc<Gauges>,
    ) -> Self {
        Self {
            engine,
            codec,
            limits,
            gauges,
            waiting: VecDeque::new(),
            running: Vec::new(),
            next_id: 0,
        }
    }

    /// Queues a job. How many may wait is the business of whoever hands out tickets.
    pub(crate) fn push(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// One pass: cancellations, admissions, one chunk of prompts, one token for all that are due.
    pub(crate) fn step(&mut self, now: Instant) -> Next {
        self.drop_cancelled(now);
        self.admit(now);
        self.prefill(now);
        self.decode(now);
        self.gauges.set_active(self.running.len());
        self.next(now)
    }

    /// Ends everything as cancelled.
    pub(crate) fn cancel_all(&mut self, now: Instant) {
        self.waiting.drain(..).for_each(Job::cancel);
        let all = self.running.iter().map(|sequence| (sequence.id, Ok(FinishReason::Cancelled)));
        let all: Vec<Ended> = all.collect();
        self.end(all, now);
        self.gauges.set_active(0);
    }

    fn drop_cancelled(&mut self, now: Instant) {
        if self.waiting.iter().any(|job| job.reply.is_cancelled()) {
            let jobs = std::mem::take(&mut self.waiting).into_iter();
            let (cancelled, waiting): (Vec<Job>, _) =
                jobs.partition(|job| job.reply.is_cancelled());
            self.waiting = waiting.into();
            cancelled.into_iter().for_each(Job::cancel);
        }
        let cancelled = self.running.iter().filter(|sequence| sequence.is_cancelled());
        let cancelled: Vec<Ended> =
            cancelled.map(|sequence| (sequence.id, Ok(FinishReason::Cancelled))).collect();
        self.end(cancelled, now);
    }

    /// Starts waiting jobs in order while there are slots and memory.
    fn admit(&mut self, now: Instant) {
        while self.running.len() < self.limits.slots {
            let Some(job) = self.waiting.pop_front() else { return };
            let id = SequenceId(self.next_id);
            // The last token is never fed back, but reserving its place keeps the sum simple.
            match self.engine.reserve(id, job.prompt.len().saturating_add(job.max_tokens)) {
                Ok(()) => {
                    self.next_id += 1;
                    // Counted as active before its place in the queue is given up.
                    self.gauges.set_active(self.running.len().saturating_add(1));
                    self.running.push(Sequence::start(id, job, now));
                }
                Err(EngineError::OutOfMemory { .. }) if !self.running.is_empty() => {
                    self.waiting.push_front(job);
                    return;
                }
                Err(error) => job.reply.send(crate::GenerateEvent::Failed(report(&error))),
            }
        }
    }

    fn prefill(&mut self, now: Instant) {
        let mut budget = PREFILL_TOKENS;
        let mut batch = Prefill::default();
        for sequence in &self.running {
            let tokens = sequence.chunk(budget).to_vec();
            budget -= tokens.len();
            if !tokens.is_empty() {
                batch.chunks.push(Chunk { sequence: sequence.id, tokens });
            }
        }
        if batch.chunks.is_empty() {
            return;
        }
        let computed = guard(|| self.engine.prefill(&batch, Tap::Last));
        let sizes = batch.chunks.iter().map(|chunk| (chunk.sequence, chunk.tokens.len())).collect();
        self.absorb(sizes, computed, now);
    }

    fn decode(&mut self, now: Instant) {
        let due = self.running.iter().filter(|sequence| sequence.due <= now);
        let tokens: Vec<_> =
            due.filter_map(|sequence| Some((sequence.id, sequence.next?))).collect();
        if tokens.is_empty() {
            return;
        }
        let batch = Decode { tokens };
        let computed = guard(|| self.engine.decode(&batch, Tap::Last));
        let sizes = batch.tokens.iter().map(|(sequence, _)| (*sequence, 0)).collect();
        self.absorb(sizes, computed, now);
    }

    /// Hands the results of a pass to its sequences: each had so many prompt tokens in it.
    fn absorb(
        &mut self,
        sizes: Vec<(SequenceId, usize)>,
        computed: Result<Step, EngineError>,
        now: Instant,
    ) {
        // Time has passed since the step began; tokens exist only from here on.
        let after = Instant::now().max(now);
        let mut ended: Vec<Ended> = Vec::new();
        let complete = |step: Step| match step.outputs.len() == sizes.len() {
            true => Ok(step),
            false => Err(EngineError::Compute("an output is missing".to_owned())),
        };
        match computed.and_then(complete) {
            Err(error) => {
                tracing::error!(%error, sequences = sizes.len(), "a step of the engine failed");
                ended.extend(sizes.into_iter().map(|(id, _)| (id, Err(report(&error)))));
            }
            Ok(step) => {
                for ((id, prompt_tokens), output) in sizes.into_iter().zip(&step.outputs) {
                    let Some(sequence) = self.running.iter_mut().find(|sequence| sequence.id == id)
                    else {
                        continue;
                    };
                    if prompt_tokens > 0 && !sequence.prefilled(prompt_tokens) {
                        continue;
                    }
                    sequence.due = (sequence.due + self.limits.token_interval).max(now);
                    match sequence.advance(&output.logits.values, &self.codec, after) {
                        Ok(None) => {}
                        Ok(Some(reason)) => ended.push((id, Ok(reason))),
                        Err(error) => ended.push((id, Err(error))),
                    }
                }
            }
        }
        self.end(ended, after);
    }

    fn end(&mut self, ended: Vec<Ended>, now: Instant) {
        for (id, outcome) in ended {
            self.engine.free(id);
            let Some(index) = self.running.iter().position(|sequence| sequence.id == id) else {
                continue;
            };
            let sequence = self.running.remove(index);
            match outcome {
                Ok(reason) => sequence.finish(reason, &self.codec, now),
                Err(error) => sequence.fail(error),
            }
        }
    }

    fn next(&self, now: Instant) -> Next {
        if self.running.is_empty() {
            return if self.waiting.is_empty() { Next::Idle } else { Next::Now };
        }
        let waiting_for = |sequence: &Sequence| sequence.next.map_or(now, |_| sequence.due);
        match self.running.iter().map(waiting_for).min() {
            Some(due) if due > now => Next::At(due),
            _ => Next::Now,
        }
    }
}

/// Runs a step of the engine; a panic in it is an error of that step, not the end of the node.
fn guard(compute: impl FnOnce() -> Result<Step, EngineError>) -> Result<Step, EngineError> {
    catch_unwind(AssertUnwindSafe(compute))
        .unwrap_or_else(|_| Err(EngineError::Compute("the engine panicked".to_owned())))
}

fn report(error: &EngineError) -> GenerateError {
    match error {
        EngineError::OutOfMemory { .. } => GenerateError::OutOfMemory,
        EngineError::InvalidBatch(_) | EngineError::Compute(_) => {
            GenerateError::Internal(error.to_string())
        }
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
