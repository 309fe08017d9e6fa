//! How long a choice takes among 10, 100, 1,000 and 10,000 nodes, as one line of JSON. Rounds of
//! the sizes alternate, so that what else the machine does falls on all of them alike; the least of
//! a size's rounds counts.

use cactus_dispatch::{Bounds, Fleet, Needs, NewMember, Outcome, Prefix, Rules, Timing, Weights};
use cactus_protocol::{
    Address, Hash, Octas, Price, PublicKey,
    frame::{Feature, ModelKind, ModelOffer},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

const SIZES: [u32; 4] = [10, 100, 1_000, 10_000];
const ROUNDS: usize = 400;
const CHOICES: u32 = 1_000;

fn new_member(id: u32) -> NewMember {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&id.to_be_bytes());
    NewMember {
        key: PublicKey(key),
        operator: Address(key),
        stake: Octas(10_000_000 + u64::from(id)),
        slots: 8,
        queue: 8,
        region: format!("region-{}", id % 7),
        gpus: vec!["NVIDIA H200".into()],
        offers: vec![ModelOffer {
            id: "model".into(),
            revision: Hash([7; 32]),
            context_length: 8_192,
            price: Price { prompt: Octas(1_000), output: Octas(2_000 + u64::from(id % 50)) },
            kind: ModelKind::Chat,
            features: vec![Feature::TokenIds],
        }],
    }
}

/// A fleet of measured nodes with some tasks on them.
fn fleet(size: u32, now: Instant) -> Fleet {
    let bounds = Bounds { min_stake: Octas(100), exposure_milli: 500 };
    let fleet = Fleet::new(Rules { bounds, weights: Weights::default() }, now);
    let mut rng = SmallRng::seed_from_u64(1);
    for id in 0..size {
        let member = fleet.link(new_member(id), now);
        for _ in 0..20 {
            let timing = Timing {
                ttft: Duration::from_millis(rng.random_range(50..400)),
                total: Duration::from_millis(rng.random_range(1_000..5_000)),
                prompt_tokens: 100,
                output_tokens: 100,
                at_once: rng.random_range(1..9),
            };
            fleet.record(&member, Outcome::Verified(Some(timing)), now);
        }
        member.hear(rng.random_range(0..6), &[], now);
    }
    fleet.refresh(now);
    fleet
}

/// Nanoseconds of one choice.
fn round(fleet: &Fleet, needs: &Needs, now: Instant, rng: &mut SmallRng) -> f64 {
    let started = Instant::now();
    for _ in 0..CHOICES {
        black_box(fleet.choose(black_box(needs), now, rng));
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(CHOICES)
}

fn main() {
    let now = Instant::now();
    let text = "You are a helpful assistant. ".repeat(150);
    let base = Needs {
        model: "model".into(),
        prompt_tokens: 1_100,
        max_tokens: 200,
        max_lock: Octas(u64::MAX),
        ..Needs::default()
    };
    let with_prefix = Needs { prefix: Prefix::of(1, [text.as_str()]), ..base.clone() };
    let fleets = SIZES.map(|size| fleet(size, now));
    let mut rng = SmallRng::seed_from_u64(2);
    let (mut plain, mut affine) = ([f64::MAX; SIZES.len()], [f64::MAX; SIZES.len()]);
    for _ in 0..ROUNDS {
        for (place, fleet) in fleets.iter().enumerate() {
            plain[place] = plain[place].min(round(fleet, &base, now, &mut rng));
            affine[place] = affine[place].min(round(fleet, &with_prefix, now, &mut rng));
        }
    }
    let document = serde_json::json!({
        "nodes": SIZES,
        "nanoseconds_per_choice": plain.map(f64::round),
        "nanoseconds_with_prefix": affine.map(f64::round),
        "ten_thousand_over_ten": (plain[3] / plain[0] * 100.0).round() / 100.0,
    });
    println!("{document}");
}
