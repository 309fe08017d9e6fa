//! How good a choice a node is. Every term is in [0, 1] and comes from the chain, from this
//! server's measurements or from verification, never from the node's own words. The score is the
//! terms' weighted geometric mean: what is worth nothing in one respect cannot make up for it in
//! another, and stake cannot buy off bad work.

use crate::{needs::Needs, seat::Seat, statistics::Speed};
use cactus_protocol::{Octas, Price};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The output length that a prediction assumes when the request allows more, in tokens.
const EXPECTED_OUTPUT_TOKENS: u32 = 128;
/// The size of the request that nodes are weighed by before one is known, in tokens each way.
const USUAL_TOKENS: u32 = 128;
/// How many times slower than the median a node is taken to be that was never measured.
const UNMEASURED_SLOWNESS: f64 = 2.0;
/// How many times the median time to first token an unmeasured node is waited for.
const UNMEASURED_PATIENCE: f64 = 4.0;
/// How many times a wait counts: who waits for a slot also delays whoever comes after. Without
/// that, everyone queues at the fastest nodes until those are as slow as the others.
const COST_OF_WAITING: f64 = 4.0;
/// No term counts as less: one bad respect is no proof of uselessness.
const FLOOR: f64 = 0.01;

/// How much each term counts. Only the proportions matter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Stake.
    pub stake: f64,
    /// Lower bound of the success rate.
    pub success: f64,
    /// Predicted completion time of this request.
    pub latency: f64,
    /// Price of this request.
    pub price: f64,
    /// Lower bound of the rate at which receipts stand.
    pub verification: f64,
    /// How much of the prompt's beginning the node lately served.
    pub affinity: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            stake: 0.05,
            success: 0.3,
            latency: 0.8,
            price: 0.1,
            verification: 0.1,
            affinity: 0.05,
        }
    }
}

impl Weights {
    /// Whether every weight is a finite number of at least 0 and one is above 0.
    pub fn are_valid(&self) -> bool {
        let all = self.as_array();
        all.iter().all(|w| w.is_finite() && *w >= 0.0) && self.sum() > 0.0
    }

    fn as_array(&self) -> [f64; 6] {
        [self.stake, self.success, self.latency, self.price, self.verification, self.affinity]
    }

    fn sum(&self) -> f64 {
        self.as_array().iter().sum()
    }
}

/// The terms of a score, each in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// stake / (stake + median stake): money alone cannot buy all the traffic.
    pub stake: f64,
    /// Lower bound of the success rate.
    pub success: f64,
    /// median time / (median time + predicted time of this request at this node).
    pub latency: f64,
    /// median price / (median price + price of this request at this node).
    pub price: f64,
    /// Lower bound of the rate at which receipts stand.
    pub verification: f64,
    /// The part of the prompt's beginning that the node lately served, while it has a free slot.
    pub affinity: f64,
}

impl Terms {
    /// The weighted geometric mean.
    pub fn weigh(&self, weights: &Weights) -> f64 {
        let terms =
            [self.stake, self.success, self.latency, self.price, self.verification, self.affinity];
        let sum: f64 = terms.iter().zip(weights.as_array()).map(|(t, w)| logarithm(*t, w)).sum();
        (sum / weights.sum()).exp()
    }
}

/// What is usual in a pool: terms saturate over it, so that no extreme sets the measure.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scale {
    /// The median stake.
    pub stake: Octas,
    /// The median prices.
    pub price: Price,
    /// The median speed, once any node was measured.
    pub speed: Option<Speed>,
    /// The longest context, in tokens.
    pub context_length: u32,
}

impl Scale {
    /// The part of a score's logarithm that is the same for every request.
    pub fn base(&self, seat: &Seat, weights: &Weights) -> f64 {
        logarithm(self.stake_term(seat), weights.stake)
            + logarithm(seat.standing.success, weights.success)
            + logarithm(seat.standing.verification, weights.verification)
    }

    /// The logarithm of the score, up to a constant factor.
    pub fn rank(&self, needs: &Needs, seat: &Seat, (share, weights): (f64, &Weights)) -> f64 {
        seat.base
            + logarithm(self.latency_term(needs, seat), weights.latency)
            + logarithm(self.price_term(needs, seat.price), weights.price)
            + logarithm(affinity_term(seat, share), weights.affinity)
    }

