//! What each answer is and what goes wrong with it, all drawn from seeds. Pure.

use cactus_protocol::FinishReason;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::time::Duration;

/// The longest answer, in tokens; within the credit that a task starts with.
const LONGEST: u32 = 32;
/// The prompt's length that every node bills.
pub const PROMPT_TOKENS: u32 = 5;

/// One answer: the same tokens whoever makes them, as with any seeded sampling.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    seed: u64,
    pub length: u32,
    /// What the request allows: sometimes just the answer's length.
    pub max_tokens: u32,
}

impl Answer {
    pub fn of(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let length = rng.random_range(1..=LONGEST);
        let max_tokens = if rng.random() { length } else { 2 * LONGEST };
        Self { seed, length, max_tokens }
    }

    pub fn token(&self, position: u32) -> u32 {
        SmallRng::seed_from_u64(self.seed ^ (u64::from(position) << 32)).random_range(0..50_000)
    }

    /// The text of one token.
    pub fn word(&self, position: u32) -> String {
        format!("{} ", self.token(position))
    }

    pub fn text(&self) -> String {
        (0..self.length).map(|position| self.word(position)).collect()
    }

    pub fn reason(&self) -> FinishReason {
        if self.length == self.max_tokens { FinishReason::Length } else { FinishReason::Stop }
    }
}

/// What a node does at some place of an answer instead of going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its connection is cut, with every task on it.
    Cut,
    /// It stops reading and writing for a while, then its connection is cut.
    Hang,
    /// It forgets the task.
    Forget,
    /// It says that it failed.
    Fail,
}

/// How often things go wrong, in thousandths.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    pub cut: u32,
    pub hang: u32,
    pub forget: u32,
    pub fail: u32,
    /// The client leaves before anything came.
    pub leave_early: u32,
    /// The client leaves after some of the answer.
    pub leave: u32,
}

impl Odds {
    /// What goes wrong with a task, and after how many tokens of the whole answer: from before
    /// the first one to between the last one and the end.
    pub fn fault(&self, answer: Answer, start: u32, rng: &mut SmallRng) -> Option<(Fault, u32)> {
        let mut ticket = rng.random_range(0..1000);
        let kinds = [
            (Fault::Cut, self.cut),
            (Fault::Hang, self.hang),
            (Fault::Forget, self.forget),
            (Fault::Fail, self.fail),
        ];
        for (fault, odds) in kinds {
            if ticket < odds {
                return Some((fault, rng.random_range(start..=answer.length)));
            }
            ticket -= odds;
        }
        None
    }
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    Reads,
    LeavesAfter(Duration),
    LeavesAfterTokens(u32),
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub seed: u64,
    pub streams: bool,
    pub conduct: Conduct,
}

impl Asked {
    pub fn of(seed: u64, odds: &Odds) -> Self {
        let mut rng = SmallRng::seed_from_u64(!seed);
        let streams = rng.random_ratio(7, 10);
        let ticket = rng.random_range(0..1000);
        let conduct = match ticket {
            _ if ticket < odds.leave_early => {
                Conduct::LeavesAfter(Duration::from_micros(rng.random_range(500..30_000)))
            }
            _ if ticket < odds.leave_early + odds.leave && streams => {
                Conduct::LeavesAfterTokens(rng.random_range(1..=LONGEST))
            }
            _ => Conduct::Reads,
        };
        Self { seed, streams, conduct }
    }
}
