//! Chooses who answers. What changes slowly about nodes (stakes, prices, measurements) is kept in
//! an index that link and chain events update; a request draws a few candidates from it, checks
//! and scores those, and never walks over all nodes unless it is about to say that nobody can
//! answer. It does no IO and reads no clock: every moment and every random number comes from the
//! caller, so a simulation drives the very code that serves.
//!
//! ```text
//! Fleet ── one Pool per model ── Seats (offer, standing) ── Samplers (weighted draws in O(1))
//!   │                                   │
//!   └─ Records (statistics, breaker)    └─ Member (tasks in flight, stake, owed, blocked until)
//! ```
#![warn(missing_docs)]

mod affinity;
mod breaker;
mod eligibility;
mod fleet;
mod hedge;
mod member;
mod memory;
mod needs;
mod pool;
mod record;
mod sampler;
mod score;
mod seat;
mod statistics;
mod waiting;

pub use affinity::Prefix;
pub use breaker::Breaker;
pub use eligibility::{Ineligible, Tally, exposure_limit};
pub use fleet::{Explained, Fleet, NewMember};
pub use hedge::HedgeBudget;
pub use member::{InFlight, Member};
pub use memory::{Measured, Memory};
pub use needs::{Bounds, Features, Needs, Rules};
pub use pool::{CANDIDATES, Candidate, Ranking};
pub use record::{Outcome, Record};
pub use score::{Terms, Weights};
pub use statistics::{Statistics, Timing};
pub use waiting::{Full, Ticket, Turn, WaitingLine};

#[cfg(test)]
mod tests;
