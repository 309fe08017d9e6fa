//! The table `tasks`. Every change of a task's state goes through the protocol's `step`, and what
//! the step asks for is enqueued in the same transaction.

use super::{
    outcomes::Amounts,
    rows::{self, Opened, call_of},
};
use crate::batches::{self, Answered};
use cactus_database::{broken, number, optional_number, to_sql};
use cactus_ledger::{Assignment, Call, IntentId, Outcome, outbox};
use cactus_protocol::{
    Address, Fault, Octas, OrderId, Price, PublicKey, SignedOrder, TaskEvent, TaskId, TaskState,
    task::{Illegal, step},
};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{AnyConnection, AnyPool, Row, any::AnyRow};
use std::{str::FromStr, sync::Arc};

/// How the driver calls the database that servers share.
const POSTGRES: &str = "PostgreSQL";

/// A task at the moment when it is sent to a node.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// The task.
    pub task_id: TaskId,
    /// The client's mandate.
    pub order: Arc<SignedOrder>,
    /// Who will be paid.
    pub operator: Address,
    /// Who works.
    pub node: PublicKey,
    /// The model's id.
    pub model: String,
    /// The most that it can cost.
    pub lock: Octas,
    /// What the node asks.
    pub price: Price,
    /// Unix seconds after which anyone may return the lock.
    pub deadline_seconds: u64,
    /// JSON: who could have answered.
    pub candidates: String,
    /// Earlier attempts for the same request.
    pub previous: Vec<TaskId>,
    /// Unix milliseconds.
    pub created_ms: u64,
}

/// How a task ended, as far as this server decides.
#[derive(Debug, Clone)]
pub struct Closing {
    /// `Deliver` or `GiveUp`.
    pub event: TaskEvent,
    /// `verified`, or why there is nothing to pay for.
    pub verdict: String,
    /// JSON of the signed receipt.
    pub receipt: Option<String>,
    /// The answer to a line of a batch, which is stored with the payment or not at all.
    pub line: Option<Answered>,
    /// Milliseconds from sending to the first token.
    pub ttft_ms: Option<u64>,
    /// Milliseconds from sending to the end.
    pub total_ms: u64,
    /// Unix milliseconds.
    pub closed_ms: u64,
}

/// A task as it is stored.
#[derive(Debug, Clone)]
pub struct StoredTask {
    /// The task.
    pub task_id: TaskId,
    /// Who pays.
    pub client: Address,
    /// Under which mandate.
    pub order_id: OrderId,
    /// Who is paid.
    pub operator: Address,
    /// The most that it can cost.
    pub lock: Octas,
    /// Where its money is.
    pub state: TaskState,
    /// Unix seconds after which anyone may return the lock.
    pub deadline_seconds: u64,
    /// Unix milliseconds of the decision.
    pub closed_ms: Option<u64>,
    /// Who looks after it.
    pub instance: Option<String>,
}

/// Why a task was not changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed: nothing was written.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The task's state does not allow it: it was decided before.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// There is no such task.
    #[error("no such task: {0}")]
    Unknown(TaskId),
    /// Something in the table is not as this process left it: look it up.
    #[error("a task is not as this process left it")]
    Unexpected,
    /// Others count this server as dead: it opens no task.
    #[error("other servers have taken over from this one")]
    TakenOver,
    /// Its line of a batch has a result already: another one is not paid for.
    #[error("the line of task {0} was answered before")]
    Answered(TaskId),
}

impl NewTask {
    /// The lock of its money.
    pub(super) fn intent(&self) -> (IntentId, Call) {
        let assignment = Assignment {
            task_id: self.task_id,
            orchestrator: self.operator,
            node: self.node,
            lock: self.lock,
            price: self.price,
            deadline_seconds: self.deadline_seconds,
        };
        (IntentId::create(self.task_id), Call::create_task(&self.order, assignment))
    }
}

/// Stores a new task and the intent to lock its money.
pub async fn open(
    connection: &mut AnyConnection,
    instance: &str,
    task: &NewTask,
) -> Result<(), StoreError> {
    fence(connection, instance).await?;
    rows::open(connection, instance, &[Opened { task, decided: None }]).await?;
    Ok(outbox::enqueue_all(connection, &[task.intent()]).await?)
}

/// Opens nothing for a server that others have taken over from: the money that it reserved for this
/// may be another one's by now. Whoever takes over waits until the transaction ends.
pub(super) async fn fence(
    connection: &mut AnyConnection,
    instance: &str,
) -> Result<(), StoreError> {
    if connection.backend_name() != POSTGRES {
        return Ok(());
    }
    let row = sqlx::query("SELECT id FROM instances WHERE id = $1 FOR KEY SHARE");
    let row = row.bind(instance).fetch_optional(connection).await?;
    row.map(drop).ok_or(StoreError::TakenOver)
}

/// Decides a task: its new state, what is known of its end, and the intent to pay or refund.
pub async fn close(
    connection: &mut AnyConnection,
    task_id: TaskId,
    closing: &Closing,
) -> Result<(), StoreError> {
    let task = load(connection, task_id).await?;
    let (state, effect) = step(task.state, closing.event)?;
    let done = sqlx::query(
        "UPDATE tasks SET state = $1, verdict = $2, receipt = $3, ttft_ms = $4, total_ms = $5,
             closed_ms = $6 WHERE task_id = $7 AND state = $8",
    )
    .bind(to_json(&state)?)
    .bind(&closing.verdict)
    .bind(&closing.receipt)
    .bind(closing.ttft_ms.map(to_sql).transpose()?)
    .bind(to_sql(closing.total_ms)?)
    .bind(to_sql(closing.closed_ms)?)
    .bind(task_id.to_string())
    .bind(to_json(&task.state)?)
    .execute(&mut *connection)
    .await?;
    changed(done.rows_affected(), &task, closing.event)?;
    if let Some(line) = &closing.line
        && !batches::answered(connection, line).await?
    {
        return Err(StoreError::Answered(task_id));
    }
    if let Some(effect) = effect {
        let call = call_of((task.client, task_id), effect);
        outbox::enqueue(connection, &IntentId::close(task_id), &call).await?;
    }
    Ok(())
}

