//! Files of payers: what batches read and write. Their bytes lie in the database, in parts, and
//! never all in memory.

mod draft;
mod import;
mod parts;
mod store;
mod upload;

pub use draft::Draft;
pub use import::import;
pub use parts::{part, read_range, stream};
pub use store::{Page, Stored, find, give, list, used, used_by_all};
pub use upload::receive;

use crate::{app::App, error::ApiError, link::unix_ms};
use cactus_protocol::Address;
use serde_json::{Value, json};
use sqlx::AnyPool;
use std::time::Duration;
use store::forget;
use tokio_util::sync::CancellationToken;

/// Between two looks for files that have expired.
const SWEEP_PERIOD: Duration = Duration::from_secs(600);

/// A fresh id.
pub fn fresh_id() -> String {
    format!("file-{}", hex::encode(rand::random::<[u8; 12]>()))
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
    remove_parts(&app.pool, &file.id).await;
    Ok(())
}

/// What stays behind goes with the next sweep.
async fn remove_parts(pool: &AnyPool, file: &str) {
    if let Err(error) = parts::remove(pool, file).await {
        tracing::warn!(file, %error, "the bytes of a file cannot be removed");
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

/// Removes expired files, and what crashes left of others, until `stop`.
pub async fn sweep(app: &App, stop: CancellationToken) {
    let mut period = tokio::time::interval(SWEEP_PERIOD);
    while stop.run_until_cancelled(period.tick()).await.is_some() {
        if let Err(error) = sweep_once(&app.pool).await {
            tracing::warn!(%error, "expired files cannot be removed");
        }
    }
}

async fn sweep_once(pool: &AnyPool) -> Result<(), sqlx::Error> {
    for id in store::expired(pool, unix_ms()).await? {
        // A batch that still reads it keeps it until the next look.
        forget(pool, &id).await?;
    }
    for id in parts::orphans(pool).await? {
        parts::remove(pool, &id).await?;
    }
    Ok(())
}
