//! Opens a pool of connections with the settings that decisions about money need. It creates no
//! table.

use crate::Address;
use sqlx::{AnyPool, Executor, any::AnyPoolOptions};
use std::time::Duration;

/// How long a caller waits for a free connection.
const ACQUIRE: Duration = Duration::from_secs(10);

/// A write waits so long for another one's end; WAL lets readers go on meanwhile.
const SQLITE: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL;";
/// Nothing waits for ever, and a process that hangs in a transaction lets go of its locks. What the
/// administrator set on commits stands, unless it is less than durable.
const POSTGRES: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '30s'; SET application_name = 'cactus';
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') = 'off';";

/// What a commit survives on SQLite; PostgreSQL's own settings say it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: each commit waits for the disk.
    PowerCuts,
    /// The end of the process, but no power cut.
    Crashes,
}

/// How to open a database.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Connections at most.
    pub connections: u32,
    /// What a commit survives.
    pub durability: Durability,
}

/// The database cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the database {address} cannot be opened: {reason}")]
pub struct OpenError {
    address: Address,
    /// Without the password: the driver's errors name none.
    reason: sqlx::Error,
}

/// Opens a database and reaches it once.
///
/// # Errors
/// [`OpenError`] says which database and why.
pub async fn open(address: &Address, settings: Settings) -> Result<AnyPool, OpenError> {
    sqlx::any::install_default_drivers();
    let script = match (address.is_file(), settings.durability) {
        (false, _) => POSTGRES.to_owned(),
        (true, Durability::PowerCuts) => format!("{SQLITE} PRAGMA synchronous = FULL;"),
        (true, Durability::Crashes) => format!("{SQLITE} PRAGMA synchronous = OFF;"),
    };
    let script: std::sync::Arc<str> = script.into();
    let pool = AnyPoolOptions::new()
        .max_connections(settings.connections)
        .acquire_timeout(ACQUIRE)
        // A file does not go away, and each look costs two hops between threads.
        .test_before_acquire(!address.is_file())
        .after_connect(move |connection, _| {
            let script = sqlx::AssertSqlSafe(std::sync::Arc::clone(&script));
            Box::pin(async move { connection.execute(sqlx::raw_sql(script)).await.map(drop) })
        });
    let opened = pool.connect_with(address.options()).await;
    opened.map_err(|reason| OpenError { address: address.clone(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_that_is_not_there_is_named_without_its_password() {
        let address = "postgres://cactus:hunter2@127.0.0.1:1/router".parse().unwrap();
        let settings = Settings { connections: 1, durability: Durability::PowerCuts };
        let error = open(&address, settings).await.unwrap_err().to_string();
        assert!(error.contains("127.0.0.1:1/router") && !error.contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn a_commit_waits_for_the_disk_unless_told_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let address = Address::file(&folder.path().join("with space & 50%25.sqlite")).unwrap();
        for (durability, expected) in [(Durability::PowerCuts, 2), (Durability::Crashes, 0)] {
            let pool = open(&address, Settings { connections: 2, durability }).await.unwrap();
            let ask = |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool);
            assert_eq!(ask("PRAGMA synchronous").await.unwrap(), expected);
            assert_eq!(ask("PRAGMA foreign_keys").await.unwrap(), 1);
            let mode: String =
                sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pool).await.unwrap();
            assert_eq!(mode, "wal");
        }
        assert!(folder.path().join("with space & 50%25.sqlite").exists());
    }
}
