//! Who computes next. Each step admits in order of rank, gives every running answer its next token
//! and prompts a bounded number of theirs, in one pass of the engine. When memory runs out, the
//! last in rank gives way: it is computed again later, to the same tokens. It never sleeps and
//! never waits for a reader: its caller decides what to do between steps.

mod plan;
mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::plan::{Pace, View, plan};
use self::queue::Queue;
pub(crate) use self::queue::Rank;
use crate::engine::{Chunk, Decode, Engine, EngineError, Prefill, SequenceId, Step, Tap};
use crate::gauges::Gauges;
use crate::request::{FinishReason, GenerateError};
use crate::sequence::{Job, Sequence};
use crate::text::codec::Codec;

/// Free positions for each running sequence without which no other is admitted: it would have to
/// give way again soon.
const GROWTH: usize = 16;

/// How long a step waits for all those together who do not know yet which tokens are allowed; they
/// miss the next step then.
const PATIENCE: Duration = Duration::from_millis(1);

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
    started: Instant,
    queue: Queue,
    /// By rank.
    running: Vec<Sequence>,
    pace: Pace,
    next_number: u64,
    next_id: u64,
    /// The last refusal of memory.
    refused: Option<Refusal>,
}

/// As long as these are what they were when memory was refused, asking again is in vain.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Refusal {
    asking: Rank,
    running: usize,
    free_positions: usize,
}

/// A running sequence that is over, by its index, and how.
type Ended = (usize, Result<FinishReason, GenerateError>);

/// What the engine is given in one pass.
enum Batch {
    Decode(Decode),
    Prefill(Prefill),
}

