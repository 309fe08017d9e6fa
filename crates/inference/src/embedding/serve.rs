//! The thread that owns an encoder: passes of bounded size, filled by turns from all requests, so
//! that a short one never waits for a long one. It never waits for a reader.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Receiver;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::encoder::Encoder;
use super::{EmbedError, Embeddings};

/// Tokens after which a pass is full: enough to use every core, and a bound on how long a
/// cancellation waits.
const PASS_TOKENS: usize = 1024;
/// Requests that share passes; others wait in the queue.
const SHARING: usize = 64;

/// A request and what is done of it.
pub(super) struct Job {
    inputs: VecDeque<String>,
    wanted: usize,
    vectors: Vec<Vec<f32>>,
    tokens: u32,
    failure: Option<EmbedError>,
    reply: oneshot::Sender<Result<Embeddings, EmbedError>>,
}

impl Job {
    pub(super) fn new(
        inputs: Vec<String>,
        reply: oneshot::Sender<Result<Embeddings, EmbedError>>,
    ) -> Self {
        let (wanted, inputs) = (inputs.len(), inputs.into());
        Self { inputs, wanted, vectors: Vec::new(), tokens: 0, failure: None, reply }
    }

    /// The tokens of the next text, if one is left and can be tokenised.
    fn next(&mut self, encoder: &Encoder) -> Option<Vec<u32>> {
        match encoder.tokenise(&self.inputs.pop_front()?) {
            Ok(tokens) => {
                let count = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
                self.tokens = self.tokens.saturating_add(count);
                Some(tokens)
            }
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    fn fail(&mut self, error: EmbedError) {
        self.inputs.clear();
        self.failure.get_or_insert(error);
    }

    fn is_over(&self) -> bool {
        self.failure.is_some() || self.vectors.len() == self.wanted || self.reply.is_closed()
    }

    fn answer(self) {
        let answer = match self.failure {
            Some(error) => Err(error),
            None => Ok(Embeddings { vectors: self.vectors, prompt_tokens: self.tokens }),
        };
        if self.reply.send(answer).is_err() {
            tracing::debug!("nobody waits for these vectors any more");
        }
    }
}

/// Serves until the handle is dropped.
pub(super) fn serve(encoder: &Encoder, submitted: &Receiver<Job>, shutdown: &CancellationToken) {
    let mut jobs: Vec<Job> = Vec::new();
    while !shutdown.is_cancelled() {
        if jobs.is_empty() {
            let Ok(job) = submitted.recv() else { return };
            jobs.push(job);
        }
        let room = SHARING.saturating_sub(jobs.len());
        jobs.extend(submitted.try_iter().take(room));
        let (owners, texts) = fill(encoder, &mut jobs);
        match catch_unwind(AssertUnwindSafe(|| encoder.encode(&texts))) {
            Ok(Ok(vectors)) => deliver(&mut jobs, &owners, vectors),
            Ok(Err(error)) => fail(&mut jobs, &owners, &error),
            Err(_) => {
                fail(&mut jobs, &owners, &EmbedError::Internal("the encoder panicked".to_owned()));
            }
        }
        let (over, rest) = jobs.into_iter().partition(Job::is_over);
        jobs = rest;
        Vec::into_iter(over).for_each(Job::answer);
    }
}

/// Takes texts from the jobs by turns until a pass is full; names the job of each text.
fn fill(encoder: &Encoder, jobs: &mut [Job]) -> (Vec<usize>, Vec<Vec<u32>>) {
    let (mut owners, mut texts, mut tokens) = (Vec::new(), Vec::new(), 0);
    while tokens < PASS_TOKENS && jobs.iter().any(|job| !job.inputs.is_empty()) {
        for (index, job) in jobs.iter_mut().enumerate() {
            if tokens < PASS_TOKENS
                && let Some(text) = job.next(encoder)
            {
                tokens += text.len();
                owners.push(index);
                texts.push(text);
            }
        }
    }
    (owners, texts)
}

/// Hands vectors to their jobs. One that is not finite fails its own job only.
fn deliver(jobs: &mut [Job], owners: &[usize], vectors: Vec<Vec<f32>>) {
    for (owner, vector) in owners.iter().zip(vectors) {
        match vector.iter().all(|value| value.is_finite()) {
            true => jobs[*owner].vectors.push(vector),
            false => jobs[*owner].fail(EmbedError::Internal(
                "the model computed a vector that is not finite".to_owned(),
            )),
        }
    }
}

fn fail(jobs: &mut [Job], owners: &[usize], error: &EmbedError) {
    tracing::error!(%error, texts = owners.len(), "a pass of the encoder failed");
    owners.iter().for_each(|owner| jobs[*owner].fail(error.clone()));
}
