//! What a caller asks of a model and what comes back, as plain data.
//! It never runs anything and knows no engine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The most stop strings of one request.
pub const MAX_STOP_STRINGS: usize = 16;
/// The longest stop string, in bytes.
pub const MAX_STOP_BYTES: usize = 1024;
/// The most messages of one request.
pub const MAX_MESSAGES: usize = 4096;
/// The most alternatives to a token that can be asked for.
pub const MAX_ALTERNATIVES: u8 = 20;
/// The most tokens whose likelihood a request may change.
pub const MAX_BIASED_TOKENS: usize = 300;
/// The longest JSON schema, in bytes.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;

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
/// They apply in this order: bias and penalties, top-k, temperature, top-p, min-p.
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
    /// Added to the logits of these tokens, at most [`MAX_BIASED_TOKENS`]. In `-100..=100`.
    pub logit_bias: BTreeMap<u32, f32>,
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
            logit_bias: BTreeMap::new(),
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
        if self.logit_bias.len() > MAX_BIASED_TOKENS {
            let reason = format!("`logit_bias` has at most {MAX_BIASED_TOKENS} tokens");
            return Err(GenerateError::BadRequest(reason));
        }
        let biases = self.logit_bias.values().map(|bias| ("logit_bias", *bias, -100.0..=100.0));
        for (name, value, range) in fields.into_iter().chain(biases) {
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

/// What the answer follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A conversation; the model's chat template turns it into text.
    Chat(Vec<ChatMessage>),
    /// Text as it stands, with the tokens that the tokenizer puts around every text.
    Text(String),
}

/// The form of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ResponseFormat {
    /// Whatever the model says.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that this schema accepts. The schema is JSON itself, at most [`MAX_SCHEMA_BYTES`].
    JsonSchema(String),
}

/// One request for text.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateRequest {
    /// What the answer follows.
    pub prompt: Prompt,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The most tokens to generate, those of `resume` included; 0, like anything beyond the
    /// context, means up to the context.
    pub max_tokens: u32,
    /// Text that ends the answer; it is not part of the answer.
    pub stop: Vec<String>,
    /// The form of the answer.
    pub response_format: ResponseFormat,
    /// Report the probability of each token, and of this many alternatives, at most
    /// [`MAX_ALTERNATIVES`].
    pub logprobs: Option<u8>,
    /// The beginning of the answer: every token that deltas of another node reported. The answer
    /// goes on as that node would have; what it reported is neither reported nor counted again,
    /// but counts as prompt.
    pub resume: Vec<u32>,
    /// Each unit lets the request overtake those that came up to a second earlier. As time passes
    /// for all alike, none waits for ever.
    pub priority: u8,
    /// When it is no longer worth starting: a request still queued then fails.
    pub deadline: Option<Instant>,
    /// Requests with the same salt share computed prefixes; others cannot tell by its speed what a
    /// request has in common with theirs.
    pub cache_salt: u64,
}

impl GenerateRequest {
    /// A request with the defaults of every choice: sampled at temperature 1, up to the context.
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            sampling: Sampling::default(),
            max_tokens: 0,
            stop: Vec::new(),
            response_format: ResponseFormat::Text,
            logprobs: None,
            resume: Vec::new(),
            priority: 0,
            deadline: None,
            cache_salt: 0,
        }
    }

    /// Refuses what is wrong whatever the model.
    ///
    /// # Errors
    /// [`GenerateError::BadRequest`] saying what to change.
    pub fn check(&self) -> Result<(), GenerateError> {
        self.sampling.check()?;
        let refuse = |reason: String| Err(GenerateError::BadRequest(reason));
        if let Prompt::Chat(messages) = &self.prompt
            && (messages.is_empty() || messages.len() > MAX_MESSAGES)
        {
            return refuse(format!("a request carries 1 to {MAX_MESSAGES} messages"));
        }
        if self.stop.len() > MAX_STOP_STRINGS {
            return refuse(format!("at most {MAX_STOP_STRINGS} stop strings are allowed"));
        }
        if self.stop.iter().any(|stop| stop.is_empty() || stop.len() > MAX_STOP_BYTES) {
            return refuse(format!("a stop string has 1 to {MAX_STOP_BYTES} bytes"));
        }
        if self.logprobs.is_some_and(|alternatives| alternatives > MAX_ALTERNATIVES) {
            return refuse(format!("at most {MAX_ALTERNATIVES} alternatives are reported"));
        }
        if matches!(&self.response_format, ResponseFormat::JsonSchema(schema) if schema.len() > MAX_SCHEMA_BYTES)
        {
            return refuse(format!("a JSON schema has at most {MAX_SCHEMA_BYTES} bytes"));
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

/// How likely a token was, by the model's own distribution: before temperature, penalties and
/// filters, as the OpenAI API reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token_id: u32,
    /// The bytes it stands for; they need not be whole characters.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability.
    pub logprob: f32,
}

impl TokenLogprob {
    /// The token as text; incomplete characters become `U+FFFD`.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// One token of the answer and what else it could have been.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// The token that was chosen.
    pub chosen: TokenLogprob,
    /// As many of the likeliest tokens as were asked for, likeliest first; the chosen one may be
    /// among them.
    pub top: Vec<TokenLogprob>,
}

/// What a running request reports, in this order: `Started`, any number of `Delta`, and last one
/// of `Finished` and `Failed`. A request that fails early reports `Failed` alone.
#[derive(Clone, Debug, PartialEq)]
pub enum GenerateEvent {
    /// The request left the queue.
    Started {
        /// Tokens of the prompt, those of `resume` included.
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
        /// One entry for each of `token_ids` if they were asked for, else empty.
        logprobs: Vec<TokenLogprobs>,
    },
    /// The answer is complete.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// Tokens of the prompt, those of `resume` included.
        prompt_tokens: u32,
        /// Tokens generated here, the end-of-turn token included.
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
    /// The request's deadline passed while it was queued; try a node that is less busy.
    #[error("the deadline passed before the request could start")]
    DeadlineExceeded,
    /// The engine cannot take a request now; try another node. The text is for the operator's log.
    #[error("the engine cannot take the request: {0}")]
    Unavailable(String),
    /// The request needs more memory than this node keeps for sequences; try a larger node.
    #[error("the request needs more memory than this node has")]
    OutOfMemory,
    /// The engine failed; the text is for the operator's log.
    #[error("the engine failed: {0}")]
    Internal(String),
}
