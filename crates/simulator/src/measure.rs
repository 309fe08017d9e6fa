//! What comes of a simulation, in numbers that can be compared. A request that failed, or was not
//! done within its time, counts as if it had taken all of its time: failing fast is no virtue.

use crate::{policy::Policy, scenario::Scenario};
use serde::Serialize;

/// After so many seconds nobody wants an answer any more.
pub const PATIENCE: f64 = 30.0;

/// What is written down while a simulation runs.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Seconds that requests took; [`PATIENCE`] for those without an answer.
    pub seconds: Vec<f64>,
    pub answered: usize,
    pub failed: usize,
    pub attempts: usize,
    pub second_attempts: usize,
    pub attempts_at_bad: usize,
    /// Seconds of slots that honest nodes used, by what they have.
    pub use_of_slots: Vec<f64>,
    /// Simulated seconds of arrivals.
    pub length: f64,
}

/// One policy in one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The scenario.
    pub scenario: Scenario,
    /// The policy.
    pub policy: Policy,
    /// Answers in time per second.
    pub goodput: f64,
    /// Requests without an answer in time, as a share of all.
    pub failed: f64,
    /// Median seconds to the last token.
    pub p50: f64,
    /// The seconds that 99 of 100 requests keep to.
    pub p99: f64,
    /// The share of all attempts that went to nodes that waste them.
    pub to_bad_nodes: f64,
    /// Jain's index over the use of honest nodes' slots: 1 is the same for all.
    pub fairness: f64,
    /// Second attempts as a share of all requests.
    pub extra_work: f64,
}

impl Row {
    pub(crate) fn new(scenario: Scenario, policy: Policy, measured: &Measured) -> Self {
        let requests = measured.answered + measured.failed;
        let mut seconds = measured.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        let quantile = |milli: usize| {
            let last = seconds.len().saturating_sub(1);
            seconds.get(last * milli / 1000).copied().unwrap_or_default()
        };
        Self {
            scenario,
            policy,
            goodput: number(measured.answered) / measured.length,
            failed: share(measured.failed, requests),
            p50: quantile(500),
            p99: quantile(990),
            to_bad_nodes: share(measured.attempts_at_bad, measured.attempts),
            fairness: jain(&measured.use_of_slots),
            extra_work: share(measured.second_attempts, requests),
        }
    }
}

fn jain(values: &[f64]) -> f64 {
    let (sum, squares) = values.iter().fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
    if squares == 0.0 { 1.0 } else { sum * sum / (number(values.len()) * squares) }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { number(part) / number(whole) }
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2⁵³")]
pub(crate) fn number(count: usize) -> f64 {
    count as f64
}
