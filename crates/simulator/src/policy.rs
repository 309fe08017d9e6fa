//! Ways to choose a node: the one that serves, and the usual ones for comparison.

use rand::{Rng, RngExt};
use serde::Serialize;

/// A way to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The code of routing servers, with second attempts for late first tokens.
    Cactus,
    /// The same without second attempts.
    CactusUnhedged,
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
    /// The fewest tasks of this server for the slots it says it has.
    LeastLoaded,
    /// In proportion to stake.
    StakeWeighted,
}

impl Policy {
    /// All of them, ours first.
    pub const ALL: [Self; 6] = [
        Self::Cactus,
        Self::CactusUnhedged,
        Self::RoundRobin,
        Self::Random,
        Self::LeastLoaded,
        Self::StakeWeighted,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cactus => "cactus",
            Self::CactusUnhedged => "cactus_unhedged",
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::LeastLoaded => "least_loaded",
            Self::StakeWeighted => "stake_weighted",
        }
    }

    /// Whether it is the code of routing servers.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Cactus | Self::CactusUnhedged)
    }
}

/// A node as a simple policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub node: usize,
    pub stake: u64,
    /// Tasks of this server there, in thousandths of the slots that the node says it has.
    pub load_milli: u32,
}

/// A choice by one of the simple policies among nodes that are linked and were not tried yet.
/// `turn` is where a round robin stands.
pub fn choose(policy: Policy, nodes: &[Seen], turn: usize, rng: &mut impl Rng) -> Option<usize> {
    let count = nodes.len();
    let chosen = match policy {
        _ if count == 0 => return None,
        Policy::RoundRobin => nodes.get(turn % count),
        Policy::LeastLoaded => {
            // Ties go to whoever is met first from a random start.
            let start = rng.random_range(0..count);
            let from_start = nodes[start..].iter().chain(&nodes[..start]);
            from_start.min_by_key(|seen| seen.load_milli)
        }
        Policy::StakeWeighted => {
            let total: u64 = nodes.iter().map(|seen| seen.stake).sum();
            let mut ticket = rng.random_range(0..total.max(1));
            nodes.iter().find(|seen| {
                let hit = ticket < seen.stake;
                ticket = ticket.saturating_sub(seen.stake);
                hit
            })
        }
        _ => nodes.get(rng.random_range(0..count)),
    };
    chosen.map(|seen| seen.node)
}
