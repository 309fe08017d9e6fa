//! Going on at another node with an answer that a client has half of. The tokens so far become the
//! beginning of the next attempt's work; positions and seed are the same, so what follows is what
//! the first node would have said.
//!
//! Whoever broke off signed nothing and is not paid. The next node bills those tokens as prompt, as
//! it has to read them; the client's usage counts them as output, which they are.

use super::{Exchange, attempt::Attempt, failure::Failure};
use cactus_dispatch::Features;
use cactus_protocol::{Feature, Work, chat::MAX_RESUMED_TOKENS};
use std::sync::Arc;

impl Exchange {
    /// Makes the rest of the answer the work, if another node can go on after what the client has.
    pub(super) fn resume(&mut self, failed: &Attempt, failure: &Failure) -> bool {
        let Some(rest) = self.rest_after(failure) else { return false };
        self.needs.prompt_tokens = rest.prompt_tokens_bound();
        self.needs.max_tokens = rest.max_tokens();
        self.needs.features = self.needs.features.and(Features::of(&[Feature::Resume]));
        // Another revision would go on with another mind.
        self.needs.revision = Some(failed.assigned.offer.revision);
        self.work = Arc::new(rest);
        self.choices.clear();
        true
    }

    fn rest_after(&self, failure: &Failure) -> Option<Work> {
        // What a liar said is no beginning for an honest answer.
        let lied = matches!(failure, Failure::NotVerified(_) | Failure::Violation(_));
        let tokens = self.delivery.tokens().filter(|_| !lied)?;
        let Work::Chat(asked) = &*self.asked else { return None };
        let delivered = u32::try_from(tokens.len()).ok()?;
        let left = asked.max_tokens.checked_sub(delivered).filter(|left| *left > 0)?;
        let fits = tokens.len() <= MAX_RESUMED_TOKENS;
        let rest = || {
            let mut request = asked.clone();
            request.resume = tokens.to_vec();
            request.max_tokens = left;
            Work::Chat(request)
        };
        fits.then(rest)
    }
}
