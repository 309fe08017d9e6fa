//! What the networks are like that are simulated. Plain data: it runs nothing.

use crate::node::{Conduct, Truth};
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use serde::Serialize;

/// How large and how long.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Honest nodes.
    pub nodes: usize,
    /// Simulated seconds of arrivals.
    pub seconds: u32,
    /// Names the run: the same seed repeats it.
    pub seed: u64,
}

/// What is wrong, or hard, in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Honest nodes whose speeds differ by an order of magnitude; two servers.
    Heterogeneous,
    /// One in ten hangs for good at some moment, one in ten loses its link now and then.
    SlowAndDying,
    /// One in five says it has 64 slots, has one, and is slow.
    Liars,
    /// One node with a thousand times the usual stake and many slots fails two tasks of three.
    RichBadNode,
    /// As many nodes again with the least stake and the lowest price, most of whose work is bad.
    Sybils,
    /// Twice what the network can carry, for a sixth of the time.
    FlashCrowd,
    /// Eight servers, each with its own view of the same nodes, at nine tenths of the capacity.
    EightServers,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Heterogeneous,
        Self::SlowAndDying,
        Self::Liars,
        Self::RichBadNode,
        Self::Sybils,
        Self::FlashCrowd,
        Self::EightServers,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Heterogeneous => "heterogeneous",
            Self::SlowAndDying => "slow_and_dying",
            Self::Liars => "liars",
            Self::RichBadNode => "rich_bad_node",
            Self::Sybils => "sybils",
            Self::FlashCrowd => "flash_crowd",
            Self::EightServers => "eight_servers",
        }
    }

    /// The network and its load.
    pub(crate) fn setting(self, scale: &Scale) -> Setting {
        let mut rng = SmallRng::seed_from_u64(scale.seed);
        let mut nodes: Vec<_> = (0..scale.nodes).map(|_| honest(&mut rng)).collect();
        let capacity = nodes.iter().map(Truth::requests_per_second).sum::<f64>();
        for (place, node) in nodes.iter_mut().enumerate() {
            spoil(self, place, node, &mut rng);
        }
        match self {
            Self::RichBadNode => nodes.push(Truth {
                stake: 1_000 * USUAL_STAKE,
                claimed_slots: 64,
                slots: 64,
                conduct: Conduct::Bad { milli: 667 },
                ..honest(&mut rng)
            }),
            Self::Sybils => nodes.extend((0..scale.nodes).map(|_| Truth {
                stake: LEAST_STAKE,
                price: 200,
                claimed_slots: 16,
                conduct: Conduct::Bad { milli: 800 },
                ..honest(&mut rng)
            })),
            _ => {}
        }
        let useful = nodes.iter().filter(|n| !n.is_bad()).map(Truth::requests_per_second);
        let load = if self == Self::EightServers { 0.9 } else { 0.7 };
        Setting {
            rate: load * useful.sum::<f64>().min(capacity),
            crowd: if self == Self::FlashCrowd { 2.0 / load } else { 1.0 },
            servers: match self {
                Self::EightServers => 8,
                Self::FlashCrowd => 1,
                _ => 2,
            },
            seconds: scale.seconds,
            seed: scale.seed,
            nodes,
        }
    }
}

/// The least stake that the contracts take, in octas.
pub(crate) const LEAST_STAKE: u64 = 100_000_000;
const USUAL_STAKE: u64 = 10 * LEAST_STAKE;

/// A network and its load.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub nodes: Vec<Truth>,
    /// Requests per second, all servers together.
    pub rate: f64,
    /// How many times more for the third sixth of the time.
    pub crowd: f64,
    pub servers: usize,
    pub seconds: u32,
    pub seed: u64,
}

fn honest(rng: &mut impl Rng) -> Truth {
    let slowness = spread(0.7, rng);
    let slots = 1 << rng.random_range(0..4u32);
    Truth {
        ttft: 0.2 * slowness,
        itl: 0.02 * slowness,
        slots,
        claimed_slots: slots,
        queue: slots,
        stake: LEAST_STAKE + u64::from(rng.random_range(0..20u32)) * LEAST_STAKE,
        price: 1_000 + u64::from(rng.random_range(0..2_000u32)),
        conduct: Conduct::Honest,
    }
}

fn spoil(scenario: Scenario, place: usize, node: &mut Truth, rng: &mut impl Rng) {
    match scenario {
        Scenario::SlowAndDying => match place % 10 {
            0 => node.conduct = Conduct::Hangs { from_milli: rng.random_range(0..700) },
            1 => node.conduct = Conduct::Dies,
            _ => {}
        },
        Scenario::Liars if place.is_multiple_of(5) => {
            *node = Truth {
                ttft: 4.0 * node.ttft,
                itl: 4.0 * node.itl,
                slots: 1,
                claimed_slots: 64,
                queue: 64,
                conduct: Conduct::Overpromises,
                ..*node
            };
        }
        _ => {}
    }
}

/// A factor around 1: the exponential of a normal number with this deviation.
pub(crate) fn spread(deviation: f64, rng: &mut impl Rng) -> f64 {
    // The sum of twelve uniform numbers is close to normal, and simple to repeat anywhere.
    let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    (deviation * normal).exp()
}
