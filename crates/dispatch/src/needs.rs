//! What a request needs and what bounds every choice. Plain data: it decides nothing.

use crate::{affinity::Prefix, score::Weights};
use cactus_protocol::{Hash, Octas, Price, PublicKey, frame::Feature};

/// A set of features, cheap to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(u8);

impl Features {
    /// These.
    pub fn of(features: &[Feature]) -> Self {
        let bit = |(place, feature)| u8::from(features.contains(feature)) << place;
        Self(Feature::ALL.iter().enumerate().map(bit).sum())
    }

    /// Whether all of `others` are in it.
    pub fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// With those of `others`.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

/// What a request needs of whoever answers.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// The model's id.
    pub model: String,
    /// A pinned revision, if this server pins one.
    pub revision: Option<Hash>,
    /// Upper bound of the prompt's length in tokens.
    pub prompt_tokens: u32,
    /// How many prompts these are; a node's context bounds each. 0 stands for 1.
    pub prompts: u32,
    /// The most tokens to produce.
    pub max_tokens: u32,
    /// Vectors, not text.
    pub embedding: bool,
    /// What the node's engine must be able to do.
    pub features: Features,
    /// The least context that can hold the request, as far as it is known, in tokens.
    pub min_context: u32,
    /// The most that one task may lock.
    pub max_lock: Octas,
    /// The most to pay per 1,000 tokens.
    pub max_price: Option<Price>,
    /// Where the node must say that it is; in lower case.
    pub region: Option<String>,
    /// The least that must stand behind the node.
    pub min_stake: Octas,
    /// Part of the name of an accelerator; in lower case.
    pub gpu: Option<String>,
    /// This node and no other.
    pub node: Option<PublicKey>,
    /// The beginning of the prompt, in hashed blocks.
    pub prefix: Prefix,
    /// A node that has room now, for a request that waited for one: no others are walked over.
    pub hint: Option<PublicKey>,
    /// Nodes that must not get it (again).
    pub except: Vec<PublicKey>,
}

/// The network's parameters that bound a choice.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The contract's minimum stake.
    pub min_stake: Octas,
    /// The part of a stake that may be owed in unsettled tasks, in thousandths.
    pub exposure_milli: u32,
}

/// How every choice is made.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// What bounds it.
    pub bounds: Bounds,
    /// How much each term counts.
    pub weights: Weights,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_features_has_what_was_put_in() {
        let some = Features::of(&[Feature::Resume, Feature::Logprobs]);
        assert!(some.has(Features::of(&[Feature::Resume])) && some.has(Features::default()));
        assert!(!some.has(Features::of(&Feature::ALL)));
        let more = some.and(Features::of(&[Feature::TokenIds]));
        assert!(more.has(Features::of(&[Feature::TokenIds, Feature::Logprobs])));
    }
}