/// One pass of the engine: the sequences in it, by index, and how many tokens of each.
type Pass = Vec<(usize, usize)>;

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
            started: Instant::now(),
            queue: Queue::default(),
            running: Vec::new(),
            pace: Pace::new(),
            next_number: 0,
            next_id: 0,
            refused: None,
        }
    }

    /// Queues a job. How many may wait is the business of whoever hands out tickets.
    pub(crate) fn push(&mut self, job: Job) {
        let arrival = job.reply.submitted.saturating_duration_since(self.started);
        let rank = Rank::new(arrival, job.priority, self.next_number);
        self.next_number += 1;
        let fits = job.most_positions() <= self.engine.capacity().total_positions;
        let sequence = Sequence::new(job, rank);
        match sequence.ended_before() {
            Some(reason) => sequence.finish(reason, &self.codec, Instant::now()),
            None if !fits => sequence.fail(GenerateError::OutOfMemory),
            None => self.queue.push(sequence),
        }
    }

    /// One pass: cancellations, admissions, one chunk of prompts, one token for all that are due.
    pub(crate) fn step(&mut self, now: Instant) -> Next {
        self.drop_over(now);
        self.choose_late(now);
        self.admit(now);
        let pass = self.prepare(now);
        self.compute(&pass, now);
        self.gauges.set_active(self.running.len() + self.queue.started());
        self.next(now)
    }

    /// Ends everything as cancelled.
    pub(crate) fn cancel_all(&mut self, now: Instant) {
        while let Some(sequence) = self.queue.pop() {
            sequence.finish(FinishReason::Cancelled, &self.codec, now);
        }
        let all = (0..self.running.len()).map(|index| (index, Ok(FinishReason::Cancelled)));
        self.end(all.collect(), now);
        self.gauges.set_active(0);
    }

    /// Ends what is cancelled, and what waited beyond its deadline.
    fn drop_over(&mut self, now: Instant) {
        for sequence in self.queue.take_over(now) {
            match sequence.is_cancelled() {
                true => sequence.finish(FinishReason::Cancelled, &self.codec, now),
                false => sequence.fail(GenerateError::DeadlineExceeded),
            }
        }
        let cancelled = self.running.iter().enumerate();
        let cancelled = cancelled.filter(|(_, sequence)| sequence.is_cancelled());
        let cancelled = cancelled.map(|(index, _)| (index, Ok(FinishReason::Cancelled)));
        self.end(cancelled.collect(), now);
    }

    /// Chooses the tokens of those who know at last which are allowed.
    fn choose_late(&mut self, now: Instant) {
        let mut ended: Vec<Ended> = Vec::new();
        for (index, sequence) in self.running.iter_mut().enumerate() {
            if sequence.is_parked()
                && let Some(logits) = sequence.unpark(now)
            {
                let outcome = sequence.advance(&logits, &self.codec, now).transpose();
                ended.extend(outcome.map(|outcome| (index, outcome)));
            }
        }
        self.end(ended, now);
    }

    /// Starts waiting sequences in order while there are slots and memory. One of higher priority
    /// takes both from those that are behind it.
    fn admit(&mut self, now: Instant) {
        while let Some(asking) = self.queue.first().map(|first| first.rank) {
            let refusal = Refusal {
                asking,
                running: self.running.len(),
                free_positions: self.free_positions(),
            };
            if self.refused == Some(refusal) {
                return;
            }
            if self.running.len() >= self.limits.slots && !self.displace() {
                return;
            }
            let Some(mut sequence) = self.queue.pop() else { return };
            match self.enter(&mut sequence, now) {
                Ok(()) => {
                    let place = self.running.partition_point(|other| other.rank < sequence.rank);
                    self.running.insert(place, sequence);
                }
                Err(EngineError::OutOfMemory { .. }) if !self.running.is_empty() => {
                    self.queue.push(sequence);
                    if !self.displace() {
                        self.refused = Some(refusal);
                        return;
                    }
                }
                Err(error) => sequence.fail(report(&error)),
            }
        }
    }

    /// Takes memory for all that a sequence has so far, and what the engine has of it already.
    fn enter(&mut self, sequence: &mut Sequence, now: Instant) -> Result<(), EngineError> {
        let id = SequenceId(self.next_id);
        let tokens = sequence.tokens();
        // The last token is computed in any case: its logits are what is wanted.
        let known = &tokens[..tokens.len().saturating_sub(1)];
        let computed = self.engine.adopt(id, sequence.cache_salt(), known);
        let reserved = self.engine.reserve(id, tokens.len());
        let wanted = self.running.len() * GROWTH;
        let free = self.free_positions();
        if let Err(error) = reserved {
            self.engine.free(id);
            return Err(error);
        }
        if free < wanted {
            self.engine.free(id);
            return Err(EngineError::OutOfMemory { wanted, free });
        }
        self.next_id += 1;
        self.gauges.count_prompt(tokens.len());
        self.gauges.count_reused(computed);
        // Counted as active before its place in the queue is given up.
        self.gauges.set_active(self.running.len() + self.queue.started() + 1);
        sequence.start(id, computed, now);
        Ok(())
    }

    /// Sends the last in rank back to the queue if the first there has a higher priority.
    fn displace(&mut self) -> bool {
        let (Some(first), Some(last)) = (self.queue.first(), self.running.last()) else {
            return false;
        };
        if first.priority() <= last.priority() || first.rank > last.rank {
            return false;
        }
        self.preempt(self.running.len() - 1);
        true
    }

    /// Takes a sequence's memory; it computes again what it had when its turn comes.
    fn preempt(&mut self, index: usize) {
        let sequence = self.running.remove(index);
        self.engine.free(sequence.id);
        self.gauges.count_preemption();
        self.queue.push(sequence);
    }

    /// Decides what to compute and makes room for it.
    fn prepare(&mut self, now: Instant) -> Pass {
        for sequence in &mut self.running {
            if sequence.pending().len() > 1 {
                // Another sequence may have computed the same in the meantime.
                let (tokens, before) = (sequence.tokens(), sequence.computed());
                let known = &tokens[..tokens.len() - 1];
                let computed = self.engine.adopt(sequence.id, sequence.cache_salt(), known);
                let computed = computed.max(before);
                self.gauges.count_reused(computed - before);
                sequence.set_computed(computed);
            }
        }
        let view = |sequence: &Sequence| View {
            pending: sequence.pending().len(),
            due: sequence.due <= now,
            suspect: sequence.is_suspect(),
        };
        let views: Vec<View> = self.running.iter().map(view).collect();
        let mut planned = plan(&views, self.pace.budget());
        let mut index = 0;
        while index < self.running.len() {
            match self.make_room(index, planned[index]) {
                // Whoever gave way to it was behind it.
                Ok(()) => index += 1,
                Err(error) => {
                    planned.remove(index);
                    self.end(vec![(index, Err(report(&error)))], now);
                }
            }
        }
        planned.truncate(self.running.len());
        planned.into_iter().enumerate().filter(|(_, tokens)| *tokens > 0).collect()
    }

    /// Makes room for so many tokens more in the sequence at `index`. If need be those behind it
    /// give way, and itself when nobody is behind it.
    fn make_room(&mut self, index: usize, tokens: usize) -> Result<(), EngineError> {
        while tokens > 0
            && let Some(sequence) = self.running.get(index)
        {
            match self.engine.reserve(sequence.id, sequence.computed() + tokens) {
                Ok(()) => return Ok(()),
                Err(EngineError::OutOfMemory { .. }) if self.running.len() > 1 => {
                    self.preempt(self.running.len() - 1);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One pass of the engine over what was decided.
    fn compute(&mut self, pass: &Pass, now: Instant) {
        if pass.is_empty() {
            return;
        }
        let started = Instant::now();
        let decoding = pass.iter().all(|(index, _)| self.running[*index].is_decoding());
        let chosen = pass.iter().map(|(index, tokens)| {
            let sequence = &self.running[*index];
            (sequence.id, &sequence.pending()[..*tokens])
        });
        let batch = if decoding {
            let tokens = chosen.filter_map(|(id, tokens)| Some((id, *tokens.first()?)));
            Batch::Decode(Decode { tokens: tokens.collect() })
        } else {
            let chunk = |(sequence, tokens): (_, &[u32])| Chunk { sequence, tokens: tokens.into() };
            Batch::Prefill(Prefill { chunks: chosen.map(chunk).collect() })
        };
        let engine = &mut self.engine;
        let computed = guard(|| match &batch {
            Batch::Decode(batch) => engine.decode(batch, Tap::Last),
            Batch::Prefill(batch) => engine.prefill(batch, Tap::Last),
        });
        if !decoding {
            self.pace.observe(pass.iter().map(|(_, tokens)| tokens).sum(), started.elapsed());
        }
        let complete = |step: Step| match step.outputs.len() == pass.len() {
            true => Ok(step),
            false => Err(EngineError::Compute("an output is missing".to_owned())),
        };
        // Time has passed since the step began; tokens exist only from here on.
        let after = Instant::now().max(now);
        match computed.and_then(complete) {
            Ok(step) => self.absorb(pass, step, now, after),
            Err(error) => self.recover(pass, &error, after),
        }
    }

    /// Hands the results of a pass to its sequences.
    fn absorb(&mut self, pass: &Pass, step: Step, now: Instant, after: Instant) {
        let mut ended: Vec<Ended> = Vec::new();
        let patience = after + PATIENCE;
        for ((index, tokens), output) in pass.iter().zip(step.outputs) {
            let sequence = &mut self.running[*index];
            if !sequence.set_computed(sequence.computed() + tokens) {
                continue;
            }
            sequence.due = (sequence.due + self.limits.token_interval).max(now);
            sequence.park(output.logits.values);
            if let Some(logits) = sequence.unpark(patience) {
                let outcome = sequence.advance(&logits, &self.codec, after).transpose();
                ended.extend(outcome.map(|outcome| (*index, outcome)));
            }
        }
        self.end(ended, after);
    }

    /// After a failed pass nobody knows which of its sequences is at fault: each computes again,
    /// alone. One that fails alone is over.
    fn recover(&mut self, pass: &Pass, error: &EngineError, now: Instant) {
        tracing::error!(%error, sequences = pass.len(), "a step of the engine failed");
        if let [(index, _)] = pass[..] {
            return self.end(vec![(index, Err(report(error)))], now);
        }
        for (index, tokens) in pass.iter().rev() {
            self.running[*index].suspect(*tokens);
            self.preempt(*index);
        }
    }

    /// `ended` is in the order of indices.
    fn end(&mut self, ended: Vec<Ended>, now: Instant) {
        for (index, outcome) in ended.into_iter().rev() {
            let sequence = self.running.remove(index);
            self.engine.free(sequence.id);
            match outcome {
                Ok(reason) => sequence.finish(reason, &self.codec, now),
                Err(error) => sequence.fail(error),
            }
        }
    }

    fn free_positions(&self) -> usize {
        self.engine.capacity().free_positions
    }

    fn next(&self, now: Instant) -> Next {
        let due = |sequence: &Sequence| match sequence.is_parked() {
            true => now + PATIENCE,
            false => sequence.due,
        };
        match self.running.iter().map(due).min() {
            None if self.queue.is_empty() => Next::Idle,
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
mod same_tokens;
#[cfg(test)]
mod tests;
