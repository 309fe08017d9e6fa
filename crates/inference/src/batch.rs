//! What every engine asks of a batch before it computes. It never changes anything.

use std::collections::BTreeSet;

use crate::engine::{Decode, EngineError, Prefill, SequenceId};

/// The tokens to append to each sequence.
pub(crate) type Appended<'a> = Vec<(SequenceId, &'a [u32])>;

/// The prompt tokens of a batch.
pub(crate) fn of_prefill(batch: &Prefill) -> Appended<'_> {
    batch.chunks.iter().map(|chunk| (chunk.sequence, chunk.tokens.as_slice())).collect()
}

/// The tokens of a batch that gives each sequence one.
pub(crate) fn of_decode(batch: &Decode) -> Appended<'_> {
    let tokens = batch.tokens.iter();
    tokens.map(|(sequence, token)| (*sequence, std::slice::from_ref(token))).collect()
}

/// Refuses unknown, repeated and idle sequences, those that outgrow their reservation, and tokens
/// that the model does not know. `room` is how many tokens a sequence may still get.
pub(crate) fn check(
    batch: &Appended<'_>,
    vocabulary: usize,
    room: impl Fn(SequenceId) -> Option<usize>,
) -> Result<(), EngineError> {
    let invalid = |reason: String| Err(EngineError::InvalidBatch(reason));
    let known = |token: &u32| usize::try_from(*token).is_ok_and(|token| token < vocabulary);
    let mut seen = BTreeSet::new();
    for (sequence, tokens) in batch {
        let Some(room) = room(*sequence) else {
            return invalid(format!("sequence {} is unknown", sequence.0));
        };
        if !seen.insert(*sequence) || tokens.is_empty() {
            return invalid(format!("sequence {} is there twice or without tokens", sequence.0));
        }
        if tokens.len() > room {
            return invalid(format!("sequence {} outgrows its reservation", sequence.0));
        }
        if let Some(token) = tokens.iter().find(|token| !known(token)) {
            return invalid(format!("token {token} is outside the vocabulary"));
        }
    }
    Ok(())
}

/// Refuses room beyond the context.
pub(crate) fn check_positions(positions: usize, context: u32) -> Result<(), EngineError> {
    if usize::try_from(context).is_ok_and(|context| positions > context) {
        let reason = format!("{positions} positions are beyond the context of {context}");
        return Err(EngineError::InvalidBatch(reason));
    }
    Ok(())
}
