//! The nodes of one model: who sits where, how likely each is proposed, and the choice among a few
//! of them. Choosing takes the same work for ten nodes as for ten thousand.

use crate::{
    affinity::{Affinity, Hit, Holder},
    eligibility::{self, Ineligible, Tally},
    member::{Member, Milliseconds},
    needs::{Features, Needs, Rules},
    sampler::{Sampler, SeatId, level_of},
    score::{Scale, Terms},
    seat::{Seat, Standing, Traits},
    statistics::Speed,
};
use cactus_protocol::{
    Address, Hash, Octas, Price, PublicKey,
    frame::{ModelKind, ModelOffer},
};
use parking_lot::{Mutex, RwLock};
use rand::{Rng, RngExt};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// How many eligible nodes compete for a request.
pub const CANDIDATES: usize = 4;
/// Draws after which too few competitors are enough.
const MAX_DRAWS: usize = 32;
/// The chance in thousandths that a request goes to a node that has not proven itself, so that
/// new ones get measured.
const EXPLORATION_MILLI: u32 = 50;
/// Refused nodes that a ranking names; it counts them all.
const MAX_NAMED: usize = 16;
/// Up to this size what is usual is found anew whenever a node comes or goes.
const SMALL: usize = 64;
/// Seats that are brought up to date in one critical section.
const CHUNK: usize = 128;

/// An eligible node with the reasons for its rank.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The node.
    pub member: Arc<Member>,
    /// The lock that the task would need.
    pub lock: Octas,
    /// The weighted geometric mean of the terms, in [0, 1].
    pub score: f64,
    /// Each term, in [0, 1].
    pub terms: Terms,
    /// The time to first token that 19 of 20 of its answers keep to; of a node that was not
    /// measured enough, several times what is usual among the others. More for a longer prompt.
    pub usual_ttft: Option<Duration>,
    /// The time between two of its tokens, once measured.
    pub usual_gap: Option<Duration>,
    pub(crate) holder: Holder,
    offer: usize,
}

impl Candidate {
    /// What the node offers.
    pub fn offer(&self) -> &Arc<ModelOffer> {
        &self.member.offers()[self.offer]
    }
}

/// What was chosen and why.
#[derive(Debug, Clone, Default)]
pub struct Ranking {
    /// Whom to try, in order: the best of a few that were drawn.
    pub order: Vec<Candidate>,
    /// Some who were looked at and refused, with the first reason against each.
    pub ineligible: Vec<(PublicKey, Address, Ineligible)>,
    /// All who were looked at and refused, by reason. When nobody is eligible these are all nodes.
    pub tally: Tally,
}

/// Something that clients may ask for and few nodes may have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Tag {
    Region(String),
    Gpu(String),
    Revision(Hash),
}

#[derive(Debug, Default)]
struct Chair {
    generation: u32,
    seat: Option<Seat>,
}

#[derive(Debug, Default)]
struct Index {
    chairs: Vec<Chair>,
    free: Vec<SeatId>,
    places: HashMap<PublicKey, SeatId>,
    everyone: Sampler,
    unproven: Sampler,
    tagged: HashMap<Tag, Sampler>,
    scale: Scale,
}

/// The nodes of one model.
#[derive(Debug, Default)]
pub struct Pool {
    index: RwLock<Index>,
    affinity: Mutex<Affinity>,
}

impl Pool {
    /// Adds a node.
    pub fn insert(
        &self,
        (member, offer): (Arc<Member>, usize),
        (traits, standing): (Arc<Traits>, Standing),
        rules: &Rules,
    ) {
        let offered = Arc::clone(&member.offers()[offer]);
        let seat = Seat {
            member,
            offer,
            price: offered.price,
            context_length: offered.context_length,
            embedding: offered.kind != ModelKind::Chat,
            features: Features::of(&offered.features),
            traits,
            standing,
            base: 0.0,
        };
        let mut index = self.index.write();
        index.insert(seat, rules);
        index.refresh_if_small(rules);
    }

    /// Takes a node out; whether the pool is now empty.
    pub fn remove(&self, key: &PublicKey, rules: &Rules) -> bool {
        let mut index = self.index.write();
        index.remove(key);
        index.refresh_if_small(rules);
        index.places.is_empty()
    }

