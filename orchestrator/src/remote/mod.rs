//! A model behind any server with the OpenAI API: vLLM, SGLang, TGI, llama.cpp. Such an engine is
//! as little trusted as any peer: what it sends is bounded and counted here, and what it says of
//! itself is held against that. It never runs a model.

mod body;
mod chunk;
mod client;
mod events;
mod probe;
mod tally;

pub use client::{EngineFault, RemoteLimits};

use crate::text_model::TextModel;
use body::{Endpoint, body};
use cactus_inference::{GenerateError, GenerateEvent, GenerateRequest, Load, Overloaded};
use cactus_protocol::{Feature, Hash, TraceContext};
use client::Client;
use probe::Abilities;
use reqwest::header::HeaderValue;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tally::{Tally, Terms};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::Span;

/// Events that may wait for the task; it takes them as they come.
const CAPACITY: usize = 64;

/// Where an engine is and what of it is sold.
#[derive(Clone)]
pub struct RemoteConfig {
    /// The API's base, for example `http://127.0.0.1:8000/v1`.
    pub url: String,
    /// The whole `Authorization` header, marked as sensitive.
    pub key: Option<HeaderValue>,
    /// The model's id there, and on the network.
    pub model: String,
    /// Prompt and output together, in tokens, when the engine does not say or is to serve less.
    pub context_length: Option<u32>,
    /// Requests that run at once.
    pub slots: usize,
    /// Requests that may wait in the engine's own queue.
    pub queue: usize,
    /// How long it may take.
    pub limits: RemoteLimits,
}

/// Why an engine cannot be sold.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Change the flags or the engine.
    #[error(transparent)]
    Engine(#[from] EngineFault),
    /// It does not say how long its context is.
    #[error("the engine does not say how long its context is; say it with --engine-context")]
    UnknownContext,
    /// The node was told to stop before the engine was there.
    #[error("stopped before the engine could be reached")]
    Stopped,
}

/// A model behind an OpenAI-compatible server.
pub struct RemoteModel {
    client: Client,
    model: String,
    revision: Hash,
    context_length: u32,
    abilities: Abilities,
    slots: usize,
    queue: usize,
    running: Arc<AtomicUsize>,
    available: Arc<AtomicBool>,
}

