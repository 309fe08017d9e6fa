//! One linked node: what it said when it linked, and the few numbers that change with every task
//! and heartbeat. Those are atomic, so that a choice reads them without waiting for anyone.

use crate::{record::Record, seat::Standing};
use cactus_protocol::{
    Address, Octas, PublicKey,
    frame::{self, ModelOffer},
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// After so long without a heartbeat a node is suspect.
const SUSPECT_AFTER_MS: Milliseconds =
    frame::HEARTBEAT_SECONDS as u64 * (frame::SUSPECT_AFTER_MISSED + 1) as u64 * 1000;

/// An offer's place in a set of 64, the most that an advert has.
fn offer_bit(place: usize) -> u64 {
    u32::try_from(place).ok().and_then(|place| 1u64.checked_shl(place)).unwrap_or(0)
}

/// Since the fleet's origin.
pub(crate) type Milliseconds = u64;

pub(crate) fn milliseconds(origin: Instant, at: Instant) -> Milliseconds {
    let since = at.saturating_duration_since(origin);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A linked node, shared by the pools of all its models. What a choice reads stands first and
/// together: among ten thousand nodes it costs one access to memory, not three.
#[derive(Debug)]
#[repr(C)]
pub struct Member {
    in_flight: AtomicU32,
    elsewhere: AtomicU32,
    heard: AtomicU64,
    blocked_until: AtomicU64,
    away: AtomicU64,
    stake: AtomicU64,
    exposure: Arc<AtomicU64>,
    /// Tasks that run at once, it says.
    pub slots: u16,
    /// Tasks that may wait, it says.
    pub queue: u16,
    probing: AtomicBool,
    /// The node's key.
    pub key: PublicKey,
    /// Who owns the stake.
    pub operator: Address,
    pub(crate) record: Arc<Mutex<Record>>,
    offers: Vec<Arc<ModelOffer>>,
    origin: Instant,
    spoke: AtomicU64,
}

/// One task on a node, counted while it lives.
#[derive(Debug)]
pub struct InFlight {
    member: Arc<Member>,
    /// Tasks on the node when this one started, itself included.
    pub at_once: u32,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.member.in_flight.fetch_sub(1, Relaxed);
    }
}

/// What a member starts with.
#[derive(Debug)]
pub(crate) struct Start {
    pub key: PublicKey,
    pub operator: Address,
    pub slots: u16,
    pub queue: u16,
    pub stake: Octas,
    pub offers: Vec<Arc<ModelOffer>>,
    pub record: Arc<Mutex<Record>>,
    pub exposure: Arc<AtomicU64>,
    pub origin: Instant,
}

impl Member {
    pub(crate) fn new(start: Start, now: Instant) -> Self {
        let member = Self {
            key: start.key,
            operator: start.operator,
            slots: start.slots,
            queue: start.queue,
            record: start.record,
            offers: start.offers,
            exposure: start.exposure,
            origin: start.origin,
            in_flight: AtomicU32::new(0),
            elsewhere: AtomicU32::new(0),
            stake: AtomicU64::new(start.stake.0),
            heard: AtomicU64::new(0),
            blocked_until: AtomicU64::new(0),
            away: AtomicU64::new(0),
            probing: AtomicBool::new(false),
            spoke: AtomicU64::new(0),
        };
        member.heard.store(member.milliseconds(now), Relaxed);
        member
    }

    /// What it sells.
    pub fn offers(&self) -> &[Arc<ModelOffer>] {
        &self.offers
    }

    /// What is remembered of it.
    pub fn with_record<T>(&self, read: impl FnOnce(&Record) -> T) -> T {
        read(&self.record.lock())
    }

    /// How it stands now; blocks it or lets it go as its record says.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        let record = self.record.lock();
        self.block(record.blocked_until(), record.breaker.opened_until().is_some());
        Standing::of(&record, self.slots, now)
    }

    /// Counts a task, if there is room for it: of two requests that chose the last slot at the
    /// same time, one gets it.
    pub fn start_task(self: &Arc<Self>) -> Option<InFlight> {
        let elsewhere = self.elsewhere.load(Relaxed);
        let with_one_more = |mine: u32| {
            let load = mine.saturating_add(elsewhere);
            (load < self.room()).then(|| mine + 1)
        };
        let before = self.in_flight.fetch_update(Relaxed, Relaxed, with_one_more).ok()?;
        let at_once = before.saturating_add(1).saturating_add(elsewhere);
        Some(InFlight { member: Arc::clone(self), at_once })
    }

    /// Tasks that may run or wait there.
    pub fn room(&self) -> u32 {
        u32::from(self.slots) + u32::from(self.queue)
    }

    /// A heartbeat came: `reported` tasks run or wait there, from all servers together, and the
    /// engines of the offers in these places are away.
    pub fn hear(&self, reported: u32, away: &[u16], now: Instant) {
        let bits = away.iter().map(|place| offer_bit(usize::from(*place)));
        self.away.store(bits.fold(0, |all, bit| all | bit), Relaxed);
        let mine = self.in_flight.load(Relaxed);
        self.elsewhere.store(reported.saturating_sub(mine), Relaxed);
        self.heard.store(self.milliseconds(now), Relaxed);
    }

    /// It said something about a task.
    pub fn speak(&self, now: Instant) {
        self.spoke.store(self.milliseconds(now), Relaxed);
    }

    /// Whether it has said anything about any task since then.
    pub fn has_spoken_since(&self, then: Instant) -> bool {
        self.spoke.load(Relaxed) > self.milliseconds(then)
    }

    /// Whether it gets no task now, for what came of others.
    pub fn is_paused(&self, now: Instant) -> bool {
        self.is_blocked(self.milliseconds(now))
    }

    pub(crate) fn is_away(&self, offer: usize) -> bool {
        self.away.load(Relaxed) & offer_bit(offer) != 0
    }

    /// How long nothing was heard.
    pub fn silent_for(&self, now: Instant) -> Duration {
        let silent = self.milliseconds(now).saturating_sub(self.heard.load(Relaxed));
        Duration::from_millis(silent)
    }

    /// Too many heartbeats are missing.
    pub fn is_suspect(&self, now: Instant) -> bool {
        self.was_suspect(self.milliseconds(now))
    }

    pub(crate) fn was_suspect(&self, now: Milliseconds) -> bool {
        now.saturating_sub(self.heard.load(Relaxed)) > SUSPECT_AFTER_MS
    }

    /// Tasks there: those of this server, and those of others as of the last heartbeat.
    pub fn load(&self) -> u32 {
        self.in_flight.load(Relaxed).saturating_add(self.elsewhere.load(Relaxed))
    }

    /// Tasks of this server there.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// What the operator has bonded.
    pub fn stake(&self) -> Octas {
        Octas(self.stake.load(Relaxed))
    }

    pub(crate) fn set_stake(&self, stake: Octas) {
        self.stake.store(stake.0, Relaxed);
    }

    /// The operator's unsettled locks at this server.
    pub fn exposure(&self) -> Octas {
        Octas(self.exposure.load(Relaxed))
    }

    /// No task before `until`; then one at a time if `probing`.
    fn block(&self, until: Option<Instant>, probing: bool) {
        let until = until.map_or(0, |until| self.milliseconds(until));
        self.blocked_until.store(until, Relaxed);
        self.probing.store(probing, Relaxed);
    }

    pub(crate) fn is_blocked(&self, now: Milliseconds) -> bool {
        now < self.blocked_until.load(Relaxed)
    }

    /// It failed lately and may have one task at a time, to show that it is well again.
    pub(crate) fn is_probed_already(&self) -> bool {
        self.probing.load(Relaxed) && self.in_flight.load(Relaxed) > 0
    }

    fn milliseconds(&self, at: Instant) -> Milliseconds {
        milliseconds(self.origin, at)
    }
}
