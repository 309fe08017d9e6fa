//! Many requests in one file, answered at low priority when there is room. An answer is stored in
//! the transaction that decides to pay for it, so that a batch goes on after a crash without
//! paying for any line twice. It never holds a whole input or output in memory.

mod finish;
mod line;
mod lines;
mod run;
mod store;
mod validate;

pub use line::{Answered, Line};
pub use lines::answered;
pub use run::run;
pub use store::{Batch, Counts, State, cancelling, counts, insert, list, unfinished};

use crate::{app::App, error::ApiError, files::may_be_id};
use cactus_protocol::Address;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

/// What a batch's lines may be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Plain,
    /// `/v1/embeddings`.
    Embeddings,
}

impl Endpoint {
    const ALL: [Self; 3] = [Self::Chat, Self::Plain, Self::Embeddings];

    /// Its path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Plain => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// The endpoint with this path.
    pub fn parse(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.as_str() == path)
    }
}

/// Batches under way in this process.
#[derive(Debug, Default)]
pub struct Batches {
    bell: Notify,
    running: Mutex<HashMap<String, CancellationToken>>,
    rooms: Mutex<HashMap<Address, Arc<Semaphore>>>,
}

impl Batches {
    /// There may be something to do.
    pub fn wake(&self) {
        self.bell.notify_one();
    }

    /// Room for the lines of all of a payer's batches together, made of so many places.
    fn room(&self, payer: Address, places: usize) -> Arc<Semaphore> {
        let mut rooms = self.rooms.lock();
        // Nobody holds the room of a payer whose batches have ended.
        rooms.retain(|_, room| Arc::strong_count(room) > 1);
        let room = rooms.entry(payer).or_insert_with(|| Arc::new(Semaphore::new(places)));
        Arc::clone(room)
    }

    async fn woken(&self) {
        self.bell.notified().await;
    }

    /// Takes a batch up, unless it runs already.
    fn begin(&self, id: &str) -> Option<CancellationToken> {
        let mut running = self.running.lock();
        if running.contains_key(id) {
            return None;
        }
        let cancelled = CancellationToken::new();
        running.insert(id.to_owned(), cancelled.clone());
        Some(cancelled)
    }

    fn end(&self, id: &str) {
        self.running.lock().remove(id);
    }

    /// No new line of a batch begins in this process.
    pub fn stop(&self, id: &str) {
        if let Some(running) = self.running.lock().get(id) {
            running.cancel();
        }
    }

    /// The same of all batches.
    pub fn stop_all(&self) {
        self.running.lock().values().for_each(CancellationToken::cancel);
    }
}

/// A batch of this payer.
///
/// # Errors
/// [`ApiError::NotFound`], also for batches of others.
pub async fn owned(app: &App, client: &Address, id: &str) -> Result<Batch, ApiError> {
    let batch = if may_be_id(id) { store::find(&app.pool, id).await? } else { None };
    batch.filter(|batch| batch.client() == *client).ok_or_else(|| {
        let id: String = id.chars().take(80).collect();
        ApiError::NotFound(format!("this account has no batch `{id}`"))
    })
}

/// Stops a batch: no new line begins, those under way end.
///
/// # Errors
/// [`ApiError::Conflict`] when it has ended or is about to.
pub async fn cancel(app: &App, client: &Address, id: &str) -> Result<Batch, ApiError> {
    let batch = owned(app, client, id).await?;
    if !store::cancel(&app.pool, &batch).await? {
        return Err(ApiError::Conflict {
            code: "batch_ended",
            message: format!("the batch is {}", batch.state.as_str()),
        });
    }
    app.batches.stop(&batch.id);
    app.batches.wake();
    owned(app, client, id).await
}

/// OpenAI's batch object.
pub fn describe(batch: &Batch, counts: Counts) -> Value {
    let at = |state: State| batch.times.get(state.as_str());
    json!({
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint.as_str(),
        "errors": batch.errors,
        "input_file_id": batch.input_file,
        "completion_window": batch.completion_window,
        "status": batch.state.as_str(),
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": batch.created_ms / 1000,
        "in_progress_at": at(State::InProgress),
        "expires_at": batch.expires_ms / 1000,
        "finalizing_at": at(State::Finalizing),
        "completed_at": at(State::Completed),
        "failed_at": at(State::Failed),
        "expired_at": at(State::Expired),
        "cancelling_at": at(State::Cancelling),
        "cancelled_at": at(State::Cancelled),
        "request_counts": {
            "total": counts.total,
            "completed": counts.completed,
            "failed": counts.failed,
        },
        "metadata": batch.metadata,
        "cactus": {"order": batch.order.order.order_id},
    })
}
