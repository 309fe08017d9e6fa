//! Chooses who answers: a request's needs and the nodes' views in, a ranked choice out. Pure: it
//! reads no clock, holds no state and sends nothing.

mod eligibility;
mod score;

pub use eligibility::{Ineligible, exposure_limit};
pub use score::{Terms, Weights};

use crate::statistics::Statistics;
use cactus_protocol::{Address, Hash, Octas, PublicKey, frame::ModelOffer};
use rand::{Rng, RngExt};
use std::time::Instant;

/// How many of the best compete for a request.
const BEST: usize = 3;
/// The chance in thousandths that a request goes to any eligible node, so that new ones get
/// measured.
const EXPLORATION_MILLI: u32 = 30;

/// What a request needs.
#[derive(Debug, Clone)]
pub struct Needs {
    /// The model's id.
    pub model: String,
    /// A pinned revision, if this server pins one.
    pub revision: Option<Hash>,
    /// Upper bound of the prompt's length in tokens.
    pub prompt_tokens: u32,
    /// How many prompts these are; a node's context bounds each.
    pub prompts: u32,
    /// The most tokens to produce.
    pub max_tokens: u32,
    /// The most that one task may lock.
    pub max_lock: Octas,
}

/// The network's parameters that bound a choice.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The contract's minimum stake.
    pub min_stake: Octas,
    /// The part of a stake that may be owed in unsettled tasks, in thousandths.
    pub exposure_milli: u32,
}

/// How a choice is made.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// What bounds it.
    pub bounds: Bounds,
    /// How much each term counts.
    pub weights: &'a Weights,
    /// The moment that measurements fade to.
    pub now: Instant,
}

/// A node as this server sees it now.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// The node's key.
    pub node: PublicKey,
    /// Its operator.
    pub operator: Address,
    /// What it asks for the model.
    pub offer: ModelOffer,
    /// What the operator has bonded.
    pub stake: Octas,
    /// The operator's unsettled locks at this server.
    pub exposure: Octas,
    /// Tasks that run at once.
    pub slots: u16,
    /// Tasks that may wait.
    pub queue: u16,
    /// Tasks running or waiting: the larger of what this server sent and what the node reports.
    pub in_flight: u32,
    /// Too many heartbeats are missing, or the last one says that the model's engine is away.
    pub suspect: bool,
    /// A receipt did not stand lately.
    pub quarantined: bool,
    /// What was measured.
    pub statistics: Statistics,
}

/// An eligible node with the reasons for its rank.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its place in the slice of views.
    pub index: usize,
    /// The lock that the task would need.
    pub lock: Octas,
    /// The weighted sum, in [0, 1].
    pub score: f64,
    /// Each term, in [0, 1].
    pub terms: Terms,
}

/// What was chosen and why.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// Whom to try, in order.
    pub order: Vec<Candidate>,
    /// The others, with the first reason against each.
    pub ineligible: Vec<(usize, Ineligible)>,
}

/// Ranks the nodes: the first is drawn by power of two among the best few (no herd when many
/// servers see the same numbers) or, rarely, among all; the rest follow by score.
pub fn rank(needs: &Needs, nodes: &[NodeView], rules: &Rules<'_>, rng: &mut impl Rng) -> Ranking {
    let (mut order, mut ineligible) = (Vec::new(), Vec::new());
    for (index, node) in nodes.iter().enumerate() {
        match eligibility::check(needs, node, &rules.bounds) {
            Ok(lock) => order.push((index, lock)),
            Err(reason) => ineligible.push((index, reason)),
        }
    }
    let mut order = score::score_all(needs, nodes, &order, rules);
    order.sort_by(|a, b| b.score.total_cmp(&a.score));
    let first = draw(order.len(), rng);
    if let Some(chosen) = (first < order.len()).then(|| order.remove(first)) {
        order.insert(0, chosen);
    }
    Ranking { order, ineligible }
}

/// The place, in an order by descending score, of the node that goes first.
fn draw(count: usize, rng: &mut impl Rng) -> usize {
    if count < 2 {
        return 0;
    }
    if rng.random_ratio(EXPLORATION_MILLI, 1000) {
        return rng.random_range(0..count);
    }
    let best = count.min(BEST);
    let a = rng.random_range(0..best);
    let b = (a + rng.random_range(1..best)) % best;
    a.min(b)
}

#[cfg(test)]
mod tests;
