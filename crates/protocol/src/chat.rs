//! What is asked of a chat model. BCS has no fractions, so sampling parameters travel in
//! thousandths: the bytes that are hashed and signed are the same on every machine. It never says
//! what a model can do; that is `advert`.

use crate::{
    advert::Feature,
    id::Hash,
    work::{MAX_MODEL_BYTES, OutOfBounds, WorkRef},
};
use serde::{Deserialize, Serialize};

/// The most messages of one conversation.
pub const MAX_MESSAGES: usize = 4096;
/// The most stop texts of one request.
pub const MAX_STOPS: usize = 16;
/// The longest stop text, in bytes.
pub const MAX_STOP_BYTES: usize = 1024;
/// The most alternatives per token that a request may ask for.
pub const MAX_TOP_LOGPROBS: u8 = 20;
/// The most tokens whose likelihood a request may change.
pub const MAX_BIASED_TOKENS: usize = 300;
/// The longest JSON schema, in bytes.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// The longest output that another node goes on with, in tokens.
pub const MAX_RESUMED_TOKENS: usize = 1 << 17;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name that chat templates know.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// What the model goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prompt {
    /// A conversation, oldest first; the model's template turns it into text.
    Messages(Vec<ChatMessage>),
    /// Text as it is, without a template.
    Text(String),
}

/// How tokens are chosen. Thousandths where the name says `milli`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature_milli: u32,
    /// Nucleus; 1000 is off.
    pub top_p_milli: u32,
    /// The best k; 0 is off.
    pub top_k: u32,
    /// Relative to the most likely token; 0 is off.
    pub min_p_milli: u32,
    /// −2000 to 2000, per occurrence so far.
    pub frequency_penalty_milli: i32,
    /// −2000 to 2000, once a token has occurred.
    pub presence_penalty_milli: i32,
    /// The sampler's key: with the position it fixes every random choice.
    pub seed: u64,
}

impl Default for Sampling {
    /// OpenAI's defaults: temperature 1, nothing cut off, no penalties.
    fn default() -> Self {
        Self {
            temperature_milli: 1000,
            top_p_milli: 1000,
            top_k: 0,
            min_p_milli: 0,
            frequency_penalty_milli: 0,
            presence_penalty_milli: 0,
            seed: 0,
        }
    }
}

impl Sampling {
    fn check(&self) -> Result<(), OutOfBounds> {
        let penalties = [self.frequency_penalty_milli, self.presence_penalty_milli];
        let in_bounds = self.temperature_milli <= 100_000
            && self.top_p_milli <= 1000
            && self.min_p_milli <= 1000
            && penalties.iter().all(|penalty| (-2000..=2000).contains(penalty));
        if in_bounds { Ok(()) } else { Err(OutOfBounds("a sampling parameter is out of range")) }
    }
}

/// What is added to the logit of one token, before anything else is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBias {
    /// The token, by its id in the model's vocabulary.
    pub token: u32,
    /// −100,000 to 100,000.
    pub bias_milli: i32,
}

/// What form the answer must have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResponseFormat {
    /// Any text.
    #[default]
    Text,
    /// One JSON object.
    JsonObject,
    /// One JSON value of this JSON schema, given as JSON text.
    JsonSchema(String),
}

/// A request for text, as the routing server sends it and the receipt's hash covers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatRequest {
    /// The model's id.
    pub model: String,
    /// What the model goes on from.
    pub prompt: Prompt,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens made likelier or less likely, in the order of their ids, each once.
    pub logit_bias: Vec<TokenBias>,
    /// The most tokens to produce, those of `resume` not counted; at least 1, or 0 to end an answer
    /// of which `resume` has every token: its node was lost before it said so.
    pub max_tokens: u32,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// Log probabilities of each token, with so many of the likeliest alternatives.
    pub logprobs: Option<u8>,
    /// What form the answer must have.
    pub response_format: ResponseFormat,
    /// Output tokens that another node delivered before it was lost. Generation goes on after
    /// them, with the seed, positions, penalties, stop texts and text as if the same node had made
    /// them. They are not sent again and count as prompt tokens.
    pub resume: Vec<u32>,
}

