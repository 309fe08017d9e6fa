//! From logits to a token. It keeps no state: the same logits, history, parameters and position
//! give the same token, now or when someone checks it later.

use std::collections::BTreeMap;

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

#[derive(Clone, Copy)]
struct Candidate {
    token: u32,
    /// First a logit, then a weight relative to the likeliest token's 1.
    weight: f64,
}

/// Chooses the token that follows `history`. Ties go to the lower token id.
///
/// # Errors
/// [`InvalidLogits`] if any logit is NaN or +∞, or all are −∞.
pub fn sample(
    logits: &[f32],
    history: &History,
    sampling: &Sampling,
) -> Result<u32, InvalidLogits> {
    let mut candidates = penalised(logits, history, sampling)?;
    if sampling.temperature == 0.0 {
        let best = candidates.into_iter().reduce(likelier).ok_or(InvalidLogits)?;
        return Ok(best.token);
    }
    keep_likeliest(&mut candidates, sampling.top_k);
    weigh(&mut candidates, f64::from(sampling.temperature));
    keep_mass(&mut candidates, f64::from(sampling.top_p));
    candidates.retain(|candidate| candidate.weight >= f64::from(sampling.min_p));
    let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    let mut remaining = philox::uniform(sampling.seed, history.len()) * total;
    for candidate in &candidates {
        remaining -= candidate.weight;
        if remaining < 0.0 {
            return Ok(candidate.token);
        }
    }
    // Rounding may leave a sliver beyond the last candidate.
    candidates.last().map(|candidate| candidate.token).ok_or(InvalidLogits)
}

fn penalised(
    logits: &[f32],
    history: &History,
    sampling: &Sampling,
) -> Result<Vec<Candidate>, InvalidLogits> {
    if logits.iter().any(|logit| logit.is_nan() || *logit == f32::INFINITY) {
        return Err(InvalidLogits);
    }
    let candidate = |(token, logit): (u32, &f32)| Candidate { token, weight: f64::from(*logit) };
    let mut candidates: Vec<Candidate> = (0..).zip(logits).map(candidate).collect();
    let (frequency, presence) =
        (f64::from(sampling.frequency_penalty), f64::from(sampling.presence_penalty));
    if frequency != 0.0 || presence != 0.0 {
        for (token, count) in &history.counts {
            let index = usize::try_from(*token).unwrap_or(usize::MAX);
            if let Some(candidate) = candidates.get_mut(index) {
                candidate.weight -= presence + frequency * f64::from(*count);
            }
        }
    }
    candidates.retain(|candidate| candidate.weight > f64::NEG_INFINITY);
    if candidates.is_empty() { Err(InvalidLogits) } else { Ok(candidates) }
}

fn likelier(best: Candidate, other: Candidate) -> Candidate {
    if other.weight > best.weight { other } else { best }
}

fn by_likelihood(left: &Candidate, right: &Candidate) -> std::cmp::Ordering {
    right.weight.total_cmp(&left.weight).then(left.token.cmp(&right.token))
}

/// Keeps the `count` likeliest, 0 meaning all, and sorts them, likeliest first.
fn keep_likeliest(candidates: &mut Vec<Candidate>, count: u32) {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > 0 && count < candidates.len() {
        candidates.select_nth_unstable_by(count - 1, by_likelihood);
        candidates.truncate(count);
    }
    candidates.sort_unstable_by(by_likelihood);
}

/// Turns sorted logits into weights, the likeliest weighing 1.
fn weigh(candidates: &mut [Candidate], temperature: f64) {
    let highest = candidates.first().map_or(0.0, |best| best.weight);
    for candidate in candidates {
        candidate.weight = ((candidate.weight - highest) / temperature).exp();
    }
}

