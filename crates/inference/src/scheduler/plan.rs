//! Which sequences compute how many tokens in the next step, from plain numbers. It never looks at
//! a clock, an engine or a text.

use std::time::Duration;

/// Chunks of prompts end at multiples of this, where sequences can share what is computed.
const ALIGNMENT: usize = 16;
/// Prompt tokens of the first steps, until their time is known.
const FIRST_BUDGET: usize = 128;
/// A step takes no more prompt tokens than this; bounds the memory of a pass.
const MOST_TOKENS: usize = 2048;
/// How long a step with prompts in it should take: what a running answer waits for its next token
/// at most, and a cancelled one for its end.
const STEP_TIME: Duration = Duration::from_millis(50);

/// What a plan needs to know of a sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// Tokens that are not computed yet; 1 in a sequence that decodes.
    pub(crate) pending: usize,
    /// Whether the power cap lets it compute now.
    pub(crate) due: bool,
    /// A step that it was part of failed: it computes alone, so that it can harm no other.
    pub(crate) suspect: bool,
}

/// How many tokens each sequence computes next, in the order given, which is the order in which
/// prompts are served: all that decode get their token, prompts share what remains of `budget`.
pub(crate) fn plan(views: &[View], budget: usize) -> Vec<usize> {
    let runs = |view: &View| view.due && view.pending > 0;
    let alone = views.iter().position(|view| view.suspect && runs(view));
    let decoding = views.iter().filter(|view| runs(view) && view.pending == 1).count();
    let mut left = match alone {
        Some(_) => budget,
        None => budget.saturating_sub(decoding),
    };
    left = left.max(ALIGNMENT);
    let share = |(index, view): (usize, &View)| {
        if !runs(view) || alone.is_some_and(|alone| alone != index) {
            return 0;
        }
        if view.pending == 1 {
            return 1;
        }
        let whole = left - left % ALIGNMENT;
        let tokens = if view.pending <= left { view.pending } else { whole };
        left -= tokens;
        tokens
    };
    views.iter().enumerate().map(share).collect()
}

/// How many tokens a step may have, so that it takes about [`STEP_TIME`] on this machine.
#[derive(Debug)]
pub(crate) struct Pace {
    budget: usize,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { budget: FIRST_BUDGET }
    }

    pub(crate) fn budget(&self) -> usize {
        self.budget
    }

    /// Learns from a step. Only one that used its budget tells whether more would fit; any step
    /// that took too long tells that less does.
    pub(crate) fn observe(&mut self, tokens: usize, took: Duration) {
        let (low, high) = (ALIGNMENT, MOST_TOKENS);
        if took > STEP_TIME * 2 && tokens > ALIGNMENT {
            self.budget = (self.budget.min(tokens) / 2).clamp(low, high);
        } else if took < STEP_TIME / 2 && tokens.saturating_add(ALIGNMENT) > self.budget {
            self.budget = self.budget.saturating_mul(2).clamp(low, high);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(pending: usize) -> View {
        View { pending, due: true, suspect: false }
    }

    #[test]
    fn every_answer_gets_its_token_and_prompts_share_the_rest_in_order() {
        let views = [view(1), view(100), view(1), view(300), view(50)];
        assert_eq!(plan(&views, 200), [1, 100, 1, 96, 0]);
        assert_eq!(plan(&views, 2000), [1, 100, 1, 300, 50]);
    }

    #[test]
    fn many_answers_do_not_keep_a_prompt_from_going_on() {
        let mut views = vec![view(1); 500];
        views.push(view(40));
        let planned = plan(&views, 128);
        assert!(planned[..500].iter().all(|tokens| *tokens == 1));
        assert_eq!(planned[500], 16);
    }

    #[test]
    fn a_suspect_computes_alone_and_what_is_not_due_rests() {
        let suspect = View { suspect: true, ..view(40) };
        assert_eq!(plan(&[view(1), suspect, suspect], 128), [0, 40, 0]);
        let resting = View { due: false, ..suspect };
        assert_eq!(plan(&[view(1), resting, view(9)], 128), [1, 0, 9]);
    }

    #[test]
    fn the_budget_follows_the_speed_of_the_machine_within_bounds() {
        let after = |microseconds_per_token: u64| {
            let mut pace = Pace::new();
            for _ in 0..50 {
                let tokens = pace.budget();
                let took = u64::try_from(tokens).unwrap() * microseconds_per_token;
                pace.observe(tokens, Duration::from_micros(took));
            }
            pace.budget()
        };
        assert_eq!(after(1), MOST_TOKENS);
        assert!((128..=512).contains(&after(200)), "{}", after(200));
        assert_eq!(after(100_000), ALIGNMENT);
    }

    #[test]
    fn a_step_that_did_not_need_its_budget_says_nothing_about_it() {
        let mut pace = Pace::new();
        pace.observe(3, Duration::from_millis(1));
        pace.observe(60, Duration::from_millis(60));
        assert_eq!(pace.budget(), FIRST_BUDGET);
    }
}
