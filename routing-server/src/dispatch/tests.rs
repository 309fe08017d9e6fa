use super::*;
use crate::statistics::Timing;
use cactus_protocol::{ModelKind, Price};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::SmallRng};
use std::{collections::HashMap, time::Duration};

const BOUNDS: Bounds = Bounds { min_stake: Octas(100), exposure_milli: 500 };

fn needs() -> Needs {
    Needs {
        model: "sprout".into(),
        revision: None,
        prompt_tokens: 100,
        prompts: 1,
        max_tokens: 100,
        max_lock: Octas(u64::MAX),
    }
}

fn view(id: u8) -> NodeView {
    let price = Price { prompt: Octas(1_000), output: Octas(2_000) };
    NodeView {
        node: PublicKey([id; 32]),
        operator: Address([id; 32]),
        offer: ModelOffer {
            id: "sprout".into(),
            revision: Hash([7; 32]),
            context_length: 512,
            price,
            kind: ModelKind::Chat,
            features: vec![],
        },
        stake: Octas(10_000),
        exposure: Octas::ZERO,
        slots: 2,
        queue: 2,
        in_flight: 0,
        suspect: false,
        quarantined: false,
        statistics: Statistics::new(Instant::now()),
    }
}

fn measured(mut view: NodeView, total_ms: u64) -> NodeView {
    let timing = Timing {
        ttft: Duration::from_millis(total_ms / 10),
        total: Duration::from_millis(total_ms),
        prompt_tokens: 100,
        output_tokens: 100,
    };
    for _ in 0..30 {
        view.statistics.record_success(Some(timing), Instant::now());
    }
    view
}

fn rank_of(needs: &Needs, nodes: &[NodeView], seed: u64) -> Ranking {
    let mut rng = SmallRng::seed_from_u64(seed);
    let rules = Rules { bounds: BOUNDS, weights: &Weights::default(), now: Instant::now() };
    rank(needs, nodes, &rules, &mut rng)
}

fn check_ineligible(change: impl FnOnce(&mut Needs, &mut NodeView), reason: Ineligible) {
    let (mut needs, mut node) = (needs(), view(1));
    assert_eq!(rank_of(&needs, &[node.clone()], 0).order.len(), 1);
    change(&mut needs, &mut node);
    let ranking = rank_of(&needs, &[node], 0);
    assert_eq!(ranking.ineligible, [(0, reason)]);
    assert!(ranking.order.is_empty());
}

#[test]
fn each_rule_of_eligibility_refuses() {
    check_ineligible(|n, _| n.model.push('x'), Ineligible::OtherModel);
    check_ineligible(|n, _| n.revision = Some(Hash([8; 32])), Ineligible::OtherModel);
    check_ineligible(|n, _| n.max_tokens = 512, Ineligible::ContextTooShort);
    check_ineligible(|n, _| n.max_lock = Octas(299), Ineligible::PriceOverCap);
    check_ineligible(|_, v| v.stake = Octas(99), Ineligible::StakeTooLow);
    check_ineligible(|_, v| v.exposure = Octas(4_701), Ineligible::ExposureReached);
    check_ineligible(|_, v| v.quarantined = true, Ineligible::Quarantined);
    check_ineligible(|_, v| v.suspect = true, Ineligible::Suspect);
    check_ineligible(|_, v| v.in_flight = 4, Ineligible::Full);
}

#[test]
fn a_price_that_overflows_is_over_the_cap() {
    let change = |needs: &mut Needs, view: &mut NodeView| {
        (needs.max_tokens, view.offer.context_length) = (2_000, 4_000);
        view.offer.price.output = Octas(u64::MAX);
    };
    check_ineligible(change, Ineligible::PriceOverCap);
}

#[test]
fn the_better_of_two_goes_first_but_for_exploration() {
    let nodes = [measured(view(1), 4_000), measured(view(2), 400)];
    let mut first: HashMap<usize, u32> = HashMap::new();
    for seed in 0..2_000 {
        let ranking = rank_of(&needs(), &nodes, seed);
        *first.entry(ranking.order[0].index).or_default() += 1;
    }
    let explored = first[&0];
    assert!((10..70).contains(&explored), "{explored} of 2000");
}