/// Keeps the fewest likeliest whose share of the weight reaches `share`; at least one.
fn keep_mass(candidates: &mut Vec<Candidate>, share: f64) {
    if share >= 1.0 {
        return;
    }
    let wanted = share * candidates.iter().map(|candidate| candidate.weight).sum::<f64>();
    let mut mass = 0.0;
    let kept = candidates.iter().take_while(|candidate| {
        let short = mass < wanted;
        mass += candidate.weight;
        short
    });
    let kept = kept.count().max(1);
    candidates.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, f32::NEG_INFINITY];

    fn counts(sampling: &Sampling) -> [u32; 5] {
        let mut counts = [0; 5];
        for seed in 0..4000 {
            let token =
                sample(&LOGITS, &History::default(), &Sampling { seed, ..sampling.clone() })
                    .unwrap();
            counts[usize::try_from(token).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_lowest_of_the_likeliest() {
        assert_eq!(sample(&LOGITS, &History::default(), &Sampling::greedy()), Ok(1));
    }

    #[test]
    fn frequencies_follow_the_softmax_at_the_temperature() {
        for temperature in [0.7_f32, 1.0, 2.0] {
            let found = counts(&Sampling { temperature, ..Sampling::default() });
            let weights = LOGITS.map(|logit| (f64::from(logit) / f64::from(temperature)).exp());
            let total: f64 = weights.iter().sum();
            for (found, weight) in found.iter().zip(weights) {
                let (share, expected) = (f64::from(*found) / 4000.0, weight / total);
                assert!((share - expected).abs() < 0.03, "{share} for {expected} at {temperature}");
            }
        }
    }

    #[test]
    fn each_filter_removes_what_it_says() {
        let base = Sampling::default();
        let support = |sampling: Sampling| counts(&sampling).map(|count| count > 0);
        assert_eq!(support(base.clone()), [true, true, true, true, false]);
        assert_eq!(
            support(Sampling { top_k: 1, ..base.clone() }),
            [false, true, false, false, false]
        );
        assert_eq!(
            support(Sampling { top_k: 3, ..base.clone() }),
            [false, true, true, true, false]
        );
        assert_eq!(
            support(Sampling { top_p: 0.75, ..base.clone() }),
            [false, true, false, true, false]
        );
        assert_eq!(
            support(Sampling { top_p: 0.0, ..base.clone() }),
            [false, true, false, false, false]
        );
        assert_eq!(
            support(Sampling { min_p: 0.3, ..base.clone() }),
            [false, true, true, true, false]
        );
        assert_eq!(support(Sampling { min_p: 1.0, ..base }), [false, true, false, true, false]);
    }

    #[test]
    fn penalties_push_repeated_tokens_down() {
        let mut history = History::default();
        history.push(1);
        let presence = Sampling { presence_penalty: 0.1, ..Sampling::greedy() };
        assert_eq!(sample(&LOGITS, &history, &presence), Ok(3));
        history.push(3);
        history.push(3);
        let frequency = Sampling { frequency_penalty: 0.6, ..Sampling::greedy() };
        assert_eq!(sample(&LOGITS, &history, &frequency), Ok(1));
        history.push(1);
        assert_eq!(sample(&LOGITS, &history, &frequency), Ok(2));
    }

    #[test]
    fn a_token_can_be_derived_again_from_seed_and_position() {
        let flat = [0.0; 50];
        let sampling = Sampling { seed: 9, ..Sampling::default() };
        let mut history = History::default();
        let mut first = Vec::new();
        for _ in 0..20 {
            first.push(sample(&flat, &history, &sampling).unwrap());
            history.push(*first.last().unwrap());
        }
        let mut later = History::default();
        first[..13].iter().for_each(|token| later.push(*token));
        assert_eq!(sample(&flat, &later, &sampling), Ok(first[13]));
        assert!(first.windows(2).any(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn logits_that_are_not_numbers_are_refused() {
        for bad in [[0.0, f32::NAN], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2]] {
            assert_eq!(sample(&bad, &History::default(), &Sampling::greedy()), Err(InvalidLogits));
        }
        assert_eq!(sample(&[], &History::default(), &Sampling::default()), Err(InvalidLogits));
    }
}
