//! The rules for the deltas of one task: in sequence, within credit, never more tokens than asked
//! for, nor more text than those can hold. Pure.

use super::Start;
use cactus_protocol::frame::Delta;

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
    /// Vectors where text was asked for.
    #[error("vectors came for a task that asked for text")]
    OtherKind,
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

/// Where one task's stream stands.
#[derive(Debug)]
pub struct Flow {
    next_sequence: u32,
    credits: u32,
    tokens_left: u32,
    max_tokens: u32,
    text_bytes: usize,
    logprobs: Option<u8>,
}

impl Flow {
    /// A stream that has not begun.
    pub fn new(start: &Start) -> Self {
        let (credits, max_tokens, logprobs) = (start.credits, start.max_tokens, start.logprobs);
        let tokens_left = max_tokens;
        Self { next_sequence: 0, credits, tokens_left, max_tokens, text_bytes: 0, logprobs }
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
        if delta.sequence != self.next_sequence {
            return Err(Violation::SequenceGap {
                expected: self.next_sequence,
                got: delta.sequence,
            });
        }
        if !delta.is_well_formed(self.logprobs) {
            return Err(Violation::MalformedDelta);
        }
        self.credits = self.credits.checked_sub(1).ok_or(Violation::NoCredit)?;
        let limit = self.max_tokens;
        self.tokens_left = u32::try_from(delta.token_ids.len())
            .ok()
            .and_then(|tokens| self.tokens_left.checked_sub(tokens))
            .ok_or(Violation::TooManyTokens { limit })?;
        self.text_bytes += delta.text.len();
        let limit = self.text_limit();
        if self.text_bytes > limit {
            return Err(Violation::TooMuchText { limit });
        }
        self.next_sequence = self.next_sequence.wrapping_add(1);
        Ok(())
    }

    fn text_limit(&self) -> usize {
        let tokens = usize::try_from(self.max_tokens).unwrap_or(usize::MAX);
        tokens.saturating_mul(BYTES_PER_TOKEN).min(MAX_TEXT_BYTES)
    }
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
        Flow::new(&Start { task_id, frame, credits, max_tokens, logprobs, events })
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
        long.text = "x".repeat(2 * BYTES_PER_TOKEN);
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
