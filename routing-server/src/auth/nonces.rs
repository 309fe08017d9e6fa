//! The table `nonces`: what the servers of one database tell each other about signed requests. It
//! is asked only for those that this server has not seen itself.

use cactus_database::to_sql;
use cactus_protocol::{Address, auth::CLOCK_TOLERANCE_MS};
use sqlx::AnyPool;

/// Accepts a nonce once among all servers.
///
/// # Errors
/// Those of the database.
pub async fn accept(
    pool: &AnyPool,
    (client, nonce): (&Address, &[u8; 16]),
    now_ms: u64,
) -> Result<bool, sqlx::Error> {
    // A claim of time `t` is acceptable from `t - tolerance` to `t + tolerance`, by clocks that may
    // differ as much.
    let expires_ms = now_ms.saturating_add(CLOCK_TOLERANCE_MS.saturating_mul(4));
    let done = sqlx::query(
        "INSERT INTO nonces (client, nonce, expires_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(client.to_string())
    .bind(hex::encode(nonce))
    .bind(to_sql(expires_ms)?)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets nonces whose time cannot be accepted any more.
///
/// # Errors
/// Those of the database.
pub async fn sweep(pool: &AnyPool, now_ms: u64) -> Result<(), sqlx::Error> {
    let sweep = sqlx::query("DELETE FROM nonces WHERE expires_ms < $1");
    sweep.bind(to_sql(now_ms)?).execute(pool).await.map(drop)
}
