//! Which cache blocks belong to which sequence. It never touches the cache itself.

use std::collections::BTreeMap;

use super::rows::BLOCK;
use crate::engine::{EngineError, SequenceId};

/// The free blocks and the sequences that hold the others.
pub(crate) struct Blocks {
    free: Vec<usize>,
    total: usize,
    sequences: BTreeMap<SequenceId, Held>,
}

/// A sequence's reservation.
pub(crate) struct Held {
    /// Its blocks, in the order of positions.
    pub(crate) table: Vec<usize>,
    /// Positions filled.
    pub(crate) length: usize,
    /// Positions reserved.
    pub(crate) limit: usize,
}

impl Blocks {
    /// `total` free blocks, lowest first so that little memory is touched when little is used.
    pub(crate) fn new(total: usize) -> Self {
        Self { free: (0..total).rev().collect(), total, sequences: BTreeMap::new() }
    }

    pub(crate) fn total_positions(&self) -> usize {
        self.total * BLOCK
    }

    pub(crate) fn free_positions(&self) -> usize {
        self.free.len() * BLOCK
    }

    /// Reserves blocks for `positions`.
    pub(crate) fn reserve(
        &mut self,
        sequence: SequenceId,
        positions: usize,
    ) -> Result<(), EngineError> {
        if self.sequences.contains_key(&sequence) {
            return Err(EngineError::InvalidBatch(format!("sequence {} exists", sequence.0)));
        }
        let wanted = positions.div_ceil(BLOCK);
        if wanted > self.free.len() {
            return Err(EngineError::OutOfMemory {
                wanted: positions,
                free: self.free_positions(),
            });
        }
        let mut table = self.free.split_off(self.free.len() - wanted);
        table.reverse();
        self.sequences.insert(sequence, Held { table, length: 0, limit: positions });
        Ok(())
    }

    pub(crate) fn get(&self, sequence: SequenceId) -> Option<&Held> {
        self.sequences.get(&sequence)
    }

    /// Counts `positions` more as filled.
    pub(crate) fn advance(&mut self, sequence: SequenceId, positions: usize) {
        if let Some(held) = self.sequences.get_mut(&sequence) {
            held.length += positions;
        }
    }

    /// Gives everything back.
    pub(crate) fn free(&mut self, sequence: SequenceId) {
        if let Some(mut held) = self.sequences.remove(&sequence) {
            held.table.reverse();
            self.free.append(&mut held.table);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_comes_back_and_none_is_shared() {
        let mut blocks = Blocks::new(8);
        blocks.reserve(SequenceId(1), 33).unwrap();
        blocks.reserve(SequenceId(2), 80).unwrap();
        let mut held: Vec<usize> = [1, 2]
            .iter()
            .flat_map(|id| blocks.get(SequenceId(*id)).unwrap().table.clone())
            .collect();
        held.sort_unstable();
        assert_eq!(held, (0..8).collect::<Vec<_>>());
        let refused = blocks.reserve(SequenceId(3), 1);
        assert_eq!(refused, Err(EngineError::OutOfMemory { wanted: 1, free: 0 }));
        blocks.free(SequenceId(1));
        blocks.free(SequenceId(1));
        blocks.free(SequenceId(2));
        assert_eq!(blocks.free_positions(), 128);
    }
}
