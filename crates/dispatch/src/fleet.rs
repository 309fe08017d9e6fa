//! All linked nodes and all that is known of them: the one thing that a server, or a simulation of
//! one, asks and tells. It sends nothing and reads no clock.

use crate::{
    eligibility::Ineligible,
    member::{Member, Start, milliseconds},
    memory::Memory,
    needs::{Needs, Rules},
    pool::{Candidate, Pool, Ranking},
    record::{Outcome, Record},
    seat::Traits,
};
use cactus_protocol::{Address, Octas, PublicKey, frame::ModelOffer};
use parking_lot::{Mutex, RwLock};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// A node that links.
#[derive(Debug)]
pub struct NewMember {
    /// Its key.
    pub key: PublicKey,
    /// Who owns the stake.
    pub operator: Address,
    /// What the operator has bonded.
    pub stake: Octas,
    /// Tasks that run at once, it says.
    pub slots: u16,
    /// Tasks that may wait, it says.
    pub queue: u16,
    /// Where it says that it is.
    pub region: String,
    /// The names of its accelerators.
    pub gpus: Vec<String>,
    /// Its models.
    pub offers: Vec<ModelOffer>,
}

/// How a node would fare with a request.
#[derive(Debug, Clone)]
pub enum Explained {
    /// With every term.
    Eligible(Box<Candidate>),
    /// With the first reason against it.
    Ineligible(Ineligible),
}

/// All linked nodes and what is remembered of those that were linked before.
#[derive(Debug)]
pub struct Fleet {
    rules: Rules,
    origin: Instant,
    pools: RwLock<HashMap<String, Arc<Pool>>>,
    /// One per node key that the chain knows: staking bounds their number.
    records: Mutex<HashMap<PublicKey, Arc<Mutex<Record>>>>,
    exposures: Mutex<HashMap<Address, Arc<AtomicU64>>>,
}

impl Fleet {
    /// Nobody yet. No moment before `origin` may be given.
    pub fn new(rules: Rules, origin: Instant) -> Self {
        Self {
            rules,
            origin,
            pools: RwLock::default(),
            records: Mutex::default(),
            exposures: Mutex::default(),
        }
    }

    /// How every choice is made.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Adds a node. The caller sees to it that no key is linked twice.
    pub fn link(&self, new: NewMember, now: Instant) -> Arc<Member> {
        let record = self
            .records
            .lock()
            .entry(new.key)
            .or_insert_with(|| Arc::new(Mutex::new(Record::new(now))))
            .clone();
        let start = Start {
            key: new.key,
            operator: new.operator,
            slots: new.slots,
            queue: new.queue,
            stake: new.stake,
            offers: new.offers.into_iter().map(Arc::new).collect(),
            record,
            exposure: self.exposure_of(new.operator),
            origin: self.origin,
        };
        let lower = |name: String| name.to_ascii_lowercase();
        let traits = Arc::new(Traits {
            region: lower(new.region),
            gpus: new.gpus.into_iter().map(lower).collect(),
        });
        let member = Arc::new(Member::new(start, now));
        let standing = member.standing(now);
        let mut pools = self.pools.write();
        for (place, offer) in member.offers().iter().enumerate() {
            let pool = pools.entry(offer.id.clone()).or_default();
            pool.insert((Arc::clone(&member), place), (Arc::clone(&traits), standing), &self.rules);
        }
        member
    }

    /// What is remembered of all nodes that were ever linked, of at most so many.
    pub fn memories(&self, most: usize, now: Instant) -> Vec<Memory> {
        let records: Vec<_> = {
            let records = self.records.lock();
            records.iter().map(|(node, record)| (*node, Arc::clone(record))).collect()
        };
        let memory =
            |(node, record): (PublicKey, Arc<Mutex<Record>>)| Memory::of(node, &record.lock(), now);
        records.into_iter().filter_map(memory).take(most).collect()
    }

    /// Remembers nodes from before the process was away for so long; how many. Nodes that this
    /// process already knows stay as it knows them.
    pub fn recall(&self, memories: &[Memory], away: Duration, now: Instant) -> usize {
        let mut records = self.records.lock();
        let mut recalled = 0;
        for memory in memories {
            if let Some(record) = memory.recall(away, now)
                && let Entry::Vacant(vacant) = records.entry(memory.node)
            {
                vacant.insert(Arc::new(Mutex::new(record)));
                recalled += 1;
            }
        }
        recalled
    }

