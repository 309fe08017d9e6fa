//! Which nodes lately served the beginning of a prompt, so that their caches are used again. A
//! prompt is known by keyed hashes of its blocks, never by its text, and the key differs for each
//! payer: nobody learns from timing what others asked.

use crate::sampler::SeatId;
use foldhash::SharedSeed;
use foldhash::fast::{FixedState, SeedableRandomState};
use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher},
};

/// Bytes of a block.
const BLOCK_BYTES: usize = 512;
/// Blocks of a prompt that are looked at: 32 KiB.
const MAX_BLOCKS: usize = 64;
/// Nodes remembered for one block.
const HOLDERS: usize = 2;
/// Blocks remembered in one generation; two generations are kept.
const GENERATION: usize = 32_768;

/// The beginning of a prompt: a hash for each block, over the block and all before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefix(Vec<u64>);

impl Prefix {
    /// Of a prompt in parts. `salt` is a secret of the server for this payer and model.
    pub fn of<'a>(salt: u64, parts: impl IntoIterator<Item = &'a str>) -> Self {
        let state = SeedableRandomState::with_seed(salt, SharedSeed::global_fixed());
        let (mut blocks, mut block) = (Vec::new(), Vec::with_capacity(BLOCK_BYTES));
        let mut chain = salt;
        for part in parts {
            let mut rest = part.as_bytes();
            while !rest.is_empty() && blocks.len() < MAX_BLOCKS {
                let (taken, left) = rest.split_at(rest.len().min(BLOCK_BYTES - block.len()));
                block.extend_from_slice(taken);
                rest = left;
                if block.len() == BLOCK_BYTES {
                    let mut hasher = state.build_hasher();
                    hasher.write_u64(chain);
                    hasher.write(&block);
                    chain = hasher.finish();
                    blocks.push(chain);
                    block.clear();
                }
            }
        }
        Self(blocks)
    }

    /// Whether there is nothing to remember: the prompt is shorter than a block.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A member's seat and how often the seat was given away before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub seat: SeatId,
    pub generation: u32,
}

/// A node that served the beginning of a prompt.
#[derive(Debug, Clone, Copy)]
pub struct Hit {
    pub holder: Holder,
    /// The part of the prompt's blocks that it served, in (0, 1].
    pub share: f64,
}

type Blocks = HashMap<u64, [Option<Holder>; HOLDERS], FixedState>;

/// Who served which blocks, for the last some ten thousand blocks.
#[derive(Debug, Default)]
pub struct Affinity {
    young: Blocks,
    old: Blocks,
}

impl Affinity {
    /// Who served the longest beginning of this prompt.
    pub fn find(&self, prefix: &Prefix) -> Vec<Hit> {
        let blocks = prefix.0.len();
        for (place, block) in prefix.0.iter().enumerate().rev() {
            if let Some(holders) = self.young.get(block).or_else(|| self.old.get(block)) {
                let share = ratio(place + 1, blocks);
                return holders.iter().flatten().map(|&holder| Hit { holder, share }).collect();
            }
        }
        Vec::new()
    }

    /// A node is about to serve this prompt.
    pub fn remember(&mut self, prefix: &Prefix, holder: Holder) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        for block in &prefix.0 {
            let known = self.old.get(block).copied();
            let holders = self.young.entry(*block).or_insert_with(|| known.unwrap_or_default());
            if holders[0] != Some(holder) {
                *holders = [Some(holder), holders[0]];
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most 64 blocks")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Holder = Holder { seat: 1, generation: 0 };
    const B: Holder = Holder { seat: 2, generation: 0 };

    fn text(blocks: usize, last: char) -> String {
        let mut text = "x".repeat(blocks * BLOCK_BYTES);
        text.push(last);
        text
    }

    #[test]
    fn a_prompt_that_goes_on_finds_who_served_its_beginning() {
        let mut affinity = Affinity::default();
        affinity.remember(&Prefix::of(1, [text(3, 'a').as_str()]), A);
        let longer = text(3, 'b') + &"y".repeat(BLOCK_BYTES);
        let hits = affinity.find(&Prefix::of(1, [longer.as_str()]));
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].holder, A);
        assert!((hits[0].share - 0.75).abs() < 1e-9, "{hits:?}");
        assert!(affinity.find(&Prefix::of(1, ["y".repeat(4096).as_str()])).is_empty());
    }

    #[test]
    fn payers_do_not_see_each_others_prompts() {
        let mut affinity = Affinity::default();
        let prompt = text(4, 'a');
        affinity.remember(&Prefix::of(1, [prompt.as_str()]), A);
        assert!(affinity.find(&Prefix::of(2, [prompt.as_str()])).is_empty());
    }

    #[test]
    fn how_a_prompt_is_cut_into_messages_does_not_matter() {
        let whole = text(2, 'a');
        let (left, right) = whole.split_at(700);
        assert_eq!(Prefix::of(1, [whole.as_str()]), Prefix::of(1, [left, right]));
        assert!(Prefix::of(1, ["short"]).is_empty());
    }

    #[test]
    fn the_last_two_nodes_of_a_block_are_known_and_memory_is_bounded() {
        let mut affinity = Affinity::default();
        let prompt = Prefix::of(1, [text(1, 'a').as_str()]);
        for holder in [A, B, B] {
            affinity.remember(&prompt, holder);
        }
        let hits = affinity.find(&prompt);
        assert_eq!(hits.iter().map(|hit| hit.holder).collect::<Vec<_>>(), [B, A]);
        for salt in 0..100_000 {
            affinity.remember(&Prefix::of(salt, [text(1, 'a').as_str()]), A);
        }
        assert!(affinity.young.len() + affinity.old.len() <= 2 * (GENERATION + MAX_BLOCKS));
    }
}
