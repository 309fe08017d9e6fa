//! How good a choice each eligible node is. Every term is in [0, 1] and comes from the chain, from
//! this server's measurements or from verification, never from the node's own words.

use super::{Candidate, Needs, NodeView, Rules};
use cactus_protocol::Octas;
use serde::{Deserialize, Serialize};

/// The output length that a prediction assumes when the request allows more, in tokens.
const EXPECTED_OUTPUT_TOKENS: u32 = 128;
/// The latency term of a node that was never measured.
const UNMEASURED_LATENCY: f64 = 0.5;

/// How much each term counts. Only the proportions matter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Stake, saturating over the median.
    pub stake: f64,
    /// Lower bound of the success rate.
    pub success: f64,
    /// Predicted completion time of this request.
    pub latency: f64,
    /// Price of this request.
    pub price: f64,
    /// Lower bound of the rate at which receipts stand.
    pub verification: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { stake: 0.15, success: 0.3, latency: 0.3, price: 0.15, verification: 0.1 }
    }
}

impl Weights {
    /// Whether every weight is a finite number of at least 0 and one is above 0.
    pub fn are_valid(&self) -> bool {
        let all = self.as_array();
        all.iter().all(|w| w.is_finite() && *w >= 0.0) && all.iter().sum::<f64>() > 0.0
    }

    fn as_array(&self) -> [f64; 5] {
        [self.stake, self.success, self.latency, self.price, self.verification]
    }
}

/// The terms of a score, each in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// stake / (stake + median stake): money alone cannot buy all the traffic.
    pub stake: f64,
    /// Lower bound of the success rate.
    pub success: f64,
    /// Shortest predicted completion / this node's.
    pub latency: f64,
    /// Cheapest lock / this node's.
    pub price: f64,
    /// Lower bound of the rate at which receipts stand.
    pub verification: f64,
}

impl Terms {
    fn weigh(&self, weights: &Weights) -> f64 {
        let terms = [self.stake, self.success, self.latency, self.price, self.verification];
        let weights = weights.as_array();
        let sum: f64 = terms.iter().zip(weights).map(|(t, w)| t * w).sum();
        sum / weights.iter().sum::<f64>()
    }
}

/// Scores the eligible nodes, given with their locks, against each other.
pub fn score_all(
    needs: &Needs,
    nodes: &[NodeView],
    eligible: &[(usize, Octas)],
    rules: &Rules<'_>,
) -> Vec<Candidate> {
    let chosen = || eligible.iter().map(|(index, _)| &nodes[*index]);
    let median_stake = median(chosen().map(|node| node.stake.0).collect());
    let predictions: Vec<_> = chosen().map(|node| predict(needs, node)).collect();
    let fastest = predictions.iter().flatten().copied().reduce(f64::min);
    let cheapest = eligible.iter().map(|(_, lock)| lock.0).min().unwrap_or(0);
    let score = |(&(index, lock), predicted): (&(usize, Octas), &Option<f64>)| {
        let node = &nodes[index];
        let terms = Terms {
            stake: saturating(node.stake.0, median_stake),
            success: node.statistics.success(rules.now),
            latency: latency_term(*predicted, fastest),
            price: ratio(cheapest, lock.0),
            verification: node.statistics.verification(rules.now),
        };
        let score = terms.weigh(rules.weights);
        Candidate { index, lock, score, terms }
    };
    eligible.iter().zip(&predictions).map(score).collect()
}

/// Seconds until the node would have answered: what is before this request in its slots, then the
/// request itself.
fn predict(needs: &Needs, node: &NodeView) -> Option<f64> {
    let output_tokens = needs.max_tokens.min(EXPECTED_OUTPUT_TOKENS);
    let service = node.statistics.predict_seconds(needs.prompt_tokens, output_tokens)?;
    let slots = f64::from(node.slots.max(1));
    let waiting = (f64::from(node.in_flight) + 1.0 - slots).max(0.0);
    Some(service * (1.0 + waiting / slots))
}

fn latency_term(predicted: Option<f64>, fastest: Option<f64>) -> f64 {
    match (predicted, fastest) {
        (Some(predicted), Some(fastest)) if predicted > 0.0 => (fastest / predicted).min(1.0),
        (Some(_), _) => 1.0,
        (None, _) => UNMEASURED_LATENCY,
    }
}

fn median(mut stakes: Vec<u64>) -> u64 {
    let middle = stakes.len() / 2;
    if stakes.is_empty() {
        return 0;
    }
    *stakes.select_nth_unstable(middle).1
}

fn saturating(stake: u64, median: u64) -> f64 {
    if stake == 0 {
        return 0.0;
    }
    to_f64(stake) / (to_f64(stake) + to_f64(median))
}

fn ratio(least: u64, this: u64) -> f64 {
    if this == 0 { 1.0 } else { to_f64(least) / to_f64(this) }
}

/// Rounding above 2⁵³ does not matter to a score.
#[expect(clippy::cast_precision_loss, reason = "a score needs no more precision")]
fn to_f64(octas: u64) -> f64 {
    octas as f64
}
