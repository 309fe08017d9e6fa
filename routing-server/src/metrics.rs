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

/// An answer's endpoint and status. Endpoints are patterns, so that no path makes a new one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResponseLabel {
    /// Such as `/v1/tasks/{id}`.
    pub route: String,
    /// The HTTP status.
    pub status: u16,
}

/// One of the busiest nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NodeLabel {
    /// The node's key.
    pub node: String,
}

/// What a node's gauges show.
#[derive(Debug, Clone, Copy)]
pub struct NodeSample {
    /// Tasks running or waiting.
    pub in_flight: u32,
    /// What stands behind it, in octas.
    pub stake: u64,
    /// What its operator is owed and not yet settled, in octas.
    pub unsettled: u64,
    /// Heartbeats are missing.
    pub is_suspect: bool,
}

/// Nodes that have gauges of their own: the busiest.
pub const MAX_NODES: usize = 64;

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// HTTP answers by endpoint and status.
    pub responses: Family<ResponseLabel, Counter>,
    /// Requests by how they ended.
    pub requests: Family<OutcomeLabel, Counter>,
    /// Attempts at nodes by how they ended.
    pub attempts: Family<OutcomeLabel, Counter>,
    /// Settlements by how they ended.
    pub settlements: Family<OutcomeLabel, Counter>,
    /// From the request's last byte to sending its task.
    pub added_latency: Histogram,
    /// From joining the line, when all nodes are busy, to leaving it.
    pub queue_time: Histogram,
    /// From sending a task to its first token.
    pub ttft: Histogram,
    /// Mean time between tokens of one answer.
    pub itl: Histogram,
    /// From an answer's last frame to its verified end on disk.
    pub verification_lag: Histogram,
    /// From the decision about a task to its confirmation on the chain.
    pub settlement_lag: Histogram,
    /// Lines of batches by how they ended.
    pub batch_lines: Family<OutcomeLabel, Counter>,
    /// Intents that wait to be sent to the chain.
    pub outbox_pending: Gauge,
    /// Intents that were sent and are not confirmed.
    pub outbox_submitted: Gauge,
    node_in_flight: Family<NodeLabel, Gauge>,
    node_stake: Family<NodeLabel, Gauge>,
    node_unsettled: Family<NodeLabel, Gauge>,
    node_suspect: Family<NodeLabel, Gauge>,
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
            responses: Family::default(),
            requests: Family::default(),
            attempts: Family::default(),
            settlements: Family::default(),
            added_latency: seconds(0.000_01),
            queue_time: seconds(0.001),
            ttft: seconds(0.001),
            itl: seconds(0.000_1),
            verification_lag: seconds(0.000_01),
            settlement_lag: seconds(0.01),
            batch_lines: Family::default(),
            outbox_pending: Gauge::default(),
            outbox_submitted: Gauge::default(),
            node_in_flight: Family::default(),
            node_stake: Family::default(),
            node_unsettled: Family::default(),
            node_suspect: Family::default(),
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
        registry.register("responses", "HTTP answers by endpoint", self.responses.clone());
        registry.register("batch_lines", "Lines of batches by outcome", self.batch_lines.clone());
        let gauges = [
            ("outbox_pending", "Intents that wait to be sent", &self.outbox_pending),
            ("outbox_submitted", "Intents sent and not confirmed", &self.outbox_submitted),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        let nodes = [
            ("node_in_flight", "Tasks at a node", &self.node_in_flight),
            ("node_stake_octas", "Stake behind a node", &self.node_stake),
            ("node_unsettled_octas", "Owed to its operator", &self.node_unsettled),
            ("node_suspect", "1 when heartbeats are missing", &self.node_suspect),
        ];
        for (name, help, family) in nodes {
            registry.register(name, help, family.clone());
        }
        let histograms = [
            (
                "verification_lag",
                "From an answer's last frame to its verified end on disk",
                &self.verification_lag,
            ),
            ("added_latency", "From reading a request to sending its task", &self.added_latency),
            ("queue_time", "From joining the line to leaving it", &self.queue_time),
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

    /// Counts one HTTP answer.
    pub fn count_response(&self, route: String, status: u16) {
        self.responses.get_or_create(&ResponseLabel { route, status }).inc();
    }

    /// Shows these nodes and no others, at most [`MAX_NODES`] of them: the busiest.
    pub fn show_nodes(&self, mut nodes: Vec<(String, NodeSample)>) {
        nodes.sort_by_key(|(_, sample)| std::cmp::Reverse(sample.in_flight));
        nodes.truncate(MAX_NODES);
        let families =
            [&self.node_in_flight, &self.node_stake, &self.node_unsettled, &self.node_suspect];
        for family in families {
            family.clear();
        }
        let clamp = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        for (node, sample) in nodes {
            let label = NodeLabel { node };
            let values = [
                i64::from(sample.in_flight),
                clamp(sample.stake),
                clamp(sample.unsettled),
                i64::from(sample.is_suspect),
            ];
            for (family, value) in families.into_iter().zip(values) {
                family.get_or_create(&label).set(value);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SAMPLE: NodeSample =
        NodeSample { in_flight: 1, stake: 1, unsettled: 0, is_suspect: false };

    /// The names that a query would use, of a server on which everything happened once.
    fn exported() -> BTreeSet<String> {
        let metrics = Metrics::default();
        for family in
            [&metrics.requests, &metrics.attempts, &metrics.settlements, &metrics.batch_lines]
        {
            Metrics::count(family, "verified");
        }
        metrics.count_response("/v1/models".into(), 200);
        metrics.show_nodes(vec![("0x1".into(), SAMPLE)]);
        let text = metrics.text();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let name = |line: &str| match line.split_once(' ') {
            Some((name, "counter")) => format!("{name}_total"),
            Some((name, _)) => name.to_owned(),
            None => line.to_owned(),
        };
        types.map(name).collect()
    }

    /// Every name of ours in a text, without what a histogram's series add.
    fn named(text: &str) -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours = words.filter(|word| word.starts_with("cactus_router_"));
        let plain = |word: &str| {
            let series = ["_bucket", "_sum", "_count"];
            let base = series.iter().find_map(|suffix| word.strip_suffix(suffix));
            base.unwrap_or(word).to_owned()
        };
        ours.map(plain).collect()
    }

    #[test]
    fn the_document_names_what_is_exported_and_nothing_else() {
        assert_eq!(named(include_str!("../../docs/metrics.md")), exported());
    }

    #[test]
    fn the_dashboard_and_the_alerts_ask_for_metrics_that_exist() {
        let exported = exported();
        for text in
            [include_str!("../../docs/grafana/cactus.json"), include_str!("../../docs/alerts.yml")]
        {
            let asked = named(text);
            assert!(asked.len() > 5);
            let unknown: Vec<_> = asked.difference(&exported).collect();
            assert!(unknown.is_empty(), "{unknown:?}");
        }
        let dashboard = include_str!("../../docs/grafana/cactus.json");
        let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        assert!(dashboard["panels"].as_array().unwrap().len() > 5);
    }

    #[test]
    fn only_the_busiest_nodes_have_gauges_and_only_while_they_are_linked() {
        let metrics = Metrics::default();
        let nodes =
            (0..1_000_u32).map(|n| (format!("0x{n}"), NodeSample { in_flight: n, ..SAMPLE }));
        metrics.show_nodes(nodes.collect());
        let gauges = |text: &str| text.matches("cactus_router_node_in_flight{").count();
        let text = metrics.text();
        assert_eq!(gauges(&text), MAX_NODES);
        assert!(text.contains("node_in_flight{node=\"0x999\"} 999"));
        metrics.show_nodes(vec![]);
        assert_eq!(gauges(&metrics.text()), 0);
    }
}
