//! What a caller asks of a model and what comes back, as plain data.
//! It never runs anything and knows no engine.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most stop strings of one request.
pub const MAX_STOP_STRINGS: usize = 16;
/// The longest stop string, in bytes.
pub const MAX_STOP_BYTES: usize = 1024;
/// The most messages of one request.
pub const MAX_MESSAGES: usize = 4096;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks: `system`, `user` or `assistant`; the model's template decides what it accepts.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// How the next token is chosen.
///
/// They apply in this order: penalties, top-k, temperature, top-p, min-p.
/// The randomness of the token at output position `n` depends on `seed` and `n` alone, so any
/// token can be derived again later from its logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// Divides the logits; 0 takes the likeliest token and ignores the filters. In `0..=100`.
    pub temperature: f32,
    /// Keeps the likeliest tokens whose probabilities sum to this; 1 keeps all. In `0..=1`.
    pub top_p: f32,
    /// Keeps this many of the likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keeps tokens at least this fraction as likely as the likeliest; 0 keeps all. In `0..=1`.
    pub min_p: f32,
    /// Keys the randomness.
    pub seed: u64,
    /// Subtracted from a token's logit for each time it was already generated. In `-2..=2`.
    pub frequency_penalty: f32,
    /// Subtracted once from the logit of every token already generated. In `-2..=2`.
    pub presence_penalty: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            seed: 0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
        }
    }
}

impl Sampling {
    /// Takes the likeliest token every time.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Refuses values outside the documented ranges, NaN included.
    ///
    /// # Errors
    /// [`GenerateError::BadRequest`] naming the field.
    pub fn check(&self) -> Result<(), GenerateError> {
        let fields = [
            ("temperature", self.temperature, 0.0..=100.0),
            ("top_p", self.top_p, 0.0..=1.0),
            ("min_p", self.min_p, 0.0..=1.0),
            ("frequency_penalty", self.frequency_penalty, -2.0..=2.0),
            ("presence_penalty", self.presence_penalty, -2.0..=2.0),
        ];
        for (name, value, range) in fields {
            if !range.contains(&value) {
                let (low, high) = (range.start(), range.end());
                return Err(GenerateError::BadRequest(format!(
                    "`{name}` must be between {low} and {high}, not {value}"
                )));
            }
        }
        Ok(())
    }
}

/// One request for text.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateRequest {
    /// The conversation so far; the model's chat template turns it into a prompt.
    pub messages: Vec<ChatMessage>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The most tokens to generate; 0, like anything beyond the context, means up to the context.
    pub max_tokens: u32,
    /// Text that ends the answer; it is not part of the answer.
    pub stop: Vec<String>,
}

impl GenerateRequest {
    /// Refuses what is wrong whatever the model.
    ///
    /// # Errors
    /// [`GenerateError::BadRequest`] saying what to change.
    pub fn check(&self) -> Result<(), GenerateError> {
        self.sampling.check()?;
        let refuse = |reason: String| Err(GenerateError::BadRequest(reason));
        if self.messages.is_empty() || self.messages.len() > MAX_MESSAGES {
            return refuse(format!("a request carries 1 to {MAX_MESSAGES} messages"));
        }
        if self.stop.len() > MAX_STOP_STRINGS {
            return refuse(format!("at most {MAX_STOP_STRINGS} stop strings are allowed"));
        }
        if self.stop.iter().any(|stop| stop.is_empty() || stop.len() > MAX_STOP_BYTES) {
            return refuse(format!("a stop string has 1 to {MAX_STOP_BYTES} bytes"));
        }
        Ok(())
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its turn, or a stop string appeared.
    Stop,
    /// `max_tokens` or the context was reached.
    Length,
    /// The caller cancelled, or dropped its receiver, or the model was shut down.
    Cancelled,
}

/// What a running request reports, in this order: `Started`, any number of `Delta`, and last one
/// of `Finished` and `Failed`. A request that fails early reports `Failed` alone.
#[derive(Clone, Debug, PartialEq)]
pub enum GenerateEvent {
    /// The request left the queue.
    Started {
        /// Tokens of the prompt.
        prompt_tokens: u32,
    },
    /// More of the answer.
    Delta {
        /// Text to append; may be empty at the end. Never holds half a character or any part of
        /// a stop string.
        text: String,
        /// The tokens not reported before. Over a whole answer they number `output_tokens`, the
        /// end-of-turn token included.
        token_ids: Vec<u32>,
    },
    /// The answer is complete.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// Tokens generated, the end-of-turn token included.
        output_tokens: u32,
        /// From submission to the first token, queueing included; zero if there was none.
        ttft: Duration,
        /// From submission to the end.
        total: Duration,
    },
    /// The request could not be served; nothing follows.
    Failed(GenerateError),
}

/// Why a request could not be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// Change the request: the text says what. Safe to show to the caller.
    #[error("{0}")]
    BadRequest(String),
    /// The request needs more memory than this node keeps for sequences; try a larger node.
    #[error("the request needs more memory than this node has")]
    OutOfMemory,
    /// The engine failed; the text is for the operator's log.
    #[error("the engine failed: {0}")]
    Internal(String),
}
