//! Measures the engine on this machine and prints one JSON line:
//!
//! ```text
//! cargo run --release -p cactus-inference --example engine_throughput -- --model DIR --threads N
//! ```
//!
//! `floor_tokens_per_second` is what reading every weight once per token, as it is stored, would
//! allow at the measured read bandwidth; the ratios are against it. Weights that fit the processor's cache read
//! faster than memory, so a small model can exceed 1. It never uses the scheduler or the sampler's
//! filters: the engine alone runs on this thread.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use cactus_inference::{
    CandleEngine, Chunk, Decode, Engine, EngineOptions, Prefill, SequenceId, Step, Tap,
};
use clap::Parser;
use rayon::prelude::*;
use serde_json::json;

#[derive(Parser)]
struct Args {
    /// A Hugging Face model directory.
    #[arg(long)]
    model: PathBuf,
    /// Compute threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Tokens to decode per stream.
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// Prompt tokens per stream.
    #[arg(long, default_value_t = 32)]
    prompt: usize,
    /// Runs of each measurement; the best counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let options = EngineOptions { threads: Some(args.threads), ..EngineOptions::new(8) };
    let started = Instant::now();
    let mut engine = CandleEngine::load(&args.model, options)?;
    let load = started.elapsed();
    let bandwidth = read_bandwidth(&args)?;
    let one = best(&mut engine, &args, 1)?;
    let eight = best(&mut engine, &args, 8)?;
    let weight_bytes = engine.card().memory.weights;
    let floor = bandwidth / weight_bytes as f64;
    let line = json!({
        "model": engine.card().id,
        "parameters": engine.card().parameters,
        "threads": args.threads,
        "load_ms": load.as_secs_f64() * 1e3,
        "weight_bytes": weight_bytes,
        "read_bandwidth_bytes_per_second": bandwidth,
        "floor_tokens_per_second": floor,
        "prefill_tokens_per_second": one.prefill,
        "decode_1_tokens_per_second": one.decode,
        "decode_1_ratio": one.decode / floor,
        "decode_8_tokens_per_second": eight.decode,
        "decode_8_ratio": eight.decode / floor,
        "batching_gain": eight.decode / one.decode,
    });
    println!("{line}");
    Ok(())
}

/// Tokens per second over all streams.
#[derive(Clone, Copy)]
struct Speed {
    prefill: f64,
    decode: f64,
}

fn best(engine: &mut CandleEngine, args: &Args, streams: u64) -> anyhow::Result<Speed> {
    let mut best = Speed { prefill: 0.0, decode: 0.0 };
    for _ in 0..args.runs {
        let speed = measure(engine, args, streams)?;
        best = Speed {
            prefill: best.prefill.max(speed.prefill),
            decode: best.decode.max(speed.decode),
        };
    }
    Ok(best)
}

fn measure(engine: &mut CandleEngine, args: &Args, streams: u64) -> anyhow::Result<Speed> {
    let vocabulary = u32::try_from(engine.vocabulary())?;
    let prompt = |stream: u32| {
        (0..).map(move |token: u32| (token * 7 + stream * 13) % vocabulary).take(args.prompt)
    };
    let mut chunks = Vec::new();
    for (id, stream) in (0..streams).zip(0..) {
        engine.reserve(SequenceId(id), args.prompt + args.tokens)?;
        chunks.push(Chunk { sequence: SequenceId(id), tokens: prompt(stream).collect() });
    }
    let started = Instant::now();
    let mut step = engine.prefill(&Prefill { chunks }, Tap::Last)?;
    let prefill = started.elapsed();
    let started = Instant::now();
    for _ in 0..args.tokens {
        step = engine.decode(&Decode { tokens: likeliest(&step) }, Tap::Last)?;
    }
    let decode = started.elapsed();
    (0..streams).for_each(|id| engine.free(SequenceId(id)));
    let rate = |tokens: usize, time: Duration| tokens as f64 * streams as f64 / time.as_secs_f64();
    Ok(Speed { prefill: rate(args.prompt, prefill), decode: rate(args.tokens, decode) })
}

fn likeliest(step: &Step) -> Vec<(SequenceId, u32)> {
    let choose = |logits: &[f32]| {
        let best = (0..).zip(logits).reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map_or(0, |(token, _)| token)
    };
    step.outputs.iter().map(|output| (output.sequence, choose(&output.logits.values))).collect()
}

/// Bytes per second that all threads together read from 1 GiB of F32, the best of several runs.
fn read_bandwidth(args: &Args) -> anyhow::Result<f64> {
    const VALUES: usize = 1 << 28;
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(args.threads).build().context("threads")?;
    let buffer: Vec<f32> = (0..VALUES).map(|index| f32::from(index % 251 == 0)).collect();
    let mut best = 0.0_f64;
    for _ in 0..args.runs {
        let started = Instant::now();
        let sum: f32 = pool.install(|| buffer.par_chunks(VALUES / args.threads / 4).map(sum).sum());
        anyhow::ensure!(sum > 0.0, "the sum of the buffer cannot be zero");
        best = best.max((VALUES * size_of::<f32>()) as f64 / started.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Sixty-four independent sums, so that memory and not the adder is what limits.
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 64];
    for chunk in values.chunks_exact(64) {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums.iter().sum()
}