#[test]
fn many_nodes_share_the_traffic_of_the_best_few() {
    let nodes: Vec<_> = (1..=10).map(|i| measured(view(i), u64::from(i) * 300)).collect();
    let mut first: HashMap<usize, u32> = HashMap::new();
    for seed in 0..3_000 {
        let ranking = rank_of(&needs(), &nodes, seed);
        *first.entry(ranking.order[0].index).or_default() += 1;
    }
    assert!(first[&0] > 1_700 && first[&1] > 800, "{first:?}");
    let others: u32 = (2..10).map(|i| first.get(&i).copied().unwrap_or(0)).sum();
    assert!((20..200).contains(&others), "{first:?}");
}

#[test]
fn stake_alone_cannot_buy_the_traffic() {
    let mut rich = measured(view(1), 8_000);
    rich.stake = Octas(u64::MAX);
    let nodes = [rich, measured(view(2), 400)];
    let ranking = rank_of(&needs(), &nodes, 1);
    let score = |index| {
        let found = ranking.order.iter().find(|c| c.index == index);
        found.unwrap().score
    };
    assert!(score(1) > score(0));
}

#[test]
fn a_full_queue_makes_a_fast_node_slower_than_a_free_one() {
    let mut busy = measured(view(1), 1_000);
    (busy.slots, busy.queue, busy.in_flight) = (1, 20, 10);
    let nodes = [busy, measured(view(2), 2_000)];
    let ranking = rank_of(&needs(), &nodes, 1);
    let latency = |index: usize| {
        let found = ranking.order.iter().find(|c| c.index == index);
        found.unwrap().terms.latency
    };
    assert!(latency(1) > latency(0));
}

fn any_view() -> impl Strategy<Value = NodeView> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let load = (0u16..4, 0u16..4, 0u32..6, any::<bool>(), any::<bool>());
    let history = prop::collection::vec((1u64..10_000, any::<bool>()), 0..6);
    (numbers, load, history, 0u32..2_000).prop_map(|(n, load, history, context)| {
        let mut node = view(1);
        (node.stake, node.exposure) = (Octas(n.0), Octas(n.1 % 1_000));
        (node.offer.price.prompt, node.offer.price.output) = (Octas(n.2), Octas(n.3 >> 20));
        (node.slots, node.queue, node.in_flight) = (load.0, load.1, load.2);
        (node.suspect, node.quarantined) = (load.3, load.4);
        node.offer.context_length = context;
        for (ms, good) in history {
            if good {
                node = measured(node, ms);
            } else {
                node.statistics.record_fault(Instant::now());
            }
        }
        node
    })
}

proptest! {
    #[test]
    fn every_node_is_ranked_or_refused_and_every_term_is_bounded(
        nodes in prop::collection::vec(any_view(), 0..8),
        seed: u64,
        max_tokens in 1u32..3_000,
    ) {
        let needs = Needs { max_tokens, ..needs() };
        let ranking = rank_of(&needs, &nodes, seed);
        prop_assert_eq!(ranking.order.len() + ranking.ineligible.len(), nodes.len());
        for candidate in &ranking.order {
            let t = candidate.terms;
            for term in [t.stake, t.success, t.latency, t.price, t.verification, candidate.score] {
                prop_assert!((0.0..=1.0).contains(&term), "{candidate:?}");
            }
            let node = &nodes[candidate.index];
            let owed = u128::from(node.exposure.0) + u128::from(candidate.lock.0);
            prop_assert!(owed <= u128::from(node.stake.0) / 2);
        }
        let rest = ranking.order.iter().skip(1).map(|c| c.score).collect::<Vec<_>>();
        prop_assert!(rest.windows(2).all(|pair| pair[0] >= pair[1]));
    }
}
