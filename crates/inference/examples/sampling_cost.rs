//! Measures what choosing a token costs and prints one line for each vocabulary and setting:
//!
//! ```text
//! cargo run --release -p cactus-inference --example sampling_cost
//! ```
//!
//! Logits are normal with a standard deviation of 2.5, much flatter than those of a trained model,
//! so that few tokens can be left out. Times are the least of several rounds, in processor time of
//! this thread where the system tells it. It never loads a model.

use std::time::{Duration, Instant};

use cactus_inference::{History, Sampling, sample};

const ROUNDS: u32 = 5;

fn main() -> anyhow::Result<()> {
    let base = Sampling::default();
    let settings = [
        ("temperature 1", base.clone()),
        ("top_p 0.95", Sampling { top_p: 0.95, ..base.clone() }),
        ("top_k 50", Sampling { top_k: 50, ..base.clone() }),
        ("min_p 0.05", Sampling { min_p: 0.05, ..base.clone() }),
        ("presence penalty", Sampling { presence_penalty: 0.5, ..base }),
        ("greedy", Sampling::greedy()),
    ];
    for vocabulary in [4_096, 32_768, 131_072] {
        let logits = logits(vocabulary);
        for (name, sampling) in &settings {
            let mut least = Duration::MAX;
            for _ in 0..ROUNDS {
                least = least.min(round(&logits, sampling)?);
            }
            println!("{vocabulary:7} tokens, {name:16} {:8.1} µs", least.as_secs_f64() * 1e6);
        }
    }
    Ok(())
}

/// The time of one token.
fn round(logits: &[f32], sampling: &Sampling) -> anyhow::Result<Duration> {
    let tokens = u32::try_from(30_000_000 / logits.len())?;
    let mut history = History::default();
    (0..200).for_each(|token| history.push(token * 13));
    let begun = processor_time();
    for seed in 0..u64::from(tokens) {
        std::hint::black_box(sample(
            logits,
            &history,
            &Sampling { seed, ..sampling.clone() },
            None,
        )?);
    }
    Ok(processor_time().saturating_sub(begun) / tokens)
}

/// Sums of twelve numbers from a multiplicative generator are about normal.
fn logits(count: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / 16_777_216.0
    };
    (0..count).map(|_| ((0..12).map(|_| uniform()).sum::<f32>() - 6.0) * 2.5).collect()
}

/// Of this thread as Linux counts it, elsewhere by the clock.
fn processor_time() -> Duration {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let first = counted.and_then(|text| text.split(' ').next()?.parse().ok());
    first.map_or_else(
        || {
            static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
            START.get_or_init(Instant::now).elapsed()
        },
        Duration::from_nanos,
    )
}