/// The row was still in the state that was read: no other server decided meanwhile.
fn changed(rows: u64, task: &StoredTask, event: TaskEvent) -> Result<(), Illegal> {
    if rows == 1 { Ok(()) } else { Err(Illegal { state: task.state, event }) }
}

/// Stores what the chain confirmed about a decided task; returns the task as it was before.
pub async fn settle(
    connection: &mut AnyConnection,
    task_id: TaskId,
    (event, amounts): (TaskEvent, &Amounts),
    settled_ms: u64,
) -> Result<StoredTask, StoreError> {
    let task = load(connection, task_id).await?;
    let (state, _) = step(task.state, event)?;
    let done = sqlx::query(
        "UPDATE tasks SET state = $1, is_final = 1, close_transaction = $2, orchestrator_octas = $3,
             fee_octas = $4, refund_octas = $5, settled_ms = $6
         WHERE task_id = $7 AND state = $8",
    )
    .bind(to_json(&state)?)
    .bind(&amounts.transaction)
    .bind(to_sql(amounts.orchestrator.0)?)
    .bind(to_sql(amounts.fee.0)?)
    .bind(to_sql(amounts.refund.0)?)
    .bind(to_sql(settled_ms)?)
    .bind(task_id.to_string())
    .bind(to_json(&task.state)?)
    .execute(connection)
    .await?;
    changed(done.rows_affected(), &task, event)?;
    Ok(task)
}

/// Stores the transaction that locked a task's money.
pub async fn landed(pool: &AnyPool, task_id: TaskId, transaction: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE tasks SET create_transaction = $1 WHERE task_id = $2")
        .bind(transaction)
        .bind(task_id.to_string())
        .execute(pool)
        .await?;
    Ok(())
}

/// One task.
pub async fn load(
    connection: &mut AnyConnection,
    task_id: TaskId,
) -> Result<StoredTask, StoreError> {
    let row = sqlx::query("SELECT * FROM tasks WHERE task_id = $1")
        .bind(task_id.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(parse(&row.ok_or(StoreError::Unknown(task_id))?)?)
}

/// Every task that an instance looks after and whose money is on its way.
pub async fn live(
    connection: &mut AnyConnection,
    instance: &str,
) -> Result<Vec<StoredTask>, StoreError> {
    let query = sqlx::query("SELECT * FROM tasks WHERE instance = $1 AND is_final = 0");
    let rows = query.bind(instance).fetch_all(connection).await?;
    Ok(rows.iter().map(parse).collect::<Result<_, _>>()?)
}

/// Outcomes of intents about an instance's live tasks that the tasks do not show yet.
pub async fn outcomes(
    pool: &AnyPool,
    instance: &str,
) -> Result<Vec<(IntentId, Outcome)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT outbox.id AS id, outbox.outcome AS outcome FROM tasks JOIN outbox
             ON outbox.id IN ('create:' || task_id, 'close:' || task_id, 'expire:' || task_id,
                 'release:' || task_id)
         WHERE tasks.instance = $1 AND is_final = 0 AND outbox.outcome IS NOT NULL
             AND NOT (outbox.id = 'create:' || task_id AND create_transaction IS NOT NULL)
         ORDER BY outbox.position",
    );
    let rows = rows.bind(instance).fetch_all(pool).await?;
    let read = |row: &AnyRow| {
        let id = IntentId::new(row.try_get::<String, _>("id")?);
        Ok((id, from_json(row.try_get("outcome")?)?))
    };
    rows.iter().map(read).collect()
}

/// Live locks and paid amounts under an order, as this database knows them.
pub async fn order_used(
    pool: &AnyPool,
    client: &Address,
    order: &OrderId,
) -> Result<Octas, sqlx::Error> {
    let sum: i64 = sqlx::query_scalar(
        "SELECT CAST(coalesce(sum(lock - coalesce(refund_octas, 0)), 0) AS BIGINT)
         FROM tasks WHERE client = $1 AND order_id = $2",
    )
    .bind(client.to_string())
    .bind(order.to_string())
    .fetch_one(pool)
    .await?;
    u64::try_from(sum).map(Octas).map_err(broken)
}

/// The fault of a task that a crash left behind.
pub const ABANDONED: TaskEvent = TaskEvent::GiveUp(Fault::Nobody);

fn parse(row: &AnyRow) -> Result<StoredTask, sqlx::Error> {
    Ok(StoredTask {
        task_id: id(row, "task_id")?,
        client: id(row, "client")?,
        order_id: id(row, "order_id")?,
        operator: id(row, "operator")?,
        lock: Octas(number(row, "lock")?),
        state: from_json(row.try_get("state")?)?,
        deadline_seconds: number(row, "deadline_seconds")?,
        closed_ms: optional_number(row, "closed_ms")?,
        instance: row.try_get("instance")?,
    })
}

/// Reads an id that is stored as text.
pub fn id<T>(row: &AnyRow, column: &str) -> Result<T, sqlx::Error>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.try_get::<&str, _>(column)?.parse().map_err(broken)
}

/// Reads JSON.
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(broken)
}

/// Writes JSON.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}
