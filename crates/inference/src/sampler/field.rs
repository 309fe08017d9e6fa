//! All of a vocabulary at once: logits, and the weights that they become, with what is known of
//! each block of them, so that most of a vocabulary is looked at once. It never sorts it.

use std::collections::BTreeMap;

use pulp::{Arch, Simd, WithSimd};

use super::candidates::{Candidate, Candidates};
use super::weight::{NEGLIGIBLE, weight};
use super::{InvalidLogits, TokenSet};

/// Tokens of a block: two words of a [`TokenSet`], and a few cache lines of values.
const BLOCK: usize = 64;
/// Independent lanes of a maximum or a sum.
const LANES: usize = 8;

/// The logits of a vocabulary; −∞ where a token cannot be chosen.
pub(super) struct Field {
    values: Vec<f64>,
    /// The highest of each block.
    highest: Vec<f64>,
}

/// The weights of a vocabulary, the likeliest token weighing 1.
pub(super) struct Weights {
    values: Vec<f64>,
    /// The sum of each block, and its highest weight.
    sums: Vec<f64>,
    highest: Vec<f64>,
    total: f64,
}

impl Field {
    /// The logits with some of them changed, of those tokens that are allowed.
    pub(super) fn new(
        logits: &[f32],
        changes: &BTreeMap<u32, f64>,
        allowed: Option<&TokenSet>,
    ) -> Result<Self, InvalidLogits> {
        if broken(logits) {
            return Err(InvalidLogits);
        }
        let mut values: Vec<f64> = logits.iter().copied().map(f64::from).collect();
        for (token, change) in changes {
            let place = usize::try_from(*token).ok().and_then(|token| values.get_mut(token));
            place.into_iter().for_each(|value| *value += change);
        }
        if let Some(allowed) = allowed {
            for (index, values) in values.chunks_mut(32).enumerate() {
                let word = allowed.word(index);
                if word != u32::MAX {
                    let each = values.iter_mut().enumerate();
                    each.filter(|(bit, _)| word >> bit & 1 == 0)
                        .for_each(|(_, value)| *value = f64::NEG_INFINITY);
                }
            }
        }
        let highest: Vec<f64> = values.chunks(BLOCK).map(maximum).collect();
        let field = Self { values, highest };
        if field.maximum() > f64::NEG_INFINITY { Ok(field) } else { Err(InvalidLogits) }
    }

    fn maximum(&self) -> f64 {
        maximum(&self.highest)
    }

    /// The highest, by the lowest id.
    pub(super) fn likeliest(&self) -> Option<u32> {
        let highest = self.maximum();
        let place = self.values.iter().position(|value| value.total_cmp(&highest).is_eq())?;
        u32::try_from(place).ok()
    }

    /// The `count` likeliest and a few besides, in the order of their ids.
    pub(super) fn best(&self, count: usize) -> Vec<Candidate> {
        let mut order = self.highest.clone();
        let least = match count.checked_sub(1).filter(|index| *index < order.len()) {
            // So many blocks have a value at least as high.
            Some(index) => *order.select_nth_unstable_by(index, |a, b| b.total_cmp(a)).1,
            None => f64::NEG_INFINITY,
        };
        let possible = |value: f64| value >= least && value > f64::NEG_INFINITY;
        gather(&self.values, &self.highest, possible)
    }

    /// Turns logits into weights.
    pub(super) fn weigh(self, temperature: f64) -> Weights {
        let highest = self.maximum();
        let mut weights = Weights {
            sums: vec![0.0; self.highest.len()],
            values: self.values,
            highest: self.highest,
            total: 0.0,
        };
        Arch::new().dispatch(Weigh { weights: &mut weights, highest, temperature });
        weights.total = weights.sums.iter().sum();
        weights
    }
}

impl Weights {
    /// The fewest likeliest tokens that together have this share of the whole weight, below 1.
    pub(super) fn share(&self, share: f64) -> Candidates {
        let wanted = share * self.total;
        let (edge, before) = self.edge(wanted, self.needed_for(share));
        let mut kept = self.from(bucket_start(edge + 1));
        let mut rest = Candidates::new(self.from(bucket_start(edge)));
        rest.retain(|weight| weight < bucket_start(edge + 1));
        if kept.is_empty() || before < wanted {
            rest.keep_mass(wanted - before);
            kept.extend(rest.into_inner());
            // Two runs that are sorted already.
            kept.sort_by_key(|candidate| candidate.token);
        }
        Candidates::new(kept)
    }