    /// Takes a node out. What was measured stays known.
    pub fn unlink(&self, member: &Member) {
        let mut pools = self.pools.write();
        for offer in member.offers() {
            if pools.get(&offer.id).is_some_and(|pool| pool.remove(&member.key, &self.rules)) {
                pools.remove(&offer.id);
            }
        }
    }

    /// Ranks a few nodes for a request; `None` when nobody offers the model.
    pub fn choose(&self, needs: &Needs, now: Instant, rng: &mut impl Rng) -> Option<Ranking> {
        let pool = self.pool(&needs.model)?;
        Some(pool.choose(needs, (&self.rules, milliseconds(self.origin, now)), rng))
    }

    /// How a node would fare with a request; `None` when it does not offer the model.
    pub fn explain(&self, needs: &Needs, node: PublicKey, now: Instant) -> Option<Explained> {
        let needs = Needs { node: Some(node), ..needs.clone() };
        // A named node is not drawn, so no randomness enters.
        let ranking = self.choose(&needs, now, &mut SmallRng::seed_from_u64(0))?;
        let refused = ranking.ineligible.into_iter().next();
        let eligible = ranking.order.into_iter().next();
        let eligible = eligible.map(|candidate| Explained::Eligible(Box::new(candidate)));
        eligible.or(refused.map(|(_, _, reason)| Explained::Ineligible(reason)))
    }

    /// A node is about to serve a request's prompt.
    pub fn remember(&self, needs: &Needs, candidate: &Candidate) {
        if let Some(pool) = self.pool(&needs.model) {
            pool.remember(needs, candidate);
        }
    }

    /// Something came of a task.
    pub fn record(&self, member: &Member, outcome: Outcome, now: Instant) {
        member.record.lock().add(outcome, member.slots, now);
        self.update(member, now);
    }

    /// The chain's newest word on a stake.
    pub fn set_stake(&self, member: &Member, stake: Octas, now: Instant) {
        if member.stake() != stake {
            member.set_stake(stake);
            self.update(member, now);
        }
    }

    fn update(&self, member: &Member, now: Instant) {
        let standing = member.standing(now);
        for offer in member.offers() {
            if let Some(pool) = self.pool(&offer.id) {
                pool.update(&member.key, standing, &self.rules);
            }
        }
    }

    /// Finds anew what is usual and lets measurements fade. Work for a timer, never for a request.
    pub fn refresh(&self, now: Instant) {
        let pools: Vec<_> = self.pools.read().values().cloned().collect();
        for pool in pools {
            pool.refresh(&self.rules, now);
        }
    }

    /// The longest context that any node offers with a model, in tokens; `None` when nobody
    /// offers it.
    pub fn context_length(&self, model: &str) -> Option<u32> {
        self.pool(model).map(|pool| pool.context_length())
    }

    /// How many nodes offer a model.
    pub fn count(&self, model: &str) -> usize {
        self.pool(model).map_or(0, |pool| pool.len())
    }

    /// The ids of all offered models, sorted.
    pub fn models(&self) -> Vec<String> {
        let mut models: Vec<_> = self.pools.read().keys().cloned().collect();
        models.sort();
        models
    }

    /// Adds a lock to what an operator owes, unless that passes `limit`, in octas.
    pub fn add_exposure(&self, operator: Address, amount: Octas, limit: u128) -> bool {
        let add = |owed: u64| owed.checked_add(amount.0).filter(|sum| u128::from(*sum) <= limit);
        self.exposure_of(operator).fetch_update(Relaxed, Relaxed, add).is_ok()
    }

    /// A lock is no longer unsettled.
    pub fn remove_exposure(&self, operator: &Address, amount: Octas) {
        let subtract = |owed: u64| Some(owed.saturating_sub(amount.0));
        let mut exposures = self.exposures.lock();
        if let Some(owed) = exposures.get(operator) {
            // Never refused: there is always a next value.
            let _ = owed.fetch_update(Relaxed, Relaxed, subtract);
            // Nobody else holds it, and nobody can get it while this lock is held.
            if owed.load(Relaxed) == 0 && Arc::strong_count(owed) == 1 {
                exposures.remove(operator);
            }
        }
    }

    fn exposure_of(&self, operator: Address) -> Arc<AtomicU64> {
        Arc::clone(self.exposures.lock().entry(operator).or_default())
    }

    fn pool(&self, model: &str) -> Option<Arc<Pool>> {
        self.pools.read().get(model).cloned()
    }
}
