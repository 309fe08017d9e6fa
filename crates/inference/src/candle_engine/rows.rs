//! A ragged batch laid out as rows: which sequence each row extends, at which position, and where
//! its keys and values live. It never touches a tensor.

use super::config::Config;

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
    /// `cos` of each row's rotation angles, half a head per row.
    pub(crate) cos: Vec<f32>,
    /// `sin` of the same angles.
    pub(crate) sin: Vec<f32>,
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
            cos: Vec::new(),
            sin: Vec::new(),
        }
    }

    /// Adds consecutive tokens of one sequence, the first at `start`.
    pub(crate) fn push(
        &mut self,
        config: &Config,
        table: Vec<usize>,
        start: usize,
        tokens: &[u32],
    ) {
        for (position, token) in (start..).zip(tokens) {
            self.tokens.push(*token);
            self.places.push(Place { table: self.tables.len(), position });
            config.rope.append(position, &mut self.cos, &mut self.sin);
        }
        self.tables.push(table);
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The cache slot of `position` in the sequence of `place`.
    pub(crate) fn slot(&self, place: Place, position: usize) -> usize {
        self.tables[place.table][position / BLOCK] * BLOCK + position % BLOCK
    }
}
