//! A file that is being written and is nobody's yet. What becomes of no one's goes again.

use super::{
    fresh_id,
    parts::PartWriter,
    remove_parts,
    store::{self, Stored},
};
use crate::{app::App, link::unix_ms};
use sqlx::AnyPool;
use tokio::runtime::Handle;

const HOUR_MS: u64 = 3_600_000;
/// A draft may take so many times as long as an upload before it counts as left behind.
const PATIENCE: u64 = 4;

/// A file under construction. Dropping it removes it, unless it was [`Draft::keep`]t.
#[derive(Debug)]
pub struct Draft {
    pool: AnyPool,
    runtime: Handle,
    /// Taken when the file is whole.
    writer: Option<PartWriter>,
    /// The row that it is to get; its length is known at the end.
    stored: Stored,
    kept: bool,
}

impl Draft {
    /// Begins a file for this purpose.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(app: &App, purpose: &str, filename: String) -> Result<Self, sqlx::Error> {
        let created_ms = unix_ms();
        let limits = &app.config.limits;
        let patience_ms = limits.file_ms.saturating_mul(PATIENCE);
        let draft = Stored {
            id: fresh_id(),
            purpose: purpose.to_owned(),
            filename,
            bytes: 0,
            created_ms,
            expires_ms: created_ms.saturating_add(patience_ms),
        };
        store::begin(&app.pool, &draft).await?;
        let lifetime_ms = limits.file_hours.saturating_mul(HOUR_MS);
        let stored = Stored { expires_ms: created_ms.saturating_add(lifetime_ms), ..draft };
        Ok(Self {
            pool: app.pool.clone(),
            runtime: app.runtime.clone(),
            writer: Some(PartWriter::new(app.pool.clone(), stored.id.clone())),
            stored,
            kept: false,
        })
    }

    /// How long it is so far.
    pub fn bytes(&self) -> u64 {
        self.writer.as_ref().map_or(self.stored.bytes, PartWriter::bytes)
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), sqlx::Error> {
        match &mut self.writer {
            Some(writer) => writer.write(bytes).await,
            None => Ok(()),
        }
    }

    /// The end: all of it is on disk.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn finish(&mut self) -> Result<(), sqlx::Error> {
        if let Some(writer) = self.writer.take() {
            self.stored.bytes = writer.finish().await?;
        }
        Ok(())
    }

    /// The file as it is to be stored.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// It has an owner.
    pub fn keep(mut self) -> Stored {
        self.kept = true;
        self.stored.clone()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (pool, id) = (self.pool.clone(), self.stored.id.clone());
        let remove = async move {
            if let Err(error) = store::forget(&pool, &id).await {
                tracing::warn!(file = id, %error, "a draft cannot be removed");
            }
            remove_parts(&pool, &id).await;
        };
        // Left behind, it goes with a sweep.
        self.runtime.spawn(remove);
    }
}
