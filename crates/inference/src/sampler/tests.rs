//! What the parameters mean, and that a token can be derived again.

use super::*;

const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, f32::NEG_INFINITY];

fn counts(sampling: &Sampling) -> [u32; 5] {
    let mut counts = [0; 5];
    for seed in 0..4000 {
        let token =
            sample(&LOGITS, &History::default(), &Sampling { seed, ..sampling.clone() }, None)
                .unwrap();
        counts[usize::try_from(token).unwrap()] += 1;
    }
    counts
}

#[test]
fn greedy_takes_the_lowest_of_the_likeliest() {
    assert_eq!(sample(&LOGITS, &History::default(), &Sampling::greedy(), None), Ok(1));
}

#[test]
fn frequencies_follow_the_softmax_at_the_temperature() {
    for temperature in [0.7_f32, 1.0, 2.0] {
        let found = counts(&Sampling { temperature, ..Sampling::default() });
        let weights = LOGITS.map(|logit| (f64::from(logit) / f64::from(temperature)).exp());
        let total: f64 = weights.iter().sum();
        for (found, weight) in found.iter().zip(weights) {
            let (share, expected) = (f64::from(*found) / 4000.0, weight / total);
            assert!((share - expected).abs() < 0.03, "{share} for {expected} at {temperature}");
        }
    }
}

#[test]
fn each_filter_removes_what_it_says() {
    let base = Sampling::default();
    let support = |sampling: Sampling| counts(&sampling).map(|count| count > 0);
    assert_eq!(support(base.clone()), [true, true, true, true, false]);
    assert_eq!(support(Sampling { top_k: 1, ..base.clone() }), [false, true, false, false, false]);
    assert_eq!(support(Sampling { top_k: 3, ..base.clone() }), [false, true, true, true, false]);
    assert_eq!(
        support(Sampling { top_p: 0.75, ..base.clone() }),
        [false, true, false, true, false]
    );
    assert_eq!(
        support(Sampling { top_p: 0.0, ..base.clone() }),
        [false, true, false, false, false]
    );
    assert_eq!(support(Sampling { min_p: 0.3, ..base.clone() }), [false, true, true, true, false]);
    assert_eq!(support(Sampling { min_p: 1.0, ..base }), [false, true, false, true, false]);
}

#[test]
fn penalties_push_repeated_tokens_down() {
    let mut history = History::default();
    history.push(1);
    let presence = Sampling { presence_penalty: 0.1, ..Sampling::greedy() };
    assert_eq!(sample(&LOGITS, &history, &presence, None), Ok(3));
    history.push(3);
    history.push(3);
    let frequency = Sampling { frequency_penalty: 0.6, ..Sampling::greedy() };
    assert_eq!(sample(&LOGITS, &history, &frequency, None), Ok(1));
    history.push(1);
    assert_eq!(sample(&LOGITS, &history, &frequency, None), Ok(2));
}

#[test]
fn a_token_can_be_derived_again_from_seed_and_position() {
    let flat = [0.0; 50];
    let sampling = Sampling { seed: 9, ..Sampling::default() };
    let mut history = History::default();
    let mut first = Vec::new();
    for _ in 0..20 {
        first.push(sample(&flat, &history, &sampling, None).unwrap());
        history.push(*first.last().unwrap());
    }
    let mut later = History::default();
    first[..13].iter().for_each(|token| later.push(*token));
    assert_eq!(sample(&flat, &later, &sampling, None), Ok(first[13]));
    assert!(first.windows(2).any(|pair| pair[0] != pair[1]));
}

#[test]
fn logits_that_are_not_numbers_are_refused() {
    for bad in [[0.0, f32::NAN], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2]] {
        assert_eq!(
            sample(&bad, &History::default(), &Sampling::greedy(), None),
            Err(InvalidLogits)
        );
    }
    assert_eq!(sample(&[], &History::default(), &Sampling::default(), None), Err(InvalidLogits));
}

#[test]
fn only_what_is_allowed_is_chosen_however_unlikely() {
    let allowed = TokenSet::new(vec![0b10101]);
    let history = History::default();
    for seed in 0..200 {
        let sampling = Sampling { seed, ..Sampling::default() };
        let token = sample(&LOGITS, &history, &sampling, Some(&allowed)).unwrap();
        assert!(token == 0 || token == 2, "{token}");
    }
    let greedy = Sampling::greedy();
    assert_eq!(sample(&LOGITS, &history, &greedy, Some(&allowed)), Ok(2));
    let impossible = TokenSet::new(vec![0b10000]);
    assert_eq!(sample(&LOGITS, &history, &greedy, Some(&impossible)), Err(InvalidLogits));
}

