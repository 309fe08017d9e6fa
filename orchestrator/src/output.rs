//! What a task has produced and not yet sent. While a client is slow, parts join into one: memory
//! stays bounded by the answer's length and the engine never waits. It never drops or reorders.

use cactus_protocol::{Hash, OutputHasher, TaskId, frame::Delta};

/// The longest text of one delta, in bytes: far below the frame limit.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// The most token ids of one delta.
const MAX_TOKEN_IDS: usize = 4096;

/// An answer on its way out.
#[derive(Debug)]
pub(crate) struct Output {
    task_id: TaskId,
    sequence: u32,
    text: String,
    token_ids: Vec<u32>,
    delivered: OutputHasher,
}

impl Output {
    pub(crate) fn new(task_id: TaskId) -> Self {
        Self {
            task_id,
            sequence: 0,
            text: String::new(),
            token_ids: Vec::new(),
            delivered: OutputHasher::default(),
        }
    }

    /// Adds what the engine produced.
    pub(crate) fn push(&mut self, text: &str, token_ids: &[u32]) {
        self.text.push_str(text);
        self.token_ids.extend_from_slice(token_ids);
    }

    /// Whether everything was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.token_ids.is_empty()
    }

    /// The next delta, if there is something to send. What is taken counts as delivered.
    pub(crate) fn take_delta(&mut self) -> Option<Delta> {
        if self.is_empty() {
            return None;
        }
        let cut = self.text.floor_char_boundary(MAX_TEXT_BYTES);
        let text: String = self.text.drain(..cut).collect();
        let ids = self.token_ids.len().min(MAX_TOKEN_IDS);
        let token_ids: Vec<u32> = self.token_ids.drain(..ids).collect();
        self.delivered.update(&token_ids, &text);
        let sequence = self.sequence;
        self.sequence += 1;
        let logprobs = Vec::new();
        Some(Delta { task_id: self.task_id, sequence, text, token_ids, logprobs })
    }

    /// How many tokens were delivered so far.
    pub(crate) fn delivered_tokens(&self) -> u32 {
        self.delivered.token_count()
    }

    /// How many tokens were delivered, and the hash of everything delivered.
    pub(crate) fn finish(self) -> (u32, Hash) {
        (self.delivered.token_count(), self.delivered.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cactus_protocol::{NodeFrame, frame};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_answer_arrives(
            parts in prop::collection::vec((".{0,40}", prop::collection::vec(any::<u32>(), 0..5)), 0..40),
            taken_every in 1usize..8,
        ) {
            let mut output = Output::new(TaskId([1; 32]));
            let (mut whole, mut received) = (OutputHasher::default(), OutputHasher::default());
            let mut sequences = vec![];
            let mut receive = |delta: Delta| {
                received.update(&delta.token_ids, &delta.text);
                sequences.push(delta.sequence);
            };
            for (index, (text, ids)) in parts.iter().enumerate() {
                output.push(text, ids);
                whole.update(ids, text);
                if index % taken_every == 0 && let Some(delta) = output.take_delta() {
                    receive(delta);
                }
            }
            while let Some(delta) = output.take_delta() {
                receive(delta);
            }
            let hash = whole.finish();
            prop_assert_eq!(received.finish(), hash);
            prop_assert!(sequences.iter().enumerate().all(|(i, s)| u32::try_from(i) == Ok(*s)));
            prop_assert_eq!(output.finish().1, hash);
        }
    }

    #[test]
    fn a_long_wait_is_sent_in_frames_that_fit_and_cuts_no_character() {
        let mut output = Output::new(TaskId([1; 32]));
        output.push(&"é1".repeat(200_000), &vec![u32::MAX; 300_000]);
        let mut text = String::new();
        while let Some(delta) = output.take_delta() {
            text.push_str(&delta.text);
            let bytes = frame::encode(&NodeFrame::Delta(delta)).unwrap();
            assert!(bytes.len() < 48 * 1024);
        }
        assert_eq!(text, "é1".repeat(200_000));
    }
}