    /// A node's measurements or stake changed.
    pub fn update(&self, key: &PublicKey, standing: Standing, rules: &Rules) {
        let mut index = self.index.write();
        if let Some(&id) = index.places.get(key) {
            if let Some(seat) = index.chairs[place(id)].seat.as_mut() {
                seat.standing = standing;
            }
            index.weigh(id, rules);
        }
    }

    /// Finds anew what is usual, and lets measurements fade to now. In short critical sections.
    pub fn refresh(&self, rules: &Rules, now: Instant) {
        let scale = self.index.read().find_scale();
        let count = {
            let mut index = self.index.write();
            index.scale = scale;
            index.chairs.len()
        };
        for start in (0..count).step_by(CHUNK) {
            let members: Vec<_> = {
                let index = self.index.read();
                let chairs = index.chairs.iter().skip(start).take(CHUNK);
                chairs.flat_map(|c| c.seat.as_ref()).map(|s| Arc::clone(&s.member)).collect()
            };
            let standings: Vec<_> = members.iter().map(|member| member.standing(now)).collect();
            let mut index = self.index.write();
            for (member, standing) in members.iter().zip(standings) {
                let Some(&id) = index.places.get(&member.key) else { continue };
                if let Some(seat) = index.chairs[place(id)].seat.as_mut() {
                    seat.standing = standing;
                }
                index.weigh(id, rules);
            }
        }
    }

    /// The longest context that anyone offers, in tokens.
    pub fn context_length(&self) -> u32 {
        self.index.read().scale.context_length
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.index.read().places.len()
    }

    /// Ranks a few nodes for a request.
    pub fn choose(
        &self,
        needs: &Needs,
        (rules, now): (&Rules, Milliseconds),
        rng: &mut impl Rng,
    ) -> Ranking {
        let hits = match needs.prefix.is_empty() {
            true => Vec::new(),
            false => self.affinity.lock().find(&needs.prefix),
        };
        let index = self.index.read();
        let mut search = Search {
            index: &index,
            needs,
            rules,
            now,
            hits: &hits,
            found: vec![],
            looked: Vec::with_capacity(2 * CANDIDATES),
            ranking: Ranking::default(),
        };
        search.run(rng);
        search.rank()
    }

    /// A node is about to serve a prompt.
    pub fn remember(&self, needs: &Needs, candidate: &Candidate) {
        if !needs.prefix.is_empty() {
            self.affinity.lock().remember(&needs.prefix, candidate.holder);
        }
    }
}

impl Index {
    fn insert(&mut self, seat: Seat, rules: &Rules) {
        let id = self.free.pop().unwrap_or_else(|| {
            self.chairs.push(Chair::default());
            SeatId::try_from(self.chairs.len() - 1).unwrap_or(SeatId::MAX)
        });
        self.scale.context_length = self.scale.context_length.max(seat.context_length);
        self.places.insert(seat.member.key, id);
        self.chairs[place(id)].seat = Some(seat);
        self.weigh(id, rules);
    }

    fn remove(&mut self, key: &PublicKey) {
        let Some(id) = self.places.remove(key) else { return };
        let chair = &mut self.chairs[place(id)];
        chair.generation += 1;
        let seat = chair.seat.take();
        self.free.push(id);
        self.everyone.remove(id);
        self.unproven.remove(id);
        for tag in seat.iter().flat_map(tags) {
            if let Some(sampler) = self.tagged.get_mut(&tag) {
                sampler.remove(id);
                if sampler.len() == 0 {
                    self.tagged.remove(&tag);
                }
            }
        }
    }

    /// Brings what follows from a seat's standing up to date.
    fn weigh(&mut self, id: SeatId, rules: &Rules) {
        let scale = self.scale;
        let Some(seat) = self.chairs[place(id)].seat.as_mut() else { return };
        seat.base = scale.base(seat, &rules.weights);
        let level = level_of(scale.proposal(seat, &rules.weights));
        let is_proven = seat.standing.is_proven;
        let tags: Vec<_> = tags(seat).collect();
        self.everyone.put(id, level);
        for tag in tags {
            self.tagged.entry(tag).or_default().put(id, level);
        }
        match is_proven {
            true => self.unproven.remove(id),
            false => self.unproven.put(id, 0),
        }
    }

