//! The handle that the rest of the program holds: a model on threads of its own.
//! It never computes on the caller's thread.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::card::ModelCard;
use crate::engine::Engine;
use crate::engines;
use crate::gauges::{Gauges, Totals};
use crate::load::error::LoadError;
use crate::load::files::ModelFiles;
use crate::options::LoadOptions;
use crate::request::{FinishReason, GenerateError, GenerateEvent, GenerateRequest};
use crate::scheduler::{Limits, Scheduler};
use crate::sequence::Reply;
use crate::text::codec::Codec;
use crate::threads::{Prompts, Submission, serve};

/// How busy a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Sequences being computed.
    pub active: usize,
    /// Sequences that could start at once.
    pub free_slots: usize,
    /// Requests waiting.
    pub queued: usize,
}

/// The queue is full, or the model is shutting down: try another node, or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model's queue is full")]
pub struct Overloaded;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The answer's text.
    pub text: String,
    /// Every token generated, the end-of-turn token included.
    pub token_ids: Vec<u32>,
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens generated.
    pub output_tokens: u32,
    /// From submission to the first token.
    pub ttft: Duration,
    /// From submission to the end.
    pub total: Duration,
}

/// Why there is no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompleteError {
    /// Try later.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The request failed.
    #[error(transparent)]
    Failed(#[from] GenerateError),
}

/// A loaded model. Clones share it; dropping the last one cancels what runs and joins its threads.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    card: ModelCard,
    limits: Limits,
    queue: usize,
    gauges: Arc<Gauges>,
    follows_formats: bool,
    shutdown: CancellationToken,
    /// `None` only while dropping.
    submissions: Option<SyncSender<Submission>>,
    threads: Vec<JoinHandle<()>>,
}

impl Model {
    /// Loads a directory and starts the model's threads. Blocks while it reads.
    ///
    /// # Errors
    /// [`LoadError`] by what the operator can do.
    pub fn load(options: LoadOptions) -> Result<Self, LoadError> {
        options.limits()?;
        let mut files = ModelFiles::open(&options.dir)?;
        files.serve_as(options.id.as_deref())?;
        let codec = Codec::load(&mut files)?;
        let engine = engines::load(&mut files, options.engine())?;
        if codec.vocabulary() > engine.vocabulary() {
            let reason = format!(
                "it has token ids up to {}, the model a vocabulary of {}",
                codec.vocabulary().saturating_sub(1),
                engine.vocabulary()
            );
            return Err(files.malformed("tokenizer.json", &reason));
        }
        Self::start(engine, codec, &options)
    }

    /// Serves an engine of the caller's, with the tokenizer and the chat template in `options.dir`.
    ///
    /// # Errors
    /// [`LoadError`] by what the operator can do.
    pub fn serve(engine: Box<dyn Engine>, options: &LoadOptions) -> Result<Self, LoadError> {
        let codec = Codec::load(&mut ModelFiles::open(&options.dir)?)?;
        Self::start(engine, codec, options)
    }

    /// Serves any engine; the codec turns its tokens into text.
    fn start(
        engine: Box<dyn Engine>,
        codec: Codec,
        options: &LoadOptions,
    ) -> Result<Self, LoadError> {
        let limits = options.limits()?;
        let (card, vocabulary) = (engine.card().clone(), engine.vocabulary());
        let (gauges, shutdown) = (Arc::default(), CancellationToken::new());
        let follows_formats = codec.follows_formats();
        let codec = Arc::new(codec);
        let scheduler = Scheduler::new(engine, codec.clone(), limits, Arc::clone(&gauges));
        let (submissions, submitted) = sync_channel(options.queue);
        let (jobs, tokenised) = sync_channel(options.queue);
        let context = card.context_length;
        let stop = shutdown.clone();
        let threads = vec![
            spawn("prompts", {
                let stop = stop.clone();
                let prompts = Prompts { codec, context, vocabulary, stop };
                move || prompts.serve(&submitted, &jobs)
            })?,
            spawn("model", move || serve(scheduler, &tokenised, &stop))?,
        ];
        let submissions = Some(submissions);
        let inner = Inner {
            card,
            limits,
            queue: options.queue,
            gauges,
            follows_formats,
            shutdown,
            submissions,
            threads,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What is loaded.
    pub fn card(&self) -> &ModelCard {
        &self.inner.card
    }

    /// How busy it is now.
    pub fn current_load(&self) -> Load {
        let (active, queued) = (self.inner.gauges.active(), self.inner.gauges.queued());
        let free_slots = self.inner.limits.slots.saturating_sub(active).saturating_sub(queued);
        Load { active, free_slots, queued }
    }

    /// Whether it keeps to a [`crate::ResponseFormat`]; that takes a tokenizer whose tokens are
    /// known byte for byte, and a token that ends the answer.
    pub fn follows_formats(&self) -> bool {
        self.inner.follows_formats
    }

    /// What it has done since it was loaded.
    pub fn totals(&self) -> Totals {
        self.inner.gauges.totals()
    }

    /// Queues a request and returns the channel of its events. Never blocks. Cancelling, or
    /// dropping the receiver, ends the request within one step.
    ///
    /// # Errors
    /// [`Overloaded`] if the queue is full. Everything else is reported as an event.
    pub fn generate(
        &self,
        request: GenerateRequest,
        cancel: CancellationToken,
    ) -> Result<mpsc::Receiver<GenerateEvent>, Overloaded> {
        let ticket = self.inner.gauges.ticket(self.inner.queue).ok_or(Overloaded)?;
        let (events, receiver) = mpsc::channel(self.event_capacity(request.max_tokens));
        let reply = Reply { events, cancel, submitted: Instant::now() };
        let submissions = self.inner.submissions.as_ref().ok_or(Overloaded)?;
        submissions.try_send(Submission { request, reply, ticket }).map_err(|_| Overloaded)?;
        Ok(receiver)
    }

    /// Runs a request to its end.
    ///
    /// # Errors
    /// [`CompleteError`].
    pub async fn complete(
        &self,
        request: GenerateRequest,
        cancel: CancellationToken,
    ) -> Result<Completion, CompleteError> {
        let mut events = self.generate(request, cancel)?;
        let (mut text, mut token_ids) = (String::new(), Vec::new());
        while let Some(event) = events.recv().await {
            match event {
                GenerateEvent::Started { .. } => {}
                GenerateEvent::Delta { text: more, token_ids: ids, .. } => {
                    text.push_str(&more);
                    token_ids.extend(ids);
                }
                GenerateEvent::Finished { reason, prompt_tokens, output_tokens, ttft, total } => {
                    return Ok(Completion {
                        text,
                        token_ids,
                        reason,
                        prompt_tokens,
                        output_tokens,
                        ttft,
                        total,
                    });
                }
                GenerateEvent::Failed(error) => return Err(error.into()),
            }
        }
        Err(GenerateError::Internal("the model's thread ended".to_owned()).into())
    }

    /// Room for every event of a request: one per token, and `Started`, a last `Delta` and the
    /// end. Channels allocate as they fill, so the room costs nothing until it is used.
    fn event_capacity(&self, max_tokens: u32) -> usize {
        let context = self.inner.card.context_length;
        let tokens = if max_tokens == 0 { context } else { max_tokens.min(context) };
        usize::try_from(tokens).unwrap_or(usize::MAX).saturating_add(3).min(mpsc_limit())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.submissions = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the model had panicked");
            }
        }
    }
}

/// The largest channel that tokio makes.
fn mpsc_limit() -> usize {
    tokio::sync::Semaphore::MAX_PERMITS
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LoadError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.map_err(|error| LoadError::Thread(error.to_string()))
}
