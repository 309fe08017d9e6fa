//! Measures an engine on a device with random weights of a published shape, after comparing the device
//! with this machine's processor on a real model. Prints one JSON line:
//!
//! ```text
//! cargo run --release -p cactus-inference --features cuda --example device_bench -- --shape llama-8b
//! ```
//!
//! `scripts/build-cuda --package cactus-inference --example device_bench` builds it on a machine
//! without a device. `copy_bytes_per_second` is what copying within the device's memory reaches
//! (reads and writes); `bandwidth_ratio` is the weights read per second by a single stream against it.
//! The engine alone is measured: no scheduler, no sampling.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cactus_inference::{
    CandleEngine, Chunk, Decode, Device, DeviceChoice, Engine, EngineOptions, Prefill, SequenceId,
    Step, Tap,
};
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};

/// Tokens of a prompt that are computed in one pass.
const CHUNK: usize = 256;
/// The largest difference between logits of a device and of the processor, against the largest.
const TOLERANCE: f32 = 5e-2;

#[derive(Parser)]
struct Args {
    /// What computes: cuda, cuda:N or cpu.
    #[arg(long, default_value = "cuda")]
    device: DeviceChoice,
    /// The shape of the measured model.
    #[arg(long, value_enum, default_value = "llama-8b")]
    shape: Shape,
    /// The model on which device and processor are compared.
    #[arg(long, default_value = "models/sprout")]
    compare: PathBuf,
    /// Streams that are decoded together.
    #[arg(long, default_value_t = 64)]
    streams: u64,
    /// Tokens of each stream before decoding is measured.
    #[arg(long, default_value_t = 1024)]
    context: usize,
    /// Tokens that each stream decodes.
    #[arg(long, default_value_t = 128)]
    tokens: usize,
    /// Where the random weights are written: 16 GB for the largest shape.
    #[arg(long, default_value = "target/device_bench")]
    work: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shape {
    #[value(name = "llama-8b")]
    Llama8b,
    #[value(name = "llama-1b")]
    Llama1b,
    /// For trying the program out.
    Tiny,
}

/// Vocabulary, hidden, intermediate, layers, heads, key heads.
type Sizes = [usize; 6];

impl Shape {
    fn sizes(self) -> Sizes {
        match self {
            Self::Llama8b => [128_256, 4096, 14_336, 32, 32, 8],
            Self::Llama1b => [128_256, 2048, 8192, 16, 32, 8],
            Self::Tiny => [1024, 256, 512, 4, 4, 2],
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let device = Device::open(args.device)?;
    let difference = compare(&args.compare, &device)?;
    let directory = random_model(&args.work, args.shape)?;
    let started = Instant::now();
    let slots = usize::try_from(args.streams)?;
    let options = EngineOptions { device: device.clone(), ..EngineOptions::new(slots) };
    let mut engine = CandleEngine::load(&directory, options)?;
    let load = started.elapsed();
    let one = measure(&mut engine, &args, 1)?;
    let many = measure(&mut engine, &args, args.streams)?;
    let copy = device.copy_bandwidth()?;
    let weights = engine.card().parameters * 2;
    let line = json!({
        "device": device.to_string(),
        "shape": args.shape.name(),
        "context": args.context,
        "largest_logit_difference": difference,
        "load_s": load.as_secs_f64(),
        "weight_bytes": weights,
        "copy_bytes_per_second": copy,
        "bandwidth_ratio": one.tokens_per_second * weights as f64 / copy,
        "one_stream": one.json(),
        "streams": args.streams,
        "all_streams": many.json(),
    });
    println!("{line}");
    Ok(())
}

/// What decoding took.
struct Speed {
    prompt_tokens_per_second: f64,
    tokens_per_second: f64,
    median: Duration,
    /// The 99th of a hundred steps: the time between two tokens of a stream.
    slow: Duration,
}

impl Speed {
    fn json(&self) -> Value {
        json!({
            "prompt_tokens_per_second": self.prompt_tokens_per_second,
            "tokens_per_second": self.tokens_per_second,
            "step_p50_ms": self.median.as_secs_f64() * 1e3,
            "step_p99_ms": self.slow.as_secs_f64() * 1e3,
        })
    }
}

fn measure(engine: &mut CandleEngine, args: &Args, streams: u64) -> anyhow::Result<Speed> {
    let vocabulary = u32::try_from(engine.vocabulary())?;
    let started = Instant::now();
    let mut last = Vec::new();
    for (id, seed) in (0..streams).zip(0..) {
        engine.reserve(SequenceId(id), args.context + args.tokens)?;
        let prompt: Vec<u32> = prompt(seed, vocabulary).take(args.context).collect();
        for tokens in prompt.chunks(CHUNK) {
            let chunk = Chunk { sequence: SequenceId(id), tokens: tokens.to_vec() };
            engine.prefill(&Prefill { chunks: vec![chunk] }, Tap::Last)?;
        }
        last.push((SequenceId(id), seed % vocabulary));
    }
    let prefill = started.elapsed();
    let mut steps = Vec::with_capacity(args.tokens);
    for _ in 0..args.tokens {
        let started = Instant::now();
        let step = engine.decode(&Decode { tokens: last }, Tap::Last)?;
        steps.push(started.elapsed());
        last = likeliest(&step);
    }
    (0..streams).for_each(|id| engine.free(SequenceId(id)));
    let total: Duration = steps.iter().sum();
    steps.sort_unstable();
    let at = |share: usize| steps.get(steps.len() * share / 100).copied().unwrap_or_default();
    let rate = |tokens: usize, time: Duration| tokens as f64 * streams as f64 / time.as_secs_f64();
    Ok(Speed {
        prompt_tokens_per_second: rate(args.context, prefill),
        tokens_per_second: rate(args.tokens, total),
        median: at(50),
        slow: at(99),
    })
}

/// The largest difference of logits after every token of some prompts, against the largest logit.
fn compare(model: &Path, device: &Device) -> anyhow::Result<f32> {
    let mut here = CandleEngine::load(model, EngineOptions::new(4))?;
    let options = EngineOptions { device: device.clone(), ..EngineOptions::new(4) };
    let mut there = CandleEngine::load(model, options)?;
    let vocabulary = u32::try_from(here.vocabulary())?;
    let mut worst = 0.0_f32;
    let lengths = [1, 17, 64, 100];
    for engine in [&mut here, &mut there] {
        for (id, length) in (0..).zip(lengths) {
            engine.reserve(SequenceId(id), length + 1)?;
        }
    }
    let chunk = |(id, length): (u32, usize)| Chunk {
        sequence: SequenceId(u64::from(id)),
        tokens: prompt(id, vocabulary).take(length).collect(),
    };
    let batch = Prefill { chunks: (0..).zip(lengths).map(chunk).collect() };
    let next = Decode { tokens: (0..4).map(|id| (SequenceId(id), 3)).collect() };
    let mut both = [Vec::new(), Vec::new()];
    for (engine, outputs) in [&mut here, &mut there].into_iter().zip(&mut both) {
        outputs.extend(engine.prefill(&batch, Tap::AllLogits)?.outputs);
        outputs.extend(engine.decode(&next, Tap::Last)?.outputs);
    }
    let [expected, found] = both;
    for (expected, found) in expected.iter().zip(&found) {
        let (expected, found) = (&expected.logits.values, &found.logits.values);
        let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        for (expected, found) in expected.iter().zip(found) {
            let difference = (expected - found).abs() / largest;
            ensure!(difference < TOLERANCE, "a logit is {found} there and {expected} here");
            worst = worst.max(difference);
        }
    }
    Ok(worst)
}

fn prompt(seed: u32, vocabulary: u32) -> impl Iterator<Item = u32> {
    (0..).map(move |token: u32| (token * 7 + seed * 13 + 1) % vocabulary)
}

fn likeliest(step: &Step) -> Vec<(SequenceId, u32)> {
    let choose = |logits: &[f32]| {
        let best = (0..).zip(logits).reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map_or(0, |(token, _)| token)
    };
    step.outputs.iter().map(|output| (output.sequence, choose(&output.logits.values))).collect()
}

/// A directory with random weights; one that is there already is taken as it is.
fn random_model(work: &Path, shape: Shape) -> anyhow::Result<PathBuf> {
    let directory = work.join(shape.name());
    let weights = directory.join("model.safetensors");
    if weights.exists() {
        return Ok(directory);
    }
    std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let [vocabulary, hidden, intermediate, layers, heads, key_heads] = shape.sizes();
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "vocab_size": vocabulary, "hidden_size": hidden, "intermediate_size": intermediate,
        "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": key_heads, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5, "rope_theta": 500_000.0, "hidden_act": "silu",
        "tie_word_embeddings": false,
    });
    std::fs::write(directory.join("config.json"), config.to_string())?;
    let partial = directory.join("model.partial");
    write_weights(&partial, &tensors(shape.sizes()))?;
    std::fs::rename(partial, weights)?;
    Ok(directory)
}

fn tensors(
    [vocabulary, hidden, intermediate, layers, heads, keys]: Sizes,
) -> Vec<(String, Vec<usize>)> {
    let key_width = hidden / heads * keys;
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_owned(), vec![vocabulary, hidden]),
        ("model.norm.weight".to_owned(), vec![hidden]),
        ("lm_head.weight".to_owned(), vec![vocabulary, hidden]),
    ];
    for layer in 0..layers {
        for (name, tensor_shape) in [
            ("self_attn.q_proj", vec![hidden, hidden]),
            ("self_attn.k_proj", vec![key_width, hidden]),
            ("self_attn.v_proj", vec![key_width, hidden]),
            ("self_attn.o_proj", vec![hidden, hidden]),
            ("mlp.gate_proj", vec![intermediate, hidden]),
            ("mlp.up_proj", vec![intermediate, hidden]),
            ("mlp.down_proj", vec![hidden, intermediate]),
            ("input_layernorm", vec![hidden]),
            ("post_attention_layernorm", vec![hidden]),
        ] {
            tensors.push((format!("model.layers.{layer}.{name}.weight"), tensor_shape));
        }
    }
    tensors
}

/// Safetensors of bfloat16: random signs and fractions, all of magnitude 2⁻⁶ to 2⁻⁵.
fn write_weights(path: &Path, tensors: &[(String, Vec<usize>)]) -> anyhow::Result<()> {
    let (mut header, mut end) = (serde_json::Map::new(), 0_usize);
    for (name, shape) in tensors {
        let start = end;
        end += shape.iter().product::<usize>() * 2;
        let entry = json!({ "dtype": "BF16", "shape": shape, "data_offsets": [start, end] });
        header.insert(name.clone(), entry);
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(&u64::try_from(header.len())?.to_le_bytes())?;
    file.write_all(&header)?;
    // xorshift64 (Marsaglia, 2003); four weights of each state.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..end.div_ceil(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let weights = state & 0x807f_807f_807f_807f | 0x3c80_3c80_3c80_3c80;
        file.write_all(&weights.to_le_bytes())?;
    }
    file.flush()?;
    Ok(())
}
