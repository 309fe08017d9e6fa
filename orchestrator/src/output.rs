//! What a task has produced and not yet sent. While a client is slow, parts join into one: memory
//! stays bounded by the answer's length and the engine never waits. It never drops or reorders.

use cactus_inference::{TokenLogprob as EngineLogprob, TokenLogprobs};
use cactus_protocol::{
    Hash, OutputHasher, TaskId,
    frame::{Alternative, Delta, TokenLogprob},
};
use std::collections::VecDeque;

/// The longest text of one delta, in bytes: far below the frame limit.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// The most token ids of one delta.
const MAX_TOKEN_IDS: usize = 4096;
/// The most tokens of one delta with log probabilities: 20 alternatives each stay below 128 KiB
/// even when every token has 32 bytes.
const MAX_LOGPROBS: usize = 128;

/// An answer on its way out. Text and tokens that came together leave together, so that whoever
/// goes on after the last delta finds both at the same place.
#[derive(Debug)]
pub(crate) struct Output {
    task_id: TaskId,
    sequence: u32,
    parts: VecDeque<Part>,
    delivered: OutputHasher,
}

#[derive(Debug, Default)]
struct Part {
    text: String,
    token_ids: Vec<u32>,
    logprobs: Vec<TokenLogprob>,
}

impl Output {
    pub(crate) fn new(task_id: TaskId) -> Self {
        Self { task_id, sequence: 0, parts: VecDeque::new(), delivered: OutputHasher::default() }
    }

    /// Adds what the engine produced; log probabilities come one per token or not at all.
    pub(crate) fn push(&mut self, text: &str, token_ids: &[u32], logprobs: Vec<TokenLogprobs>) {
        if text.is_empty() && token_ids.is_empty() {
            return;
        }
        let mut rest = Part {
            text: text.to_owned(),
            token_ids: token_ids.to_vec(),
            logprobs: logprobs.into_iter().map(on_the_wire).collect(),
        };
        while !rest.fits() {
            self.parts.push_back(rest.split_front());
        }
        match self.parts.back_mut() {
            Some(last) if last.has_room_for(&rest) => last.append(rest),
            _ => self.parts.push_back(rest),
        }
    }

    /// Whether everything was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The next delta, if there is something to send. What is taken counts as delivered.
    pub(crate) fn take_delta(&mut self) -> Option<Delta> {
        let Part { text, token_ids, logprobs } = self.parts.pop_front()?;
        self.delivered.update(&token_ids, &text);
        let sequence = self.sequence;
        self.sequence += 1;
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

impl Part {
    fn fits(&self) -> bool {
        self.text.len() <= MAX_TEXT_BYTES
            && self.token_ids.len() <= MAX_TOKEN_IDS
            && self.logprobs.len() <= MAX_LOGPROBS
    }

    fn has_room_for(&self, more: &Self) -> bool {
        self.text.len() + more.text.len() <= MAX_TEXT_BYTES
            && self.token_ids.len() + more.token_ids.len() <= MAX_TOKEN_IDS
            && self.logprobs.len() + more.logprobs.len() <= MAX_LOGPROBS
    }

    fn append(&mut self, more: Self) {
        self.text.push_str(&more.text);
        self.token_ids.extend(more.token_ids);
        self.logprobs.extend(more.logprobs);
    }

    /// Takes as much from the front as one delta carries.
    fn split_front(&mut self) -> Self {
        let cut = self.text.floor_char_boundary(MAX_TEXT_BYTES);
        let most = if self.logprobs.is_empty() { MAX_TOKEN_IDS } else { MAX_LOGPROBS };
        let tokens = self.token_ids.len().min(most);
        let logprobs = self.logprobs.len().min(most);
        Self {
            text: self.text.drain(..cut).collect(),
            token_ids: self.token_ids.drain(..tokens).collect(),
            logprobs: self.logprobs.drain(..logprobs).collect(),
        }
    }
}

fn on_the_wire(token: TokenLogprobs) -> TokenLogprob {
    let alternative = |other: EngineLogprob| Alternative {
        token_id: other.token_id,
        logprob_micro: millionths(other.logprob),
        bytes: other.bytes,
    };
    TokenLogprob {
        logprob_micro: millionths(token.chosen.logprob),
        bytes: token.chosen.bytes,
        top: token.top.into_iter().map(alternative).collect(),
    }
}

/// What is impossible, or no number, becomes the least that fits: e⁻²¹⁴⁷.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and NaN was replaced")]
fn millionths(logprob: f32) -> i32 {
    if logprob.is_nan() { i32::MIN } else { (f64::from(logprob) * 1e6).round() as i32 }
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
                output.push(text, ids, vec![]);
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

    fn engine_logprob(logprob: f32, alternatives: usize) -> TokenLogprobs {
        let chosen = EngineLogprob { token_id: 1, bytes: vec![b'x'; 32], logprob };
        let top = vec![chosen.clone(); alternatives];
        TokenLogprobs { chosen, top }
    }

    #[test]
    fn log_probabilities_travel_with_their_tokens() {
        let mut output = Output::new(TaskId([1; 32]));
        for _ in 0..1000 {
            output.push("x", &[7], vec![engine_logprob(-0.5, 20)]);
        }
        output.push("y", &[8; 300], vec![engine_logprob(f32::NEG_INFINITY, 20); 300]);
        let mut tokens = 0;
        while let Some(delta) = output.take_delta() {
            assert!(delta.is_well_formed(Some(20)));
            tokens += delta.token_ids.len();
            let last = delta.logprobs.last().unwrap().logprob_micro;
            assert!(last == -500_000 || last == i32::MIN);
            let bytes = frame::encode(&NodeFrame::Delta(delta)).unwrap();
            assert!(bytes.len() < 192 * 1024, "{}", bytes.len());
        }
        assert_eq!(tokens, 1300);
    }

    #[test]
    fn no_delta_separates_a_token_from_its_text() {
        let mut output = Output::new(TaskId([1; 32]));
        for id in 0..10_000 {
            output.push("four", &[id], vec![]);
        }
        while let Some(delta) = output.take_delta() {
            assert_eq!(delta.text.len(), 4 * delta.token_ids.len());
        }
    }

    #[test]
    fn a_long_wait_is_sent_in_frames_that_fit_and_cuts_no_character() {
        let mut output = Output::new(TaskId([1; 32]));
        output.push(&"é1".repeat(200_000), &vec![u32::MAX; 300_000], vec![]);
        let mut text = String::new();
        while let Some(delta) = output.take_delta() {
            text.push_str(&delta.text);
            let bytes = frame::encode(&NodeFrame::Delta(delta)).unwrap();
            assert!(bytes.len() < 48 * 1024);
        }
        assert_eq!(text, "é1".repeat(200_000));
    }
}
