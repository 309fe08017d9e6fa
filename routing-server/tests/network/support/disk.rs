//! What a server keeps: its data directory and its database, on whichever database the tests run.

use cactus_database::Scratch;
use tempfile::TempDir;

pub struct Disk {
    pub folder: TempDir,
    pub database: Scratch,
}

impl Disk {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), database: Scratch::new() }
    }

    /// Everybody on this database has been silent for long.
    pub async fn end_leases(&self) {
        let pool = self.database.open().await;
        let end = "UPDATE instances SET alive_until_ms = 0; UPDATE outbox_leader SET until_ms = 0;";
        sqlx::raw_sql(end).execute(&pool).await.unwrap();
        pool.close().await;
    }

    /// As a crash at this moment would leave it.
    pub async fn copy(&self) -> Self {
        let copy = Self { folder: TempDir::new().unwrap(), database: self.database.copy().await };
        copy.end_leases().await;
        copy
    }
}