    fn refresh_if_small(&mut self, rules: &Rules) {
        if self.places.len() > SMALL {
            return;
        }
        self.scale = self.find_scale();
        for id in self.everyone.iter().collect::<Vec<_>>() {
            self.weigh(id, rules);
        }
    }

    fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.chairs.iter().filter_map(|chair| chair.seat.as_ref())
    }

    fn find_scale(&self) -> Scale {
        let speeds = || self.seats().filter_map(|seat| seat.standing.speed);
        let speed = speeds().next().map(|_| Speed {
            ttft: median(speeds().map(|s| s.ttft), f64::total_cmp).unwrap_or_default(),
            itl: median(speeds().map(|s| s.itl), f64::total_cmp).unwrap_or_default(),
            usual_prompt: median(speeds().map(|s| s.usual_prompt), f64::total_cmp)
                .unwrap_or_default(),
        });
        let octas = |of: fn(&Seat) -> Octas| median(self.seats().map(of), Octas::cmp);
        let (prompt, output) = (octas(|s| s.price.prompt), octas(|s| s.price.output));
        Scale {
            stake: octas(|seat| seat.member.stake()).unwrap_or_default(),
            price: Price { prompt: prompt.unwrap_or_default(), output: output.unwrap_or_default() },
            speed,
            context_length: self.seats().map(|s| s.context_length).max().unwrap_or_default(),
        }
    }

    /// Reads what a look at these seats will read, all at once: in a large pool each read waits
    /// for memory, and reads that do not depend on each other wait together.
    fn warm(&self, drawn: &[Option<SeatId>]) {
        let seats =
            || drawn.iter().flatten().filter_map(|id| self.chairs[place(*id)].seat.as_ref());
        let far: f64 = seats().map(|seat| seat.base + seat.standing.capacity).sum();
        let tasks: u32 = seats().map(|seat| seat.member.load()).sum();
        let owed: u64 = seats().map(|seat| seat.member.exposure().0 & 1).sum();
        std::hint::black_box((far, tasks, owed));
    }

    /// The smallest set that surely holds everyone who meets the needs.
    fn narrowest(&self, needs: &Needs) -> Option<&Sampler> {
        let region = needs.region.clone().map(Tag::Region);
        let revision = needs.revision.map(Tag::Revision);
        let mut narrowest = &self.everyone;
        for tag in region.into_iter().chain(revision) {
            let sampler = self.tagged.get(&tag)?;
            if sampler.len() < narrowest.len() {
                narrowest = sampler;
            }
        }
        // A part of a word has no set of its own.
        let whole_word = needs.gpu.clone().and_then(|gpu| self.tagged.get(&Tag::Gpu(gpu)));
        Some(whole_word.filter(|s| s.len() < narrowest.len()).unwrap_or(narrowest))
    }
}

/// One search for candidates.
struct Search<'a> {
    index: &'a Index,
    needs: &'a Needs,
    rules: &'a Rules,
    now: Milliseconds,
    hits: &'a [Hit],
    looked: Vec<SeatId>,
    found: Vec<Found>,
    ranking: Ranking,
}

#[derive(Clone, Copy)]
struct Found {
    id: SeatId,
    lock: Octas,
    rank: f64,
    share: f64,
    explored: bool,
}

