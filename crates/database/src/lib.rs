//! The one door to a server's database: SQLite in its data directory, or PostgreSQL that several
//! servers share. It knows addresses, connections and transactions, and no table.
//!
//! Everything above writes one SQL for both: parameters are `$1, $2 …`, numbers are signed and of
//! 64 bits, flags are 0 or 1, sums are cast to BIGINT, and time is told by the program. On
//! PostgreSQL transactions run side by side under READ COMMITTED, so what was read may be old when
//! it is acted on: a change names in its WHERE what it relies on, and counts the rows it met.

mod address;
mod many;
mod number;
mod open;
#[cfg(any(test, feature = "scratch"))]
mod scratch;

pub use address::{Address, BadAddress};
pub use many::ManyRows;
pub use number::{broken, number, optional_number, to_sql};
pub use open::{Durability, OpenError, Settings, open};
#[cfg(any(test, feature = "scratch"))]
pub use scratch::Scratch;

use sqlx::{Any, AnyConnection, AnyPool, Transaction};
use std::time::{SystemTime, UNIX_EPOCH};

/// Which database answers, where the two differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A file of one process.
    Sqlite,
    /// A server of many.
    Postgres,
}

/// Which database a pool is of.
pub fn dialect(pool: &AnyPool) -> Dialect {
    match pool.connect_options().database_url.scheme() {
        "sqlite" => Dialect::Sqlite,
        _ => Dialect::Postgres,
    }
}

/// [`dialect`], of a connection that may be anyone's.
fn dialect_of(connection: &AnyConnection) -> Dialect {
    match connection.backend_name() {
        "SQLite" => Dialect::Sqlite,
        _ => Dialect::Postgres,
    }
}

/// Begins a transaction that writes. SQLite has one writer: it waits for its turn here, rather than
/// fail when it first writes.
///
/// # Errors
/// Those of the database.
pub async fn begin(pool: &AnyPool) -> Result<Transaction<'static, Any>, sqlx::Error> {
    match dialect(pool) {
        Dialect::Sqlite => pool.begin_with("BEGIN IMMEDIATE").await,
        Dialect::Postgres => pool.begin().await,
    }
}

/// Unix milliseconds by the clock that all processes of a database share: PostgreSQL's own, and
/// this machine's for a file.
///
/// # Errors
/// Those of the database.
pub async fn now_ms(pool: &AnyPool) -> Result<u64, sqlx::Error> {
    if dialect(pool) == Dialect::Sqlite {
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        return u64::try_from(age.as_millis()).map_err(broken);
    }
    let now = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
    u64::try_from(sqlx::query_scalar::<_, i64>(now).fetch_one(pool).await?).map_err(broken)
}

/// Creates what is missing by one script of each dialect, whoever else does so at the same time.
///
/// # Errors
/// Those of the database.
pub async fn create(
    pool: &AnyPool,
    (sqlite, postgres): (&'static str, &'static str),
) -> Result<(), sqlx::Error> {
    let mut transaction = begin(pool).await?;
    if dialect(pool) == Dialect::Postgres {
        // `IF NOT EXISTS` alone fails when two create the same table at once.
        sqlx::raw_sql("SELECT pg_advisory_xact_lock(4873902817)")
            .execute(&mut *transaction)
            .await?;
    }
    let script = if dialect(pool) == Dialect::Sqlite { sqlite } else { postgres };
    sqlx::raw_sql(script).execute(&mut *transaction).await?;
    transaction.commit().await
}
