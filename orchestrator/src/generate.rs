//! Asks a model once, on this machine alone: no network, no keys, no money.

use crate::args::GenerateArgs;
use anyhow::{Context, bail};
use cactus_inference::{
    ChatMessage, Device, FinishReason, GenerateEvent, GenerateRequest, LoadOptions, Model, Prompt,
    Sampling,
};
use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// The longest prompt that is read from standard input, in bytes.
const MAX_PROMPT_BYTES: u64 = 16 << 20;

/// What one answer took.
struct Statistics {
    reason: FinishReason,
    prompt_tokens: u32,
    output_tokens: u32,
    ttft: Duration,
    total: Duration,
}

/// How the model was loaded.
struct Loaded {
    device: String,
    time: Duration,
}

/// Streams the answer to `out` and statistics to `notes`; with `--json` one document to `out`.
/// Returns whether the answer is complete, that is, not cancelled by `interrupt`.
///
/// # Errors
/// When the model cannot be loaded or refuses the request.
pub async fn generate(
    args: GenerateArgs,
    interrupt: CancellationToken,
    out: &mut (dyn Write + Send),
    notes: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let request = request(&args)?;
    let mut options = LoadOptions::new(&args.model);
    options.threads = args.threads;
    options.slots = 1;
    let loading = Instant::now();
    let model = spawn_blocking(move || {
        options.device = Device::open(args.device)?;
        let device = options.device.to_string();
        Model::load(options).map(|model| (model, device))
    });
    let (model, device) = model.await?.context("cannot load the model")?;
    let load = Loaded { device, time: loading.elapsed() };
    let mut events = model.generate(request, interrupt)?;
    let mut text = String::new();
    let statistics = loop {
        match events.recv().await {
            Some(GenerateEvent::Started { .. }) => {}
            Some(GenerateEvent::Delta { text: more, .. }) if args.json => text.push_str(&more),
            Some(GenerateEvent::Delta { text: more, .. }) => {
                out.write_all(more.as_bytes())?;
                out.flush()?;
            }
            Some(GenerateEvent::Finished { reason, prompt_tokens, output_tokens, ttft, total }) => {
                break Statistics { reason, prompt_tokens, output_tokens, ttft, total };
            }
            Some(GenerateEvent::Failed(error)) => return Err(error.into()),
            None => bail!("the engine stopped without a word; see its log"),
        }
    };
    if args.json {
        let document = document(&model, &text, &statistics, &load);
        writeln!(out, "{document}")?;
    } else {
        writeln!(out)?;
        writeln!(notes, "{}", statistics.line(&load))?;
    }
    Ok(statistics.reason != FinishReason::Cancelled)
}

fn request(args: &GenerateArgs) -> anyhow::Result<GenerateRequest> {
    let mut prompt = args.prompt.clone();
    if prompt == "-" {
        prompt.clear();
        let mut input = io::stdin().lock().take(MAX_PROMPT_BYTES);
        input.read_to_string(&mut prompt).context("standard input")?;
    }
    let message = |role: &str, content: String| ChatMessage { role: role.to_owned(), content };
    let system = args.system.clone().map(|text| message("system", text));
    let messages = system.into_iter().chain([message("user", prompt)]).collect();
    let request = GenerateRequest {
        sampling: Sampling {
            temperature: args.temperature,
            seed: args.seed,
            ..Sampling::default()
        },
        max_tokens: args.max_tokens,
        ..GenerateRequest::new(Prompt::Chat(messages))
    };
    request.check()?;
    Ok(request)
}

impl Statistics {
    /// Tokens after the first, over the time after the first.
    fn tokens_per_second(&self) -> Option<f64> {
        let seconds = self.total.saturating_sub(self.ttft).as_secs_f64();
        let tokens = self.output_tokens.checked_sub(1)?;
        (tokens > 0 && seconds > 0.0).then(|| f64::from(tokens) / seconds)
    }

    fn line(&self, load: &Loaded) -> String {
        let speed = self
            .tokens_per_second()
            .map_or_else(String::new, |speed| format!(", {speed:.1} tokens/s"));
        format!(
            "{} prompt + {} output tokens, first after {} ms{speed}, {} ms in all (loaded in {} ms, {})",
            self.prompt_tokens,
            self.output_tokens,
            self.ttft.as_millis(),
            self.total.as_millis(),
            load.time.as_millis(),
            load.device,
        )
    }
}

fn document(
    model: &Model,
    text: &str,
    statistics: &Statistics,
    load: &Loaded,
) -> serde_json::Value {
    let card = model.card();
    serde_json::json!({
        "model": card.id,
        "revision": format!("0x{}", hex::encode(card.revision)),
        "text": text,
        "finish_reason": statistics.reason,
        "prompt_tokens": statistics.prompt_tokens,
        "output_tokens": statistics.output_tokens,
        "device": load.device,
        "load_ms": load.time.as_secs_f64() * 1000.0,
        "ttft_ms": statistics.ttft.as_secs_f64() * 1000.0,
        "total_ms": statistics.total.as_secs_f64() * 1000.0,
        "tokens_per_second": statistics.tokens_per_second(),
    })
}
