//! The way from an exchange back to its HTTP request: events as they come, or all at once when
//! the answer stands. It notices at once when the client leaves.

use super::plan::{Eligible, Refused};
use crate::{
    error::ApiError,
    openai::response::{Output, Usage},
};
use cactus_protocol::{
    Address, FinishReason, PublicKey, TaskId, UNKNOWN_TOKEN, frame::TokenLogprob,
};
use serde::Serialize;
use std::time::Instant;
use tokio::sync::mpsc;

/// Events that may wait for the client's connection.
const CAPACITY: usize = 16;

/// Who answers.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// The attempt.
    pub task_id: TaskId,
    /// The node.
    pub node: PublicKey,
}

/// The `cactus` object of an answer: who gave it, who else could have, and whether it stood up.
#[derive(Debug, Clone, Serialize)]
pub struct Provenance {
    /// The attempt that is paid.
    pub task: TaskId,
    /// Who answered.
    pub node: PublicKey,
    /// Who is paid.
    pub operator: Address,
    /// That the receipt stood.
    pub verdict: &'static str,
    /// From sending the task to the first token.
    pub ttft_ms: u64,
    /// From sending the task to the end.
    pub total_ms: u64,
    /// Output of earlier attempts that this one went on after.
    pub resumed_tokens: u32,
    /// Earlier attempts.
    pub previous: Vec<TaskId>,
    /// Who could have answered.
    pub candidates: Vec<Eligible>,
    /// Some who could not.
    pub ineligible: Vec<Refused>,
}

/// A complete, verified answer whose payment is on disk.
#[derive(Debug)]
pub struct Finished {
    /// Who answered.
    pub served: Served,
    /// Why it ended.
    pub reason: FinishReason,
    /// Token counts of the verified receipt.
    pub usage: Usage,
    /// The `cactus` object.
    pub cactus: Provenance,
    /// What came, unless it was streamed.
    pub output: Output,
}

/// From an exchange to its HTTP request.
#[derive(Debug)]
pub enum Reply {
    /// The first token came; streams only.
    Started(Served),
    /// More text; streams only.
    Part {
        /// The text.
        text: String,
        /// Of its tokens, when the request asked for them.
        logprobs: Vec<TokenLogprob>,
    },
    /// The end.
    Finished(Box<Finished>),
    /// There is no answer, or no more of it.
    Failed(ApiError),
}

/// The client left or does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undeliverable {
    /// Left.
    Gone,
    /// Does not read.
    Slow,
}

/// The sending half.
#[derive(Debug)]
pub struct Delivery {
    replies: mpsc::Sender<Reply>,
    streams: bool,
    started: bool,
    output: Output,
    /// What came so far, unless an engine did not tell an id.
    tokens: Option<Vec<u32>>,
}

/// Both halves.
pub fn channel(streams: bool) -> (Delivery, mpsc::Receiver<Reply>) {
    let (replies, receiver) = mpsc::channel(CAPACITY);
    let delivery = Delivery {
        replies,
        streams,
        started: false,
        output: Output::default(),
        tokens: Some(Vec::new()),
    };
    (delivery, receiver)
}

impl Delivery {
    /// Whether the client has seen any of the answer, so that no other node may start over.
    pub fn is_seen(&self) -> bool {
        self.started
    }

    /// The tokens that came so far, if their ids are known.
    pub fn tokens(&self) -> Option<&[u32]> {
        self.tokens.as_deref()
    }

    /// How many they are.
    pub fn token_count(&self) -> u32 {
        let count = self.tokens().map_or(0, <[u32]>::len);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Completes when the client leaves.
    pub async fn client_gone(&self) {
        self.replies.closed().await;
    }

    /// [`Delivery::client_gone`], to be awaited while this is changed.
    pub fn client_goes(&self) -> impl Future<Output = ()> + use<> {
        let replies = self.replies.clone();
        async move { replies.closed().await }
    }

    /// Forgets what another node said.
    pub fn restart(&mut self) {
        self.output = Output::default();
        self.tokens = Some(Vec::new());
    }

    /// Part of an answer came.
    ///
    /// # Errors
    /// [`Undeliverable`] when the client left, or does not read until `deadline`.
    pub async fn part(
        &mut self,
        served: Served,
        (text, logprobs, token_ids): (String, Vec<TokenLogprob>, &[u32]),
        deadline: Instant,
    ) -> Result<(), Undeliverable> {
        match &mut self.tokens {
            Some(tokens) if !token_ids.contains(&UNKNOWN_TOKEN) => tokens.extend(token_ids),
            tokens => *tokens = None,
        }
        if !self.streams {
            self.output.text.push_str(&text);
            self.output.logprobs.extend(logprobs);
            return Ok(());
        }
        if !self.started {
            self.started = true;
            self.send(Reply::Started(served), deadline).await?;
        }
        if text.is_empty() && logprobs.is_empty() {
            return Ok(());
        }
        self.send(Reply::Part { text, logprobs }, deadline).await
    }

    /// Vectors came. They are delivered at the end, all together.
    pub fn vectors(&mut self, values: &[u32]) {
        self.output.values.extend_from_slice(values);
    }

    /// What was kept until the end.
    pub fn take_output(&mut self) -> Output {
        std::mem::take(&mut self.output)
    }

    /// The answer stands. Nobody waits for a client that left.
    pub async fn finish(&mut self, finished: Finished, deadline: Instant) {
        let started = self.started || !self.streams;
        if !started {
            let _ = self.send(Reply::Started(finished.served), deadline).await;
        }
        let _ = self.send(Reply::Finished(Box::new(finished)), deadline).await;
    }

    /// There is no answer.
    pub async fn fail(&mut self, error: ApiError, deadline: Instant) {
        let _ = self.send(Reply::Failed(error), deadline).await;
    }

    async fn send(&self, reply: Reply, deadline: Instant) -> Result<(), Undeliverable> {
        match tokio::time::timeout_at(deadline.into(), self.replies.send(reply)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Undeliverable::Gone),
            Err(_) => Err(Undeliverable::Slow),
        }
    }
}
