//! What a node offers and runs on. All of it is a claim; it never says what was measured.

use crate::{amount::Price, id::Hash};
use serde::{Deserialize, Serialize};

/// The most numbers of one embedding.
pub const MAX_DIMENSIONS: u32 = 16_384;

/// What a node sells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advert {
    /// The models that are loaded.
    pub models: Vec<ModelOffer>,
    /// How many tasks run at once.
    pub slots: u16,
    /// How many tasks may wait for a slot.
    pub queue: u16,
    /// Where the node says it is, for clients that care; free text such as `eu-west`.
    pub region: String,
}

/// One model of an advert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelOffer {
    /// The id that clients ask for.
    pub id: String,
    /// Merkle root of weights, tokenizer and template.
    pub revision: Hash,
    /// Prompt and output together, in tokens.
    pub context_length: u32,
    /// Octas per 1,000 tokens.
    pub price: Price,
    /// What it makes.
    pub kind: ModelKind,
    /// What its engine can do beyond plain chat; each at most once.
    pub features: Vec<Feature>,
}

/// What a model makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Text.
    Chat,
    /// Vectors.
    Embedding {
        /// Numbers per vector; 1 to [`MAX_DIMENSIONS`].
        dimensions: u32,
    },
}

/// What an engine can do beyond plain chat. A request that needs a feature goes only to offers
/// that have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Every token comes with its id. Without it, [`crate::UNKNOWN_TOKEN`] stands for each.
    TokenIds,
    /// Log probabilities and alternatives of each token.
    Logprobs,
    /// Answers that are one JSON object.
    JsonObject,
    /// Answers that follow a JSON schema.
    JsonSchema,
    /// Going on after another node's output.
    Resume,
    /// Prompts without a chat template.
    TextPrompt,
    /// Single tokens made likelier or less likely.
    LogitBias,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::TokenIds,
        Self::Logprobs,
        Self::JsonObject,
        Self::JsonSchema,
        Self::Resume,
        Self::TextPrompt,
        Self::LogitBias,
    ];
}

impl ModelOffer {
    /// Whether its kind and features are well formed.
    pub fn is_well_formed(&self) -> bool {
        let mut features = self.features.clone();
        features.sort_unstable();
        features.dedup();
        let dimensions_fit = match self.kind {
            ModelKind::Chat => true,
            ModelKind::Embedding { dimensions } => (1..=MAX_DIMENSIONS).contains(&dimensions),
        };
        features.len() == self.features.len() && dimensions_fit
    }

    /// Whether it can do all of this.
    pub fn has_features(&self, needed: &[Feature]) -> bool {
        needed.iter().all(|feature| self.features.contains(feature))
    }
}

/// What a node runs on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HardwareReport {
    /// The processor's name.
    pub cpu: String,
    /// Logical cores.
    pub cores: u16,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The accelerators, if any.
    pub gpus: Vec<Gpu>,
}

/// One accelerator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// The product's name.
    pub name: String,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The driver's version.
    pub driver: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(kind: ModelKind, features: Vec<Feature>) -> ModelOffer {
        let (revision, price) = (Hash([1; 32]), Price::default());
        ModelOffer { id: "m".into(), revision, context_length: 8, price, kind, features }
    }

    #[test]
    fn dimensions_have_bounds_and_features_come_once() {
        assert!(offer(ModelKind::Chat, Feature::ALL.to_vec()).is_well_formed());
        assert!(!offer(ModelKind::Chat, vec![Feature::Resume; 2]).is_well_formed());
        for (dimensions, fits) in
            [(0, false), (1, true), (MAX_DIMENSIONS, true), (MAX_DIMENSIONS + 1, false)]
        {
            let kind = ModelKind::Embedding { dimensions };
            assert_eq!(offer(kind, vec![]).is_well_formed(), fits);
        }
    }

    #[test]
    fn an_offer_serves_what_it_has_the_features_for() {
        let offer = offer(ModelKind::Chat, vec![Feature::Logprobs, Feature::Resume]);
        assert!(offer.has_features(&[]));
        assert!(offer.has_features(&[Feature::Resume]));
        assert!(!offer.has_features(&[Feature::Resume, Feature::JsonSchema]));
    }
}
