//! What a node sells and who may have it: admits tasks from every link and hands each to its
//! model. It never talks to a socket and never signs anything but its own receipts.

use crate::{
    assignment::{Assignment, Outlet, unix_milliseconds},
    embed_job::EmbedJob,
    job::{self, Job},
    shelf::{ServedModel, Shelf},
    task_book::TaskBook,
    text_model::TextModel,
    translate::engine_request,
    vector_model::VectorModel,
};
use cactus_protocol::{
    Address, Feature, OutOfBounds, Price, PublicKey, Scope, SecretKey, Signed, Work,
    frame::{Failure, Heartbeat, Hello, PROTOCOL_VERSION, Task},
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Who the node is: the keys and names that its signatures carry.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The network that every signature counts in.
    pub scope: Scope,
    /// Who owns the stake and is paid.
    pub operator: Address,
    /// Signs hellos and receipts.
    pub node_key: SecretKey,
}

/// The state of the accelerators.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GpuReading {
    /// Degrees Celsius of the hottest one; 0 without one.
    pub celsius: u16,
    /// Bytes of memory in use.
    pub memory_bytes: u64,
}

/// What the node did since it started.
#[derive(Debug, Default)]
pub struct Totals {
    answered: AtomicU64,
    output_tokens: AtomicU64,
}

/// The node's worker; all links share one.
pub struct Worker {
    identity: Identity,
    shelf: Shelf,
    room: Arc<Semaphore>,
    book: Arc<TaskBook>,
    gpu: watch::Receiver<GpuReading>,
    shutdown: CancellationToken,
    totals: Arc<Totals>,
    /// Cloned for each embedding task that runs or waits.
    embedding: Arc<()>,
}

/// Why a task is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The node finishes what it has and takes nothing new.
    #[error("the node is shutting down")]
    Draining,
    /// No slot and no room in the queue.
    #[error("no slot and no room in the queue")]
    Overloaded,
    /// The model is not here.
    #[error("the model is not loaded here")]
    ModelNotLoaded,
    /// The server wants to pay less than the advert asks.
    #[error(
        "not offered at this price: {} and {} octas per 1,000 tokens offered, {} and {} asked",
        offered.prompt.0, offered.output.0, asked.prompt.0, asked.output.0
    )]
    PriceTooLow {
        /// The task's price.
        offered: Price,
        /// The advert's price.
        asked: Price,
    },
    /// The task runs on another link or has its receipt already.
    #[error("the task is running or was answered before")]
    AlreadyTaken,
    /// The model's engine is away.
    #[error("the model's engine cannot be reached now")]
    EngineAway,
    /// The engine here does not do what the request needs.
    #[error("the engine here does not serve {0:?}")]
    Unsupported(Vec<Feature>),
    /// The model makes something else than the task asks for.
    #[error("the model makes something else than the task asks for")]
    OtherKind,
    /// Nobody can serve the request.
    #[error(transparent)]
    BadRequest(#[from] OutOfBounds),
}

impl Rejection {
    /// The reason on the wire.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Draining | Self::Overloaded | Self::EngineAway => Failure::Overloaded,
            Self::ModelNotLoaded | Self::PriceTooLow { .. } => Failure::ModelNotLoaded,
            Self::Unsupported(_) | Self::OtherKind => Failure::Unsupported,
            Self::AlreadyTaken => Failure::Internal,
            Self::BadRequest(_) => Failure::BadRequest,
        }
    }
}

impl Worker {
    /// A worker that takes tasks until `shutdown`.
    pub fn new(
        identity: Identity,
        shelf: Shelf,
        gpu: watch::Receiver<GpuReading>,
        shutdown: CancellationToken,
    ) -> Self {
        let room = usize::from(shelf.slots) + usize::from(shelf.queue);
        Self {
            identity,
            shelf,
            room: Arc::new(Semaphore::new(room)),
            book: Arc::default(),
            gpu,
            shutdown,
            totals: Arc::default(),
            embedding: Arc::default(),
        }
    }

    /// Who the node is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The node's public key.
    pub fn node(&self) -> PublicKey {
        self.identity.node_key.public()
    }

