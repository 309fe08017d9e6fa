//! Whether a node may answer a request at all. It does not compare nodes.

use super::{Bounds, Needs, NodeView};
use cactus_protocol::Octas;
use serde::Serialize;

/// The first reason against a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ineligible {
    /// It offers another model or revision.
    OtherModel,
    /// Its context is shorter than the answer may be.
    ContextTooShort,
    /// The task would lock more than the client allows for one task.
    PriceOverCap,
    /// The stake is below the contract's minimum.
    StakeTooLow,
    /// The operator already owes as much unsettled work as its stake vouches for.
    ExposureReached,
    /// A receipt did not stand lately.
    Quarantined,
    /// Heartbeats are missing.
    Suspect,
    /// No slot and no room in the queue.
    Full,
}

/// The lock that the task needs at this node, or the reason against it.
pub fn check(needs: &Needs, node: &NodeView, bounds: &Bounds) -> Result<Octas, Ineligible> {
    let offer = &node.offer;
    let same_revision = needs.revision.is_none_or(|r| r == offer.revision);
    require(offer.id == needs.model && same_revision, Ineligible::OtherModel)?;
    require(needs.max_tokens < offer.context_length, Ineligible::ContextTooShort)?;
    let prompt_tokens = needs.prompt_tokens.min(offer.context_length.saturating_mul(needs.prompts));
    let lock = offer
        .price
        .ceiling(prompt_tokens, needs.max_tokens)
        // The contract locks no less than one octa, however low the price.
        .map(|lock| lock.max(Octas(1)))
        .filter(|lock| *lock <= needs.max_lock)
        .ok_or(Ineligible::PriceOverCap)?;
    require(node.stake >= bounds.min_stake, Ineligible::StakeTooLow)?;
    require(exposure_allows(node, lock, bounds), Ineligible::ExposureReached)?;
    require(!node.quarantined, Ineligible::Quarantined)?;
    require(!node.suspect, Ineligible::Suspect)?;
    let room = u32::from(node.slots) + u32::from(node.queue);
    require(node.in_flight < room, Ineligible::Full)?;
    Ok(lock)
}

fn exposure_allows(node: &NodeView, lock: Octas, bounds: &Bounds) -> bool {
    let owed = u128::from(node.exposure.0) + u128::from(lock.0);
    owed <= exposure_limit(node.stake, bounds.exposure_milli)
}

/// The most unsettled value that a stake vouches for, in octas.
pub fn exposure_limit(stake: Octas, exposure_milli: u32) -> u128 {
    u128::from(stake.0) * u128::from(exposure_milli) / 1000
}

fn require(holds: bool, reason: Ineligible) -> Result<(), Ineligible> {
    if holds { Ok(()) } else { Err(reason) }
}
