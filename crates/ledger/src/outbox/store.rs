//! The table `outbox`: every change of an intent is one statement or one transaction here.
//! It stores decisions and never makes one.

use super::{
    Backlog, IntentId, Outcome,
    leader::still_leads,
    probe::{Point, Probe},
};
use crate::call::Call;
use aptos_sdk::transaction::SignedTransaction;
use cactus_database::{ManyRows, begin, broken, number, to_sql};
use sqlx::{AnyConnection, AnyPool, Arguments, Row, any::AnyRow};
use std::time::{SystemTime, UNIX_EPOCH};

static INSERT: ManyRows = ManyRows::new(
    "INSERT INTO outbox (id, call, task, creates_task, created_seconds, updated_seconds) VALUES",
    6,
    "ON CONFLICT (id) DO NOTHING",
);

/// A transaction that is signed and perhaps sent, and the intents that it carries.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) intents: Vec<Carried>,
    pub(crate) hash: String,
    pub(crate) transaction: SignedTransaction,
    pub(crate) sequence_number: u64,
    pub(crate) expires_seconds: u64,
}

/// An intent within a transaction.
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    pub(crate) id: IntentId,
    pub(crate) call: Call,
    pub(crate) attempts: u64,
}

impl Stored {
    /// For logs: the first of its intents.
    pub(crate) fn name(&self) -> &str {
        self.intents.first().map_or("nothing", |intent| intent.id.as_str())
    }
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

fn encode<E: std::error::Error + Send + Sync + 'static>(error: E) -> sqlx::Error {
    sqlx::Error::Encode(Box::new(error))
}

/// Unix seconds, for people who read the table.
fn now_seconds() -> i64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(age.as_secs()).unwrap_or(i64::MAX)
}

fn call_of(row: &AnyRow) -> Result<Call, sqlx::Error> {
    aptos_bcs::from_bytes(row.try_get::<&[u8], _>("call")?).map_err(broken)
}

/// Stores intents in their order; those that are there already stay as they are.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    intents: &[(IntentId, Call)],
) -> Result<(), sqlx::Error> {
    let now = now_seconds();
    let bind = |arguments: &mut _, (id, call): &(IntentId, Call)| {
        let task = call.task().map(|(client, task)| [client.0, task.0].concat());
        let arguments: &mut sqlx::any::AnyArguments = arguments;
        arguments.add(id.as_str())?;
        arguments.add(aptos_bcs::to_bytes(call)?)?;
        arguments.add(task)?;
        arguments.add(i64::from(call.creates_task()))?;
        arguments.add(now)?;
        arguments.add(now)
    };
    INSERT.execute(connection, intents, bind).await.map(drop)
}

pub(crate) async fn outcome(pool: &AnyPool, id: &IntentId) -> Result<Option<Outcome>, sqlx::Error> {
    let row = sqlx::query("SELECT outcome FROM outbox WHERE id = $1 AND outcome IS NOT NULL")
        .bind(id.as_str())
        .fetch_optional(pool)
        .await?;
    row.map(|row| serde_json::from_str(row.try_get("outcome")?).map_err(broken)).transpose()
}

pub(crate) async fn backlog(pool: &AnyPool) -> Result<Backlog, sqlx::Error> {
    let row = sqlx::query(
        "SELECT count(*) FILTER (WHERE state = 'pending') AS pending,
                count(*) FILTER (WHERE state = 'submitted') AS submitted
         FROM outbox WHERE state IN ('pending', 'submitted')",
    )
    .fetch_one(pool)
    .await?;
    Ok(Backlog { pending: number(&row, "pending")?, submitted: number(&row, "submitted")? })
}

/// Everything signed whose end is not known, in the order of sequence numbers. Intents that share a
/// transaction share its hash; the oldest of them holds its bytes.
pub(crate) async fn submitted(pool: &AnyPool) -> Result<Vec<Stored>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT id, call, hash, signed, sequence_number, expires_seconds, attempts
         FROM outbox WHERE state = 'submitted' ORDER BY sequence_number, position",
    )
    .fetch_all(pool)
    .await?;
    let mut all: Vec<Stored> = Vec::new();
    for row in &rows {
        let intent = Carried {
            id: IntentId::new(row.try_get::<String, _>("id")?),
            call: call_of(row)?,
            attempts: number(row, "attempts")?,
        };
        let hash: String = row.try_get("hash")?;
        match all.last_mut() {
            Some(last) if last.hash == hash => last.intents.push(intent),
            _ => all.push(Stored {
                intents: vec![intent],
                hash,
                transaction: aptos_bcs::from_bytes(row.try_get::<&[u8], _>("signed")?)
                    .map_err(broken)?,
                sequence_number: number(row, "sequence_number")?,
                expires_seconds: number(row, "expires_seconds")?,
            }),
        }
    }
    Ok(all)
}

