//! A database that lives as long as a test: a file, or a schema of its own in the PostgreSQL that
//! the environment names. It never runs in production.

use crate::{Address, Durability, Settings, open};
use sqlx::{AnyPool, AssertSqlSafe};
use std::{
    future::Future,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// The environment variable with a PostgreSQL for tests; without it tests run on SQLite.
const VARIABLE: &str = "CACTUS_TEST_POSTGRES";

/// The file of a test on SQLite.
const FILE: &str = "scratch.sqlite";

/// Connections of a test.
const SETTINGS: Settings = Settings { connections: 4, durability: Durability::Crashes };

/// A fresh, empty database. Dropping it removes it.
#[derive(Debug)]
pub struct Scratch {
    address: Address,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Removed with the folder.
    File(TempDir),
    Schema {
        server: Address,
        name: String,
    },
}

impl Scratch {
    /// On PostgreSQL if the environment names one, else a file.
    #[allow(clippy::panic, reason = "a test without a database has failed")]
    pub fn new() -> Self {
        let Ok(server) = std::env::var(VARIABLE) else {
            let Ok(folder) = TempDir::new() else { panic!("no temporary folder") };
            let Ok(address) = Address::file(&folder.path().join(FILE)) else {
                panic!("the temporary folder has no name in UTF-8")
            };
            return Self { address, place: Place::File(folder) };
        };
        let Ok(server) = server.parse::<Address>() else { panic!("{VARIABLE} is no address") };
        let name = format!("scratch_{:016x}", rand::random::<u64>());
        run_once(&server, format!("CREATE SCHEMA {name}"));
        let address = server.clone().with_parameter("options[search_path]", &name);
        Self { address, place: Place::Schema { server, name } }
    }

    /// Whether this run of the tests is on PostgreSQL.
    pub fn is_postgres() -> bool {
        std::env::var_os(VARIABLE).is_some()
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A pool of its own.
    #[allow(clippy::panic, reason = "a test without a database has failed")]
    pub async fn open(&self) -> AnyPool {
        match open(&self.address, SETTINGS).await {
            Ok(pool) => pool,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Scratch {
    /// Everything that is stored, as the database writes it.
    #[allow(clippy::panic, reason = "a test without a database has failed")]
    pub fn contents(&self) -> Vec<u8> {
        let contents = match &self.place {
            Place::File(folder) => {
                std::fs::read(folder.path().join(FILE)).map_err(|error| error.to_string())
            }
            Place::Schema { server, name } => dump(server, name).map(String::into_bytes),
        };
        match contents {
            Ok(contents) => contents,
            Err(error) => panic!("a database cannot be read: {error}"),
        }
    }

    /// A database with the same contents, as they are committed now.
    #[allow(clippy::panic, reason = "a test without a database has failed")]
    pub async fn copy(&self) -> Self {
        let copy = Self::new();
        let copied = match (&self.place, &copy.place) {
            (Place::File(_), Place::File(folder)) => {
                copy_file(&self.open().await, &folder.path().join(FILE)).await
            }
            (Place::Schema { server, name }, Place::Schema { name: new, .. }) => {
                copy_schema(server, (name, new))
            }
            _ => Err("the environment changed under a test".into()),
        };
        if let Err(error) = copied {
            panic!("a database cannot be copied: {error}");
        }
        copy
    }
}

async fn copy_file(pool: &AnyPool, target: &Path) -> Result<(), String> {
    let target = target.to_string_lossy().into_owned();
    let done = sqlx::query("VACUUM INTO $1").bind(target).execute(pool).await;
    pool.close().await;
    done.map(drop).map_err(|error| error.to_string())
}

/// PostgreSQL's own tools see one moment, whoever writes meanwhile.
fn copy_schema(server: &Address, (name, new): (&str, &str)) -> Result<(), String> {
    let show = |error: std::io::Error| error.to_string();
    let url = server.options().database_url.to_string();
    let script = dump(server, name)?;
    let script = format!("DROP SCHEMA {new};\n{}", script.replace(name, new));
    let quiet = ["--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", &url];
    let mut psql = Command::new("psql");
    psql.args(quiet).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut psql = psql.spawn().map_err(show)?;
    // Taken out, so that it closes and the program sees the end.
    if let Some(mut input) = psql.stdin.take() {
        input.write_all(script.as_bytes()).map_err(show)?;
    }
    let ended = psql.wait().map_err(show)?;
    if ended.success() { Ok(()) } else { Err(format!("psql ended with {ended}")) }
}

fn dump(server: &Address, schema: &str) -> Result<String, String> {
    let url = server.options().database_url.to_string();
    let dumped = Command::new("pg_dump").args(["--no-owner", "-n", schema, &url]).output();
    let dumped = dumped.map_err(|error| error.to_string())?;
    String::from_utf8(dumped.stdout).map_err(|error| error.to_string())
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Place::Schema { server, name } = &self.place {
            run_once(server, format!("DROP SCHEMA {name} CASCADE"));
        }
    }
}

/// One statement on a thread and a connection of its own, so that it can run in a `drop`.
#[allow(clippy::print_stderr, reason = "for whoever reads the test's output")]
fn run_once(server: &Address, statement: String) {
    let server = server.clone();
    let run = async move {
        let settings = Settings { connections: 1, ..SETTINGS };
        let pool = open(&server, settings).await.map_err(|error| error.to_string())?;
        let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await;
        pool.close().await;
        done.map(drop).map_err(|error| error.to_string())
    };
    let done = std::thread::spawn(|| block_on(run)).join();
    if !matches!(done, Ok(Ok(()))) {
        eprintln!("the database of a test: {done:?}");
    }
}

fn block_on(run: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(run)
}
