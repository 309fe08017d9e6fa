//! A node's place in the pool of one model: what it offers there and how it stands, in the form
//! that a choice reads. It is recomputed when something was measured, not when something is asked.

use crate::{member::Member, needs::Features, record::Record, statistics::Speed};
use cactus_protocol::Price;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Outcomes that must still count for a node to need no exploration.
const PROVEN_EVIDENCE: f64 = 3.0;

/// What a node says about itself that clients may ask for; in lower case.
#[derive(Debug, Default)]
pub struct Traits {
    /// Where it is.
    pub region: String,
    /// The names of its accelerators.
    pub gpus: Vec<String>,
}

/// How a node stands by what was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// How surely it answers.
    pub success: f64,
    /// How surely its receipts stand.
    pub verification: f64,
    /// How fast it is, once measured.
    pub speed: Option<Speed>,
    /// How many tasks it works on at once.
    pub capacity: f64,
    /// The time to first token that 19 of 20 answers keep to.
    pub usual_ttft: Option<Duration>,
    /// There is enough evidence to go by.
    pub is_proven: bool,
}

impl Standing {
    /// By a record, now.
    pub fn of(record: &Record, slots: u16, now: Instant) -> Self {
        let statistics = &record.statistics;
        Self {
            success: statistics.success(now),
            verification: statistics.verification(now),
            speed: statistics.speed(),
            capacity: statistics.capacity(slots),
            usual_ttft: statistics.usual_ttft(),
            is_proven: statistics.evidence(now) >= PROVEN_EVIDENCE,
        }
    }
}

/// A node in the pool of one model.
#[derive(Debug)]
pub struct Seat {
    /// The node.
    pub member: Arc<Member>,
    /// Which of its offers this is.
    pub offer: usize,
    /// What it asks, from the offer.
    pub price: Price,
    /// Prompt and output together, from the offer.
    pub context_length: u32,
    /// It makes vectors, from the offer.
    pub embedding: bool,
    /// What its engine can do, from the offer.
    pub features: Features,
    /// What clients may ask for.
    pub traits: Arc<Traits>,
    /// How it stands.
    pub standing: Standing,
    /// The part of its score's logarithm that is the same for every request.
    pub base: f64,
}
