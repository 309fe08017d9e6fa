//! The one writer of tasks: it gathers what is waiting into one database transaction, so that
//! many tasks share one flush to disk. It decides nothing.

use super::store::{self, Closing, NewTask, StoreError};
use cactus_database::begin;
use cactus_protocol::TaskId;
use sqlx::{AnyConnection, AnyPool};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Writes that may wait. A full queue means that the disk does not keep up: new tasks are refused.
const CAPACITY: usize = 4096;
/// Writes per transaction at most.
const BATCH: usize = 128;

/// Pauses after a failure of the database before the same write is tried again: a full disk may
/// be emptied, and what is dropped here is work that nobody is paid for.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(800),
    Duration::from_millis(3200),
];

enum Write {
    Open(Box<NewTask>),
    Close { task_id: TaskId, closing: Box<Closing>, done: oneshot::Sender<bool> },
}

/// The queue to the writer.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: mpsc::Sender<Write>,
}

impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(task) => write!(f, "Open({:?})", task.task_id),
            Self::Close { task_id, .. } => write!(f, "Close({task_id:?})"),
        }
    }
}

/// What waits for the writer's loop.
#[derive(Debug)]
pub struct Queue(mpsc::Receiver<Write>);

/// The decision could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the decision could not be made durable")]
pub struct NotDurable;

/// Room for one new task.
#[derive(Debug)]
pub struct OpenPermit(mpsc::OwnedPermit<Write>);

impl OpenPermit {
    /// Hands a new task over. Never waits.
    pub fn open(self, task: NewTask) {
        self.0.send(Write::Open(Box::new(task)));
    }
}

impl Writer {
    /// A writer's queue and its other end, for [`run`].
    pub fn new() -> (Self, Queue) {
        let (queue, receiver) = mpsc::channel(CAPACITY);
        (Self { queue }, Queue(receiver))
    }

    /// Room for one new task, without waiting; `None` when the disk does not keep up.
    pub fn try_reserve(&self) -> Option<OpenPermit> {
        self.queue.clone().try_reserve_owned().ok().map(OpenPermit)
    }

    /// Decides a task and waits until the decision is on disk.
    ///
    /// # Errors
    /// [`NotDurable`] when the database failed or the task was decided before.
    pub async fn close(&self, task_id: TaskId, closing: Closing) -> Result<(), NotDurable> {
        let (done, written) = oneshot::channel();
        let write = Write::Close { task_id, closing: Box::new(closing), done };
        self.queue.send(write).await.map_err(|_| NotDurable)?;
        match written.await {
            Ok(true) => Ok(()),
            _ => Err(NotDurable),
        }
    }
}

/// Writes until every [`Writer`] is dropped.
pub async fn run(pool: AnyPool, mut queue: Queue, wake: Arc<dyn Fn() + Send + Sync>) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.0.recv_many(&mut batch, BATCH).await > 0 {
        let results = match write_patiently(&pool, &batch).await {
            Ok(()) => vec![true; batch.len()],
            // One write must not take the others with it.
            Err(_) if batch.len() > 1 => write_each(&pool, &batch).await,
            Err(error) => vec![report(&batch[0], &error)],
        };
        wake();
        for (write, written) in batch.drain(..).zip(results) {
            if let Write::Close { done, .. } = write {
                let _ = done.send(written);
            }
        }
    }
}

/// [`write_all`], again after failures that may pass.
async fn write_patiently(pool: &AnyPool, batch: &[Write]) -> Result<(), StoreError> {
    for pause in PAUSES {
        match write_all(pool, batch).await {
            Err(StoreError::Database(error)) if !matches!(error, sqlx::Error::Encode(_)) => {
                tracing::warn!(%error, ?pause, "the database failed; trying again");
                tokio::time::sleep(pause).await;
            }
            written => return written,
        }
    }
    write_all(pool, batch).await
}

async fn write_all(pool: &AnyPool, batch: &[Write]) -> Result<(), StoreError> {
    let mut transaction = begin(pool).await?;
    for write in batch {
        apply(&mut transaction, write).await?;
    }
    Ok(transaction.commit().await?)
}

async fn write_each(pool: &AnyPool, batch: &[Write]) -> Vec<bool> {
    let mut results = Vec::with_capacity(batch.len());
    for write in batch {
        let result = write_all(pool, std::slice::from_ref(write)).await;
        results.push(match result {
            Ok(()) => true,
            Err(error) => report(write, &error),
        });
    }
    results
}

fn report(write: &Write, error: &StoreError) -> bool {
    tracing::error!(?write, %error, "a task could not be written");
    false
}

async fn apply(connection: &mut AnyConnection, write: &Write) -> Result<(), StoreError> {
    match write {
        Write::Open(task) => store::open(connection, task).await,
        Write::Close { task_id, closing, .. } => store::close(connection, *task_id, closing).await,
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
