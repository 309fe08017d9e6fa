//! Whether a node may answer a request at all. It does not compare nodes.

use crate::{
    member::Milliseconds,
    needs::{Bounds, Needs},
    seat::Seat,
};
use cactus_protocol::{Octas, Price};
use serde::Serialize;

/// The first reason against a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ineligible {
    /// It has been tried for this request.
    Tried,
    /// The client asks for another node.
    OtherNode,
    /// It offers another revision.
    OtherModel,
    /// It makes vectors where text is asked for, or its engine lacks a feature.
    OtherFeatures,
    /// Its context is shorter than the answer may be.
    ContextTooShort,
    /// It is somewhere else.
    OtherRegion,
    /// It has other accelerators.
    OtherHardware,
    /// It asks for more than the client pays.
    PriceOverWish,
    /// The task would lock more than the client allows for one task.
    PriceOverCap,
    /// The stake is below the contract's or the client's minimum.
    StakeTooLow,
    /// The operator already owes as much unsettled work as its stake vouches for.
    ExposureReached,
    /// A receipt did not stand lately, or it failed too often in a row, or it said it is full.
    Blocked,
    /// It is being tried again after failures, one task at a time.
    Probed,
    /// The model's engine is away, the last heartbeat said.
    EngineAway,
    /// Heartbeats are missing.
    Suspect,
    /// No slot and no room in the queue.
    Full,
}

/// How many nodes have which reason against them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally([u32; Ineligible::Full as usize + 1]);

impl Tally {
    pub(crate) fn add(&mut self, reason: Ineligible) {
        self.0[reason as usize] += 1;
    }

    /// How many have this reason.
    pub fn of(&self, reason: Ineligible) -> u32 {
        self.0[reason as usize]
    }

    /// How many were looked at and refused.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// How many could answer if they were given time.
    pub fn busy(&self) -> u32 {
        let passing = [
            Ineligible::ExposureReached,
            Ineligible::Blocked,
            Ineligible::Probed,
            Ineligible::EngineAway,
            Ineligible::Suspect,
            Ineligible::Full,
        ];
        passing.iter().map(|reason| self.of(*reason)).sum()
    }
}

/// The lock that the task needs at this node, or the reason against it.
pub fn check(
    needs: &Needs,
    seat: &Seat,
    (bounds, now): (&Bounds, Milliseconds),
) -> Result<Octas, Ineligible> {
    let member = &*seat.member;
    require(needs.except.is_empty() || !needs.except.contains(&member.key), Ineligible::Tried)?;
    require(needs.node.is_none_or(|node| node == member.key), Ineligible::OtherNode)?;
    let lock = check_offer(needs, seat)?;
    let stake = member.stake();
    require(stake >= bounds.min_stake.max(needs.min_stake), Ineligible::StakeTooLow)?;
    let owed = u128::from(member.exposure().0) + u128::from(lock.0);
    require(owed <= exposure_limit(stake, bounds.exposure_milli), Ineligible::ExposureReached)?;
    require(!member.is_blocked(now), Ineligible::Blocked)?;
    require(!member.is_probed_already(), Ineligible::Probed)?;
    require(!member.is_away(seat.offer), Ineligible::EngineAway)?;
    require(!member.was_suspect(now), Ineligible::Suspect)?;
    require(member.load() < member.room(), Ineligible::Full)?;
    Ok(lock)
}

/// What does not change while the node is linked.
fn check_offer(needs: &Needs, seat: &Seat) -> Result<Octas, Ineligible> {
    let revision = || seat.member.offers()[seat.offer].revision;
    let same_revision = needs.revision.is_none_or(|pinned| pinned == revision());
    require(same_revision, Ineligible::OtherModel)?;
    let can = seat.embedding == needs.embedding && seat.features.has(needs.features);
    require(can, Ineligible::OtherFeatures)?;
    let least = needs.min_context.max(needs.max_tokens.saturating_add(1));
    require(least <= seat.context_length, Ineligible::ContextTooShort)?;
    let in_region = needs.region.as_ref().is_none_or(|region| *region == seat.traits.region);
    require(in_region, Ineligible::OtherRegion)?;
    let has = |gpu: &String| seat.traits.gpus.iter().any(|name| name.contains(gpu.as_str()));
    require(needs.gpu.as_ref().is_none_or(has), Ineligible::OtherHardware)?;
    let within = |most: Price| seat.price.prompt <= most.prompt && seat.price.output <= most.output;
    require(needs.max_price.is_none_or(within), Ineligible::PriceOverWish)?;
    let prompt_tokens =
        needs.prompt_tokens.min(seat.context_length.saturating_mul(needs.prompts.max(1)));
    seat.price
        .ceiling(prompt_tokens, needs.max_tokens)
        // The contract locks no less than one octa, however low the price.
        .map(|lock| lock.max(Octas(1)))
        .filter(|lock| *lock <= needs.max_lock)
        .ok_or(Ineligible::PriceOverCap)
}

/// The most unsettled value that a stake vouches for, in octas.
pub fn exposure_limit(stake: Octas, exposure_milli: u32) -> u128 {
    u128::from(stake.0) * u128::from(exposure_milli) / 1000
}

fn require(holds: bool, reason: Ineligible) -> Result<(), Ineligible> {
    if holds { Ok(()) } else { Err(reason) }
}
