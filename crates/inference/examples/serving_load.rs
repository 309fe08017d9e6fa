//! Measures the scheduler on this machine and prints one JSON document:
//!
//! ```text
//! cargo run --release -p cactus-inference --example serving_load -- --model DIR
//! ```
//!
//! What the scheduler itself costs per step is measured with an engine that computes nothing, as
//! time of its thread on a processor, so that other programs do not count. Throughput and time to
//! first token are of the whole model under 1, 4, 16 and 64 streams. It never judges a figure.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use cactus_inference::{
    Capacity, ChatMessage, Decode, Engine, EngineError, GenerateEvent, GenerateRequest,
    LoadOptions, Matrix, Model, ModelCard, Prefill, Prompt, Sampling, SequenceId, SequenceOutput,
    Step, Tap,
};
use clap::Parser;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Args {
    /// A Hugging Face model directory.
    #[arg(long)]
    model: PathBuf,
    /// Compute threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Tokens to generate per stream.
    #[arg(long, default_value_t = 64)]
    tokens: u32,
    /// Words of the prompt that all streams have in common.
    #[arg(long, default_value_t = 60)]
    common: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let model = Model::load(options(&args, 64))?;
    let mut streams = Vec::new();
    for count in [1, 4, 16, 64] {
        streams.push(under_load(&model, &args, count).await?);
    }
    let totals = model.totals();
    let card = model.card().clone();
    drop(model);
    let document = json!({
        "model": card.id,
        "parameters": card.parameters,
        "threads": args.threads,
        "scheduler": [overhead(&card, &args, 1.0).await?, overhead(&card, &args, 0.0).await?],
        "streams": streams,
        "prompt_tokens": totals.prompt_tokens,
        "reused_tokens": totals.reused_tokens,
        "preemptions": totals.preemptions,
    });
    println!("{document:#}");
    Ok(())
}

fn options(args: &Args, slots: usize) -> LoadOptions {
    let threads = Some(args.threads);
    LoadOptions { threads, slots, queue: 1024, ..LoadOptions::new(&args.model) }
}

fn request(args: &Args, stream: usize, temperature: f32) -> GenerateRequest {
    let content =
        format!("{}Write a story about the number {stream}.", "cactus ".repeat(args.common));
    let message = ChatMessage { role: "user".to_owned(), content };
    let seed = u64::try_from(stream).unwrap_or_default();
    GenerateRequest {
        sampling: Sampling { temperature, seed, ..Sampling::default() },
        max_tokens: args.tokens,
        ..GenerateRequest::new(Prompt::Chat(vec![message]))
    }
}

/// Waits for the end; returns the tokens, and when the first came.
async fn read(model: &Model, request: GenerateRequest) -> anyhow::Result<(u32, Duration)> {
    let mut events = model.generate(request, CancellationToken::new())?;
    while let Some(event) = events.recv().await {
        match event {
            GenerateEvent::Finished { output_tokens, ttft, .. } => {
                return Ok((output_tokens, ttft));
            }
            GenerateEvent::Failed(error) => return Err(error.into()),
            GenerateEvent::Started { .. } | GenerateEvent::Delta { .. } => {}
        }
    }
    anyhow::bail!("an answer has no end")
}

async fn under_load(model: &Model, args: &Args, streams: usize) -> anyhow::Result<Value> {
    let (started, busy) = (Instant::now(), busy_time(None)?);
    let answers = (0..streams).map(|stream| read(model, request(args, stream + streams, 1.0)));
    let answers = futures::future::join_all(answers).await;
    let answers = answers.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let (wall, busy) = (started.elapsed().as_secs_f64(), busy_time(None)?.saturating_sub(busy));
    let tokens: u32 = answers.iter().map(|(tokens, _)| tokens).sum();
    let mut first: Vec<Duration> = answers.into_iter().map(|(_, first)| first).collect();
    first.sort();
    Ok(json!({
        "streams": streams,
        "tokens": tokens,
        "tokens_per_second": f64::from(tokens) / wall,
        "tokens_per_processor_second": f64::from(tokens) / busy.as_secs_f64(),
        "ttft_p50_ms": first[first.len() / 2].as_secs_f64() * 1e3,
        "ttft_last_ms": first[first.len() - 1].as_secs_f64() * 1e3,
    }))
}