impl RemoteModel {
    /// Waits until the engine answers, then finds out what it can do.
    ///
    /// # Errors
    /// [`RemoteError`] when waiting cannot help.
    pub async fn connect(
        config: RemoteConfig,
        stop: &CancellationToken,
    ) -> Result<Self, RemoteError> {
        let client = Client::new(&config.url, config.key.clone(), config.limits.clone())?;
        loop {
            let attempt = stop.run_until_cancelled(Self::probe(&client, &config)).await;
            match attempt.ok_or(RemoteError::Stopped)? {
                Err(RemoteError::Engine(fault)) if fault.may_pass() => {
                    tracing::warn!(%fault, "waiting for the engine");
                    let _ = timeout(config.limits.retry, stop.cancelled()).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn probe(client: &Client, config: &RemoteConfig) -> Result<Self, RemoteError> {
        let told = probe::find_model(client, &config.model).await?;
        let context_length = match (config.context_length, told) {
            (Some(chosen), Some(told)) => chosen.min(told),
            (chosen, told) => chosen.or(told).ok_or(RemoteError::UnknownContext)?,
        };
        let abilities = probe::abilities(client, &config.model).await?;
        tracing::info!(model = config.model, context_length, features = ?abilities.features, "engine found");
        Ok(Self {
            client: client.clone(),
            model: config.model.clone(),
            revision: name_only(&config.model),
            context_length,
            abilities,
            slots: config.slots,
            queue: config.queue,
            running: Arc::default(),
            available: Arc::new(AtomicBool::new(true)),
        })
    }

    /// Looks after the engine until `stop`: one that goes away is not offered until it is back.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let limits = &self.client.limits;
        loop {
            let pause = if self.is_available() { limits.watch } else { limits.retry };
            let look = probe::find_model(&self.client, &self.model);
            if timeout(pause, stop.cancelled()).await.is_ok() {
                return;
            }
            let Some(found) = stop.run_until_cancelled(look).await else { return };
            let was = self.available.swap(found.is_ok(), Ordering::SeqCst);
            match found {
                Ok(_) if !was => tracing::info!(model = self.model, "the engine is back"),
                Err(fault) if was => {
                    tracing::warn!(model = self.model, %fault, "the engine is away");
                }
                _ => {}
            }
        }
    }

    fn terms(&self, request: &GenerateRequest) -> Terms {
        Terms {
            max_tokens: request.max_tokens,
            context_length: self.context_length,
            logprobs: request.logprobs,
            ids_promised: self.abilities.features.contains(&Feature::TokenIds),
        }
    }
}

impl EngineFault {
    /// Whether the engine may be there later without anybody changing anything.
    fn may_pass(&self) -> bool {
        !matches!(self, Self::Forbidden(_) | Self::Missing(_) | Self::Rejected(_))
    }

    fn into_error(self) -> GenerateError {
        match self {
            Self::Rejected(message) => GenerateError::BadRequest(message),
            Self::Unreachable(_) | Self::Busy(_) | Self::Forbidden(_) | Self::Missing(_) => {
                GenerateError::Unavailable(self.to_string())
            }
            Self::TimedOut { .. } | Self::Broken(_) => GenerateError::Internal(self.to_string()),
        }
    }
}

/// What weights an engine really has cannot be seen from here, so the revision says only which
/// name they are sold under.
fn name_only(model: &str) -> Hash {
    Hash::of(format!("cactus::remote-model::{model}").as_bytes())
}

impl TextModel for RemoteModel {
    fn id(&self) -> &str {
        &self.model
    }

    fn revision(&self) -> Hash {
        self.revision
    }

    fn context_length(&self) -> u32 {
        self.context_length
    }

    fn features(&self) -> Vec<Feature> {
        self.abilities.features.clone()
    }

    fn is_available(&self) -> bool {
        self.available.load(Ordering::SeqCst)
    }

    fn current_load(&self) -> Load {
        let running = self.running.load(Ordering::SeqCst);
        let active = running.min(self.slots);
        Load { active, free_slots: self.slots - active, queued: running - active }
    }

    fn generate(
        &self,
        request: GenerateRequest,
        cancel: CancellationToken,
    ) -> Result<mpsc::Receiver<GenerateEvent>, Overloaded> {
        let place = Place::take(&self.running, self.slots + self.queue).ok_or(Overloaded)?;
        let (events, receiver) = mpsc::channel(CAPACITY);
        let terms = self.terms(&request);
        let run = Run {
            client: self.client.clone(),
            endpoint: Endpoint::of(&request),
            body: body(&self.model, &request, self.abilities.switches),
            tally: Tally::new(terms),
            events,
            available: Arc::clone(&self.available),
            submitted: Instant::now(),
            trace: cactus_telemetry::context_of(&Span::current()),
        };
        tokio::spawn(async move {
            // Dropping the run closes the connection, and the engine stops.
            let _ = cancel.run_until_cancelled(run.finish()).await;
            drop(place);
        });
        Ok(receiver)
    }
}

/// One of the engine's places.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(running: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let more = |count: usize| (count < most).then_some(count + 1);
        running.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(Self(Arc::clone(running)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One request on its way.
struct Run {
    client: Client,
    endpoint: Endpoint,
    body: serde_json::Value,
    tally: Tally,
    events: mpsc::Sender<GenerateEvent>,
    available: Arc<AtomicBool>,
    submitted: Instant,
    trace: Option<TraceContext>,
}

/// The task no longer listens.
struct Gone;

impl Run {
    async fn finish(mut self) {
        let events = self.events.clone();
        let ended = tokio::select! {
            // A task that is dropped without a word is as good as cancelled.
            () = events.closed() => return,
            ended = self.pass_on() => ended,
        };
        let last = match ended {
            Ok(Ok(finished)) => finished,
            Ok(Err(Gone)) => return,
            Err(fault) => {
                if matches!(fault, EngineFault::Unreachable(_)) {
                    self.available.store(false, Ordering::SeqCst);
                }
                GenerateEvent::Failed(fault.into_error())
            }
        };
        let _ = self.events.send(last).await;
    }

    async fn pass_on(&mut self) -> Result<Result<GenerateEvent, Gone>, EngineFault> {
        let mut answer = self.client.ask(self.endpoint, &self.body, self.trace).await?;
        let mut ttft = None;
        let broken = |reason: tally::Contradiction| EngineFault::Broken(reason.to_string());
        while let Some(piece) = answer.next().await? {
            let Some(delta) = self.tally.take(piece).map_err(broken)? else { continue };
            if ttft.is_none() {
                ttft = Some(self.submitted.elapsed());
                let prompt_tokens = self.tally.prompt_tokens();
                if self.events.send(GenerateEvent::Started { prompt_tokens }).await.is_err() {
                    return Ok(Err(Gone));
                }
            }
            if self.events.send(delta).await.is_err() {
                return Ok(Err(Gone));
            }
        }
        if !self.tally.has_finished() {
            return Err(EngineFault::Unreachable("its answer broke off".to_owned()));
        }
        let account = self.tally.close().map_err(broken)?;
        if !account.silent_tokens.is_empty() {
            let (text, logprobs) = (String::new(), Vec::new());
            let token_ids = account.silent_tokens;
            let silent = GenerateEvent::Delta { text, token_ids, logprobs };
            if self.events.send(silent).await.is_err() {
                return Ok(Err(Gone));
            }
        }
        Ok(Ok(GenerateEvent::Finished {
            reason: account.reason,
            prompt_tokens: account.prompt_tokens,
            output_tokens: account.output_tokens,
            ttft: ttft.unwrap_or(Duration::ZERO),
            total: self.submitted.elapsed(),
        }))
    }
}
