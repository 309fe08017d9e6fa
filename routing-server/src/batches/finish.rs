//! Writes the files of a batch that has ended. A crash while it writes costs nothing: the next
//! start writes the same files again.

use super::{
    line::{Outcome, not_sent},
    lines,
    store::{self, Batch, Counts, State},
};
use crate::{
    app::App,
    files::{self, Stored},
    link::unix_ms,
};
use anyhow::{Context, Result};
use cactus_database::begin;
use std::path::PathBuf;
use tokio::{
    fs::File,
    io::{AsyncWriteExt, BufWriter},
};

/// Lines in memory at once.
const PART: u32 = 256;
const HOUR_MS: u64 = 3_600_000;

/// Writes the output and the errors, and brings the batch from finalizing or cancelling to its end.
///
/// # Errors
/// When a file or the database cannot be written; it is tried again later.
pub async fn finish(app: &App, batch: &Batch, end: State) -> Result<()> {
    let unsent = match end {
        State::Cancelled => Outcome::Cancelled,
        _ => Outcome::Expired,
    };
    let mut output = Output::create(app, batch, "output").await?;
    let mut errors = Output::create(app, batch, "error").await?;
    let (mut first, mut counts) = (0, Counts::default());
    loop {
        let part = lines::ended(&app.pool, &batch.id, (first, PART)).await?;
        let Some(last) = part.last() else { break };
        first = last.number + 1;
        for line in part {
            counts.total += 1;
            match line.result {
                Some(result) if !line.is_error => {
                    counts.completed += 1;
                    output.write(&result).await?;
                }
                Some(result) => {
                    counts.failed += 1;
                    errors.write(&result).await?;
                }
                None => {
                    counts.failed += 1;
                    let place = (batch.id.as_str(), line.number);
                    errors.write(&not_sent(place, &line.custom_id, unsent)).await?;
                }
            }
        }
    }
    let (output, errors) = (output.close().await?, errors.close().await?);
    let mut transaction = begin(&app.pool).await?;
    let from = if end == State::Cancelled { State::Cancelling } else { State::Finalizing };
    if store::advance(&mut transaction, &batch.id, (from, end, unix_ms())).await? {
        let client = batch.client();
        for file in [&output, &errors].into_iter().flatten() {
            files::insert(&mut *transaction, &client, file).await?;
        }
        let ids = (output.as_ref().map(|f| f.id.as_str()), errors.as_ref().map(|f| f.id.as_str()));
        store::close(&mut transaction, &batch.id, (counts, ids.0, ids.1)).await?;
    }
    Ok(transaction.commit().await?)
}

/// A file under construction. Its name follows from the batch's, so that writing it again
/// replaces it.
struct Output {
    path: PathBuf,
    file: BufWriter<File>,
    stored: Stored,
}

impl Output {
    async fn create(app: &App, batch: &Batch, what: &str) -> Result<Self> {
        let id = batch.id.strip_prefix("batch_").unwrap_or(&batch.id);
        let created_ms = unix_ms();
        let lifetime = app.config.limits.file_hours.saturating_mul(HOUR_MS);
        let stored = Stored {
            id: format!("file-{id}-{what}"),
            purpose: "batch_output".into(),
            filename: format!("{}_{what}.jsonl", batch.id),
            bytes: 0,
            created_ms,
            expires_ms: created_ms.saturating_add(lifetime),
        };
        let path = files::path(&app.config.data_dir, &stored.id);
        let file = File::create(&path).await.context("create a batch's file")?;
        Ok(Self { path, file: BufWriter::new(file), stored })
    }

    async fn write(&mut self, line: &str) -> Result<()> {
        self.file.write_all(line.as_bytes()).await?;
        self.file.write_all(b"\n").await?;
        self.stored.bytes += u64::try_from(line.len())? + 1;
        Ok(())
    }

    /// The file, if there is anything in it.
    async fn close(mut self) -> Result<Option<Stored>> {
        if self.stored.bytes == 0 {
            tokio::fs::remove_file(&self.path).await.context("remove an empty file")?;
            return Ok(None);
        }
        self.file.flush().await?;
        self.file.get_ref().sync_all().await?;
        Ok(Some(self.stored))
    }
}
