//! Opens the server's database and brings its tables up to date. It reads and writes no row.

use crate::config::Config;
use anyhow::{Context, Result};
use cactus_database::{Address, Dialect, Durability, Settings, dialect};
use cactus_ledger::outbox;
use sqlx::{AnyPool, migrate::Migrator};

/// The database of a server that is told no other.
const FILE: &str = "router.sqlite";
/// A file has one writer, and readers end quickly.
const FILE_CONNECTIONS: u32 = 4;

static SQLITE: Migrator = sqlx::migrate!("./migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("./migrations/postgres");

/// The database that the configuration names, with all its tables.
///
/// # Errors
/// When it cannot be reached, or its tables are of another version.
pub async fn open(config: &Config) -> Result<AnyPool> {
    let folder = &config.data_dir;
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let address = match &config.database {
        Some(address) => address.clone(),
        None => Address::file(&folder.join(FILE))?,
    };
    let connections =
        if address.is_file() { FILE_CONNECTIONS } else { config.limits.database_connections };
    // A decision that was reported must survive a power cut.
    let settings = Settings { connections, durability: Durability::PowerCuts };
    let pool = cactus_database::open(&address, settings).await?;
    migrate(&pool).await.with_context(|| format!("prepare the tables of {address}"))?;
    Ok(pool)
}

/// Brings all tables up to date.
pub(crate) async fn migrate(pool: &AnyPool) -> Result<()> {
    let migrator = match dialect(pool) {
        Dialect::Sqlite => &SQLITE,
        Dialect::Postgres => &POSTGRES,
    };
    migrator.run(pool).await?;
    Ok(outbox::migrate(pool).await?)
}