/// What the filters mean, without any thought for speed.
fn by_definition(logits: &[f32], sampling: &Sampling) -> Vec<u32> {
    let mut order: Vec<u32> = (0..).take(logits.len()).collect();
    let logit = |token: &u32| f64::from(logits[usize::try_from(*token).unwrap()]);
    order.sort_by(|a, b| logit(b).total_cmp(&logit(a)).then(a.cmp(b)));
    if sampling.top_k > 0 {
        order.truncate(usize::try_from(sampling.top_k).unwrap());
    }
    let weight =
        |token: &u32| ((logit(token) - logit(&order[0])) / f64::from(sampling.temperature)).exp();
    let total: f64 = order.iter().map(weight).sum();
    let mut mass = 0.0;
    let mut kept = Vec::new();
    for token in &order {
        if sampling.top_p < 1.0 && !kept.is_empty() && mass >= f64::from(sampling.top_p) * total {
            break;
        }
        mass += weight(token);
        kept.push(*token);
    }
    kept.retain(|token| weight(token) >= f64::from(sampling.min_p));
    kept.sort_unstable();
    kept
}

#[test]
fn the_filters_keep_in_a_large_vocabulary_what_their_definitions_say() {
    // Three thousand logits without ties, in no order.
    let logits: Vec<f32> = (0..3000_u32)
        .map(|index| index * 7919 % 3001)
        .map(|value| f32::from(u16::try_from(value).unwrap()) / 300.0)
        .collect();
    for (top_k, top_p, min_p) in [
        (0, 0.5, 0.0),
        (0, 0.9, 0.0),
        (0, 0.999, 0.0),
        (700, 0.95, 0.0),
        (5, 0.5, 0.3),
        (0, 1.0, 0.4),
        (0, 0.0, 0.0),
    ] {
        let sampling = Sampling { top_k, top_p, min_p, temperature: 1.3, ..Sampling::default() };
        let expected = by_definition(&logits, &sampling);
        let field = Field::new(&logits, &BTreeMap::new(), None).unwrap();
        let found = match filter(field, &sampling) {
            Kept::Some(candidates) => candidates.tokens(),
            Kept::All(_) => panic!("a filter keeps some"),
        };
        assert_eq!(found.len(), expected.len(), "{sampling:?}");
        assert_eq!(found, expected, "{sampling:?}");
    }
}

#[test]
fn a_bias_makes_a_token_certain_or_impossible_and_adds_to_what_is_there() {
    let history = History::default();
    let biased = |bias: &[(u32, f32)], greedy: bool| Sampling {
        logit_bias: bias.iter().copied().collect(),
        ..if greedy { Sampling::greedy() } else { Sampling::default() }
    };
    assert_eq!(sample(&LOGITS, &history, &biased(&[(0, 2.5)], true), None), Ok(0));
    assert_eq!(sample(&LOGITS, &history, &biased(&[(1, -0.5), (3, -1.5)], true), None), Ok(1));
    assert_eq!(sample(&LOGITS, &history, &biased(&[(9, 100.0)], true), None), Ok(1));
    let only_two = biased(&[(2, 100.0)], false);
    assert_eq!(counts(&only_two), [0, 0, 4000, 0, 0]);
    let without = counts(&biased(&[(1, -100.0), (4, 100.0)], false));
    assert_eq!((without[1], without[4]), (0, 0), "what is impossible stays so");
    // With a penalty, both count.
    let mut seen = History::default();
    seen.push(0);
    let mut both = biased(&[(0, 2.5)], true);
    both.presence_penalty = 1.0;
    assert_eq!(sample(&LOGITS, &seen, &both, None), Ok(1));
    let allowed = TokenSet::new(vec![0b00100]);
    assert_eq!(sample(&LOGITS, &history, &biased(&[(2, -100.0)], true), Some(&allowed)), Ok(2));
}

/// The draw by its definition: in the order of ids, with the whole weight summed one by one.
#[test]
fn a_large_vocabulary_gives_the_tokens_of_the_definition() {
    let noise = |index: u32, salt: u32| {
        let bits = philox::philox([index, salt, 0, 0], [7, 7]);
        f64::from(bits[0]) / f64::from(u32::MAX)
    };
    for (size, salt) in [(1, 0), (63, 1), (64, 2), (65, 3), (5_000, 4), (33_000, 5)] {
        let logits: Vec<f32> = (0..size)
            .map(|index| {
                // Sums of noise are about normal; a tenth is far below, some is impossible.
                let value = (0..6).map(|part| noise(index, salt * 8 + part)).sum::<f64>();
                let value = (value - 3.0) * 6.0 - if index % 10 == 3 { 80.0 } else { 0.0 };
                let possible = index % 17 != 5 || size == 1;
                if possible { format!("{value}").parse().unwrap() } else { f32::NEG_INFINITY }
            })
            .collect();
        for seed in 0..40 {
            let sampling = Sampling { seed, temperature: 0.9, ..Sampling::default() };
            let kept = by_definition(&logits, &sampling);
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weight = |token: &u32| {
                let logit = logits[usize::try_from(*token).unwrap()];
                ((f64::from(logit) - f64::from(highest)) / f64::from(sampling.temperature)).exp()
            };
            let total: f64 = kept.iter().map(weight).sum();
            let mut remaining = philox::uniform(seed, 0) * total;
            let expected = kept.iter().find(|token| {
                remaining -= weight(token);
                remaining < 0.0
            });
            let found = sample(&logits, &History::default(), &sampling, None);
            assert_eq!(found.ok().as_ref(), expected, "{size} tokens, seed {seed}");
        }
    }
}
