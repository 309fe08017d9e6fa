//! Choices over whole fleets. Time is what a test says it is.

use super::*;
use cactus_protocol::{
    Address, Hash, Octas, Price, PublicKey,
    frame::{Feature, ModelKind, ModelOffer},
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::SmallRng};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

mod memory;

const BOUNDS: Bounds = Bounds { min_stake: Octas(100), exposure_milli: 500 };
const SECOND: Duration = Duration::from_secs(1);

/// A fleet, its clock and its dice.
struct World {
    fleet: Fleet,
    now: Instant,
    rng: SmallRng,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let rules = Rules { bounds: BOUNDS, weights: Weights::default() };
        Self { fleet: Fleet::new(rules, now), now, rng: SmallRng::seed_from_u64(7) }
    }

    fn link(&self, id: u16) -> Arc<Member> {
        self.link_with(id, |_| {})
    }

    fn link_with(&self, id: u16, change: impl FnOnce(&mut NewMember)) -> Arc<Member> {
        let mut new = member(id);
        change(&mut new);
        self.fleet.link(new, self.now)
    }

    /// Links a node that answered 30 times in so many milliseconds.
    fn link_measured(&self, id: u16, total_ms: u64) -> Arc<Member> {
        let member = self.link(id);
        self.measure(&member, total_ms);
        member
    }

    fn measure(&self, member: &Member, total_ms: u64) {
        let timing = Timing {
            ttft: Duration::from_millis(total_ms / 10),
            total: Duration::from_millis(total_ms),
            prompt_tokens: 100,
            output_tokens: 100,
            at_once: 1,
        };
        for _ in 0..30 {
            self.fleet.record(member, Outcome::Verified(Some(timing)), self.now);
        }
    }

    fn choose(&mut self, needs: &Needs) -> Ranking {
        self.fleet.choose(needs, self.now, &mut self.rng).unwrap_or_default()
    }

    /// How often each node came first.
    fn firsts(&mut self, needs: &Needs, times: usize) -> HashMap<PublicKey, usize> {
        let mut firsts = HashMap::new();
        for _ in 0..times {
            if let Some(first) = self.choose(needs).order.first() {
                *firsts.entry(first.member.key).or_default() += 1;
            }
        }
        firsts
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

fn key(id: u16) -> PublicKey {
    let mut key = [0; 32];
    key[..2].copy_from_slice(&id.to_be_bytes());
    PublicKey(key)
}

fn member(id: u16) -> NewMember {
    NewMember {
        key: key(id),
        operator: Address(key(id).0),
        stake: Octas(10_000),
        slots: 2,
        queue: 2,
        region: "EU-west".into(),
        gpus: vec!["NVIDIA H200".into()],
        offers: vec![offer()],
    }
}

fn offer() -> ModelOffer {
    ModelOffer {
        id: "sprout".into(),
        revision: Hash([7; 32]),
        context_length: 512,
        price: Price { prompt: Octas(1_000), output: Octas(2_000) },
        kind: ModelKind::Chat,
        features: vec![Feature::Logprobs],
    }
}

fn needs() -> Needs {
    Needs {
        model: "sprout".into(),
        prompt_tokens: 100,
        max_tokens: 100,
        max_lock: Octas(u64::MAX),
        ..Needs::default()
    }
}

fn check_ineligible(
    change: impl FnOnce(&mut Needs, &mut NewMember),
    then: impl FnOnce(&mut World, &Arc<Member>),
    reason: Ineligible,
) {
    let (mut world, mut needs, mut new) = (World::new(), needs(), member(1));
    change(&mut needs, &mut new);
    let member = world.fleet.link(new, world.now);
    then(&mut world, &member);
    let ranking = world.choose(&needs);
    assert!(ranking.order.is_empty());
    assert_eq!(ranking.tally.of(reason), ranking.tally.total(), "{:?}", ranking.ineligible);
    match world.fleet.explain(&needs, key(1), world.now) {
        Some(Explained::Ineligible(explained)) => assert_eq!(explained, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_rule_of_eligibility_refuses() {
    let mut world = World::new();
    world.link(1);
    assert_eq!(world.choose(&needs()).order.len(), 1);
    let needs_only = |change: fn(&mut Needs), reason| {
        check_ineligible(|needs, _| change(needs), |_, _| {}, reason);
    };
    needs_only(|n| n.max_tokens = 512, Ineligible::ContextTooShort);
    needs_only(|n| n.max_lock = Octas(299), Ineligible::PriceOverCap);
    needs_only(|n| n.min_stake = Octas(10_001), Ineligible::StakeTooLow);
    needs_only(|n| n.except = vec![key(1)], Ineligible::Tried);
    needs_only(|n| n.gpu = Some("a100".into()), Ineligible::OtherHardware);
    let cheap = Price { prompt: Octas(1_000), output: Octas(1_999) };
    check_ineligible(|n, _| n.max_price = Some(cheap), |_, _| {}, Ineligible::PriceOverWish);
    check_ineligible(|_, m| m.stake = Octas(99), |_, _| {}, Ineligible::StakeTooLow);
    let owes = |world: &mut World, member: &Arc<Member>| {
        assert!(world.fleet.add_exposure(member.operator, Octas(4_701), u128::MAX));
    };
    check_ineligible(|_, _| {}, owes, Ineligible::ExposureReached);
    let silent = |world: &mut World, _: &Arc<Member>| world.wait(16 * SECOND);
    check_ineligible(|_, _| {}, silent, Ineligible::Suspect);
    needs_only(|n| n.features = Features::of(&[Feature::Resume]), Ineligible::OtherFeatures);
    needs_only(|n| n.embedding = true, Ineligible::OtherFeatures);
    let away = |world: &mut World, member: &Arc<Member>| member.hear(0, &[0], world.now);
    check_ineligible(|_, _| {}, away, Ineligible::EngineAway);
    let full = |_: &mut World, member: &Arc<Member>| member.hear(4, &[], Instant::now());
    check_ineligible(|_, _| {}, full, Ineligible::Full);
    let faulty = |world: &mut World, member: &Arc<Member>| {
        let until = world.now + 10 * SECOND;
        world.fleet.record(member, Outcome::Fault { until }, world.now);
    };
    check_ineligible(|_, _| {}, faulty, Ineligible::Blocked);
}

#[test]
fn a_region_or_revision_that_nobody_has_is_found_out_without_looking_at_anyone() {
    let mut world = World::new();
    (0..100).for_each(|id| drop(world.link(id)));
    for needs in [
        Needs { region: Some("us".into()), ..needs() },
        Needs { revision: Some(Hash([8; 32])), ..needs() },
    ] {
        let ranking = world.choose(&needs);
        assert!(ranking.order.is_empty());
        assert_eq!(ranking.tally.total(), 0);
    }
}

#[test]
fn the_one_node_that_meets_a_wish_is_found_among_many() {
    let mut world = World::new();
    for id in 0..500 {
        world.link_with(id, |new| {
            if id == 250 {
                new.region = "Us-East".into();
                new.gpus = vec!["NVIDIA H100 PCIe".into()];
                new.stake = Octas(20_000);
                new.offers[0].price.output = Octas(1);
            }
        });
    }
    for change in [
        (|n| n.region = Some("us-east".into())) as fn(&mut Needs),
        |n| n.gpu = Some("h100".into()),
        |n| n.gpu = Some("h100 pc".into()),
        |n| n.min_stake = Octas(15_000),
        |n| n.node = Some(key(250)),
        |n| n.max_price = Some(Price { prompt: Octas(1_000), output: Octas(1) }),
    ] {
        let mut needs = needs();
        change(&mut needs);
        for _ in 0..10 {
            let ranking = world.choose(&needs);
            let keys: Vec<_> = ranking.order.iter().map(|c| c.member.key).collect();
            assert_eq!(keys, [key(250)]);
        }
    }
}

#[test]
fn a_price_that_overflows_is_over_the_cap() {
    let change = |needs: &mut Needs, new: &mut NewMember| {
        (needs.max_tokens, new.offers[0].context_length) = (2_000, 4_000);
        new.offers[0].price.output = Octas(u64::MAX);
    };
    check_ineligible(change, |_, _| {}, Ineligible::PriceOverCap);
}

#[test]
fn the_faster_of_two_proven_nodes_goes_first() {
    let mut world = World::new();
    world.link_measured(1, 4_000);
    world.link_measured(2, 400);
    world.fleet.refresh(world.now);
    assert_eq!(world.firsts(&needs(), 200), HashMap::from([(key(2), 200)]));
}

#[test]
fn a_new_node_gets_a_few_requests_until_it_is_measured() {
    let mut world = World::new();
    for id in 1..10 {
        world.link_measured(id, 400);
    }
    let new = world.link(100);
    world.fleet.refresh(world.now);
    let explored = world.firsts(&needs(), 3_000)[&key(100)];
    assert!((60..200).contains(&explored), "{explored} of 3000");
    world.measure(&new, 8_000);
    world.fleet.refresh(world.now);
    let slow = world.firsts(&needs(), 3_000).get(&key(100)).copied().unwrap_or(0);
    assert!(slow < 30, "{slow} of 3000");
}

#[test]
fn many_equal_nodes_share_the_traffic() {
    let mut world = World::new();
    for id in 0..50 {
        world.link_measured(id, 400);
    }
    world.fleet.refresh(world.now);
    let firsts = world.firsts(&needs(), 5_000);
    assert_eq!(firsts.len(), 50);
    assert!(firsts.values().all(|count| (50..200).contains(count)), "{firsts:?}");
}

#[test]
fn stake_cannot_buy_the_traffic_of_better_nodes() {
    let mut world = World::new();
    for id in 1..10 {
        world.link_measured(id, 400);
    }
    let rich = world.link_with(100, |new| new.stake = Octas(u64::MAX));
    world.measure(&rich, 8_000);
    world.fleet.refresh(world.now);
    let bought = world.firsts(&needs(), 2_000).get(&key(100)).copied().unwrap_or(0);
    assert!(bought < 40, "{bought} of 2000");
}

#[test]
fn a_queue_makes_a_fast_node_slower_than_a_free_one() {
    let mut world = World::new();
    let fast = world.link_measured(1, 1_000);
    world.link_measured(2, 2_000);
    world.fleet.refresh(world.now);
    assert_eq!(world.choose(&needs()).order[0].member.key, key(1));
    let _task = fast.start_task().unwrap();
    assert_eq!(world.choose(&needs()).order[0].member.key, key(1));
    // Two slots: the third task would wait, and half of its time is less than what that costs.
    fast.hear(2, &[], world.now);
    assert_eq!(world.choose(&needs()).order[0].member.key, key(2));
}

#[test]
fn other_servers_tasks_count_once_beside_our_own() {
    let world = World::new();
    let node = world.link(1);
    let mine = node.start_task().unwrap();
    node.hear(3, &[], world.now);
    assert_eq!(node.load(), 3);
    drop(mine);
    assert_eq!((node.load(), node.in_flight()), (2, 0));
    let again = node.start_task().unwrap();
    assert_eq!(again.at_once, 3);
}

#[test]
fn the_last_slot_is_given_once() {
    let world = World::new();
    let node = world.link(1);
    let tasks: Vec<_> = (0..4).map(|_| node.start_task()).collect();
    assert!(tasks.iter().all(Option::is_some) && node.start_task().is_none());
    drop(tasks);
    assert!(node.start_task().is_some());
}

#[test]
fn failures_in_a_row_open_the_breaker_and_one_probe_closes_it() {
    let mut world = World::new();
    let node = world.link(1);
    for _ in 0..3 {
        world.fleet.record(&node, Outcome::Failed, world.now);
    }
    assert_eq!(world.choose(&needs()).tally.of(Ineligible::Blocked), 1);
    world.wait(SECOND);
    assert_eq!(world.choose(&needs()).order.len(), 1);
    let _probe = node.start_task().unwrap();
    assert_eq!(world.choose(&needs()).tally.of(Ineligible::Probed), 1);
    world.fleet.record(&node, Outcome::Verified(None), world.now);
    assert_eq!(world.choose(&needs()).order.len(), 1);
}

#[test]
fn a_node_that_says_nothing_of_several_late_tasks_gets_no_more() {
    let mut world = World::new();
    let node = world.link(1);
    let sent_at = world.now;
    node.speak(sent_at);
    assert!(!node.has_spoken_since(sent_at));
    for _ in 0..3 {
        assert!(!node.is_paused(world.now));
        world.fleet.record(&node, Outcome::Silent, world.now);
    }
    assert!(node.is_paused(world.now));
    world.wait(SECOND);
    node.speak(world.now);
    assert!(node.has_spoken_since(sent_at) && !node.is_paused(world.now));
}

#[test]
fn a_longer_prompt_is_waited_for_longer() {
    let mut world = World::new();
    world.link_measured(1, 1_000);
    let mut usual = |prompt_tokens| {
        let needs = Needs { prompt_tokens, ..needs() };
        world.choose(&needs).order[0].usual_ttft.unwrap()
    };
    assert!(usual(100_000) > 10 * usual(100));
}

#[test]
fn what_was_measured_survives_the_link() {
    let mut world = World::new();
    let node = world.link(1);
    let until = world.now + 100 * SECOND;
    world.fleet.record(&node, Outcome::Fault { until }, world.now);
    world.fleet.unlink(&node);
    assert!(world.fleet.choose(&needs(), world.now, &mut world.rng).is_none());
    world.link(1);
    assert_eq!(world.choose(&needs()).tally.of(Ineligible::Blocked), 1);
}

#[test]
fn who_served_the_beginning_of_a_prompt_is_preferred_while_it_is_free() {
    let mut world = World::new();
    let nodes: Vec<_> = (0..200).map(|id| world.link_measured(id, 400)).collect();
    world.fleet.refresh(world.now);
    let prompt = "once upon a time ".repeat(100);
    let needs = Needs { prefix: Prefix::of(1, [prompt.as_str()]), ..needs() };
    let first = world.choose(&needs).order.remove(0);
    let holder = first.member.key;
    world.fleet.remember(&needs, &first);
    let firsts = world.firsts(&needs, 100);
    assert!(firsts[&holder] > 80, "{firsts:?}");
    let served = nodes.iter().find(|node| node.key == holder).unwrap();
    served.hear(3, &[], world.now);
    let busy = world.firsts(&needs, 100).get(&holder).copied().unwrap_or(0);
    assert!(busy < 10, "{busy}");
    world.fleet.unlink(served);
    assert!(!world.firsts(&needs, 100).contains_key(&holder));
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let choices = || {
        let mut world = World::new();
        for id in 0..100 {
            world.link_measured(id, 100 + u64::from(id));
        }
        world.fleet.refresh(world.now);
        let choose = |_| world.choose(&needs()).order[0].member.key;
        (0..50).map(choose).collect::<Vec<_>>()
    };
    assert_eq!(choices(), choices());
}

#[derive(Debug, Clone)]
struct AnyNode {
    numbers: (u64, u64, u64, u64),
    load: (u16, u16, u32),
    history: Vec<(u64, bool)>,
    context: u32,
}

fn any_node() -> impl Strategy<Value = AnyNode> {
    let numbers = (any::<u64>(), 0u64..1_000, any::<u64>(), any::<u64>());
    let load = (0u16..4, 0u16..4, 0u32..6);
    let history = prop::collection::vec((1u64..10_000, any::<bool>()), 0..6);
    (numbers, load, history, 0u32..2_000).prop_map(|(numbers, load, history, context)| AnyNode {
        numbers,
        load,
        history,
        context,
    })
}

impl AnyNode {
    fn link(&self, world: &World, id: u16) {
        let (stake, owed, prompt, output) = self.numbers;
        let member = world.link_with(id, |new| {
            new.stake = Octas(stake);
            let price = Price { prompt: Octas(prompt), output: Octas(output >> 20) };
            new.offers[0] = ModelOffer { price, context_length: self.context, ..offer() };
            (new.slots, new.queue) = (self.load.0, self.load.1);
        });
        assert!(world.fleet.add_exposure(member.operator, Octas(owed), u128::MAX));
        member.hear(self.load.2, &[], world.now);
        for (milliseconds, good) in &self.history {
            match good {
                true => world.measure(&member, *milliseconds),
                false => world.fleet.record(&member, Outcome::Failed, world.now),
            }
        }
    }
}

proptest! {
    #[test]
    fn in_a_small_pool_every_node_is_ranked_or_refused_and_every_term_is_bounded(
        nodes in prop::collection::vec(any_node(), 0..=CANDIDATES),
        max_tokens in 1u32..3_000,
    ) {
        let mut world = World::new();
        for (id, node) in (0..).zip(&nodes) {
            node.link(&world, id);
        }
        world.fleet.refresh(world.now);
        let needs = Needs { max_tokens, ..needs() };
        let ranking = world.choose(&needs);
        let refused = usize::try_from(ranking.tally.total()).unwrap();
        prop_assert_eq!(ranking.order.len() + refused, nodes.len());
        for candidate in &ranking.order {
            let t = candidate.terms;
            let terms = [t.stake, t.success, t.latency, t.price, t.verification, t.affinity];
            for term in terms.into_iter().chain([candidate.score]) {
                prop_assert!((0.0..=1.0).contains(&term), "{candidate:?}");
            }
            let member = &candidate.member;
            let owed = u128::from(member.exposure().0) + u128::from(candidate.lock.0);
            prop_assert!(owed <= u128::from(member.stake().0) / 2);
        }
        let rest = ranking.order.iter().skip(1).map(|c| c.score).collect::<Vec<_>>();
        prop_assert!(rest.windows(2).all(|pair| pair[0] >= pair[1] - 1e-9));
    }

    #[test]
    fn whoever_is_eligible_is_found(
        nodes in prop::collection::vec(any_node(), 0..40),
        max_tokens in 1u32..3_000,
        seed: u64,
    ) {
        let mut world = World::new();
        world.rng = SmallRng::seed_from_u64(seed);
        for (id, node) in (0..).zip(&nodes) {
            node.link(&world, id);
        }
        let needs = Needs { max_tokens, ..needs() };
        let is_eligible = |id: &u16| {
            let explained = world.fleet.explain(&needs, key(*id), world.now);
            matches!(explained, Some(Explained::Eligible(_)))
        };
        let ids = 0..u16::try_from(nodes.len()).unwrap();
        let any = ids.filter(is_eligible).count() > 0;
        prop_assert_eq!(!world.choose(&needs).order.is_empty(), any);
    }
}
