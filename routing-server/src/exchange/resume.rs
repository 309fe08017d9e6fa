//! Going on at another node with an answer that has begun. The tokens so far become the beginning of
//! the next attempt's work; positions and seed are the same, so what follows is what the first node
//! would have said. When all tokens came and only the end is missing, nothing follows but the end.
//!
//! Whoever broke off signed nothing and is not paid. The next node bills those tokens as prompt, as
//! it has to read them; the client's usage counts them as output, which they are.

use super::{
    Exchange,
    attempt::Attempt,
    failure::Failure,
    needs::{self, ask_for},
};
use cactus_protocol::{ChatRequest, Work, chat::MAX_RESUMED_TOKENS};
use std::sync::Arc;

impl Exchange {
    /// Makes the rest of the answer the work, if another node can go on after what there is.
    pub(super) fn resume(&mut self, failed: &Attempt, failure: &Failure) -> bool {
        // What a liar said is no beginning for an honest answer.
        let lied = matches!(failure, Failure::NotVerified(_) | Failure::Violation(_));
        !lied && self.ask_for_the_rest(failed)
    }

    /// [`Exchange::resume`] of a node that said nothing untrue.
    pub(super) fn ask_for_the_rest(&mut self, lost: &Attempt) -> bool {
        let Some(rest) = self.rest() else { return false };
        // Another revision would go on with another mind.
        ask_for(&mut self.needs, &rest, Some(lost.assigned.offer.revision));
        self.work = Arc::new(rest);
        self.choices.clear();
        true
    }

    /// Makes all of the answer the work again: nobody can go on with what there is.
    pub(super) fn start_over(&mut self) {
        self.delivery.restart();
        if !Arc::ptr_eq(&self.work, &self.asked) {
            self.work = Arc::clone(&self.asked);
            let revision = needs::pinned_revision(&self.app, self.work.model());
            ask_for(&mut self.needs, &self.work, revision);
            self.choices.clear();
        }
    }

    /// Whether another node could go on after what there is.
    pub(super) fn can_resume(&self) -> bool {
        self.begun().is_some()
    }

    fn rest(&self) -> Option<Work> {
        let (asked, tokens) = self.begun()?;
        let delivered = u32::try_from(tokens.len()).ok()?;
        let left = asked.max_tokens.checked_sub(delivered)?;
        let rest = ChatRequest { resume: tokens.to_vec(), max_tokens: left, ..asked.clone() };
        Some(Work::Chat(rest))
    }

    /// What was asked and the tokens so far, if there are any and they can be gone on after.
    fn begun(&self) -> Option<(&ChatRequest, &[u32])> {
        let Work::Chat(asked) = &*self.asked else { return None };
        let tokens = self.delivery.tokens()?;
        (1..=MAX_RESUMED_TOKENS).contains(&tokens.len()).then_some((asked, tokens))
    }
}
