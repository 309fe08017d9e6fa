//! The tables `batches` and `batch_lines`.

use super::Endpoint;
use crate::settlement::store::from_json;
use cactus_database::{number, to_sql};
use cactus_protocol::{Address, SignedOrder};
use serde_json::{Value, json};
use sqlx::{AnyConnection, AnyPool, Row, any::AnyRow};
use std::collections::BTreeMap;

/// Where a batch stands, in OpenAI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its input is being read.
    Validating,
    /// Its input was refused; nothing ran.
    Failed,
    /// Its lines are being answered.
    InProgress,
    /// Its files are being written.
    Finalizing,
    /// Every line has an answer or an error.
    Completed,
    /// Its time was over before that.
    Expired,
    /// No new line begins.
    Cancelling,
    /// It was stopped.
    Cancelled,
}

impl State {
    const ALL: [Self; 8] = [
        Self::Validating,
        Self::Failed,
        Self::InProgress,
        Self::Finalizing,
        Self::Completed,
        Self::Expired,
        Self::Cancelling,
        Self::Cancelled,
    ];

    /// OpenAI's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::Failed => "failed",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing comes after it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Failed | Self::Completed | Self::Expired | Self::Cancelled)
    }
}

/// A batch as it is stored.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Names it.
    pub id: String,
    /// What all lines together may spend.
    pub order: SignedOrder,
    /// What its lines are sent to.
    pub endpoint: Endpoint,
    /// The input.
    pub input_file: String,
    /// As the client wrote it.
    pub completion_window: String,
    /// The client's own notes.
    pub metadata: Value,
    /// Where it stands.
    pub state: State,
    /// Why the input was refused.
    pub errors: Option<Value>,
    /// The counts when it has ended.
    pub counts: Counts,
    /// Answers.
    pub output_file: Option<String>,
    /// Errors.
    pub error_file: Option<String>,
    /// When it came into each state, in Unix seconds.
    pub times: BTreeMap<String, u64>,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// Unix milliseconds.
    pub expires_ms: u64,
}

impl Batch {
    /// Who pays.
    pub fn client(&self) -> Address {
        self.order.order.client
    }
}

/// How many lines there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// In all.
    pub total: u64,
    /// Answered.
    pub completed: u64,
    /// Refused or failed.
    pub failed: u64,
}

fn broken(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

fn parse(row: &AnyRow) -> Result<Batch, sqlx::Error> {
    let state: String = row.try_get("state")?;
    let state = State::ALL.into_iter().find(|known| known.as_str() == state);
    let order = SignedOrder::parse_header(row.try_get("signed_order")?);
    let errors: Option<String> = row.try_get("errors")?;
    Ok(Batch {
        id: row.try_get("id")?,
        order: order.ok_or_else(|| broken("the order of a batch"))?,
        endpoint: Endpoint::parse(row.try_get("endpoint")?).ok_or_else(|| broken("an endpoint"))?,
        input_file: row.try_get("input_file")?,
        completion_window: row.try_get("completion_window")?,
        metadata: from_json(row.try_get("metadata")?)?,
        state: state.ok_or_else(|| broken("the state of a batch"))?,
        errors: errors.map(|errors| from_json(&errors)).transpose()?,
        counts: Counts {
            total: number(row, "total")?,
            completed: number(row, "completed")?,
            failed: number(row, "failed")?,
        },
        output_file: row.try_get("output_file")?,
        error_file: row.try_get("error_file")?,
        times: from_json(row.try_get("times")?)?,
        created_ms: number(row, "created_ms")?,
        expires_ms: number(row, "expires_ms")?,
    })
}

/// Stores a new batch that `instance` carries.
pub async fn insert(pool: &AnyPool, instance: &str, batch: &Batch) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO batches (id, client, signed_order, endpoint, input_file, completion_window,
             metadata, state, times, created_ms, expires_ms, instance)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '{}', $9, $10, $11)",
    )
    .bind(&batch.id)
    .bind(batch.client().to_string())
    .bind(batch.order.to_header())
    .bind(batch.endpoint.as_str())
    .bind(&batch.input_file)
    .bind(&batch.completion_window)
    .bind(batch.metadata.to_string())
    .bind(batch.state.as_str())
    .bind(to_sql(batch.created_ms)?)
    .bind(to_sql(batch.expires_ms)?)
    .bind(instance)
    .execute(pool)
    .await
    .map(drop)
}

/// One batch.
pub async fn find(pool: &AnyPool, id: &str) -> Result<Option<Batch>, sqlx::Error> {
    let query = sqlx::query("SELECT * FROM batches WHERE id = $1");
    query.bind(id).fetch_optional(pool).await?.as_ref().map(parse).transpose()
}

/// A client's batches, newest first; one more than the limit when there are more.
pub async fn list(
    pool: &AnyPool,
    client: &Address,
    page: &crate::files::Page,
) -> Result<Vec<Batch>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT * FROM batches WHERE client = $1
             AND ($2 IS NULL OR (created_ms, id) <
                 (SELECT created_ms, id FROM batches WHERE id = $2 AND client = $1))
         ORDER BY created_ms DESC, id DESC LIMIT $3",
    )
    .bind(client.to_string())
    .bind(page.after.as_deref())
    .bind(i64::from(page.limit) + 1)
    .fetch_all(pool)
    .await?;
    rows.iter().map(parse).collect()
}