/// The oldest intents that may be signed: no earlier one about the same task is open.
pub(crate) async fn ready(pool: &AnyPool, limit: usize) -> Result<Vec<Ready>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT id, call, attempts, CASE WHEN EXISTS (
             SELECT 1 FROM outbox AS earlier
             WHERE earlier.task = intent.task AND earlier.position < intent.position
               AND earlier.creates_task = 1 AND earlier.state = 'failed')
             THEN 1 ELSE 0 END AS orphaned
         FROM outbox AS intent
         WHERE state = 'pending' AND NOT EXISTS (
             SELECT 1 FROM outbox AS earlier
             WHERE earlier.task = intent.task AND earlier.position < intent.position
               AND earlier.state IN ('pending', 'submitted'))
         ORDER BY position LIMIT $1",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Ready {
                id: IntentId::new(row.try_get::<String, _>("id")?),
                call: call_of(row)?,
                attempts: number(row, "attempts")?,
                orphaned: number(row, "orphaned")? == 1,
            })
        })
        .collect()
}

/// Stores signed transactions, all or none, before any is sent; none when another process leads
/// since `epoch`.
pub(crate) async fn mark_submitted(
    (pool, epoch): (&AnyPool, Option<u64>),
    signed: &[Stored],
    probe: &impl Probe,
) -> Result<(), sqlx::Error> {
    let mut transaction = begin(pool).await?;
    if let Some(epoch) = epoch
        && !still_leads(&mut transaction, epoch).await?
    {
        return Err(sqlx::Error::RowNotFound);
    }
    for (stored, place, intent) in signed.iter().flat_map(carried) {
        let bytes = if place == 0 { stored.transaction.to_bcs() } else { Ok(Vec::new()) };
        let changed = sqlx::query(
            "UPDATE outbox SET state = 'submitted', hash = $1, signed = $2, sequence_number = $3,
                 expires_seconds = $4, attempts = $5, updated_seconds = $6
             WHERE id = $7 AND state = 'pending'",
        )
        .bind(&stored.hash)
        .bind(bytes.map_err(encode)?)
        .bind(to_sql(stored.sequence_number)?)
        .bind(to_sql(stored.expires_seconds)?)
        .bind(to_sql(intent.attempts)?)
        .bind(now_seconds())
        .bind(intent.id.as_str())
        .execute(&mut *transaction)
        .await?;
        exactly(1, changed.rows_affected())?;
        probe.reached(Point::WhileStoring);
    }
    transaction.commit().await
}

/// Each intent of a transaction with its place in it.
fn carried(stored: &Stored) -> impl Iterator<Item = (&Stored, usize, &Carried)> {
    stored.intents.iter().enumerate().map(move |(place, intent)| (stored, place, intent))
}

/// Takes back a signed transaction that can never happen. The next signing of its intents gives
/// them new terms.
pub(crate) async fn mark_pending(pool: &AnyPool, stored: &Stored) -> Result<(), sqlx::Error> {
    let changed = sqlx::query(
        "UPDATE outbox SET state = 'pending', hash = NULL, signed = NULL, sequence_number = NULL,
             expires_seconds = NULL, updated_seconds = $1
         WHERE state = 'submitted' AND hash = $2",
    )
    .bind(now_seconds())
    .bind(&stored.hash)
    .execute(pool)
    .await?;
    exactly(stored.intents.len(), changed.rows_affected())
}

/// Stores how intents ended, all or none.
pub(crate) async fn mark_final(
    pool: &AnyPool,
    outcomes: &[(IntentId, Outcome)],
    probe: &impl Probe,
) -> Result<(), sqlx::Error> {
    let mut transaction = begin(pool).await?;
    for (id, outcome) in outcomes {
        end(&mut transaction, id, outcome).await?;
        probe.reached(Point::WhileSettling);
    }
    transaction.commit().await
}

async fn end(
    connection: &mut AnyConnection,
    id: &IntentId,
    outcome: &Outcome,
) -> Result<(), sqlx::Error> {
    let (state, version) = match outcome {
        Outcome::Confirmed { version, .. } => ("confirmed", Some(to_sql(*version)?)),
        Outcome::Failed { .. } => ("failed", None),
    };
    let json = serde_json::to_string(outcome).map_err(encode)?;
    let changed = sqlx::query(
        "UPDATE outbox SET state = $1, version = $2, outcome = $3, signed = NULL,
             updated_seconds = $4
         WHERE id = $5 AND state IN ('pending', 'submitted')",
    )
    .bind(state)
    .bind(version)
    .bind(json)
    .bind(now_seconds())
    .bind(id.as_str())
    .execute(connection)
    .await?;
    exactly(1, changed.rows_affected())
}

/// A second worker on the same table is the only way to get here: stop before harm is done.
fn exactly(wanted: usize, rows: u64) -> Result<(), sqlx::Error> {
    if usize::try_from(rows) == Ok(wanted) { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}
