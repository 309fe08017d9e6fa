//! What is asked of a model. BCS has no fractions, so sampling parameters travel in thousandths:
//! the bytes that are hashed and signed are the same on every machine.

use crate::id::Hash;
use serde::{Deserialize, Serialize};

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

/// A checked chat request, as the routing server sends it and the receipt's hash covers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatRequest {
    /// The model's id.
    pub model: String,
    /// The conversation, oldest first.
    pub messages: Vec<ChatMessage>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The most tokens to produce; at least 1.
    pub max_tokens: u32,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
}

impl ChatRequest {
    /// SHA3-256 of the BCS form: what a receipt names as its request.
    pub fn hash(&self) -> Hash {
        Hash::of(&aptos_bcs::to_bytes(self).unwrap_or_default())
    }

    /// An upper bound of the prompt's length in tokens, before any tokenizer has seen it: no
    /// tokenizer makes more tokens than bytes, and templates add a few per message.
    pub fn prompt_tokens_bound(&self) -> u32 {
        const TEMPLATE_TOKENS_PER_MESSAGE: usize = 16;
        let bytes: usize =
            self.messages.iter().map(|m| m.content.len() + TEMPLATE_TOKENS_PER_MESSAGE).sum();
        u32::try_from(bytes + TEMPLATE_TOKENS_PER_MESSAGE).unwrap_or(u32::MAX)
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

    #[test]
    fn every_field_moves_the_request_hash() {
        let request = ChatRequest {
            model: "sprout".into(),
            messages: vec![ChatMessage { role: Role::User, content: "2+2".into() }],
            sampling: Sampling::default(),
            max_tokens: 8,
            stop: vec![],
        };
        let mut changed = vec![request.clone(); 5];
        changed[0].model.push('x');
        changed[1].messages[0].content.push('x');
        changed[2].sampling.seed = 1;
        changed[3].max_tokens = 9;
        changed[4].stop.push("x".into());
        for other in changed {
            assert_ne!(other.hash(), request.hash());
        }
    }
}
