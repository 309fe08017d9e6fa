//! Which cache blocks belong to which sequence, and which blocks sequences have in common: a full
//! block is known by its tokens and by all that came before, so that a sequence with the same
//! beginning can use it as it is. It never touches the cache itself.

use std::collections::{BTreeMap, HashMap};

use super::rows::BLOCK;
use crate::engine::{EngineError, SequenceId};

/// The blocks and the sequences that hold them.
pub(crate) struct Blocks {
    pool: Pool,
    sequences: BTreeMap<SequenceId, Held>,
}

/// What a sequence holds.
#[derive(Default)]
pub(crate) struct Held {
    /// Its blocks, in the order of positions. Full ones may belong to other sequences too.
    pub(crate) table: Vec<usize>,
    /// Positions filled.
    pub(crate) length: usize,
    /// Positions reserved.
    pub(crate) limit: usize,
    /// What the block that is being filled follows; `None` shares nothing.
    before: Option<Before>,
    /// The tokens of the block that is being filled.
    tail: Vec<u32>,
}

/// All blocks of the cache. Each is in one of three states: held by sequences, idle (held by none,
/// but its content may be asked for again) or empty.
struct Pool {
    blocks: Vec<Block>,
    empty: Vec<usize>,
    /// The idle blocks by the time they became so: the least recently used comes first.
    idle: BTreeMap<u64, usize>,
    known: HashMap<Content, usize>,
    /// Counts what must never repeat: contents and times.
    clock: u64,
}

#[derive(Clone, Default)]
struct Block {
    holders: usize,
    content: Option<Known>,
    /// The key in [`Pool::idle`], of an idle block.
    idle_since: u64,
}

#[derive(Clone)]
struct Known {
    content: Content,
    /// Names this content and all that is before it; never used again for another.
    name: u64,
}

/// A full block: compared in whole, so that no collision of hashes can show one prompt to another.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Content {
    before: Before,
    tokens: [u32; BLOCK],
}

/// What comes before a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Before {
    /// Nothing, in the sequences of one salt.
    Nothing { salt: u64 },
    /// The block of that name.
    Block { name: u64 },
}

impl Blocks {
    /// `total` empty blocks, lowest first so that little memory is touched when little is used.
    pub(crate) fn new(total: usize) -> Self {
        Self { pool: Pool::new(total), sequences: BTreeMap::new() }
    }

    pub(crate) fn total_positions(&self) -> usize {
        self.pool.blocks.len() * BLOCK
    }

    pub(crate) fn free_positions(&self) -> usize {
        self.pool.available() * BLOCK
    }

    /// Makes room for `positions` in all.
    pub(crate) fn reserve(
        &mut self,
        sequence: SequenceId,
        positions: usize,
    ) -> Result<(), EngineError> {
        let blocks = self.sequences.get(&sequence).map_or(0, |held| held.table.len());
        let wanted = positions.div_ceil(BLOCK).saturating_sub(blocks);
        if wanted > self.pool.available() {
            let free = self.free_positions();
            return Err(EngineError::OutOfMemory { wanted: wanted * BLOCK, free });
        }
        let held = self.sequences.entry(sequence).or_default();
        held.table.extend((0..wanted).filter_map(|_| self.pool.take()));
        held.limit = held.limit.max(positions);
        Ok(())
    }

    /// Extends a sequence by known blocks; see [`crate::Engine::adopt`].
    pub(crate) fn adopt(&mut self, sequence: SequenceId, salt: u64, tokens: &[u32]) -> usize {
        let held = self.sequences.entry(sequence).or_default();
        if held.length == 0 {
            held.before = Some(Before::Nothing { salt });
        }
        while held.tail.is_empty()
            && let Some(before) = held.before
            && let Some(next) = tokens.get(held.length..held.length + BLOCK)
            && let Ok(tokens) = next.try_into()
            && let Some((block, name)) = self.pool.find(&Content { before, tokens })
        {
            match held.table.get_mut(held.length / BLOCK) {
                Some(reserved) => self.pool.release(std::mem::replace(reserved, block)),
                None => held.table.push(block),
            }
            held.before = Some(Before::Block { name });
            held.length += BLOCK;
            held.limit = held.limit.max(held.length);
        }
        held.length
    }

    pub(crate) fn get(&self, sequence: SequenceId) -> Option<&Held> {
        self.sequences.get(&sequence)
    }

    /// Counts `tokens` as computed. Blocks that they fill become known to others; a block whose
    /// content is known already gives way to the other one, which holds the same.
    pub(crate) fn append(&mut self, sequence: SequenceId, tokens: &[u32]) {
        let Some(held) = self.sequences.get_mut(&sequence) else { return };
        let Some(mut before) = held.before else {
            held.length += tokens.len();
            return;
        };
        for token in tokens {
            held.tail.push(*token);
            held.length += 1;
            if let Ok(tokens) = held.tail.as_slice().try_into()
                && let Some(block) = held.table.get_mut(held.length / BLOCK - 1)
            {
                let (kept, name) = self.pool.publish(*block, Content { before, tokens });
                *block = kept;
                before = Before::Block { name };
                held.tail.clear();
            }
        }
        held.before = Some(before);
    }

    /// Gives everything back. The end of the sequence is forgotten first when memory is needed:
    /// its beginning is what others are likelier to share.
    pub(crate) fn free(&mut self, sequence: SequenceId) {
        if let Some(held) = self.sequences.remove(&sequence) {
            held.table.into_iter().rev().for_each(|block| self.pool.release(block));
        }
    }
}

impl Pool {
    fn new(total: usize) -> Self {
        Self {
            blocks: vec![Block::default(); total],
            empty: (0..total).rev().collect(),
            idle: BTreeMap::new(),
            known: HashMap::new(),
            clock: 0,
        }
    }

    fn available(&self) -> usize {
        self.empty.len() + self.idle.len()
    }

    /// A block for one holder: an empty one, or else the idle one that was not used for longest.
    fn take(&mut self) -> Option<usize> {
        let block = self.empty.pop().or_else(|| self.idle.pop_first().map(|(_, block)| block))?;
        if let Some(known) = self.blocks[block].content.take() {
            self.known.remove(&known.content);
        }
        self.blocks[block].holders = 1;
        Some(block)
    }

    /// A known block for one more holder, and its name.
    fn find(&mut self, content: &Content) -> Option<(usize, u64)> {
        let block = *self.known.get(content)?;
        let state = &mut self.blocks[block];
        let name = state.content.as_ref()?.name;
        if state.holders == 0 {
            self.idle.remove(&state.idle_since);
        }
        state.holders += 1;
        Some((block, name))
    }

    /// Makes the content of a full block known; returns the block that holds it from now on.
    fn publish(&mut self, block: usize, content: Content) -> (usize, u64) {
        if let Some((same, name)) = self.find(&content) {
            self.release(block);
            return (same, name);
        }
        let name = self.tick();
        self.known.insert(content.clone(), block);
        self.blocks[block].content = Some(Known { content, name });
        (block, name)
    }

    /// One holder less.
    fn release(&mut self, block: usize) {
        let now = self.tick();
        let state = &mut self.blocks[block];
        state.holders -= 1;
        if state.holders > 0 {
            return;
        }
        if state.content.is_some() {
            state.idle_since = now;
            self.idle.insert(now, block);
        } else {
            self.empty.push(block);
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
