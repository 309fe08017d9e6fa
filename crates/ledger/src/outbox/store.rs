//! The table `outbox`: every change of an intent is one statement or one transaction here.
//! It stores decisions and never makes one.

use super::{
    Backlog, IntentId, Outcome,
    probe::{Point, Probe},
};
use crate::call::Call;
use aptos_sdk::transaction::SignedTransaction;
use sqlx::{Row, SqliteConnection, SqlitePool, sqlite::SqliteRow};

/// An intent that is signed and perhaps sent.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: IntentId,
    pub(crate) call: Call,
    pub(crate) hash: String,
    pub(crate) transaction: SignedTransaction,
    pub(crate) sequence_number: u64,
    pub(crate) expires_seconds: u64,
    pub(crate) attempts: u64,
}

/// An intent that may be signed now.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) id: IntentId,
    pub(crate) call: Call,
    pub(crate) attempts: u64,
    /// The task that it is about could not be created.
    pub(crate) orphaned: bool,
}

fn broken<E: std::error::Error + Send + Sync + 'static>(error: E) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

fn to_sql(number: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(number).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

fn from_sql(row: &SqliteRow, column: &str) -> Result<u64, sqlx::Error> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(broken)
}

fn call_of(row: &SqliteRow) -> Result<Call, sqlx::Error> {
    aptos_bcs::from_bytes(row.try_get::<&[u8], _>("call")?).map_err(broken)
}

pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    id: &IntentId,
    call: &Call,
) -> Result<(), sqlx::Error> {
    let bytes = aptos_bcs::to_bytes(call).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
    let task = call.task().map(|(client, task)| [client.0, task.0].concat());
    sqlx::query(
        "INSERT INTO outbox (id, call, task, creates_task) VALUES (?, ?, ?, ?)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(id.as_str())
    .bind(bytes)
    .bind(task)
    .bind(call.creates_task())
    .execute(connection)
    .await
    .map(drop)
}

pub(crate) async fn outcome(
    pool: &SqlitePool,
    id: &IntentId,
) -> Result<Option<Outcome>, sqlx::Error> {
    let row = sqlx::query("SELECT outcome FROM outbox WHERE id = ? AND outcome IS NOT NULL")
        .bind(id.as_str())
        .fetch_optional(pool)
        .await?;
    row.map(|row| serde_json::from_str(row.try_get("outcome")?).map_err(broken)).transpose()
}

pub(crate) async fn backlog(pool: &SqlitePool) -> Result<Backlog, sqlx::Error> {
    let row = sqlx::query(
        "SELECT count(*) FILTER (WHERE state = 'pending') AS pending,
                count(*) FILTER (WHERE state = 'submitted') AS submitted
         FROM outbox WHERE state IN ('pending', 'submitted')",
    )
    .fetch_one(pool)
    .await?;
    Ok(Backlog { pending: from_sql(&row, "pending")?, submitted: from_sql(&row, "submitted")? })
}

/// Everything signed whose end is not known, in the order of sequence numbers.
pub(crate) async fn submitted(pool: &SqlitePool) -> Result<Vec<Stored>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT id, call, hash, signed, sequence_number, expires_seconds, attempts
         FROM outbox WHERE state = 'submitted' ORDER BY sequence_number",
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Stored {
                id: IntentId::new(row.try_get::<String, _>("id")?),
                call: call_of(row)?,
                hash: row.try_get("hash")?,
                transaction: aptos_bcs::from_bytes(row.try_get::<&[u8], _>("signed")?)
                    .map_err(broken)?,
                sequence_number: from_sql(row, "sequence_number")?,
                expires_seconds: from_sql(row, "expires_seconds")?,
                attempts: from_sql(row, "attempts")?,
            })
        })
        .collect()
}

/// The oldest intents that may be signed: no earlier one about the same task is open.
pub(crate) async fn ready(pool: &SqlitePool, limit: usize) -> Result<Vec<Ready>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT id, call, attempts, EXISTS (
             SELECT 1 FROM outbox AS earlier
             WHERE earlier.task = intent.task AND earlier.position < intent.position
               AND earlier.creates_task AND earlier.state = 'failed') AS orphaned
         FROM outbox AS intent
         WHERE state = 'pending' AND NOT EXISTS (
             SELECT 1 FROM outbox AS earlier
             WHERE earlier.task = intent.task AND earlier.position < intent.position
               AND earlier.state IN ('pending', 'submitted'))
         ORDER BY position LIMIT ?",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Ready {
                id: IntentId::new(row.try_get::<String, _>("id")?),
                call: call_of(row)?,
                attempts: from_sql(row, "attempts")?,
                orphaned: row.try_get("orphaned")?,
            })
        })
        .collect()
}

/// Stores signed transactions, all or none, before any is sent.
pub(crate) async fn mark_submitted(
    pool: &SqlitePool,
    signed: &[Stored],
    probe: &impl Probe,
) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    for intent in signed {
        let bytes = intent.transaction.to_bcs();
        let changed = sqlx::query(
            "UPDATE outbox SET state = 'submitted', hash = ?, signed = ?, sequence_number = ?,
                 expires_seconds = ?, attempts = ?, updated_seconds = unixepoch()
             WHERE id = ? AND state = 'pending'",
        )
        .bind(&intent.hash)
        .bind(bytes.map_err(|e| sqlx::Error::Encode(Box::new(e)))?)
        .bind(to_sql(intent.sequence_number)?)
        .bind(to_sql(intent.expires_seconds)?)
        .bind(to_sql(intent.attempts)?)
        .bind(intent.id.as_str())
        .execute(&mut *transaction)
        .await?;
        exactly_one(changed.rows_affected())?;
        probe.reached(Point::WhileStoring);
    }
    transaction.commit().await
}

/// Takes back a signed transaction that can never happen. The next signing gives it new terms.
pub(crate) async fn mark_pending(pool: &SqlitePool, intent: &Stored) -> Result<(), sqlx::Error> {
    let changed = sqlx::query(
        "UPDATE outbox SET state = 'pending', hash = NULL, signed = NULL, sequence_number = NULL,
             expires_seconds = NULL, updated_seconds = unixepoch()
         WHERE id = ? AND state = 'submitted' AND hash = ?",
    )
    .bind(intent.id.as_str())
    .bind(&intent.hash)
    .execute(pool)
    .await?;
    exactly_one(changed.rows_affected())
}

/// Stores how an intent ended.
pub(crate) async fn mark_final(
    pool: &SqlitePool,
    id: &IntentId,
    outcome: &Outcome,
) -> Result<(), sqlx::Error> {
    let (state, version) = match outcome {
        Outcome::Confirmed { version, .. } => ("confirmed", Some(to_sql(*version)?)),
        Outcome::Failed { .. } => ("failed", None),
    };
    let json = serde_json::to_string(outcome).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
    let changed = sqlx::query(
        "UPDATE outbox SET state = ?, version = ?, outcome = ?, signed = NULL,
             updated_seconds = unixepoch()
         WHERE id = ? AND state IN ('pending', 'submitted')",
    )
    .bind(state)
    .bind(version)
    .bind(json)
    .bind(id.as_str())
    .execute(pool)
    .await?;
    exactly_one(changed.rows_affected())
}

/// A second worker on the same table is the only way to get here: stop before harm is done.
fn exactly_one(rows: u64) -> Result<(), sqlx::Error> {
    if rows == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}