impl ChatRequest {
    /// A conversation with everything else at its default.
    pub fn new(
        model: impl Into<String>,
        messages: Vec<ChatMessage>,
        sampling: Sampling,
        max_tokens: u32,
    ) -> Self {
        Self {
            model: model.into(),
            prompt: Prompt::Messages(messages),
            sampling,
            logit_bias: Vec::new(),
            max_tokens,
            stop: Vec::new(),
            logprobs: None,
            response_format: ResponseFormat::Text,
            resume: Vec::new(),
        }
    }

    /// SHA-256 of the BCS form of the [`crate::Work`] with this request: what a receipt names.
    pub fn hash(&self) -> Hash {
        WorkRef::Chat(self).hash()
    }

    /// An upper bound of the prompt's length in tokens, before any tokenizer has seen it: no
    /// tokenizer makes more tokens than bytes, and templates add a few per message.
    pub fn prompt_tokens_bound(&self) -> u32 {
        const TEMPLATE_TOKENS_PER_MESSAGE: usize = 16;
        let bytes: usize = match &self.prompt {
            Prompt::Messages(messages) => {
                messages.iter().map(|m| m.content.len() + TEMPLATE_TOKENS_PER_MESSAGE).sum()
            }
            Prompt::Text(text) => text.len(),
        };
        let tokens = bytes + self.resume.len() + TEMPLATE_TOKENS_PER_MESSAGE;
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    /// What a node must be able to do to serve this.
    pub fn needed_features(&self) -> Vec<Feature> {
        let needs = [
            (self.logprobs.is_some(), Feature::Logprobs),
            (self.response_format == ResponseFormat::JsonObject, Feature::JsonObject),
            (matches!(self.response_format, ResponseFormat::JsonSchema(_)), Feature::JsonSchema),
            (!self.resume.is_empty(), Feature::Resume),
            (matches!(self.prompt, Prompt::Text(_)), Feature::TextPrompt),
            (!self.logit_bias.is_empty(), Feature::LogitBias),
        ];
        needs.into_iter().filter_map(|(needed, feature)| needed.then_some(feature)).collect()
    }

    /// Refuses what no node serves, whatever its models.
    ///
    /// # Errors
    /// [`OutOfBounds`] naming the field.
    pub fn check(&self) -> Result<(), OutOfBounds> {
        let prompt_fits = match &self.prompt {
            Prompt::Messages(messages) => (1..=MAX_MESSAGES).contains(&messages.len()),
            Prompt::Text(text) => !text.is_empty(),
        };
        let stop_fits = |stop: &String| (1..=MAX_STOP_BYTES).contains(&stop.len());
        let schema_fits = match &self.response_format {
            ResponseFormat::JsonSchema(schema) => (1..=MAX_SCHEMA_BYTES).contains(&schema.len()),
            ResponseFormat::Text | ResponseFormat::JsonObject => true,
        };
        let in_order = |pair: &[TokenBias]| pair[0].token < pair[1].token;
        let small = |bias: &TokenBias| (-100_000..=100_000).contains(&bias.bias_milli);
        let bounds = [
            ((1..=MAX_MODEL_BYTES).contains(&self.model.len()), "model: 1 to 256 bytes"),
            (prompt_fits, "the prompt has 1 to 4096 messages, or a text that is not empty"),
            (
                self.max_tokens >= 1 || !self.resume.is_empty(),
                "max_tokens must be at least 1, or 0 to end an answer whose tokens all came",
            ),
            (self.stop.len() <= MAX_STOPS, "at most 16 stop texts"),
            (self.stop.iter().all(stop_fits), "a stop text has 1 to 1024 bytes"),
            (self.logprobs.unwrap_or(0) <= MAX_TOP_LOGPROBS, "at most 20 alternatives per token"),
            (schema_fits, "a JSON schema has 1 to 65536 bytes"),
            (self.logit_bias.len() <= MAX_BIASED_TOKENS, "logit_bias has at most 300 tokens"),
            (self.logit_bias.windows(2).all(in_order), "logit_bias has each token once, in order"),
            (self.logit_bias.iter().all(small), "a bias is from -100 to 100"),
            (self.resume.len() <= MAX_RESUMED_TOKENS, "at most 131072 tokens to go on after"),
        ];
        if let Some((_, reason)) = bounds.into_iter().find(|(holds, _)| !holds) {
            return Err(OutOfBounds(reason));
        }
        self.sampling.check()
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model said so, or a stop text came.
    Stop,
    /// `max_tokens` or the context was reached.
    Length,
    /// The server said `Cancel`: what was delivered until then is the answer.
    Cancelled,
}

impl FinishReason {
    /// OpenAI's word. It has none for an answer that was cut: that is shorter than it could be,
    /// like one that reached its limit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length | Self::Cancelled => "length",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ChatRequest {
        let messages = vec![ChatMessage { role: Role::User, content: "2+2".into() }];
        ChatRequest::new("sprout", messages, Sampling::default(), 8)
    }

    /// The request with one field changed, for each field.
    fn variations() -> Vec<ChatRequest> {
        let changes: [fn(&mut ChatRequest); 9] = [
            |r| r.model.push('x'),
            |r| r.prompt = Prompt::Text("2+2".into()),
            |r| r.sampling.seed = 1,
            |r| r.logit_bias.push(TokenBias { token: 5, bias_milli: -100_000 }),
            |r| r.max_tokens = 9,
            |r| r.stop.push("x".into()),
            |r| r.logprobs = Some(0),
            |r| r.response_format = ResponseFormat::JsonObject,
            |r| r.resume.push(7),
        ];
        let changed = changes.iter().map(|change| {
            let mut request = request();
            change(&mut request);
            request
        });
        changed.collect()
    }

    #[test]
    fn every_field_moves_the_request_hash() {
        for other in variations() {
            assert_ne!(other.hash(), request().hash());
            assert_eq!(other.check(), Ok(()));
        }
    }

    #[test]
    fn what_no_node_serves_is_out_of_bounds() {
        let bias = |token, bias_milli| TokenBias { token, bias_milli };
        let biased = [
            vec![bias(1, 100_001)],
            vec![bias(1, -100_001)],
            vec![bias(1, 0), bias(1, 0)],
            vec![bias(2, 0), bias(1, 0)],
            (0..301).map(|token| bias(token, 1)).collect(),
        ];
        for (index, logit_bias) in biased.into_iter().enumerate() {
            assert!(ChatRequest { logit_bias, ..request() }.check().is_err(), "bias {index}");
        }
        let changes: [fn(&mut ChatRequest); 14] = [
            |r| r.model.clear(),
            |r| r.model = "x".repeat(257),
            |r| r.prompt = Prompt::Messages(vec![]),
            |r| r.prompt = Prompt::Text(String::new()),
            |r| r.max_tokens = 0,
            |r| r.stop = vec![String::new()],
            |r| r.stop = vec!["x".repeat(MAX_STOP_BYTES + 1)],
            |r| r.stop = vec!["x".into(); MAX_STOPS + 1],
            |r| r.logprobs = Some(21),
            |r| r.response_format = ResponseFormat::JsonSchema(String::new()),
            |r| r.resume = vec![1; MAX_RESUMED_TOKENS + 1],
            |r| r.sampling.temperature_milli = 100_001,
            |r| r.sampling.presence_penalty_milli = -2001,
            |r| r.sampling.min_p_milli = 1001,
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut request = request();
            change(&mut request);
            assert!(request.check().is_err(), "case {index}");
        }
    }

    #[test]
    fn only_an_answer_that_has_begun_may_end_without_another_token() {
        let ending = ChatRequest { max_tokens: 0, resume: vec![7], ..request() };
        assert_eq!(ending.check(), Ok(()));
        assert!(ChatRequest { resume: vec![], ..ending }.check().is_err());
    }

    #[test]
    fn a_request_names_the_features_that_it_needs() {
        assert_eq!(request().needed_features(), []);
        let everything = ChatRequest {
            prompt: Prompt::Text("x".into()),
            logprobs: Some(3),
            response_format: ResponseFormat::JsonSchema("{}".into()),
            resume: vec![1],
            logit_bias: vec![TokenBias { token: 1, bias_milli: 5 }],
            ..request()
        };
        let needed = [
            Feature::Logprobs,
            Feature::JsonSchema,
            Feature::Resume,
            Feature::TextPrompt,
            Feature::LogitBias,
        ];
        assert_eq!(everything.needed_features(), needed);
    }

    #[test]
    fn what_was_delivered_before_counts_as_prompt() {
        let resumed = ChatRequest { resume: vec![1; 100], ..request() };
        assert_eq!(resumed.prompt_tokens_bound(), request().prompt_tokens_bound() + 100);
    }
}
