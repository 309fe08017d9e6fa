//! Shortens a sequence that breaks a rule, by leaving steps out as long as it still breaks one.
//! Never changes a step.

use crate::exits;
use crate::operation::Step;
use crate::rules::Signed;
use crate::run::Trial;

/// At most so many replays; a long sequence is then merely shorter.
const MAX_REPLAYS: usize = 400;

/// The steps that still break some rule.
pub fn shorten(start: &Trial, signed: &Signed, mut steps: Vec<Step>) -> Vec<Step> {
    let mut chunk = steps.len() / 2;
    let mut replays = 0;
    while chunk > 0 {
        let mut from = 0;
        while from < steps.len() && replays < MAX_REPLAYS {
            let mut fewer = steps.clone();
            fewer.drain(from..steps.len().min(from + chunk));
            replays += 1;
            match breaks_at(start, signed, &fewer) {
                Some(length) => {
                    fewer.truncate(length);
                    steps = fewer;
                }
                None => from += chunk,
            }
        }
        chunk /= 2;
    }
    steps
}

/// After how many steps a rule is broken; all of them if only the way out is blocked.
fn breaks_at(start: &Trial, signed: &Signed, steps: &[Step]) -> Option<usize> {
    let mut trial = start.clone();
    trial.signed.clone_from(signed);
    for (index, step) in steps.iter().enumerate() {
        if trial.step(step).is_err() {
            return Some(index + 1);
        }
    }
    let cast = crate::cast::Cast::default();
    let broken = trial.books.audit().is_err() || exits::leave(&mut trial, &cast).is_err();
    broken.then_some(steps.len())
}
