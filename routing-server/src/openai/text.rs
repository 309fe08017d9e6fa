//! A request for text as chat and plain completions both become it: the choices to make and the
//! shape that the answer takes.

use super::{
    Call, chat, completion,
    parameters::{MAX_CHOICES, StreamOptions, seed_of_choice},
    preferences::Preferences,
};
use crate::error::Invalid;
use actix_web::http::header::HeaderMap;
use cactus_protocol::{ChatRequest, Prompt};

/// The shape of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Of `/v1/chat/completions`.
    Chat,
    /// Of `/v1/completions`.
    Plain,
}

/// A checked request for one or more texts.
#[derive(Debug, Clone)]
pub struct TextCall {
    /// The shape of the answer.
    pub shape: Shape,
    /// The model's id.
    pub model: String,
    /// Server-sent events instead of one body.
    pub stream: bool,
    /// A last event with the usage.
    pub include_usage: bool,
    /// One task for each choice, in the order of their indices.
    pub choices: Vec<Call>,
}

/// What [`TextCall::new`] makes choices of.
pub struct Parts {
    pub shape: Shape,
    pub model: String,
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    /// The first prompt's request; `max_tokens` is filled in later.
    pub request: ChatRequest,
    /// The other prompts.
    pub more_prompts: Vec<Prompt>,
    /// Answers to each prompt.
    pub n: usize,
    pub max_tokens: Option<u32>,
    pub preferences: Preferences,
}

impl TextCall {
    /// Reads the body of `/v1/chat/completions`.
    ///
    /// # Errors
    /// [`Invalid`] names the parameter and what it may be.
    pub fn parse_chat(body: &[u8], headers: &HeaderMap) -> Result<Self, Invalid> {
        Self::new(chat::parse(body, headers)?)
    }

    /// Reads the body of `/v1/completions`.
    ///
    /// # Errors
    /// [`Invalid`] names the parameter and what it may be.
    pub fn parse_plain(body: &[u8], headers: &HeaderMap) -> Result<Self, Invalid> {
        Self::new(completion::parse(body, headers)?)
    }

    /// The choice with index `p * n + i` is the answer `i` to prompt `p`.
    fn new(parts: Parts) -> Result<Self, Invalid> {
        let count = parts.n.saturating_mul(1 + parts.more_prompts.len());
        if count > MAX_CHOICES {
            let text = format!("n times the number of prompts must be at most {MAX_CHOICES}");
            return Err(Invalid::value("n", text));
        }
        let stream = parts.stream.unwrap_or(false);
        let call = |request: ChatRequest| Call {
            streams: stream,
            ..Call::text(request, parts.max_tokens, parts.preferences.clone())
        };
        let mut choices = Vec::with_capacity(count);
        let mut last = parts.request;
        for prompt in parts.more_prompts {
            let next = ChatRequest { prompt, ..last.clone() };
            add_choices(&mut choices, (last, parts.n), &call);
            last = next;
        }
        add_choices(&mut choices, (last, parts.n), &call);
        Ok(Self {
            shape: parts.shape,
            model: parts.model,
            stream,
            include_usage: parts.stream_options.is_some_and(|o| o.include_usage),
            choices,
        })
    }
}

fn add_choices(
    choices: &mut Vec<Call>,
    (mut request, n): (ChatRequest, usize),
    call: &impl Fn(ChatRequest) -> Call,
) {
    let seed = request.sampling.seed;
    for choice in 0..n - 1 {
        let mut request = request.clone();
        request.sampling.seed = seed_of_choice(seed, choice);
        choices.push(call(request));
    }
    request.sampling.seed = seed_of_choice(seed, n - 1);
    choices.push(call(request));
}
