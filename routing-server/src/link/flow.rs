//! The rules for the parts of one task's answer: in sequence, within credit, never more tokens or
//! vectors than asked for, nor more text than tokens can hold. Pure.

use super::Start;
use cactus_protocol::{
    FinishReason, ModelKind, Work,
    frame::{Delta, Embedded, ModelOffer},
};

/// More bytes of text than any token of a known vocabulary has.
const BYTES_PER_TOKEN: usize = 4096;
/// The longest answer that is carried, in bytes.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// A node broke the rules of the link. The task fails; the provider is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A delta is missing or came twice.
    #[error("delta {got} came where {expected} was due")]
    SequenceGap {
        /// What was due.
        expected: u32,
        /// What came.
        got: u32,
    },
    /// More deltas than the server granted.
    #[error("a delta came without credit")]
    NoCredit,
    /// A delta with neither tokens nor text, or with other log probabilities than were asked for.
    #[error("a delta was empty or its parts do not fit together")]
    MalformedDelta,
    /// Vectors where text was asked for, or the other way round.
    #[error("the answer is of another kind than was asked for")]
    OtherKind,
    /// Vectors of another length than the offer's, broken ones, or too many.
    #[error("the vectors are malformed or more than were asked for")]
    MalformedVectors,
    /// The answer ended before every input had its vector.
    #[error("the answer ended before every vector had come")]
    VectorsMissing,
    /// More text than the tokens that were asked for can hold.
    #[error("more than {limit} bytes of text came")]
    TooMuchText {
        /// The limit in bytes.
        limit: usize,
    },
    /// More tokens than were asked for.
    #[error("more than {limit} tokens came")]
    TooManyTokens {
        /// The request's limit.
        limit: u32,
    },
}

/// What may come of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Text.
    Text {
        /// The most tokens.
        max_tokens: u32,
        /// Alternatives per token, if log probabilities were asked for.
        logprobs: Option<u8>,
    },
    /// Vectors.
    Vectors {
        /// How many.
        count: usize,
        /// Numbers in each.
        dimensions: u32,
    },
}

impl Wanted {
    /// By this work at the node with these offers.
    pub fn of(work: &Work, offers: &[ModelOffer]) -> Self {
        match work {
            Work::Chat(request) => {
                Self::Text { max_tokens: request.max_tokens, logprobs: request.logprobs }
            }
            Work::Embed(request) => {
                let offer = offers.iter().find(|offer| offer.id == request.model);
                let dimensions = match offer.map(|offer| offer.kind) {
                    Some(ModelKind::Embedding { dimensions }) => dimensions,
                    Some(ModelKind::Chat) | None => 0,
                };
                Self::Vectors { count: request.inputs.len(), dimensions }
            }
        }
    }
}

/// Where one task's stream stands.
#[derive(Debug)]
pub struct Flow {
    next_sequence: u32,
    credits: u32,
    /// Tokens or vectors that may still come.
    left: usize,
    text_bytes: usize,
    wanted: Wanted,
}

impl Flow {
    /// A stream that has not begun.
    pub fn new(start: &Start) -> Self {
        let left = match start.wanted {
            Wanted::Text { max_tokens, .. } => usize::try_from(max_tokens).unwrap_or(usize::MAX),
            Wanted::Vectors { count, .. } => count,
        };
        let (credits, wanted) = (start.credits, start.wanted);
        Self { next_sequence: 0, credits, left, text_bytes: 0, wanted }
    }

    /// Whether the answer may end here: every input must have its vector, unless this server said
    /// stop.
    pub fn may_end(&self, reason: FinishReason) -> bool {
        let is_whole = !matches!(self.wanted, Wanted::Vectors { .. }) || self.left == 0;
        is_whole || reason == FinishReason::Cancelled
    }

    /// More deltas may come.
    pub fn grant(&mut self, deltas: u32) {
        self.credits = self.credits.saturating_add(deltas);
    }

    /// A delta came.
    ///
    /// # Errors
    /// [`Violation`]; the stream is then over.
    pub fn accept(&mut self, delta: &Delta) -> Result<(), Violation> {
        let Wanted::Text { max_tokens, logprobs } = self.wanted else {
            return Err(Violation::OtherKind);
        };
        self.check_sequence(delta.sequence)?;
        if !delta.is_well_formed(logprobs) {
            return Err(Violation::MalformedDelta);
        }
        self.take_credit()?;
        let left = self.left.checked_sub(delta.token_ids.len());
        self.left = left.ok_or(Violation::TooManyTokens { limit: max_tokens })?;
        self.text_bytes += delta.text.len();
        let limit = text_limit(max_tokens);
        if self.text_bytes > limit {
            return Err(Violation::TooMuchText { limit });
        }
        self.next_sequence = self.next_sequence.wrapping_add(1);
        Ok(())
    }

    /// Vectors came.
    ///
    /// # Errors
    /// [`Violation`]; the stream is then over.
    pub fn accept_vectors(&mut self, vectors: &Embedded) -> Result<(), Violation> {
        let Wanted::Vectors { dimensions, .. } = self.wanted else {
            return Err(Violation::OtherKind);
        };
        self.check_sequence(vectors.sequence)?;
        if !vectors.is_well_formed() || vectors.dimensions != dimensions {
            return Err(Violation::MalformedVectors);
        }
        self.take_credit()?;
        let length = usize::try_from(dimensions).unwrap_or(usize::MAX);
        let count = vectors.values.len().checked_div(length).unwrap_or(usize::MAX);
        self.left = self.left.checked_sub(count).ok_or(Violation::MalformedVectors)?;
        self.next_sequence = self.next_sequence.wrapping_add(1);
        Ok(())
    }