    /// Every term.
    pub fn terms(&self, needs: &Needs, seat: &Seat, share: f64) -> Terms {
        Terms {
            stake: self.stake_term(seat),
            success: seat.standing.success,
            latency: self.latency_term(needs, seat),
            price: self.price_term(needs, seat.price),
            verification: seat.standing.verification,
            affinity: affinity_term(seat, share),
        }
    }

    /// How often the node should be proposed before a request is known, in (0, 1]: its score for a
    /// usual request on a free node, sharpened, times how much it can carry.
    pub fn proposal(&self, seat: &Seat, weights: &Weights) -> f64 {
        const SHARPNESS: f64 = 2.0;
        const MOST_CAPACITY: f64 = 64.0;
        let speed = self.speed_of(seat);
        let latency = speed.map_or(0.5, |speed| self.latency_of(speed, USUAL_TOKENS, USUAL_TOKENS));
        let usual =
            Needs { prompt_tokens: USUAL_TOKENS, max_tokens: USUAL_TOKENS, ..Needs::default() };
        let sum = seat.base
            + logarithm(latency, weights.latency)
            + logarithm(self.price_term(&usual, seat.price), weights.price);
        let score = (sum / weights.sum()).exp();
        score.powf(SHARPNESS) * seat.standing.capacity.min(MOST_CAPACITY) / MOST_CAPACITY
    }

    /// How long to wait for the first token of a node of which little is known.
    pub fn patience(&self) -> Option<Duration> {
        let seconds = self.speed?.ttft * UNMEASURED_PATIENCE;
        Duration::try_from_secs_f64(seconds).ok()
    }

    fn stake_term(&self, seat: &Seat) -> f64 {
        let stake = to_f64(seat.member.stake());
        if stake == 0.0 { 0.0 } else { stake / (stake + to_f64(self.stake)) }
    }

    fn price_term(&self, needs: &Needs, price: Price) -> f64 {
        let cost = |price: Price| {
            to_f64(price.prompt) * f64::from(needs.prompt_tokens)
                + to_f64(price.output) * f64::from(needs.max_tokens)
        };
        saturating(cost(self.price), cost(price))
    }

    /// What is before this request at the node, then the request itself.
    fn latency_term(&self, needs: &Needs, seat: &Seat) -> f64 {
        let Some(speed) = self.speed_of(seat) else { return 0.5 };
        let capacity = seat.standing.capacity;
        let ahead = f64::from(seat.member.load()) + 1.0 - capacity;
        let crowding = 1.0 + COST_OF_WAITING * ahead.max(0.0) / capacity;
        let slowed = Speed { ttft: speed.ttft * crowding, itl: speed.itl * crowding, ..speed };
        let output_tokens = needs.max_tokens.min(EXPECTED_OUTPUT_TOKENS);
        self.latency_of(slowed, needs.prompt_tokens, output_tokens)
    }

    fn latency_of(&self, speed: Speed, prompt_tokens: u32, output_tokens: u32) -> f64 {
        let seconds = speed.seconds(prompt_tokens, output_tokens);
        let usual = self.speed.map_or(seconds, |s| s.seconds(prompt_tokens, output_tokens));
        saturating(usual, seconds)
    }

    fn speed_of(&self, seat: &Seat) -> Option<Speed> {
        seat.standing.speed.or_else(|| {
            let usual = self.speed?;
            let (ttft, itl) = (usual.ttft * UNMEASURED_SLOWNESS, usual.itl * UNMEASURED_SLOWNESS);
            Some(Speed { ttft, itl, ..usual })
        })
    }
}

/// A cache is worth nothing behind a queue.
fn affinity_term(seat: &Seat, share: f64) -> f64 {
    let has_slot = f64::from(seat.member.load()) < seat.standing.capacity;
    if has_slot { share } else { 0.0 }
}

/// Half at the median, 1 at nothing, towards 0 far above it.
fn saturating(median: f64, this: f64) -> f64 {
    if this <= 0.0 { 1.0 } else { median / (median + this) }
}

fn logarithm(term: f64, weight: f64) -> f64 {
    weight * term.max(FLOOR).ln()
}

/// Rounding above 2⁵³ does not matter to a score.
#[expect(clippy::cast_precision_loss, reason = "a score needs no more precision")]
fn to_f64(octas: Octas) -> f64 {
    octas.0 as f64
}
