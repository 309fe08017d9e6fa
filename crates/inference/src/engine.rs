//! The one interface between the scheduler and whatever computes logits.
//! It never samples, never knows text, and never decides who runs next.

use crate::card::ModelCard;

/// Names a sequence for as long as it holds memory in an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub u64);

/// Tokens to append to sequences, of different lengths and at different positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefill {
    /// At most one entry per sequence, each with at least one token.
    pub chunks: Vec<Chunk>,
}

/// Consecutive prompt tokens of one sequence, appended where the sequence ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The sequence to extend.
    pub sequence: SequenceId,
    /// The tokens to append.
    pub tokens: Vec<u32>,
}

/// One token to append to each of several sequences, in one pass over the weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decode {
    /// At most one entry per sequence.
    pub tokens: Vec<(SequenceId, u32)>,
}

/// What a step returns beyond advancing the sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tap {
    /// The logits after the last token of each sequence: what sampling needs.
    #[default]
    Last,
    /// The logits after every token given.
    AllLogits,
    /// The logits and the final-norm hidden states after every token given.
    AllLogitsAndHidden,
}

/// A dense matrix in row order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// Values per row.
    pub columns: usize,
    /// `rows × columns` values.
    pub values: Vec<f32>,
}

impl Matrix {
    /// The row at `index`, if there is one.
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        let start = index.checked_mul(self.columns)?;
        self.values.get(start..start.checked_add(self.columns)?)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.columns).unwrap_or(0)
    }
}

/// The outcome of one pass: one entry per sequence, in the order given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// What each sequence gained.
    pub outputs: Vec<SequenceOutput>,
}

/// What one sequence gained in a step.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceOutput {
    /// The sequence.
    pub sequence: SequenceId,
    /// `1 × vocabulary` with [`Tap::Last`], else one row per token given.
    pub logits: Matrix,
    /// One row per token given with [`Tap::AllLogitsAndHidden`], else empty.
    pub hidden: Matrix,
}

/// How much an engine can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Positions that all sequences together may hold.
    pub total_positions: usize,
    /// Positions not reserved now.
    pub free_positions: usize,
}

/// Why a step or a reservation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Wait until another sequence is freed, or give up if none runs.
    #[error("{wanted} positions do not fit into the {free} that are free")]
    OutOfMemory {
        /// Positions asked for.
        wanted: usize,
        /// Positions free now.
        free: usize,
    },
    /// The caller broke the interface: an unknown or repeated sequence, a token outside the
    /// vocabulary, more positions than reserved. The batch changed nothing.
    #[error("invalid batch: {0}")]
    InvalidBatch(String),
    /// The computation failed; the sequences of the batch are unusable and should be freed.
    #[error("computation failed: {0}")]
    Compute(String),
}

/// Computes logits for sequences that it knows by id. Owned by one OS thread.
///
/// A sequence's logits depend on its own tokens only: not on its neighbours in a batch and, with
/// the candle engine on a CPU, not on how its prompt was cut into chunks, bit for bit.
pub trait Engine: Send {
    /// What is loaded.
    fn card(&self) -> &ModelCard;

    /// Number of logits per position.
    fn vocabulary(&self) -> usize;

    /// How much fits.
    fn capacity(&self) -> Capacity;

    /// Makes room for `positions` tokens in a sequence, which begins empty if it is new. Room
    /// that a sequence has already is kept.
    ///
    /// # Errors
    /// [`EngineError::OutOfMemory`] if it does not fit now, [`EngineError::InvalidBatch`] if
    /// `positions` is beyond the context. Nothing changes then.
    fn reserve(&mut self, sequence: SequenceId, positions: usize) -> Result<(), EngineError>;

    /// Extends a sequence, which begins empty if it is new, by what is in memory already: at most
    /// `tokens` in all, of which the first are those that the sequence has. Only sequences with
    /// the same `salt` share. Returns how many tokens the sequence has now; the next one to append
    /// is `tokens` from there on.
    ///
    /// An engine that shares nothing needs no body for this: sequences begin empty.
    fn adopt(&mut self, sequence: SequenceId, salt: u64, tokens: &[u32]) -> usize {
        let _ = (sequence, salt, tokens);
        0
    }

    /// Appends prompt tokens.
    ///
    /// # Errors
    /// [`EngineError::InvalidBatch`] or [`EngineError::Compute`].
    fn prefill(&mut self, batch: &Prefill, tap: Tap) -> Result<Step, EngineError>;

    /// Appends one token to each sequence.
    ///
    /// # Errors
    /// [`EngineError::InvalidBatch`] or [`EngineError::Compute`].
    fn decode(&mut self, batch: &Decode, tap: Tap) -> Result<Step, EngineError>;

    /// Gives a sequence's memory back. Unknown ids are ignored.
    fn free(&mut self, sequence: SequenceId);
}
