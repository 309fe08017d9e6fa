//! The table `files`.

use cactus_database::{number, to_sql};
use cactus_protocol::Address;
use sqlx::{AnyExecutor, AnyPool, Row, any::AnyRow};

/// A file as it is stored, without its bytes.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Names it.
    pub id: String,
    /// What it is for: `batch` or `batch_output`.
    pub purpose: String,
    /// What its owner calls it.
    pub filename: String,
    /// Its length.
    pub bytes: u64,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// Unix milliseconds.
    pub expires_ms: u64,
}

/// A part of a list, newest first.
#[derive(Debug, Clone)]
pub struct Page {
    /// Only what came before this one in time.
    pub after: Option<String>,
    /// At most so many.
    pub limit: u32,
}

fn parse(row: &AnyRow) -> Result<Stored, sqlx::Error> {
    Ok(Stored {
        id: row.try_get("id")?,
        purpose: row.try_get("purpose")?,
        filename: row.try_get("filename")?,
        bytes: number(row, "bytes")?,
        created_ms: number(row, "created_ms")?,
        expires_ms: number(row, "expires_ms")?,
    })
}

/// The owner of a file whose bytes are still coming: no address looks like this.
const NOBODY: &str = "";

/// Stores the row of a file that is nobody's yet; it goes when its time is over.
pub async fn begin(pool: &AnyPool, file: &Stored) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO files (id, client, purpose, filename, bytes, created_ms, expires_ms)
         VALUES ($1, $2, $3, $4, 0, $5, $6)",
    )
    .bind(&file.id)
    .bind(NOBODY)
    .bind(&file.purpose)
    .bind(&file.filename)
    .bind(to_sql(file.created_ms)?)
    .bind(to_sql(file.expires_ms)?)
    .execute(pool)
    .await
    .map(drop)
}

/// Gives a file that is whole to its owner; `false` when its time was over before.
pub async fn give(
    executor: impl AnyExecutor<'_>,
    client: &Address,
    file: &Stored,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE files SET client = $1, filename = $2, bytes = $3, created_ms = $4, expires_ms = $5
         WHERE id = $6 AND client = $7",
    )
    .bind(client.to_string())
    .bind(&file.filename)
    .bind(to_sql(file.bytes)?)
    .bind(to_sql(file.created_ms)?)
    .bind(to_sql(file.expires_ms)?)
    .bind(&file.id)
    .bind(NOBODY)
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A client's file.
pub async fn find(
    pool: &AnyPool,
    client: &Address,
    id: &str,
) -> Result<Option<Stored>, sqlx::Error> {
    let query = sqlx::query("SELECT * FROM files WHERE id = $1 AND client = $2");
    let row = query.bind(id).bind(client.to_string()).fetch_optional(pool).await?;
    row.as_ref().map(parse).transpose()
}

/// A client's files, newest first; one more than the page holds when there are more.
pub async fn list(
    pool: &AnyPool,
    client: &Address,
    (purpose, page): (Option<&str>, &Page),
) -> Result<Vec<Stored>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT * FROM files WHERE client = $1 AND ($2 IS NULL OR purpose = $2)
             AND ($3 IS NULL OR (created_ms, id) <
                 (SELECT created_ms, id FROM files WHERE id = $3 AND client = $1))
         ORDER BY created_ms DESC, id DESC LIMIT $4",
    )
    .bind(client.to_string())
    .bind(purpose)
    .bind(page.after.as_deref())
    .bind(i64::from(page.limit) + 1)
    .fetch_all(pool)
    .await?;
    rows.iter().map(parse).collect()
}

/// How many files a client has, and their bytes together.
pub async fn used(pool: &AnyPool, client: &Address) -> Result<(u64, u64), sqlx::Error> {
    let row = sqlx::query(
        "SELECT count(*) AS count, CAST(coalesce(sum(bytes), 0) AS BIGINT) AS bytes
         FROM files WHERE client = $1",
    )
    .bind(client.to_string())
    .fetch_one(pool)
    .await?;
    Ok((number(&row, "count")?, number(&row, "bytes")?))
}

/// The bytes of all files together.
pub async fn used_by_all(pool: &AnyPool) -> Result<u64, sqlx::Error> {
    let query = "SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) AS bytes FROM files";
    number(&sqlx::query(query).fetch_one(pool).await?, "bytes")
}

/// Removes a file's row, unless a batch that has not ended reads it.
pub async fn forget(pool: &AnyPool, id: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "DELETE FROM files WHERE id = $1 AND NOT EXISTS
             (SELECT 1 FROM batches WHERE input_file = $1 AND is_final = 0)",
    )
    .bind(id)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The ids of files whose time is over.
pub async fn expired(pool: &AnyPool, now_ms: u64) -> Result<Vec<String>, sqlx::Error> {
    let query = sqlx::query_scalar("SELECT id FROM files WHERE expires_ms <= $1");
    query.bind(to_sql(now_ms)?).fetch_all(pool).await
}
