//! From logits to a token. It keeps no state: the same logits, history, parameters and position
//! give the same token, now or when someone checks it later.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::philox;
use crate::request::Sampling;

/// The exponent of e below which a weight is dropped: 10⁻²² of the likeliest token's.
const NEGLIGIBLE: f64 = -50.0;

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

    /// Whether `token` is among them.
    pub fn contains(&self, token: u32) -> bool {
        let word = usize::try_from(token / 32).ok().and_then(|index| self.words.get(index));
        word.is_some_and(|word| word >> (token % 32) & 1 == 1)
    }
}

#[derive(Clone, Copy)]
struct Candidate {
    token: u32,
    /// First a logit, then a weight relative to the likeliest token's 1.
    weight: f64,
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
    let greedy = sampling.temperature == 0.0;
    let penalised = sampling.frequency_penalty != 0.0 || sampling.presence_penalty != 0.0;
    if greedy && !penalised && allowed.is_none() {
        return likeliest(logits);
    }
    let mut candidates = candidates(logits, allowed)?;
    if penalised {
        penalise(&mut candidates, history, sampling);
    }
    if greedy {
        let best = candidates.into_iter().reduce(likelier).ok_or(InvalidLogits)?;
        return Ok(best.token);
    }
    keep_likeliest(&mut candidates, sampling.top_k);
    weigh(&mut candidates, f64::from(sampling.temperature));
    keep_mass(&mut candidates, f64::from(sampling.top_p));
    candidates.retain(|candidate| candidate.weight >= f64::from(sampling.min_p));
    draw(&candidates, philox::uniform(sampling.seed, history.len()))
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

/// The tokens that can be chosen at all, in the order of their ids.
fn candidates(logits: &[f32], allowed: Option<&TokenSet>) -> Result<Vec<Candidate>, InvalidLogits> {
    if logits.iter().any(|logit| logit.is_nan() || *logit == f32::INFINITY) {
        return Err(InvalidLogits);
    }
    let possible = |(token, logit): &(u32, &f32)| {
        **logit > f32::NEG_INFINITY && allowed.is_none_or(|allowed| allowed.contains(*token))
    };
    let candidate = |(token, logit): (u32, &f32)| Candidate { token, weight: f64::from(*logit) };
    let candidates: Vec<Candidate> = (0..).zip(logits).filter(possible).map(candidate).collect();
    if candidates.is_empty() { Err(InvalidLogits) } else { Ok(candidates) }
}

fn penalise(candidates: &mut [Candidate], history: &History, sampling: &Sampling) {
    let (frequency, presence) =
        (f64::from(sampling.frequency_penalty), f64::from(sampling.presence_penalty));
    for (token, count) in &history.counts {
        if let Ok(index) = candidates.binary_search_by_key(token, |candidate| candidate.token) {
            candidates[index].weight -= presence + frequency * f64::from(*count);
        }
    }
}

fn likelier(best: Candidate, other: Candidate) -> Candidate {
    if other.weight > best.weight { other } else { best }
}

fn by_likelihood(left: &Candidate, right: &Candidate) -> Ordering {
    right.weight.total_cmp(&left.weight).then(left.token.cmp(&right.token))
}

/// Keeps the `count` likeliest, 0 meaning all, in the order of their ids.
fn keep_likeliest(candidates: &mut Vec<Candidate>, count: u32) {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > 0 && count < candidates.len() {
        candidates.select_nth_unstable_by(count - 1, by_likelihood);
        candidates.truncate(count);
        candidates.sort_unstable_by_key(|candidate| candidate.token);
    }
}

/// Turns logits into weights, the likeliest weighing 1. What weighs next to nothing is dropped:
/// all of a vocabulary together could not change a draw.
fn weigh(candidates: &mut Vec<Candidate>, temperature: f64) {
    let weights = candidates.iter().map(|candidate| candidate.weight);
    let highest = weights.fold(f64::NEG_INFINITY, f64::max);
    candidates.retain_mut(|candidate| {
        let exponent = (candidate.weight - highest) / temperature;
        candidate.weight = if exponent < NEGLIGIBLE { 0.0 } else { exponent.exp() };
        exponent >= NEGLIGIBLE
    });
}

/// Keeps the fewest likeliest whose share of the weight reaches `share`, at least one, in the order
/// of their ids.
fn keep_mass(candidates: &mut Vec<Candidate>, share: f64) {
    if share >= 1.0 {
        return;
    }
    let wanted = share * candidates.iter().map(|candidate| candidate.weight).sum::<f64>();
    let (mut kept, mut sorted, mut mass) = (0, 0, 0.0);
    while kept < candidates.len() && (kept == 0 || mass < wanted) {
        if kept == sorted {
            sorted = sort_front(candidates, sorted);
        }
        mass += candidates[kept].weight;
        kept += 1;
    }
    candidates.truncate(kept);
    candidates.sort_unstable_by_key(|candidate| candidate.token);
}

/// Sorts more of the front, likeliest first, behind what is `sorted`; returns where it ends. Few
/// tokens carry most of the weight, so all of a vocabulary is seldom worth sorting.
fn sort_front(candidates: &mut [Candidate], sorted: usize) -> usize {
    let end = sorted.max(8).saturating_mul(8).min(candidates.len());
    let rest = &mut candidates[sorted..];
    if end - sorted < rest.len() {
        rest.select_nth_unstable_by(end - sorted, by_likelihood);
    }
    rest[..end - sorted].sort_unstable_by(by_likelihood);
    end
}

/// The candidate at `place` of the whole weight.
fn draw(candidates: &[Candidate], place: f64) -> Result<u32, InvalidLogits> {
    let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    let mut remaining = place * total;
    for candidate in candidates {
        remaining -= candidate.weight;
        if remaining < 0.0 {
            return Ok(candidate.token);
        }
    }
    // Rounding may leave a sliver beyond the last candidate.
    candidates.last().map(|candidate| candidate.token).ok_or(InvalidLogits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, f32::NEG_INFINITY];

    fn counts(sampling: &Sampling) -> [u32; 5] {
        let mut counts = [0; 5];
        for seed in 0..4000 {
            let token =
                sample(&LOGITS, &History::default(), &Sampling { seed, ..sampling.clone() }, None)
                    .unwrap();
            counts[usize::try_from(token).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_lowest_of_the_likeliest() {
        assert_eq!(sample(&LOGITS, &History::default(), &Sampling::greedy(), None), Ok(1));
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
        assert_eq!(sample(&LOGITS, &history, &presence, None), Ok(3));
        history.push(3);
        history.push(3);
        let frequency = Sampling { frequency_penalty: 0.6, ..Sampling::greedy() };
        assert_eq!(sample(&LOGITS, &history, &frequency, None), Ok(1));
        history.push(1);
        assert_eq!(sample(&LOGITS, &history, &frequency, None), Ok(2));
    }

    #[test]
    fn a_token_can_be_derived_again_from_seed_and_position() {
        let flat = [0.0; 50];
        let sampling = Sampling { seed: 9, ..Sampling::default() };
        let mut history = History::default();
        let mut first = Vec::new();
        for _ in 0..20 {
            first.push(sample(&flat, &history, &sampling, None).unwrap());
            history.push(*first.last().unwrap());
        }
        let mut later = History::default();
        first[..13].iter().for_each(|token| later.push(*token));
        assert_eq!(sample(&flat, &later, &sampling, None), Ok(first[13]));
        assert!(first.windows(2).any(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn logits_that_are_not_numbers_are_refused() {
        for bad in [[0.0, f32::NAN], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2]] {
            assert_eq!(
                sample(&bad, &History::default(), &Sampling::greedy(), None),
                Err(InvalidLogits)
            );
        }
        assert_eq!(
            sample(&[], &History::default(), &Sampling::default(), None),
            Err(InvalidLogits)
        );
    }

    #[test]
    fn only_what_is_allowed_is_chosen_however_unlikely() {
        let allowed = TokenSet::new(vec![0b10101]);
        let history = History::default();
        for seed in 0..200 {
            let sampling = Sampling { seed, ..Sampling::default() };
            let token = sample(&LOGITS, &history, &sampling, Some(&allowed)).unwrap();
            assert!(token == 0 || token == 2, "{token}");
        }
        let greedy = Sampling::greedy();
        assert_eq!(sample(&LOGITS, &history, &greedy, Some(&allowed)), Ok(2));
        let impossible = TokenSet::new(vec![0b10000]);
        assert_eq!(sample(&LOGITS, &history, &greedy, Some(&impossible)), Err(InvalidLogits));
    }

    /// What the filters mean, without any thought for speed.
    fn by_definition(logits: &[f32], sampling: &Sampling) -> Vec<u32> {
        let mut order: Vec<u32> = (0..).take(logits.len()).collect();
        let logit = |token: &u32| f64::from(logits[usize::try_from(*token).unwrap()]);
        order.sort_by(|a, b| logit(b).total_cmp(&logit(a)).then(a.cmp(b)));
        if sampling.top_k > 0 {
            order.truncate(usize::try_from(sampling.top_k).unwrap());
        }
        let weight = |token: &u32| {
            ((logit(token) - logit(&order[0])) / f64::from(sampling.temperature)).exp()
        };
        let total: f64 = order.iter().map(weight).sum();
        let mut mass = 0.0;
        let mut kept = Vec::new();
        for token in &order {
            if sampling.top_p < 1.0 && !kept.is_empty() && mass >= f64::from(sampling.top_p) * total
            {
                break;
            }
            mass += weight(token);
            kept.push(*token);
        }
        kept.retain(|token| weight(token) >= f64::from(sampling.min_p));
        kept.sort_unstable();
        kept
    }

    #[test]
    fn the_filters_keep_in_a_large_vocabulary_what_their_definitions_say() {
        // Three thousand logits without ties, in no order.
        let logits: Vec<f32> = (0..3000_u32)
            .map(|index| index * 7919 % 3001)
            .map(|value| f32::from(u16::try_from(value).unwrap()) / 300.0)
            .collect();
        for (top_k, top_p, min_p) in [
            (0, 0.5, 0.0),
            (0, 0.9, 0.0),
            (0, 0.999, 0.0),
            (700, 0.95, 0.0),
            (5, 0.5, 0.3),
            (0, 1.0, 0.4),
            (0, 0.0, 0.0),
        ] {
            let sampling =
                Sampling { top_k, top_p, min_p, temperature: 1.3, ..Sampling::default() };
            let expected = by_definition(&logits, &sampling);
            let mut candidates = candidates(&logits, None).unwrap();
            keep_likeliest(&mut candidates, top_k);
            weigh(&mut candidates, f64::from(sampling.temperature));
            keep_mass(&mut candidates, f64::from(top_p));
            candidates.retain(|candidate| candidate.weight >= f64::from(min_p));
            let found: Vec<u32> = candidates.iter().map(|candidate| candidate.token).collect();
            assert_eq!(found.len(), expected.len(), "{sampling:?}");
            assert_eq!(found, expected, "{sampling:?}");
        }
    }
}
