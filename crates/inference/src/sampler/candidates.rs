//! The tokens that are left of a vocabulary, and the filters that leave fewer. They are always in
//! the order of their ids. It never looks at a whole vocabulary.

use std::cmp::Ordering;

use super::weight::weight;

/// A token with its logit or its weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) token: u32,
    pub(super) value: f64,
}

/// Tokens with their weights.
pub(super) struct Candidates(Vec<Candidate>);

/// Down to so few are sorted at once.
const FEW: usize = 32;

/// The `count` likeliest.
pub(super) fn likeliest_of(mut all: Vec<Candidate>, count: usize) -> Vec<Candidate> {
    if count < all.len() {
        all.select_nth_unstable_by(count - 1, by_likelihood);
        all.truncate(count);
        all.sort_unstable_by_key(|candidate| candidate.token);
    }
    all
}

fn by_likelihood(left: &Candidate, right: &Candidate) -> Ordering {
    right.value.total_cmp(&left.value).then(left.token.cmp(&right.token))
}

fn mass(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|candidate| candidate.value).sum()
}

impl Candidates {
    /// From weights.
    pub(super) fn new(weights: Vec<Candidate>) -> Self {
        Self(weights)
    }

    /// From logits: the likeliest weighs 1, and what weighs next to nothing is dropped.
    pub(super) fn of_logits(mut logits: Vec<Candidate>, temperature: f64) -> Self {
        let highest = logits.iter().map(|logit| logit.value).fold(f64::NEG_INFINITY, f64::max);
        logits.retain_mut(|candidate| {
            candidate.value = weight((candidate.value - highest) / temperature);
            candidate.value > 0.0
        });
        Self(logits)
    }

    pub(super) fn mass(&self) -> f64 {
        mass(&self.0)
    }

    /// Keeps the fewest likeliest that together weigh `wanted`, at least one.
    pub(super) fn keep_mass(&mut self, wanted: f64) {
        let all = &mut self.0;
        let (mut start, mut end, mut before) = (0, all.len(), 0.0);
        // The likeliest `start` weigh `before`, which is not enough; `end` are enough.
        while end - start > FEW {
            let middle = (end - start) / 2;
            all[start..end].select_nth_unstable_by(middle, by_likelihood);
            let upper = mass(&all[start..start + middle]);
            if before + upper < wanted {
                (start, before) = (start + middle, before + upper);
            } else {
                end = start + middle;
            }
        }
        all[start..end].sort_unstable_by(by_likelihood);
        let mut kept = start;
        while kept < end && (kept == 0 || before < wanted) {
            before += all[kept].value;
            kept += 1;
        }
        all.truncate(kept);
        all.sort_unstable_by_key(|candidate| candidate.token);
    }

    /// Keeps those whose weight is wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(f64) -> bool) {
        self.0.retain(|candidate| wanted(candidate.value));
    }

    pub(super) fn into_inner(self) -> Vec<Candidate> {
        self.0
    }

    /// The token at `place` of the whole weight.
    pub(super) fn draw(&self, place: f64) -> Option<u32> {
        let mut remaining = place * self.mass();
        for candidate in &self.0 {
            remaining -= candidate.value;
            if remaining < 0.0 {
                return Some(candidate.token);
            }
        }
        // Rounding may leave a sliver beyond the last candidate.
        self.0.last().map(|candidate| candidate.token)
    }

    #[cfg(test)]
    pub(super) fn tokens(&self) -> Vec<u32> {
        self.0.iter().map(|candidate| candidate.token).collect()
    }
}
