//! The one writer of tasks: it gathers what is waiting into one database transaction, so that
//! many tasks share one flush to disk. It decides nothing.

use super::{
    store::{self, Closing, NewTask, StoreError},
    together::{Payers, Together},
};
use cactus_database::begin;
use cactus_protocol::{TaskId, TaskState, task::step};
use sqlx::AnyPool;
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

impl Write {
    /// Whether this decision is what brought a task there.
    fn led_to(&self, state: TaskState) -> bool {
        match self {
            Self::Open(_) => false,
            Self::Close { closing, .. } => {
                step(TaskState::Assigned, closing.event).is_ok_and(|(after, _)| after == state)
            }
        }
    }
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

/// Where to write, and who looks after what is written.
#[derive(Clone, Copy)]
struct Place<'a> {
    pool: &'a AnyPool,
    instance: &'a str,
}

/// Writes until every [`Writer`] is dropped, for the server that is called `instance`.
pub async fn run(
    (pool, instance): (AnyPool, String),
    mut queue: Queue,
    wake: Arc<dyn Fn() + Send + Sync>,
) {
    let place = Place { pool: &pool, instance: &instance };
    let mut batch = Vec::with_capacity(BATCH);
    let mut payers = Payers::default();
    while queue.0.recv_many(&mut batch, BATCH).await > 0 {
        let results = write_patiently(place, &batch, &payers).await;
        wake();
        for (write, written) in batch.drain(..).zip(results) {
            match write {
                Write::Open(task) if written => payers.opened(&task),
                Write::Open(_) => {}
                Write::Close { task_id, done, .. } => {
                    payers.closed(&task_id);
                    let _ = done.send(written);
                }
            }
        }
    }
}

/// Writes all together, again after failures that may pass; if that is not to be, each by itself:
/// one write must not take the others with it.
async fn write_patiently(place: Place<'_>, batch: &[Write], payers: &Payers) -> Vec<bool> {
    let mut pauses = PAUSES.into_iter();
    let mut has_failed = false;
    loop {
        match write_together(place, batch, payers).await {
            Ok(()) => return vec![true; batch.len()],
            Err(StoreError::Database(error)) if !matches!(error, sqlx::Error::Encode(_)) => {
                has_failed = true;
                let Some(pause) = pauses.next() else { break };
                tracing::warn!(%error, ?pause, "the database failed; trying again");
                tokio::time::sleep(pause).await;
            }
            Err(_) => break,
        }
    }
    write_each(place, batch, has_failed).await
}

async fn write_together(
    place: Place<'_>,
    batch: &[Write],
    payers: &Payers,
) -> Result<(), StoreError> {
    let mut together = Together::default();
    for write in batch {
        match write {
            Write::Open(task) => together.open(task),
            Write::Close { task_id, closing, .. } => together.close((*task_id, closing), payers)?,
        }
    }
    let mut transaction = begin(place.pool).await?;
    together.write(&mut transaction, place.instance).await?;
    Ok(transaction.commit().await?)
}

/// Each by itself, looked up first: says which could not be written, and why. After a failure an
/// earlier attempt may have reached the disk without a word.
async fn write_each(place: Place<'_>, batch: &[Write], has_failed: bool) -> Vec<bool> {
    let mut results = Vec::with_capacity(batch.len());
    for write in batch {
        let result = match write_one(place, write).await {
            Err(StoreError::Illegal(illegal)) if has_failed && write.led_to(illegal.state) => {
                Ok(())
            }
            result => result,
        };
        results.push(result.map_err(|error| report(write, &error)).is_ok());
    }
    results
}

async fn write_one(place: Place<'_>, write: &Write) -> Result<(), StoreError> {
    let mut transaction = begin(place.pool).await?;
    match write {
        Write::Open(task) => store::open(&mut transaction, place.instance, task).await?,
        Write::Close { task_id, closing, .. } => {
            store::close(&mut transaction, *task_id, closing).await?;
        }
    }
    Ok(transaction.commit().await?)
}

fn report(write: &Write, error: &StoreError) {
    tracing::error!(?write, %error, "a task could not be written");
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
