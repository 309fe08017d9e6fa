//! The table `batch_lines`: the lines of batches that have not ended.

use super::{line::Answered, store::is_carried_by};
use cactus_database::{begin, number, to_sql};
use sqlx::{AnyConnection, AnyPool, Row, any::AnyRow};

/// A line as it waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its place, from 0.
    pub number: u32,
    /// What the client calls it.
    pub custom_id: String,
    /// Where it is in the input, in bytes.
    pub start: u64,
    /// How long it is.
    pub length: u64,
}

/// A line of an ended batch.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its place, from 0.
    pub number: u32,
    /// What the client calls it.
    pub custom_id: String,
    /// The line of the output or error file; `None` when it was never sent.
    pub result: Option<String>,
    /// Which of the two.
    pub is_error: bool,
}

/// Stores a line; `false` when its `custom_id` was there before.
pub async fn add(
    connection: &mut AnyConnection,
    batch: &str,
    line: &Waiting,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO batch_lines (batch, line, custom_id, start, length) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
    )
    .bind(batch)
    .bind(i64::from(line.number))
    .bind(&line.custom_id)
    .bind(to_sql(line.start)?)
    .bind(to_sql(line.length)?)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The next lines without a result, from `first` on.
pub async fn waiting(
    pool: &AnyPool,
    batch: &str,
    (first, limit): (u32, u32),
) -> Result<Vec<Waiting>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT line, custom_id, start, length FROM batch_lines
         WHERE batch = $1 AND line >= $2 AND result IS NULL ORDER BY line LIMIT $3",
    )
    .bind(batch)
    .bind(i64::from(first))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    let read = |row: &AnyRow| {
        Ok(Waiting {
            number: line_number(row)?,
            custom_id: row.try_get("custom_id")?,
            start: number(row, "start")?,
            length: number(row, "length")?,
        })
    };
    rows.iter().map(read).collect()
}

fn line_number(row: &AnyRow) -> Result<u32, sqlx::Error> {
    let broken = |_| sqlx::Error::Decode("the number of a line".into());
    u32::try_from(number(row, "line")?).map_err(broken)
}

/// Stores an answer, in the transaction that decides to pay for it; `false` when the line has a
/// result already: then nothing may be paid.
pub async fn answered(
    connection: &mut AnyConnection,
    answered: &Answered,
) -> Result<bool, sqlx::Error> {
    store_result(connection, (&answered.batch, answered.number), (&answered.result, false)).await
}

/// Stores an error, unless the batch is not `instance`'s any more: whoever carries it asks again.
pub async fn failed(
    pool: &AnyPool,
    (instance, batch, line): (&str, &str, u32),
    result: &str,
) -> Result<bool, sqlx::Error> {
    let mut transaction = begin(pool).await?;
    let stored = is_carried_by(&mut transaction, (batch, instance)).await?
        && store_result(&mut transaction, (batch, line), (result, true)).await?;
    transaction.commit().await?;
    Ok(stored)
}

async fn store_result(
    connection: &mut AnyConnection,
    (batch, line): (&str, u32),
    (result, is_error): (&str, bool),
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE batch_lines SET result = $1, is_error = $2
         WHERE batch = $3 AND line = $4 AND result IS NULL",
    )
    .bind(result)
    .bind(i64::from(is_error))
    .bind(batch)
    .bind(i64::from(line))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Some lines in their order, from `first` on.
pub async fn ended(
    pool: &AnyPool,
    batch: &str,
    (first, limit): (u32, u32),
) -> Result<Vec<Ended>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT line, custom_id, result, is_error FROM batch_lines
         WHERE batch = $1 AND line >= $2 ORDER BY line LIMIT $3",
    )
    .bind(batch)
    .bind(i64::from(first))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    let read = |row: &AnyRow| {
        Ok(Ended {
            number: line_number(row)?,
            custom_id: row.try_get("custom_id")?,
            result: row.try_get("result")?,
            is_error: number(row, "is_error")? == 1,
        })
    };
    rows.iter().map(read).collect()
}