    fn check_sequence(&self, got: u32) -> Result<(), Violation> {
        let expected = self.next_sequence;
        if got == expected { Ok(()) } else { Err(Violation::SequenceGap { expected, got }) }
    }

    fn take_credit(&mut self) -> Result<(), Violation> {
        self.credits = self.credits.checked_sub(1).ok_or(Violation::NoCredit)?;
        Ok(())
    }
}

/// Room for one more token: a node that goes on after another one also sends the text that this
/// held back, which is shorter than a stop text.
fn text_limit(max_tokens: u32) -> usize {
    let tokens = usize::try_from(max_tokens).unwrap_or(usize::MAX).saturating_add(1);
    tokens.saturating_mul(BYTES_PER_TOKEN).min(MAX_TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cactus_protocol::{TaskId, frame::TokenLogprob};
    use proptest::prelude::*;

    fn delta(sequence: u32, tokens: usize) -> Delta {
        Delta {
            task_id: TaskId([1; 32]),
            sequence,
            text: "x".into(),
            token_ids: vec![7; tokens],
            logprobs: vec![],
        }
    }

    fn open(credits: u32, max_tokens: u32, logprobs: Option<u8>) -> Flow {
        let (events, _) = tokio::sync::mpsc::channel(1);
        let (task_id, frame) = (TaskId([1; 32]), bytes::Bytes::new());
        let wanted = Wanted::Text { max_tokens, logprobs };
        Flow::new(&Start { task_id, frame, credits, wanted, events })
    }

    #[test]
    fn every_input_gets_one_vector_of_the_offers_length() {
        let vectors = |sequence: u32, dimensions: u32, values: usize| Embedded {
            task_id: TaskId([1; 32]),
            sequence,
            dimensions,
            values: vec![0; values],
        };
        let open = || Flow {
            wanted: Wanted::Vectors { count: 3, dimensions: 2 },
            left: 3,
            ..open(9, 0, None)
        };
        let mut flow = open();
        assert_eq!(flow.accept_vectors(&vectors(0, 2, 4)), Ok(()));
        assert!(!flow.may_end(FinishReason::Stop) && flow.may_end(FinishReason::Cancelled));
        assert_eq!(flow.accept_vectors(&vectors(1, 2, 2)), Ok(()));
        assert!(flow.may_end(FinishReason::Stop));
        assert_eq!(flow.accept_vectors(&vectors(2, 2, 2)), Err(Violation::MalformedVectors));
        assert_eq!(open().accept_vectors(&vectors(0, 3, 3)), Err(Violation::MalformedVectors));
        assert_eq!(open().accept(&delta(0, 1)), Err(Violation::OtherKind));
    }

    #[test]
    fn deltas_come_in_order_within_credit_and_limit() {
        let mut flow = open(3, 3, None);
        assert_eq!(flow.accept(&delta(0, 1)), Ok(()));
        assert!(matches!(
            flow.accept(&delta(0, 1)),
            Err(Violation::SequenceGap { expected: 1, got: 0 })
        ));
        assert_eq!(flow.accept(&delta(1, 2)), Ok(()));
        let limit = 3;
        assert_eq!(flow.accept(&delta(2, 1)), Err(Violation::TooManyTokens { limit }));
        let mut flow = open(1, 9, None);
        flow.accept(&delta(0, 1)).unwrap();
        assert_eq!(flow.accept(&delta(1, 1)), Err(Violation::NoCredit));
        flow.grant(1);
        assert_eq!(flow.accept(&delta(1, 1)), Ok(()));
        let mut empty = delta(2, 0);
        empty.text.clear();
        assert_eq!(flow.accept(&empty), Err(Violation::MalformedDelta));
    }

    #[test]
    fn log_probabilities_come_one_per_token_when_asked_for() {
        let mut flow = open(3, 3, Some(0));
        assert_eq!(flow.accept(&delta(0, 1)), Err(Violation::MalformedDelta));
        let mut with = delta(0, 1);
        with.logprobs = vec![TokenLogprob { bytes: vec![], logprob_micro: -1, top: vec![] }];
        assert_eq!(flow.accept(&with), Ok(()));
    }

    #[test]
    fn no_more_text_comes_than_the_tokens_can_hold() {
        let mut flow = open(9, 2, None);
        let mut long = delta(0, 0);
        long.text = "x".repeat(3 * BYTES_PER_TOKEN);
        assert_eq!(flow.accept(&long), Ok(()));
        let limit = long.text.len();
        assert_eq!(flow.accept(&delta(1, 1)), Err(Violation::TooMuchText { limit }));
    }

    proptest! {
        #[test]
        fn no_stream_passes_its_credit_or_its_limit(
            credits in 0u32..10,
            limit in 0u32..30,
            sizes in prop::collection::vec(0usize..8, 0..40),
        ) {
            let mut flow = open(credits, limit, None);
            let (mut accepted, mut tokens) = (0, 0);
            for size in sizes {
                if flow.accept(&delta(accepted, size)).is_err() {
                    break;
                }
                accepted += 1;
                tokens += size;
            }
            prop_assert!(accepted <= credits);
            prop_assert!(tokens <= usize::try_from(limit).unwrap());
        }
    }
}