impl Search<'_> {
    fn run(&mut self, rng: &mut impl Rng) {
        if let Some(node) = &self.needs.node {
            if let Some(&id) = self.index.places.get(node) {
                self.look(id);
            }
            return;
        }
        if rng.random_ratio(EXPLORATION_MILLI, 1000)
            && let Some(id) = self.index.unproven.draw(rng)
            && self.look(id)
            && let Some(found) = self.found.last_mut()
        {
            found.explored = true;
        }
        if let Some(&id) = self.needs.hint.and_then(|hint| self.index.places.get(&hint)) {
            self.look(id);
        }
        for hit in self.hits {
            let chair = self.index.chairs.get(place(hit.holder.seat));
            if chair.is_some_and(|chair| chair.generation == hit.holder.generation) {
                self.look(hit.holder.seat);
            }
        }
        let Some(sampler) = self.index.narrowest(self.needs) else { return };
        self.draw(sampler, rng);
        if self.found.is_empty() && self.needs.hint.is_none() {
            for id in sampler.iter() {
                self.look(id);
            }
        }
    }

    fn draw(&mut self, sampler: &Sampler, rng: &mut impl Rng) {
        if sampler.len() <= CANDIDATES {
            for id in sampler.iter() {
                self.look(id);
            }
            return;
        }
        for _ in 0..MAX_DRAWS / CANDIDATES {
            let drawn: [Option<SeatId>; CANDIDATES] = std::array::from_fn(|_| sampler.draw(rng));
            self.index.warm(&drawn);
            for id in drawn.into_iter().flatten() {
                self.look(id);
            }
            if self.found.len() + 1 >= CANDIDATES {
                return;
            }
        }
    }

    /// Checks a node; whether it is a new candidate.
    fn look(&mut self, id: SeatId) -> bool {
        let Some(seat) = &self.index.chairs[place(id)].seat else { return false };
        if self.looked.contains(&id) {
            return false;
        }
        // A walk over everyone meets each once anyway, but for the few that were drawn before.
        if self.looked.len() <= MAX_DRAWS {
            self.looked.push(id);
        }
        match eligibility::check(self.needs, seat, (&self.rules.bounds, self.now)) {
            Ok(lock) => {
                let hit = self.hits.iter().find(|hit| hit.holder.seat == id);
                let share = hit.map_or(0.0, |hit| hit.share);
                let weights = &self.rules.weights;
                let rank = self.index.scale.rank(self.needs, seat, (share, weights));
                self.found.push(Found { id, lock, rank, share, explored: false });
                true
            }
            Err(reason) => {
                self.ranking.tally.add(reason);
                if self.ranking.ineligible.len() < MAX_NAMED {
                    let (key, operator) = (seat.member.key, seat.member.operator);
                    self.ranking.ineligible.push((key, operator, reason));
                }
                false
            }
        }
    }

    /// Explored first, then by rank.
    fn rank(mut self) -> Ranking {
        self.found
            .sort_by(|a, b| b.explored.cmp(&a.explored).then_with(|| b.rank.total_cmp(&a.rank)));
        self.found.truncate(2 * CANDIDATES);
        let order = self.found.iter().filter_map(|found| self.describe(found)).collect();
        Ranking { order, ..self.ranking }
    }

    fn usual_ttft(&self, seat: &Seat) -> Option<Duration> {
        let usual = seat.standing.usual_ttft.or_else(|| self.index.scale.patience())?;
        let speed = seat.standing.speed.or(self.index.scale.speed);
        let longer = speed.map_or(1.0, |speed| speed.prompt_factor(self.needs.prompt_tokens));
        Some(duration(usual.as_secs_f64() * longer.max(1.0)))
    }

    fn describe(&self, found: &Found) -> Option<Candidate> {
        let chair = &self.index.chairs[place(found.id)];
        let seat = chair.seat.as_ref()?;
        let terms = self.index.scale.terms(self.needs, seat, found.share);
        Some(Candidate {
            member: Arc::clone(&seat.member),
            offer: seat.offer,
            lock: found.lock,
            score: terms.weigh(&self.rules.weights),
            terms,
            usual_ttft: self.usual_ttft(seat),
            usual_gap: seat.standing.speed.map(|speed| duration(speed.itl)),
            holder: Holder { seat: found.id, generation: chair.generation },
        })
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

fn tags(seat: &Seat) -> impl Iterator<Item = Tag> {
    let region = Tag::Region(seat.traits.region.clone());
    let gpus = seat.traits.gpus.iter().flat_map(|name| name.split(' '));
    gpus.map(|word| Tag::Gpu(word.to_owned()))
        .chain([region, Tag::Revision(seat.member.offers()[seat.offer].revision)])
}

fn median<T>(
    values: impl Iterator<Item = T>,
    order: impl FnMut(&T, &T) -> std::cmp::Ordering,
) -> Option<T> {
    let mut values: Vec<_> = values.collect();
    let middle = values.len().checked_sub(1)? / 2;
    values.select_nth_unstable_by(middle, order);
    values.into_iter().nth(middle)
}

/// A seat's number as an index. Seats are counted by links, far fewer than 2³².
fn place(id: SeatId) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}
