//! What outlives the process: the measurements of nodes and their quarantines, free of any clock, so
//! that a restart neither forgives a liar nor forgets who is good. It does no IO.

use crate::{record::Record, statistics::Statistics};
use cactus_protocol::PublicKey;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The longest quarantine that is believed.
const LONGEST_QUARANTINE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is remembered of one node, as of the moment it was taken down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The node's key.
    pub node: PublicKey,
    /// What was measured.
    pub measured: Measured,
    /// How long its quarantine still lasts, in milliseconds.
    pub quarantine_ms: u64,
}

/// [`Statistics`] without a clock. Counts are faded to the moment they were taken down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub(crate) success: [f64; 2],
    pub(crate) verification: [f64; 2],
    pub(crate) ttft_seconds: Option<[f64; 2]>,
    pub(crate) itl_seconds: Option<[f64; 2]>,
    pub(crate) prompt_tokens: Option<[f64; 2]>,
    /// The buckets that are not empty.
    pub(crate) ttft_counts: Vec<(usize, f32)>,
    pub(crate) served_at_once: f64,
}

impl Memory {
    /// Of a record; `None` when there is nothing to remember.
    pub(crate) fn of(node: PublicKey, record: &Record, now: Instant) -> Option<Self> {
        let quarantine = record.quarantined_until.map(|until| until.saturating_duration_since(now));
        let quarantine_ms = quarantine.map_or(0, |left| left.as_millis());
        let measured = record.statistics.take_down(now);
        (quarantine_ms > 0 || measured.is_worth_keeping()).then(|| Self {
            node,
            measured,
            quarantine_ms: u64::try_from(quarantine_ms).unwrap_or(u64::MAX),
        })
    }

    /// The record, after the process was away for so long; `None` when the numbers cannot be true.
    pub(crate) fn recall(&self, away: Duration, now: Instant) -> Option<Record> {
        let statistics = Statistics::recall(&self.measured, away, now)?;
        let quarantine = Duration::from_millis(self.quarantine_ms).min(LONGEST_QUARANTINE);
        let left = quarantine.checked_sub(away).filter(|left| !left.is_zero());
        Some(Record::recalled(statistics, left.map(|left| now + left)))
    }
}

impl Measured {
    /// Below a twentieth of an outcome nothing is left that would change a choice.
    fn is_worth_keeping(&self) -> bool {
        self.success.iter().chain(&self.verification).sum::<f64>() > 0.05
    }

    /// Every number is one that can have been measured.
    pub(crate) fn is_possible(&self) -> bool {
        let pairs = [self.ttft_seconds, self.itl_seconds, self.prompt_tokens];
        let numbers = pairs.iter().flatten().chain([&self.success, &self.verification]).flatten();
        let counts = self.ttft_counts.iter().map(|(_, count)| f64::from(*count));
        let mut all = numbers.copied().chain(counts).chain([self.served_at_once]);
        all.all(|number| number.is_finite() && (0.0..1e9).contains(&number))
    }
}