    /// The bucket in which the likeliest tokens come to weigh `wanted`, and what those in higher
    /// buckets weigh. Tokens that weigh less than `least` are not needed.
    fn edge(&self, wanted: f64, least: f64) -> (usize, f64) {
        let mut masses = vec![0.0; BUCKETS];
        for (values, highest) in self.values.chunks(BLOCK).zip(&self.highest) {
            if *highest < least {
                continue;
            }
            for value in values {
                if let Some(mass) = masses.get_mut(bucket(*value)) {
                    *mass += value;
                }
            }
        }
        let mut before = 0.0;
        for (bucket, mass) in (0..BUCKETS).zip(masses).rev().filter(|(_, mass)| *mass > 0.0) {
            if before + mass >= wanted {
                return (bucket, before);
            }
            before += mass;
        }
        (0, before)
    }

    /// A weight below which no token can be needed for this share of all: together they weigh less
    /// than what is left over.
    fn needed_for(&self, share: f64) -> f64 {
        // A vocabulary has fewer than 2³² tokens, so the conversion is exact. Half of what is left
        // over leaves room for rounding.
        let count = u32::try_from(self.values.len()).map_or(f64::INFINITY, f64::from);
        0.5 * (1.0 - share) * self.total / count
    }

    /// The tokens of at least this weight, in the order of their ids.
    pub(super) fn from(&self, least: f64) -> Vec<Candidate> {
        gather(&self.values, &self.highest, |weight| weight >= least && weight > 0.0)
    }

    /// The token at `place` of the whole weight.
    pub(super) fn draw(&self, place: f64) -> Option<u32> {
        let mut remaining = place * self.total;
        let mut chosen = None;
        for (block, sum) in self.sums.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
            chosen = Some(block);
            if remaining < *sum {
                break;
            }
            remaining -= sum;
        }
        // Rounding may leave a sliver beyond the last token of a block, or of all.
        let start = chosen?.checked_mul(BLOCK)?;
        let mut last = None;
        for (token, weight) in (start..).zip(self.values.get(start..)?.iter().take(BLOCK)) {
            if *weight > 0.0 {
                last = Some(token);
                remaining -= weight;
                if remaining < 0.0 {
                    break;
                }
            }
        }
        last.and_then(|token| u32::try_from(token).ok())
    }
}

/// Eight buckets for each halving: the first bits of a number that is not negative are in its
/// order. Weights are 0, or from e⁻⁵⁰ to 1.
const BUCKET_SHIFT: u32 = 49;
const LOWEST: u64 = (1023 - 73) << (52 - BUCKET_SHIFT);
const BUCKETS: usize = 74 * 8 + 1;

fn bucket(weight: f64) -> usize {
    let bucket = (weight.to_bits() >> BUCKET_SHIFT).saturating_sub(LOWEST);
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

/// The least weight of a bucket.
fn bucket_start(bucket: usize) -> f64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    f64::from_bits(bucket.saturating_add(LOWEST) << BUCKET_SHIFT)
}

struct Weigh<'a> {
    weights: &'a mut Weights,
    highest: f64,
    temperature: f64,
}

impl WithSimd for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { weights, highest, temperature } = self;
        let bounds = weights.highest.iter_mut().zip(&mut weights.sums);
        for (values, (most, sum)) in weights.values.chunks_mut(BLOCK).zip(bounds) {
            if (*most - highest) / temperature < NEGLIGIBLE {
                values.fill(0.0);
                *most = 0.0;
                continue;
            }
            for value in values.iter_mut() {
                *value = weight((*value - highest) / temperature);
            }
            (*most, *sum) = (maximum(values), total(values));
        }
    }
}

/// The tokens whose value is wanted; blocks whose highest is not are skipped.
fn gather(values: &[f64], highest: &[f64], wanted: impl Fn(f64) -> bool) -> Vec<Candidate> {
    let mut found = Vec::new();
    let starts = (0_u32..).step_by(BLOCK);
    for (start, (values, highest)) in starts.zip(values.chunks(BLOCK).zip(highest)) {
        if wanted(*highest) {
            let each = (start..).zip(values).filter(|(_, value)| wanted(**value));
            found.extend(each.map(|(token, value)| Candidate { token, value: *value }));
        }
    }
    found
}

/// Whether anything is NaN or +∞.
fn broken(logits: &[f32]) -> bool {
    // Without branches, so that the compiler can use wide registers.
    !logits.iter().fold(true, |good, logit| good & (*logit < f32::INFINITY))
}

#[inline(always)]
fn maximum(values: &[f64]) -> f64 {
    let mut lanes = [f64::NEG_INFINITY; LANES];
    let whole = values.chunks_exact(LANES);
    let rest = whole.remainder();
    for values in whole {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    lanes.iter().chain(rest).copied().fold(f64::NEG_INFINITY, f64::max)
}

#[inline(always)]
fn total(values: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let whole = values.chunks_exact(LANES);
    let rest = whole.remainder();
    for values in whole {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += value;
        }
    }
    lanes.iter().chain(rest).sum()
}
