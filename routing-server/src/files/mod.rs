//! Files of payers: what batches read and write. Their bytes lie on disk and never all in memory.

mod content;
mod store;
mod upload;

pub use content::{read_part, stream};
pub use store::{Page, Stored, find, forget, insert, list, used, used_by_all};
pub use upload::receive;

use crate::{app::App, error::ApiError, link::unix_ms};
use cactus_protocol::Address;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Of uploads under way.
const UPLOAD_PREFIX: &str = "upload-";
/// Between two looks for files that have expired.
const SWEEP_PERIOD: Duration = Duration::from_secs(600);

/// A fresh id.
pub fn fresh_id() -> String {
    format!("file-{}", hex::encode(rand::random::<[u8; 12]>()))
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("files")
}

/// Where a file's bytes lie. `id` must be one of ours: found in the database or made here.
pub fn path(data_dir: &Path, id: &str) -> PathBuf {
    folder(data_dir).join(id)
}

/// A file of this payer.
///
/// # Errors
/// [`ApiError::NotFound`], also for files of others.
pub async fn owned(app: &App, client: &Address, id: &str) -> Result<Stored, ApiError> {
    let file = if may_be_id(id) { find(&app.pool, client, id).await? } else { None };
    file.ok_or_else(|| ApiError::NotFound(format!("this account has no file `{}`", short(id))))
}

/// Whether a client's text can name anything that is stored; PostgreSQL takes no zero bytes.
pub fn may_be_id(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// As much of a client's text as an answer repeats.
fn short(id: &str) -> String {
    id.chars().take(80).collect()
}

/// Deletes a file: its row first, so that nobody finds a row without bytes.
///
/// # Errors
/// [`ApiError`] when it is not there or a batch still reads it.
pub async fn delete(app: &App, client: &Address, id: &str) -> Result<(), ApiError> {
    let file = owned(app, client, id).await?;
    if !forget(&app.pool, &file.id).await? {
        return Err(ApiError::Conflict {
            code: "file_in_use",
            message: "a batch still reads this file: wait for it, or cancel it".into(),
        });
    }
    remove(&path(&app.config.data_dir, &file.id)).await;
    Ok(())
}

async fn remove(path: &Path) {
    if let Err(error) = tokio::fs::remove_file(path).await {
        tracing::warn!(path = %path.display(), %error, "a file cannot be removed");
    }
}

/// OpenAI's file object.
pub fn describe(file: &Stored) -> Value {
    json!({
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_ms / 1000,
        "expires_at": file.expires_ms / 1000,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    })
}

/// Makes the folder and clears it of uploads that a crash cut off.
///
/// # Errors
/// When the data directory cannot be written.
pub async fn prepare(data_dir: &Path) -> std::io::Result<()> {
    let folder = folder(data_dir);
    tokio::fs::create_dir_all(&folder).await?;
    let mut entries = tokio::fs::read_dir(&folder).await?;
    while let Some(entry) = entries.next_entry().await? {
        if entry.file_name().to_string_lossy().starts_with(UPLOAD_PREFIX) {
            tokio::fs::remove_file(entry.path()).await?;
        }
    }
    Ok(())
}

/// Removes expired files until `stop`.
pub async fn sweep(app: &App, stop: CancellationToken) {
    let mut period = tokio::time::interval(SWEEP_PERIOD);
    while stop.run_until_cancelled(period.tick()).await.is_some() {
        match store::expired(&app.pool, unix_ms()).await {
            Ok(ids) => {
                for id in ids {
                    // A batch that still reads it keeps it until the next look.
                    if let Ok(true) = forget(&app.pool, &id).await {
                        remove(&path(&app.config.data_dir, &id)).await;
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "expired files cannot be read"),
        }
    }
}
