//! The handle that the rest of the program holds: a model on a thread of its own.
//! It never computes on the caller's thread.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::card::ModelCard;
use crate::load::error::LoadError;
use crate::request::{GenerateEvent, GenerateRequest};

/// What to load and how much of the machine to give it.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// A Hugging Face model directory.
    pub dir: PathBuf,
    /// Compute threads; `None` takes what the machine has.
    pub threads: Option<usize>,
    /// Sequences decoded together.
    pub slots: usize,
    /// Requests that may wait for a slot before [`Overloaded`] is answered.
    pub queue: usize,
    /// Memory for the KV cache in bytes; `None` holds `slots` full contexts, up to 4 GiB.
    pub kv_cache_bytes: Option<u64>,
    /// The operator's power cap: no sequence decodes faster than this.
    pub tokens_per_second_limit: Option<f64>,
}

impl LoadOptions {
    /// Four slots, a queue of 32, all threads, no power cap.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            threads: None,
            slots: 4,
            queue: 32,
            kv_cache_bytes: None,
            tokens_per_second_limit: None,
        }
    }
}

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

/// A loaded model. Clones share it; dropping the last one cancels what runs and joins the thread.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    card: ModelCard,
}

impl Model {
    /// Loads a directory and starts the model's thread. Blocks while it reads.
    ///
    /// # Errors
    /// [`LoadError`] by what the operator can do.
    pub fn load(options: LoadOptions) -> Result<Self, LoadError> {
        Err(LoadError::Unsupported(options.dir.display().to_string()))
    }

    /// What is loaded.
    pub fn card(&self) -> &ModelCard {
        &self.inner.card
    }

    /// How busy it is now.
    pub fn current_load(&self) -> Load {
        Load { active: 0, free_slots: 0, queued: 0 }
    }

    /// Queues a request and returns the channel of its events. Dropping the receiver cancels it.
    ///
    /// # Errors
    /// [`Overloaded`] if the queue is full. Everything else is reported as an event.
    pub fn generate(
        &self,
        _request: GenerateRequest,
        _cancel: CancellationToken,
    ) -> Result<mpsc::Receiver<GenerateEvent>, Overloaded> {
        Err(Overloaded)
    }
}
