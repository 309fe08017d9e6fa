//! Answers in OpenAI's shapes: one body, or the events of a stream. The `cactus` object says who
//! answered and whether it stood up; OpenAI's clients ignore it.

mod embeddings;
mod events;
mod logprobs;
mod whole;

pub use embeddings::embeddings;
pub use events::{DONE, Events, data};
pub use whole::text;

use super::text::Shape;
use cactus_protocol::{TaskId, frame::TokenLogprob};
use serde::Serialize;

/// Token counts, from verified receipts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Prompt length after the template; of several tasks, the sum: each of them reads it.
    pub prompt_tokens: u64,
    /// Output length.
    pub completion_tokens: u64,
    /// Both.
    pub total_tokens: u64,
}

impl Usage {
    /// Of an answer.
    pub fn new(prompt_tokens: u32, completion_tokens: u32) -> Self {
        let (prompt_tokens, completion_tokens) = (prompt_tokens.into(), completion_tokens.into());
        let total_tokens = prompt_tokens + completion_tokens;
        Self { prompt_tokens, completion_tokens, total_tokens }
    }

    /// Of several answers.
    pub fn sum(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), |sum, one| Self {
            prompt_tokens: sum.prompt_tokens + one.prompt_tokens,
            completion_tokens: sum.completion_tokens + one.completion_tokens,
            total_tokens: sum.total_tokens + one.total_tokens,
        })
    }
}

/// What came of one task.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// The text.
    pub text: String,
    /// One for each token when the request asked for them.
    pub logprobs: Vec<TokenLogprob>,
    /// The bits of vectors, one after the other.
    pub values: Vec<u32>,
}

/// What all parts of one answer share.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The first task that produced a token names the answer.
    pub task_id: TaskId,
    /// Unix seconds.
    pub created: u64,
    /// The model's id.
    pub model: String,
    /// Chat or plain.
    pub shape: Shape,
}

impl Envelope {
    fn id(&self) -> String {
        let prefix = match self.shape {
            Shape::Chat => "chatcmpl",
            Shape::Plain => "cmpl",
        };
        format!("{prefix}-{}", hex::encode(self.task_id.as_bytes()))
    }
}
