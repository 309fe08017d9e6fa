//! From logits to a token. It keeps no state: the same logits, history, parameters and position
//! give the same token, now or when someone checks it later.

mod candidates;
mod field;
mod weight;

use std::collections::BTreeMap;

use self::candidates::{Candidates, likeliest_of};
use self::field::{Field, Weights};
use crate::philox;
use crate::request::Sampling;

/// The logits contain a value that is not a number, or nothing that could be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model produced logits that are not numbers")]
pub struct InvalidLogits;

/// How often each token was generated before.
#[derive(Clone, Debug, Default)]
pub struct History {
    counts: BTreeMap<u32, u32>,
    length: u32,
}

impl History {
    /// Counts a generated token.
    pub fn push(&mut self, token: u32) {
        let count = self.counts.entry(token).or_default();
        *count = count.saturating_add(1);
        self.length = self.length.saturating_add(1);
    }

    /// Tokens counted; also the output position of the next one.
    pub fn len(&self) -> u32 {
        self.length
    }

    /// Whether nothing was generated yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// Tokens among which one is chosen, one bit for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSet {
    words: Vec<u32>,
}

impl TokenSet {
    /// The lowest bit of the first word stands for token 0.
    pub fn new(words: Vec<u32>) -> Self {
        Self { words }
    }

    /// The thirty-two tokens from `32 × index` on, the lowest bit first.
    fn word(&self, index: usize) -> u32 {
        self.words.get(index).copied().unwrap_or(0)
    }

    /// Whether `token` is among them.
    pub fn contains(&self, token: u32) -> bool {
        let word = usize::try_from(token / 32).ok().and_then(|index| self.words.get(index));
        word.is_some_and(|word| word >> (token % 32) & 1 == 1)
    }
}

/// Chooses the token that follows `history`, among `allowed` if there is such a set. Ties go to the
/// lower token id.
///
/// # Errors
/// [`InvalidLogits`] if any logit is NaN or +∞, or all that are allowed are −∞.
pub fn sample(
    logits: &[f32],
    history: &History,
    sampling: &Sampling,
    allowed: Option<&TokenSet>,
) -> Result<u32, InvalidLogits> {
    let changes = changes(history, sampling);
    let greedy = sampling.temperature == 0.0;
    if greedy && changes.is_empty() && allowed.is_none() {
        return likeliest(logits);
    }
    let field = Field::new(logits, &changes, allowed)?;
    if greedy {
        return field.likeliest().ok_or(InvalidLogits);
    }
    let place = philox::uniform(sampling.seed, history.len());
    let drawn = match filter(field, sampling) {
        Kept::All(weights) => weights.draw(place),
        Kept::Some(candidates) => candidates.draw(place),
    };
    drawn.ok_or(InvalidLogits)
}

/// What the filters leave.
enum Kept {
    All(Weights),
    Some(Candidates),
}

fn filter(field: Field, sampling: &Sampling) -> Kept {
    let temperature = f64::from(sampling.temperature);
    let (top_p, min_p) = (f64::from(sampling.top_p), f64::from(sampling.min_p));
    let mut kept = if sampling.top_k > 0 {
        let count = usize::try_from(sampling.top_k).unwrap_or(usize::MAX);
        let mut best = Candidates::of_logits(likeliest_of(field.best(count), count), temperature);
        if top_p < 1.0 {
            best.keep_mass(top_p * best.mass());
        }
        best
    } else {
        let weights = field.weigh(temperature);
        if top_p >= 1.0 && min_p <= 0.0 {
            return Kept::All(weights);
        }
        if top_p < 1.0 { weights.share(top_p) } else { Candidates::new(weights.from(min_p)) }
    };
    kept.retain(|weight| weight >= min_p);
    Kept::Some(kept)
}

/// What is added to the logits of single tokens: the caller's wish, and what they were given for
/// being there before.
fn changes(history: &History, sampling: &Sampling) -> BTreeMap<u32, f64> {
    let wish = |(token, bias): (&u32, &f32)| (*token, f64::from(*bias));
    let mut changes: BTreeMap<u32, f64> = sampling.logit_bias.iter().map(wish).collect();
    let (frequency, presence) =
        (f64::from(sampling.frequency_penalty), f64::from(sampling.presence_penalty));
    if frequency != 0.0 || presence != 0.0 {
        for (token, count) in &history.counts {
            *changes.entry(*token).or_default() -= presence + frequency * f64::from(*count);
        }
    }
    changes
}

/// The highest logit, by the lowest token id.
fn likeliest(logits: &[f32]) -> Result<u32, InvalidLogits> {
    // Independent lanes and no branches, so that the compiler can use wide registers.
    let mut highest = [f32::NEG_INFINITY; 16];
    for chunk in logits.chunks(highest.len()) {
        for (highest, logit) in highest.iter_mut().zip(chunk) {
            *highest = if *logit > *highest { *logit } else { *highest };
        }
    }
    let highest = highest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let broken = logits.iter().fold(false, |broken, logit| broken | logit.is_nan());
    let place = logits.iter().position(|logit| *logit == highest);
    match place.map(u32::try_from) {
        Some(Ok(token)) if !broken && highest.is_finite() => Ok(token),
        _ => Err(InvalidLogits),
    }
}

#[cfg(test)]
mod tests;
