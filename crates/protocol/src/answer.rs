//! The frames of an answer: parts of text, vectors, the end, or why there is none. It never says
//! whether they are true.

use crate::{
    advert::MAX_DIMENSIONS,
    chat::{FinishReason, MAX_TOP_LOGPROBS},
    id::TaskId,
    receipt::Receipt,
    signed::Signed,
};
use serde::{Deserialize, Serialize};

/// Stands for a token whose id the engine does not tell; no vocabulary reaches so far.
pub const UNKNOWN_TOKEN: u32 = u32::MAX;
/// The longest token of a known vocabulary, in bytes.
pub const MAX_TOKEN_BYTES: usize = 4096;
/// The most numbers of one [`Embedded`] frame: half a frame.
pub const MAX_EMBEDDED_VALUES: usize = 128 * 1024;

/// The next part of an answer. One delta carries at least one token id or some text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The task.
    pub task_id: TaskId,
    /// 0, 1, 2 … without gaps.
    pub sequence: u32,
    /// Whole characters only.
    pub text: String,
    /// The tokens since the last delta; their text may come later when a character is incomplete.
    /// [`UNKNOWN_TOKEN`] for each whose id the engine does not tell.
    pub token_ids: Vec<u32>,
    /// One for each of `token_ids` when the request asked for them, else empty.
    pub logprobs: Vec<TokenLogprob>,
}

impl Delta {
    /// Whether it carries something and its parts fit together; `alternatives` is what the request
    /// asked for.
    pub fn is_well_formed(&self, alternatives: Option<u8>) -> bool {
        let expected = if alternatives.is_some() { self.token_ids.len() } else { 0 };
        let most = usize::from(alternatives.unwrap_or(0).min(MAX_TOP_LOGPROBS));
        let carries = !self.text.is_empty() || !self.token_ids.is_empty();
        let logprobs = &self.logprobs;
        carries && logprobs.len() == expected && logprobs.iter().all(|l| l.fits(most))
    }
}

/// How likely a token was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token's bytes; not always whole characters.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability, in millionths.
    pub logprob_micro: i32,
    /// The likeliest tokens there, likeliest first.
    pub top: Vec<Alternative>,
}

impl TokenLogprob {
    fn fits(&self, alternatives: usize) -> bool {
        self.bytes.len() <= MAX_TOKEN_BYTES
            && self.top.len() <= alternatives
            && self.top.iter().all(|other| other.bytes.len() <= MAX_TOKEN_BYTES)
    }
}

/// A token that might have come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternative {
    /// Its id, or [`UNKNOWN_TOKEN`].
    pub token_id: u32,
    /// Its bytes; not always whole characters.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability, in millionths.
    pub logprob_micro: i32,
}

/// The next vectors of an answer, in the order of the inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedded {
    /// The task.
    pub task_id: TaskId,
    /// 0, 1, 2 … without gaps.
    pub sequence: u32,
    /// Numbers per vector.
    pub dimensions: u32,
    /// The bits of whole vectors as IEEE 754 binary32, so that BCS writes little-endian floats.
    pub values: Vec<u32>,
}

impl Embedded {
    /// Whether it holds whole vectors of finite numbers, and at least one.
    pub fn is_well_formed(&self) -> bool {
        let Ok(dimensions) = usize::try_from(self.dimensions) else { return false };
        (1..=MAX_DIMENSIONS).contains(&self.dimensions)
            && (dimensions..=MAX_EMBEDDED_VALUES).contains(&self.values.len())
            && self.values.len().is_multiple_of(dimensions)
            && self.values.iter().all(|bits| f32::from_bits(*bits).is_finite())
    }

    /// The vectors. None when it is not well formed.
    pub fn vectors(&self) -> Vec<Vec<f32>> {
        if !self.is_well_formed() {
            return Vec::new();
        }
        let dimensions = usize::try_from(self.dimensions).unwrap_or(usize::MAX);
        let vector = |bits: &[u32]| bits.iter().copied().map(f32::from_bits).collect();
        self.values.chunks(dimensions).map(vector).collect()
    }
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// The node's signed account. It names the task.
    pub receipt: Signed<Receipt>,
}

/// A task that is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The task.
    pub task_id: TaskId,
    /// For programs.
    pub reason: Failure,
    /// For people; shown to the client only for [`Failure::BadRequest`].
    pub message: String,
}

/// Why a node did not do a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// No slot and no room in the queue, or the engine is away.
    Overloaded,
    /// The model is not loaded here.
    ModelNotLoaded,
    /// The engine here does not do what the request needs (see [`crate::advert::Feature`]).
    Unsupported,
    /// The request cannot be served anywhere (a prompt over the context).
    BadRequest,
    /// Memory ran out.
    OutOfMemory,
    /// The server said `Cancel`, or the deadline passed.
    Cancelled,
    /// A fault of the node.
    Internal,
}

impl Failure {
    /// Whether another node may succeed.
    pub fn can_move(self) -> bool {
        !matches!(self, Self::BadRequest | Self::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(tokens: usize, logprobs: usize, alternatives: usize) -> Delta {
        let other = Alternative { token_id: 1, bytes: b"x".to_vec(), logprob_micro: -5 };
        let top = vec![other; alternatives];
        let logprob = TokenLogprob { bytes: b"x".to_vec(), logprob_micro: -5, top };
        Delta {
            task_id: TaskId([1; 32]),
            sequence: 0,
            text: String::new(),
            token_ids: vec![7; tokens],
            logprobs: vec![logprob; logprobs],
        }
    }

    #[test]
    fn logprobs_come_one_per_token_and_only_when_asked_for() {
        assert!(delta(2, 0, 0).is_well_formed(None));
        assert!(delta(2, 2, 3).is_well_formed(Some(3)));
        assert!(!delta(2, 2, 0).is_well_formed(None), "not asked for");
        assert!(!delta(2, 1, 0).is_well_formed(Some(3)), "one is missing");
        assert!(!delta(2, 2, 4).is_well_formed(Some(3)), "too many alternatives");
        assert!(!delta(0, 0, 0).is_well_formed(None), "nothing in it");
        let mut long = delta(1, 1, 0);
        long.logprobs[0].bytes = vec![0; MAX_TOKEN_BYTES + 1];
        assert!(!long.is_well_formed(Some(0)));
    }

    #[test]
    fn only_whole_finite_vectors_are_read() {
        let bits = [0.5f32, -1.0, 2.0, 0.25].map(f32::to_bits).to_vec();
        let frame = Embedded { task_id: TaskId([1; 32]), sequence: 0, dimensions: 2, values: bits };
        assert_eq!(frame.vectors(), [[0.5, -1.0], [2.0, 0.25]]);
        let broken: [fn(&mut Embedded); 6] = [
            |e| e.dimensions = 0,
            |e| e.dimensions = 3,
            |e| e.dimensions = MAX_DIMENSIONS + 1,
            |e| e.values.clear(),
            |e| e.values[1] = f32::NAN.to_bits(),
            |e| e.values = vec![0; MAX_EMBEDDED_VALUES + 2],
        ];
        for change in broken {
            let mut frame = frame.clone();
            change(&mut frame);
            assert!(!frame.is_well_formed());
            assert!(frame.vectors().is_empty());
        }
    }
}
