//! What a node sells and who may have it: admits tasks from every link and hands each to its
//! model. It never talks to a socket and never signs anything but its own receipts.

use crate::{
    job::{Job, JobParts},
    task_book::TaskBook,
    text_model::TextModel,
    translate::engine_request,
};
use cactus_protocol::{
    Address, ChatRequest, Feature, Hash, OutOfBounds, Price, PublicKey, Scope, SecretKey, Signed,
    Work,
    frame::{
        Advert, Failure, HardwareReport, Heartbeat, Hello, ModelKind, ModelOffer, PROTOCOL_VERSION,
        Task,
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::{Semaphore, watch};
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

/// What the node sells.
#[derive(Clone)]
pub struct Shelf {
    /// The loaded models; each id at most once.
    pub models: Vec<Arc<dyn TextModel>>,
    /// Octas per 1,000 tokens, for all of them.
    pub price: Price,
    /// How many tasks run at once.
    pub slots: u16,
    /// How many tasks may wait for a slot.
    pub queue: u16,
    /// Where the node says it is.
    pub region: String,
    /// What it runs on.
    pub hardware: HardwareReport,
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
    #[error("the model does not make embeddings")]
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
            advert: self.advert(),
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

    fn advert(&self) -> Advert {
        let models = self.shelf.models.iter().map(|model| {
            let card = model.card();
            ModelOffer {
                id: card.id.clone(),
                revision: Hash(card.revision),
                context_length: card.context_length,
                price: self.shelf.price,
                kind: ModelKind::Chat,
                features: model.features(),
            }
        });
        Advert {
            models: models.collect(),
            slots: self.shelf.slots,
            queue: self.shelf.queue,
            region: self.shelf.region.clone(),
        }
    }

    /// The load now. A draining node has no free slot.
    pub(crate) fn heartbeat(&self) -> Heartbeat {
        let loads = self.shelf.models.iter().map(|model| model.current_load());
        let (active, queued) = loads.fold((0usize, 0usize), |(active, queued), load| {
            (active + load.active, queued + load.queued)
        });
        let active = u16::try_from(active).unwrap_or(u16::MAX);
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
            unavailable: self.unavailable(),
        }
    }

    /// Places in the advert of models whose engine is away.
    fn unavailable(&self) -> Vec<u16> {
        let models = (0..).zip(&self.shelf.models);
        models.filter(|(_, model)| !model.is_available()).map(|(place, _)| place).collect()
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
    ) -> Result<Job, Rejection> {
        if self.shutdown.is_cancelled() {
            return Err(Rejection::Draining);
        }
        task.work.check()?;
        let asked = self.shelf.price;
        let mut models = self.shelf.models.iter();
        let model = models
            .find(|model| model.card().id == task.work.model())
            .ok_or(Rejection::ModelNotLoaded)?;
        if task.price.prompt < asked.prompt || task.price.output < asked.output {
            let offered = task.price;
            return Err(Rejection::PriceTooLow { offered, asked });
        }
        let request = engine_request(server, &task, servable(&task.work, model.as_ref())?);
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Rejection::Overloaded)?;
        let claim = self.book.claim(server, task.task_id).ok_or(Rejection::AlreadyTaken)?;
        let parts = JobParts {
            identity: self.identity.clone(),
            model: Arc::clone(model),
            server,
            task,
            claim,
            room,
            cancel,
            totals: Arc::clone(&self.totals),
            shutdown: self.shutdown.clone(),
        };
        Job::start(parts, request).map_err(|_| Rejection::Overloaded)
    }
}

/// The request, if this model serves it.
fn servable<'a>(work: &'a Work, model: &dyn TextModel) -> Result<&'a ChatRequest, Rejection> {
    let Work::Chat(request) = work else { return Err(Rejection::OtherKind) };
    let features = model.features();
    let mut missing = request.needed_features();
    missing.retain(|needed| !features.contains(needed));
    if !missing.is_empty() {
        return Err(Rejection::Unsupported(missing));
    }
    if !model.is_available() {
        return Err(Rejection::EngineAway);
    }
    Ok(request)
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