    /// What the node did since it started.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Cancelled when no new task is taken any more.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// What the node says on a new link.
    pub(crate) fn hello(&self, server: Address, nonce: [u8; 32]) -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            nonce,
            server,
            operator: self.identity.operator,
            node: self.node(),
            advert: self.shelf.advert(),
            hardware: self.shelf.hardware.clone(),
            software: concat!("cactus-orchestrator/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Signs the `Hello` in our own scope; a peer chooses only the nonce and its name in it.
    pub(crate) fn sign_hello(
        &self,
        hello: Hello,
    ) -> Result<Signed<Hello>, cactus_protocol::BadSignature> {
        Signed::new(hello, self.identity.scope, &self.identity.node_key)
    }

    /// The load now. A draining node has no free slot.
    pub(crate) fn heartbeat(&self) -> Heartbeat {
        let (chats, queued) = self.shelf.load();
        // All but the worker's own.
        let embedding = Arc::strong_count(&self.embedding).saturating_sub(1);
        let active = u16::try_from(chats.saturating_add(embedding)).unwrap_or(u16::MAX);
        let free =
            if self.shutdown.is_cancelled() { 0 } else { self.shelf.slots.saturating_sub(active) };
        let gpu = *self.gpu.borrow();
        Heartbeat {
            active,
            free_slots: free,
            queued: u16::try_from(queued).unwrap_or(u16::MAX),
            kv_cache_milli: 0,
            gpu_celsius: gpu.celsius,
            gpu_memory_bytes: gpu.memory_bytes,
            unavailable: self.shelf.unavailable(),
        }
    }

    /// Takes a task of `server` and starts it, or says why not.
    ///
    /// # Errors
    /// [`Rejection`], with nothing started and nothing remembered.
    pub(crate) fn admit(
        &self,
        server: Address,
        task: Task,
        cancel: CancellationToken,
    ) -> Result<Running, Rejection> {
        if self.shutdown.is_cancelled() {
            return Err(Rejection::Draining);
        }
        task.work.check()?;
        let model = self.shelf.find(task.work.model()).ok_or(Rejection::ModelNotLoaded)?;
        let (offered, asked) = (task.price, self.shelf.price);
        if offered.prompt < asked.prompt || offered.output < asked.output {
            return Err(Rejection::PriceTooLow { offered, asked });
        }
        let servable = servable(&task.work, model)?;
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Rejection::Overloaded)?;
        let claim = self.book.claim(server, task.task_id).ok_or(Rejection::AlreadyTaken)?;
        let assignment = Assignment {
            identity: self.identity.clone(),
            revision: model.revision(),
            server,
            claim,
            room,
            cancel,
            totals: Arc::clone(&self.totals),
            shutdown: self.shutdown.clone(),
            started: Instant::now(),
            started_ms: unix_milliseconds(),
            task,
        };
        start(assignment, servable, &self.embedding)
    }
}

/// A model that serves what a task asks for.
enum Servable {
    Chat(Arc<dyn TextModel>),
    Embed(Arc<dyn VectorModel>),
}

fn servable(work: &Work, model: &ServedModel) -> Result<Servable, Rejection> {
    let (request, model) = match (work, model) {
        (Work::Chat(request), ServedModel::Text(model)) => (request, model),
        (Work::Embed(_), ServedModel::Vectors(model)) => {
            return Ok(Servable::Embed(Arc::clone(model)));
        }
        _ => return Err(Rejection::OtherKind),
    };
    let features = model.features();
    let mut missing = request.needed_features();
    missing.retain(|needed| !features.contains(needed));
    if !missing.is_empty() {
        return Err(Rejection::Unsupported(missing));
    }
    if !model.is_available() {
        return Err(Rejection::EngineAway);
    }
    Ok(Servable::Chat(Arc::clone(model)))
}

fn start(
    assignment: Assignment,
    servable: Servable,
    embedding: &Arc<()>,
) -> Result<Running, Rejection> {
    match (servable, &assignment.task.work) {
        (Servable::Chat(model), Work::Chat(request)) => {
            let request = engine_request(assignment.server, &assignment.task, request);
            let engine = job::engine_span(model.id());
            let generate = || model.generate(request, assignment.cancel.clone());
            let events = engine.in_scope(generate).map_err(|_| Rejection::Overloaded)?;
            Ok(Running::Chat(Job::new(assignment, events, engine)))
        }
        (Servable::Embed(model), Work::Embed(request)) => {
            let inputs = request.inputs.clone();
            Ok(Running::Embed(EmbedJob::new(assignment, model, inputs, Arc::clone(embedding))))
        }
        _ => Err(Rejection::OtherKind),
    }
}

/// A task that was taken.
pub(crate) enum Running {
    Chat(Job),
    Embed(EmbedJob),
}

impl Running {
    /// Runs to the end; the last frame is `Done` or `Failed`.
    pub(crate) async fn run(self, outlet: Outlet) {
        match self {
            Self::Chat(job) => job.run(outlet).await,
            Self::Embed(job) => job.run(outlet).await,
        }
    }
}

impl Totals {
    pub(crate) fn add(&self, output_tokens: u32) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.output_tokens.fetch_add(u64::from(output_tokens), Ordering::Relaxed);
    }

    /// Tasks with a signed receipt.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Tokens in those receipts.
    pub fn output_tokens(&self) -> u64 {
        self.output_tokens.load(Ordering::Relaxed)
    }
}
