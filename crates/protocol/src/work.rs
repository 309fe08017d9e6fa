//! What a task asks for: text or embeddings. It never says who does it or for how much.

use crate::{chat::ChatRequest, digest, id::Hash};
use serde::{Deserialize, Serialize};

/// The longest model id, in bytes.
pub const MAX_MODEL_BYTES: usize = 256;
/// The most texts of one embedding request.
pub const MAX_EMBED_INPUTS: usize = 2048;
/// All texts of one embedding request together, in bytes: they fit one frame.
pub const MAX_EMBED_BYTES: usize = 512 * 1024;

/// A request that no node serves; the text names the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OutOfBounds(pub &'static str);

/// What a task asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Text from a chat model.
    Chat(ChatRequest),
    /// Vectors from an embedding model.
    Embed(EmbedRequest),
}

/// A request for embeddings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedRequest {
    /// The model's id.
    pub model: String,
    /// One vector is made of each, in this order.
    pub inputs: Vec<String>,
}

/// [`Work`] without owning it; the same bytes.
#[derive(Serialize)]
pub(crate) enum WorkRef<'a> {
    Chat(&'a ChatRequest),
    Embed(&'a EmbedRequest),
}

impl WorkRef<'_> {
    pub(crate) fn hash(&self) -> Hash {
        digest::of_request(&aptos_bcs::to_bytes(self).unwrap_or_default())
    }
}

impl EmbedRequest {
    /// SHA-256 of the BCS form of the [`Work`] with this request: what a receipt names.
    pub fn hash(&self) -> Hash {
        WorkRef::Embed(self).hash()
    }

    /// An upper bound of all inputs together in tokens: no tokenizer makes more tokens than bytes,
    /// and each input gets a few special ones.
    pub fn prompt_tokens_bound(&self) -> u32 {
        const SPECIAL_TOKENS_PER_INPUT: usize = 4;
        let tokens: usize =
            self.inputs.iter().map(|text| text.len() + SPECIAL_TOKENS_PER_INPUT).sum();
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    /// Refuses what no node serves, whatever its models.
    ///
    /// # Errors
    /// [`OutOfBounds`] naming the bound.
    pub fn check(&self) -> Result<(), OutOfBounds> {
        let bytes: usize = self.inputs.iter().map(String::len).sum();
        let bounds = [
            ((1..=MAX_MODEL_BYTES).contains(&self.model.len()), "model: 1 to 256 bytes"),
            ((1..=MAX_EMBED_INPUTS).contains(&self.inputs.len()), "1 to 2048 inputs"),
            (self.inputs.iter().all(|text| !text.is_empty()), "an input must not be empty"),
            (bytes <= MAX_EMBED_BYTES, "all inputs together have at most 524288 bytes"),
        ];
        match bounds.into_iter().find(|(holds, _)| !holds) {
            Some((_, reason)) => Err(OutOfBounds(reason)),
            None => Ok(()),
        }
    }
}

impl Work {
    /// The model's id.
    pub fn model(&self) -> &str {
        match self {
            Self::Chat(request) => &request.model,
            Self::Embed(request) => &request.model,
        }
    }

    /// SHA-256 of the BCS form: what a receipt names as its request.
    pub fn hash(&self) -> Hash {
        match self {
            Self::Chat(request) => request.hash(),
            Self::Embed(request) => request.hash(),
        }
    }

    /// An upper bound of the prompt's length in tokens, before any tokenizer has seen it.
    pub fn prompt_tokens_bound(&self) -> u32 {
        match self {
            Self::Chat(request) => request.prompt_tokens_bound(),
            Self::Embed(request) => request.prompt_tokens_bound(),
        }
    }

    /// The most tokens to produce; embeddings produce none.
    pub fn max_tokens(&self) -> u32 {
        match self {
            Self::Chat(request) => request.max_tokens,
            Self::Embed(_) => 0,
        }
    }

    /// Refuses what no node serves, whatever its models.
    ///
    /// # Errors
    /// [`OutOfBounds`] naming the bound.
    pub fn check(&self) -> Result<(), OutOfBounds> {
        match self {
            Self::Chat(request) => request.check(),
            Self::Embed(request) => request.check(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Sampling;

    fn embed() -> EmbedRequest {
        EmbedRequest { model: "minilm".into(), inputs: vec!["a".into(), "b".into()] }
    }

    #[test]
    fn the_hash_is_that_of_the_works_own_bytes() {
        let chat = ChatRequest::new("m", vec![], Sampling::default(), 1);
        for work in [Work::Chat(chat), Work::Embed(embed())] {
            assert_eq!(work.hash(), digest::of_request(&aptos_bcs::to_bytes(&work).unwrap()));
        }
    }

    #[test]
    fn where_one_input_ends_and_the_next_begins_moves_the_hash() {
        let joined = EmbedRequest { inputs: vec!["ab".into()], ..embed() };
        let split = EmbedRequest { inputs: vec!["".into(), "ab".into()], ..embed() };
        let other = EmbedRequest { model: "minilN".into(), ..embed() };
        for changed in [joined, split, other] {
            assert_ne!(changed.hash(), embed().hash());
        }
    }

    #[test]
    fn what_no_node_serves_is_out_of_bounds() {
        assert_eq!(embed().check(), Ok(()));
        let wrong = [
            EmbedRequest { model: String::new(), ..embed() },
            EmbedRequest { inputs: vec![], ..embed() },
            EmbedRequest { inputs: vec![String::new()], ..embed() },
            EmbedRequest { inputs: vec!["x".into(); MAX_EMBED_INPUTS + 1], ..embed() },
            EmbedRequest { inputs: vec!["x".repeat(MAX_EMBED_BYTES + 1)], ..embed() },
        ];
        for request in wrong {
            assert!(Work::Embed(request).check().is_err());
        }
    }
}
