//! A ragged batch laid out as rows: which sequence each row extends, at which position, and where
//! its keys and values live. It never touches a tensor.

use super::architecture::Architecture;
use super::rope::Rope;

/// Positions per block of the KV cache.
pub(crate) const BLOCK: usize = 16;

/// The rows of one pass over the weights, in the order of the batch.
pub(crate) struct Rows {
    /// The tokens to embed.
    pub(crate) tokens: Vec<u32>,
    /// Where each row stands.
    pub(crate) places: Vec<Place>,
    /// The cache blocks of each sequence of the batch.
    pub(crate) tables: Vec<Vec<usize>>,
    /// The rotations of each row, one entry per [`Architecture::ropes`].
    angles: Vec<Angles>,
}

/// Cosines and sines of one rotation, as many per row as it has pairs.
#[derive(Default)]
struct Angles {
    pairs: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

/// One row: a token of a sequence.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Index into [`Rows::tables`].
    pub(crate) table: usize,
    /// Position in the sequence, from 0.
    pub(crate) position: usize,
}

impl Rows {
    /// An empty batch with room for `rows`.
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self {
            tokens: Vec::with_capacity(rows),
            places: Vec::with_capacity(rows),
            tables: Vec::new(),
            angles: Vec::new(),
        }
    }

    /// Adds consecutive tokens of one sequence, the first at `start`.
    pub(crate) fn push(
        &mut self,
        architecture: &Architecture,
        table: Vec<usize>,
        start: usize,
        tokens: &[u32],
    ) {
        self.angles.resize_with(architecture.ropes.len(), Angles::default);
        for (position, token) in (start..).zip(tokens) {
            self.tokens.push(*token);
            self.places.push(Place { table: self.tables.len(), position });
            for (angles, rope) in self.angles.iter_mut().zip(&architecture.ropes) {
                angles.append(rope, position);
            }
        }
        self.tables.push(table);
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Cosines and sines of a row, by the rotation's index.
    pub(crate) fn angles(&self, row: usize, rope: usize) -> (&[f32], &[f32]) {
        let Angles { pairs, cos, sin } = &self.angles[rope];
        let range = row * pairs..(row + 1) * pairs;
        (&cos[range.clone()], &sin[range])
    }

    /// The cache slot of `position` in the sequence of `place`.
    pub(crate) fn slot(&self, place: Place, position: usize) -> usize {
        self.tables[place.table][position / BLOCK] * BLOCK + position % BLOCK
    }
}

impl Angles {
    fn append(&mut self, rope: &Rope, position: usize) {
        self.pairs = rope.pairs();
        rope.append(position, &mut self.cos, &mut self.sin);
    }
}
