//! What the server counts and times, in Prometheus' text format at `/metrics`. No label names a
//! payer.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// How a request or an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `verified`, or the reason.
    pub outcome: &'static str,
}

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests by how they ended.
    pub requests: Family<OutcomeLabel, Counter>,
    /// Attempts at nodes by how they ended.
    pub attempts: Family<OutcomeLabel, Counter>,
    /// Settlements by how they ended.
    pub settlements: Family<OutcomeLabel, Counter>,
    /// From the request's last byte to sending its task.
    pub added_latency: Histogram,
    /// From sending a task to its first token.
    pub ttft: Histogram,
    /// Mean time between tokens of one answer.
    pub itl: Histogram,
    /// From the decision about a task to its confirmation on the chain.
    pub settlement_lag: Histogram,
    /// Output tokens that were delivered and verified.
    pub output_tokens: Counter,
    /// Nodes linked now.
    pub linked_nodes: Gauge,
    /// Answers under way.
    pub active_requests: Gauge,
}

fn seconds(least: f64) -> Histogram {
    Histogram::new(exponential_buckets(least, 2.0, 18))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("cactus_router"),
            requests: Family::default(),
            attempts: Family::default(),
            settlements: Family::default(),
            added_latency: seconds(0.000_01),
            ttft: seconds(0.001),
            itl: seconds(0.000_1),
            settlement_lag: seconds(0.01),
            output_tokens: Counter::default(),
            linked_nodes: Gauge::default(),
            active_requests: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Requests by outcome", self.requests.clone());
        registry.register("attempts", "Attempts by outcome", self.attempts.clone());
        registry.register("settlements", "Settlements by outcome", self.settlements.clone());
        registry.register("output_tokens", "Verified output tokens", self.output_tokens.clone());
        registry.register("linked_nodes", "Nodes linked now", self.linked_nodes.clone());
        registry.register("active_requests", "Answers under way", self.active_requests.clone());
        let histograms = [
            ("added_latency", "From reading a request to sending its task", &self.added_latency),
            ("ttft", "From sending a task to its first token", &self.ttft),
            ("itl", "Mean time between tokens of an answer", &self.itl),
            (
                "settlement_lag",
                "From a decision to its confirmation on the chain",
                &self.settlement_lag,
            ),
        ];
        for (name, help, histogram) in histograms {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
    }

    /// Counts one outcome.
    pub fn count(family: &Family<OutcomeLabel, Counter>, outcome: &'static str) {
        family.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// The text for Prometheus.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }
}
