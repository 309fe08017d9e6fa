//! Vectors from text: [`EmbeddingModel`], a handle that runs one encoder on a thread of its own.
//! It never generates text and never computes on the caller's thread.

mod encoder;
mod pooling;
mod serve;
mod tokens;

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::encoder::Encoder;
use self::serve::{Job, serve};
use crate::card::ModelCard;
use crate::load::error::LoadError;
use crate::options::LoadOptions;

/// The most texts of one request.
pub const MAX_INPUTS: usize = 2048;
/// The largest sum of the lengths of one request's texts, in bytes.
pub const MAX_INPUT_BYTES: usize = 8 << 20;

/// The vectors of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// One per text, in order, each of [`EmbeddingModel::dimensions`] finite values.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens computed, those that mark beginning and end included and those cut off not.
    pub prompt_tokens: u32,
}

/// Why there are no vectors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// The queue is full, or the model is shutting down: try another node, or later.
    #[error("the model's queue is full")]
    Overloaded,
    /// The caller no longer wants them.
    #[error("cancelled")]
    Cancelled,
    /// Change the request.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// The model failed at this request.
    #[error("internal error: {0}")]
    Internal(String),
}

/// A loaded encoder. Clones share it; dropping the last one cancels what runs and joins its thread.
#[derive(Clone)]
pub struct EmbeddingModel {
    inner: Arc<Inner>,
}

struct Inner {
    card: ModelCard,
    dimensions: usize,
    shutdown: CancellationToken,
    /// `None` only while dropping.
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddingModel {
    /// Loads a directory as sentence-transformers writes it and starts the model's thread. Blocks
    /// while it reads. Of the options, the directory, the threads and the queue count.
    ///
    /// # Errors
    /// [`LoadError`] by what the operator can do.
    pub fn load(options: LoadOptions) -> Result<Self, LoadError> {
        options.limits()?;
        let encoder = Encoder::load(&options)?;
        let (card, dimensions) = (encoder.card().clone(), encoder.dimensions());
        let (jobs, submitted) = sync_channel(options.queue);
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let builder = std::thread::Builder::new().name("embedding".to_owned());
        let thread = builder
            .spawn(move || serve(&encoder, &submitted, &stop))
            .map_err(|error| LoadError::Thread(error.to_string()))?;
        let (jobs, thread) = (Some(jobs), Some(thread));
        Ok(Self { inner: Arc::new(Inner { card, dimensions, shutdown, jobs, thread }) })
    }

    /// What is loaded; its context is the longest text, in tokens.
    pub fn card(&self) -> &ModelCard {
        &self.inner.card
    }

    /// Values per vector.
    pub fn dimensions(&self) -> usize {
        self.inner.dimensions
    }

    /// The vectors of `inputs`. Texts beyond the context are cut off at its end, as
    /// sentence-transformers does. Cancelling, or dropping the future, ends the work after the pass
    /// that runs.
    ///
    /// # Errors
    /// [`EmbedError`].
    pub async fn embed(
        &self,
        inputs: Vec<String>,
        cancel: CancellationToken,
    ) -> Result<Embeddings, EmbedError> {
        check(&inputs)?;
        let (reply, answer) = oneshot::channel();
        let jobs = self.inner.jobs.as_ref().ok_or(EmbedError::Overloaded)?;
        jobs.try_send(Job::new(inputs, reply)).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => EmbedError::Overloaded,
        })?;
        // Cancel-safe: dropping the answer's receiver is how the thread learns of it.
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(EmbedError::Cancelled),
            answer = answer => answer.unwrap_or(Err(EmbedError::Overloaded)),
        }
    }
}

fn check(inputs: &[String]) -> Result<(), EmbedError> {
    let refuse = |reason: String| Err(EmbedError::BadRequest(reason));
    if inputs.is_empty() || inputs.len() > MAX_INPUTS {
        return refuse(format!("there must be 1 to {MAX_INPUTS} texts, not {}", inputs.len()));
    }
    let bytes: usize = inputs.iter().map(String::len).sum();
    if bytes > MAX_INPUT_BYTES {
        return refuse(format!(
            "the texts have {bytes} bytes; at most {MAX_INPUT_BYTES} may be sent"
        ));
    }
    Ok(())
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the embedding model had panicked");
        }
    }
}
