//! What may come next in one answer. The work is done by threads of its own: whoever asks learns in
//! no time whether it is done, and it has an end. It never chooses a token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use llguidance::api::StopReason;
use llguidance::{CancellationHandle, Matcher};

use super::refusal;
use crate::request::GenerateError;
use crate::sampler::TokenSet;
use crate::text::workers::{Pending, Progress, Workers};

/// The longest that one token may take, or the compilation of a schema. Honest ones take
/// milliseconds; the rest is for machines that have other work.
const LIMIT: Duration = Duration::from_secs(2);
/// The longest that all tokens of an answer may take together.
const LIMIT_IN_ALL: Duration = Duration::from_secs(60);

/// What may come next in one answer.
pub(crate) struct Constraint {
    workers: Arc<Workers>,
    state: State,
    /// What the work took so far.
    spent: Duration,
}

enum State {
    /// The tokens that may come next are known.
    Known(Box<Matcher>, TokenSet),
    /// They are being worked out.
    Working(Pending<Outcome>, Option<CancellationHandle>),
    Over(GenerateError),
}

/// Where a matcher came to, and what may come next.
pub(crate) type Outcome = Result<(Box<Matcher>, TokenSet), GenerateError>;

impl Constraint {
    /// Begins with what `compile` makes.
    pub(crate) fn begin(
        workers: &Arc<Workers>,
        compile: impl FnOnce() -> Outcome + Send + 'static,
    ) -> Self {
        let state = State::Working(workers.submit(compile), None);
        Self { workers: Arc::clone(workers), state, spent: Duration::ZERO }
    }

    /// Whether it is known by `until` what may come next, or that nothing can.
    pub(crate) fn is_settled(&mut self, until: Instant) -> bool {
        let State::Working(pending, cancel) = &self.state else { return true };
        let next = match pending.wait(until, LIMIT) {
            Progress::Going => return false,
            Progress::Done(outcome, ran) => {
                self.spent = self.spent.saturating_add(ran);
                match outcome {
                    Ok(_) if self.spent > LIMIT_IN_ALL => State::Over(too_much()),
                    Ok((matcher, allowed)) => State::Known(matcher, allowed),
                    Err(error) => State::Over(error),
                }
            }
            Progress::TooLong => {
                if let Some(cancel) = cancel {
                    cancel.cancel();
                }
                State::Over(too_much())
            }
            Progress::Broken => State::Over(refusal("it is not understood")),
            Progress::Refused => {
                let reason = "too many schemas are being worked on".to_owned();
                State::Over(GenerateError::Unavailable(reason))
            }
        };
        self.state = next;
        true
    }

    /// The tokens that may come next.
    ///
    /// # Errors
    /// [`GenerateError::BadRequest`] if the schema cannot be followed or takes too much work,
    /// [`GenerateError::Unavailable`] if others do. Only what [`Self::is_settled`] is known.
    pub(crate) fn allowed(&self) -> Result<&TokenSet, GenerateError> {
        match &self.state {
            State::Known(_, allowed) => Ok(allowed),
            State::Over(error) => Err(error.clone()),
            State::Working(..) => {
                Err(GenerateError::Internal("a token was wanted too early".to_owned()))
            }
        }
    }

    /// Goes on to the state after `token`, in the background. One that is not allowed is an error of
    /// what comes next.
    pub(crate) fn accept(&mut self, token: u32) {
        let early = GenerateError::Internal("a token came too early".to_owned());
        match std::mem::replace(&mut self.state, State::Over(early)) {
            State::Known(matcher, _) => {
                let cancel = matcher.cancellation_handle();
                let pending = self.workers.submit(move || advance(matcher, &[token]));
                self.state = State::Working(pending, cancel);
            }
            State::Over(error) => self.state = State::Over(error),
            State::Working(..) => {}
        }
    }
}

/// Takes tokens and works out what may follow them.
pub(super) fn advance(mut matcher: Box<Matcher>, tokens: &[u32]) -> Outcome {
    let accepted = if tokens.is_empty() { Ok(()) } else { matcher.consume_tokens(tokens) };
    match accepted.and_then(|()| matcher.compute_mask_or_eos()) {
        Ok(mask) => Ok((matcher, TokenSet::new(mask.as_slice().to_vec()))),
        Err(error) => Err(match matcher.stop_reason() {
            StopReason::LexerTooComplex | StopReason::ParserTooComplex | StopReason::Cancelled => {
                too_much()
            }
            _ => refusal(&error.to_string()),
        }),
    }
}

fn too_much() -> GenerateError {
    refusal("it takes too much work")
}
