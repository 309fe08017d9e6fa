//! The table `api_keys`. It stores hashes of keys and never a key.

use crate::{auth::keys::ApiKey, link::unix_ms, settlement::store::id};
use cactus_database::to_sql;
use cactus_protocol::{Address, SignedOrder};
use sqlx::{AnyPool, Row};
use std::sync::Arc;

/// Stores a new key.
pub async fn insert(pool: &AnyPool, key: &ApiKey) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO api_keys (id, key_hash, client, signed_order, created_ms)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(&key.id)
    .bind(key.hash.to_string())
    .bind(key.client.to_string())
    .bind(key.order.to_header())
    .bind(to_sql(unix_ms())?)
    .execute(pool)
    .await
    .map(drop)
}

/// Marks a client's key as revoked; `false` when there is no such live key.
pub async fn revoke(pool: &AnyPool, client: &Address, key: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE api_keys SET revoked_ms = $1 WHERE id = $2 AND client = $3 AND revoked_ms IS NULL",
    )
    .bind(to_sql(unix_ms())?)
    .bind(key)
    .bind(client.to_string())
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Every live key whose order can be read.
pub async fn live(pool: &AnyPool) -> Result<Vec<ApiKey>, sqlx::Error> {
    made_since(pool, 0).await
}

/// The live keys that were made since a time in Unix milliseconds.
pub async fn made_since(pool: &AnyPool, since_ms: u64) -> Result<Vec<ApiKey>, sqlx::Error> {
    let query = sqlx::query(
        "SELECT id, key_hash, client, signed_order FROM api_keys
         WHERE revoked_ms IS NULL AND created_ms >= $1",
    );
    let mut keys = Vec::new();
    for row in query.bind(to_sql(since_ms)?).fetch_all(pool).await? {
        let name: String = row.try_get("id")?;
        let Some(order) = SignedOrder::parse_header(row.try_get("signed_order")?) else {
            tracing::error!(key = name, "the order of an API key cannot be read");
            continue;
        };
        keys.push(ApiKey {
            id: name,
            hash: id(&row, "key_hash")?,
            client: id(&row, "client")?,
            order: Arc::new(order),
        });
    }
    Ok(keys)
}

/// The keys that were revoked since a time in Unix milliseconds, with their owners.
pub async fn revoked_since(
    pool: &AnyPool,
    since_ms: u64,
) -> Result<Vec<(Address, String)>, sqlx::Error> {
    let query = sqlx::query("SELECT id, client FROM api_keys WHERE revoked_ms >= $1");
    let rows = query.bind(to_sql(since_ms)?).fetch_all(pool).await?;
    rows.iter().map(|row| Ok((id(row, "client")?, row.try_get("id")?))).collect()
}
