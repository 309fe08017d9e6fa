//! Keys and values of every sequence, as tensors that a module reads. It never computes anything.

use std::collections::BTreeMap;

use tch::{Device, Kind, TchError, Tensor};

use super::module::long;
use crate::engine::{Capacity, EngineError, SequenceId};

/// A sequence gets room by so many positions at once, so that it is not copied for every token.
const GROWTH: usize = 64;

/// What keys (and as much again, values) look like: `layers × 1 × key_heads × positions ×
/// head_dimension`.
#[derive(Clone, Copy, Debug)]
pub(super) struct KvShape {
    pub(super) layers: u32,
    pub(super) key_heads: u32,
    pub(super) head_dimension: u32,
    pub(super) kind: Kind,
}

/// The tensors of what came before.
pub(super) struct Past {
    pub(super) keys: Tensor,
    pub(super) values: Tensor,
}

/// The sequences and the room that they share.
pub(super) struct Store {
    shape: KvShape,
    /// Positions of all sequences together.
    total: usize,
    free: usize,
    /// The most positions of one sequence.
    context: usize,
    sequences: BTreeMap<SequenceId, Held>,
}

struct Held {
    keys: Tensor,
    values: Tensor,
    /// Positions computed.
    length: usize,
    /// Positions that the tensors have room for.
    limit: usize,
}

impl KvShape {
    /// The shape of so many positions.
    pub(super) fn of(self, positions: i64) -> [i64; 5] {
        let (layers, heads) = (i64::from(self.layers), i64::from(self.key_heads));
        [layers, 1, heads, positions, i64::from(self.head_dimension)]
    }

    /// Bytes of keys and values of one position.
    pub(super) fn position_bytes(self) -> u64 {
        let factors = [self.layers, self.key_heads, self.head_dimension].map(u64::from);
        let width: u64 = if self.kind == Kind::Float { 4 } else { 2 };
        factors.into_iter().fold(2 * width, u64::saturating_mul)
    }

    fn empty(self, positions: usize) -> Result<Tensor, TchError> {
        Tensor::f_zeros(self.of(long(positions)), (self.kind, Device::Cpu))
    }
}

impl Store {
    pub(super) fn new(shape: KvShape, positions: usize, context: u32) -> Self {
        let context = usize::try_from(context).unwrap_or(usize::MAX);
        Self { shape, total: positions, free: positions, context, sequences: BTreeMap::new() }
    }

    pub(super) fn capacity(&self) -> Capacity {
        Capacity { total_positions: self.total, free_positions: self.free }
    }

    /// Makes room for `positions` in a sequence, which may be new.
    pub(super) fn reserve(
        &mut self,
        sequence: SequenceId,
        positions: usize,
    ) -> Result<(), EngineError> {
        let old = self.sequences.get(&sequence);
        let had = old.map_or(0, |held| held.limit);
        if old.is_some() && positions <= had {
            return Ok(());
        }
        let wanted = positions - had;
        if wanted > self.free {
            return Err(EngineError::OutOfMemory { wanted, free: self.free });
        }
        let rounded = positions.next_multiple_of(GROWTH).min(self.context);
        let limit = rounded.min(had + self.free).max(positions);
        let grown = self.grown(old, limit).map_err(|error| {
            EngineError::Compute(format!("no room for {limit} positions: {error}"))
        })?;
        self.free -= limit - had;
        self.sequences.insert(sequence, grown);
        Ok(())
    }

    /// A sequence with room for `limit` positions and what `old` has.
    fn grown(&self, old: Option<&Held>, limit: usize) -> Result<Held, TchError> {
        let _guard = tch::no_grad_guard();
        let (keys, values) = (self.shape.empty(limit)?, self.shape.empty(limit)?);
        let length = old.map_or(0, |held| held.length);
        if let Some(old) = old.filter(|held| held.length > 0) {
            let length = long(length);
            keys.f_narrow(3, 0, length)?.f_copy_(&old.keys.f_narrow(3, 0, length)?)?;
            values.f_narrow(3, 0, length)?.f_copy_(&old.values.f_narrow(3, 0, length)?)?;
        }
        Ok(Held { keys, values, length, limit })
    }

    /// How many tokens a sequence may still get; nothing if it is unknown.
    pub(super) fn room(&self, sequence: SequenceId) -> Option<usize> {
        self.sequences.get(&sequence).map(|held| held.limit - held.length)
    }

    /// The length of a sequence, and views of its keys and values.
    pub(super) fn past(&self, sequence: SequenceId) -> Result<(usize, Past), TchError> {
        let held = self.sequences.get(&sequence).ok_or_else(unknown)?;
        let length = long(held.length);
        let keys = held.keys.f_narrow(3, 0, length)?;
        Ok((held.length, Past { keys, values: held.values.f_narrow(3, 0, length)? }))
    }

    /// Adds the keys and values of new positions, for which there is room.
    pub(super) fn append(
        &mut self,
        sequence: SequenceId,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(), TchError> {
        let held = self.sequences.get_mut(&sequence).ok_or_else(unknown)?;
        let rows = keys.size().get(3).copied().unwrap_or(0);
        let start = long(held.length);
        held.keys.f_narrow(3, start, rows)?.f_copy_(keys)?;
        held.values.f_narrow(3, start, rows)?.f_copy_(values)?;
        held.length += usize::try_from(rows).unwrap_or(0);
        Ok(())
    }

    pub(super) fn free(&mut self, sequence: SequenceId) {
        if let Some(held) = self.sequences.remove(&sequence) {
            self.free += held.limit;
        }
    }
}

fn unknown() -> TchError {
    TchError::Convert("the sequence is unknown".to_owned())
}