/// Processor time of this process, or of its thread of that name.
fn busy_time(thread: Option<&str>) -> anyhow::Result<Duration> {
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task").context("needs Linux")? {
        let task = task?.path();
        let name = std::fs::read_to_string(task.join("comm"))?;
        if thread.is_none_or(|thread| thread == name.trim()) {
            let times = std::fs::read_to_string(task.join("schedstat"))?;
            let busy = times.split_whitespace().next().context("schedstat is empty")?;
            total += busy.parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(total))
}

/// What 64 streams cost the model's thread per decode step beyond the engine's part.
async fn overhead(card: &ModelCard, args: &Args, temperature: f32) -> anyhow::Result<Value> {
    const STREAMS: usize = 64;
    let steps = Arc::new(AtomicU64::new(0));
    let mut engine = Idle::new(card.clone(), steps.clone());
    let own = engine.cost(STREAMS)?;
    let model = Model::serve(Box::new(engine), &options(args, STREAMS))?;
    // The first run makes all threads and buffers.
    for measured in [false, true] {
        let (busy, before) = (busy_time(Some("model"))?, steps.load(Ordering::Relaxed));
        let answers = (0..STREAMS).map(|stream| {
            let max_tokens = card.context_length / 2;
            read(&model, GenerateRequest { max_tokens, ..request(args, stream, temperature) })
        });
        for answer in futures::future::join_all(answers).await {
            answer?;
        }
        let steps = steps.load(Ordering::Relaxed) - before;
        let busy = busy_time(Some("model"))?.saturating_sub(busy);
        if measured {
            let each = busy.as_secs_f64() * 1e6 / steps as f64;
            return Ok(json!({
                "streams": STREAMS,
                "vocabulary": VOCABULARY,
                "temperature": temperature,
                "steps": steps,
                "microseconds_per_step": each - own.as_secs_f64() * 1e6,
                "engine_microseconds_per_step": own.as_secs_f64() * 1e6,
            }));
        }
    }
    anyhow::bail!("nothing was measured")
}

const VOCABULARY: usize = 4096;

/// An engine that computes nothing: every token is followed by the same one.
struct Idle {
    card: ModelCard,
    logits: Vec<f32>,
    steps: Arc<AtomicU64>,
}

impl Idle {
    fn new(card: ModelCard, steps: Arc<AtomicU64>) -> Self {
        let mut logits = vec![-30.0; VOCABULARY];
        logits[1000] = 3.0;
        Self { card, logits, steps }
    }

    fn answer(&self, sequence: SequenceId) -> SequenceOutput {
        let logits = Matrix { columns: VOCABULARY, values: self.logits.clone() };
        SequenceOutput { sequence, logits, hidden: Matrix::default() }
    }

    /// What a decode step of this engine itself costs.
    fn cost(&mut self, streams: usize) -> anyhow::Result<Duration> {
        const ROUNDS: u32 = 1000;
        let ids = (0..).map(|id| (SequenceId(id), 0));
        let batch = Decode { tokens: ids.take(streams).collect() };
        let busy = busy_time(None)?;
        for _ in 0..ROUNDS {
            std::hint::black_box(self.decode(&batch, Tap::Last)?);
        }
        Ok(busy_time(None)?.saturating_sub(busy) / ROUNDS)
    }
}

impl Engine for Idle {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn vocabulary(&self) -> usize {
        VOCABULARY
    }

    fn capacity(&self) -> Capacity {
        Capacity { total_positions: 1 << 30, free_positions: 1 << 30 }
    }

    fn reserve(&mut self, _sequence: SequenceId, _positions: usize) -> Result<(), EngineError> {
        Ok(())
    }

    fn prefill(&mut self, batch: &Prefill, _tap: Tap) -> Result<Step, EngineError> {
        self.steps.fetch_add(1, Ordering::Relaxed);
        let outputs = batch.chunks.iter().map(|chunk| self.answer(chunk.sequence)).collect();
        Ok(Step { outputs })
    }

    fn decode(&mut self, batch: &Decode, _tap: Tap) -> Result<Step, EngineError> {
        self.steps.fetch_add(1, Ordering::Relaxed);
        let outputs = batch.tokens.iter().map(|(sequence, _)| self.answer(*sequence)).collect();
        Ok(Step { outputs })
    }

    fn free(&mut self, _sequence: SequenceId) {}
}
