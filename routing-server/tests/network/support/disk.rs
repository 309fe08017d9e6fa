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

    /// As a crash at this moment would leave it.
    pub async fn copy(&self) -> Self {
        Self { folder: TempDir::new().unwrap(), database: self.database.copy().await }
    }
}