/// The ids of all batches that an instance carries and that have not ended, oldest first.
pub async fn live(pool: &AnyPool, instance: &str) -> Result<Vec<String>, sqlx::Error> {
    let query = "SELECT id FROM batches WHERE instance = $1 AND is_final = 0
        ORDER BY created_ms, id";
    sqlx::query_scalar(query).bind(instance).fetch_all(pool).await
}

/// Those of them that are to be stopped, wherever that was asked for.
pub async fn cancelling(pool: &AnyPool, instance: &str) -> Result<Vec<String>, sqlx::Error> {
    let query = "SELECT id FROM batches WHERE instance = $1 AND is_final = 0
        AND state = 'cancelling'";
    sqlx::query_scalar(query).bind(instance).fetch_all(pool).await
}

/// Whether an instance still carries a batch; no other one takes it until the transaction ends.
pub async fn is_carried_by(
    connection: &mut AnyConnection,
    (id, instance): (&str, &str),
) -> Result<bool, sqlx::Error> {
    let touch =
        sqlx::query("UPDATE batches SET instance = instance WHERE id = $1 AND instance = $2");
    let done = touch.bind(id).bind(instance).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

/// How many of a client's batches have not ended.
pub async fn unfinished(pool: &AnyPool, client: &Address) -> Result<i64, sqlx::Error> {
    let query = "SELECT count(*) FROM batches WHERE client = $1 AND is_final = 0";
    sqlx::query_scalar(query).bind(client.to_string()).fetch_one(pool).await
}

/// Moves a batch from one state to another; `false` when it is not in the first.
pub async fn advance(
    connection: &mut AnyConnection,
    id: &str,
    (from, to, now_ms): (State, State, u64),
) -> Result<bool, sqlx::Error> {
    let times = sqlx::query_scalar("SELECT times FROM batches WHERE id = $1 AND state = $2");
    let times: Option<String> =
        times.bind(id).bind(from.as_str()).fetch_optional(&mut *connection).await?;
    let Some(times) = times else { return Ok(false) };
    let mut times: BTreeMap<String, u64> = from_json(&times)?;
    times.insert(to.as_str().to_owned(), now_ms / 1000);
    // Times change with the state and never without it: what was read is what is replaced.
    let done = sqlx::query(
        "UPDATE batches SET state = $1, is_final = $2, times = $3 WHERE id = $4 AND state = $5",
    )
    .bind(to.as_str())
    .bind(i64::from(to.is_final()))
    .bind(json!(times).to_string())
    .bind(id)
    .bind(from.as_str())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Marks a batch as to be stopped; `false` when it has ended or is about to.
pub async fn cancel(pool: &AnyPool, batch: &Batch) -> Result<bool, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let now_ms = crate::link::unix_ms();
    for from in [State::Validating, State::InProgress] {
        if advance(&mut connection, &batch.id, (from, State::Cancelling, now_ms)).await? {
            return Ok(true);
        }
    }
    // Asking twice is no mistake.
    Ok(batch.state == State::Cancelling)
}

/// Stores why an input was refused.
pub async fn refuse(
    connection: &mut AnyConnection,
    id: &str,
    errors: &Value,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query("UPDATE batches SET errors = $1 WHERE id = $2");
    query.bind(errors.to_string()).bind(id).execute(connection).await.map(drop)
}

/// How many lines a batch has, answered and failed.
pub async fn counts(pool: &AnyPool, batch: &Batch) -> Result<Counts, sqlx::Error> {
    if batch.state.is_final() {
        return Ok(batch.counts);
    }
    let row = sqlx::query(
        "SELECT count(*) AS total, count(result) AS ended,
             CAST(coalesce(sum(is_error), 0) AS BIGINT) AS failed
         FROM batch_lines WHERE batch = $1",
    )
    .bind(&batch.id)
    .fetch_one(pool)
    .await?;
    let (ended, failed) = (number(&row, "ended")?, number(&row, "failed")?);
    Ok(Counts { total: number(&row, "total")?, completed: ended.saturating_sub(failed), failed })
}

/// Stores the files and counts of an ended batch and lets its lines go.
pub async fn close(
    connection: &mut AnyConnection,
    id: &str,
    (counts, output, errors): (Counts, Option<&str>, Option<&str>),
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE batches SET total = $1, completed = $2, failed = $3, output_file = $4, error_file = $5
         WHERE id = $6",
    )
    .bind(to_sql(counts.total)?)
    .bind(to_sql(counts.completed)?)
    .bind(to_sql(counts.failed)?)
    .bind(output)
    .bind(errors)
    .bind(id)
    .execute(&mut *connection)
    .await?;
    let query = sqlx::query("DELETE FROM batch_lines WHERE batch = $1");
    query.bind(id).execute(connection).await.map(drop)
}
