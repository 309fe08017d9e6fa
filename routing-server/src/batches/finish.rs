//! Writes the files of a batch that has ended. A crash while it writes costs nothing: the batch is
//! not over, and whoever takes it up writes its files anew.

use super::{
    line::{Outcome, not_sent},
    lines,
    store::{self, Batch, Counts, State},
};
use crate::{
    app::App,
    files::{self, Draft},
    link::unix_ms,
};
use anyhow::{Result, ensure};
use cactus_database::begin;

/// Lines in memory at once.
const PART: u32 = 256;

/// Writes the output and the errors, and brings the batch from finalizing or cancelling to its end.
///
/// # Errors
/// When a file or the database cannot be written; it is tried again later.
pub async fn finish(app: &App, batch: &Batch, end: State) -> Result<()> {
    let unsent = match end {
        State::Cancelled => Outcome::Cancelled,
        _ => Outcome::Expired,
    };
    let mut output = begin_file(app, batch, "output").await?;
    let mut errors = begin_file(app, batch, "error").await?;
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
                    write_line(&mut output, &result).await?;
                }
                Some(result) => {
                    counts.failed += 1;
                    write_line(&mut errors, &result).await?;
                }
                None => {
                    counts.failed += 1;
                    let place = (batch.id.as_str(), line.number);
                    write_line(&mut errors, &not_sent(place, &line.custom_id, unsent)).await?;
                }
            }
        }
    }
    let (output, errors) = (ended(output).await?, ended(errors).await?);
    let mut transaction = begin(&app.pool).await?;
    let from = if end == State::Cancelled { State::Cancelling } else { State::Finalizing };
    // False when another server wrote the files: these go again.
    if !store::advance(&mut transaction, &batch.id, (from, end, unix_ms())).await? {
        return Ok(());
    }
    for draft in [&output, &errors].into_iter().flatten() {
        let given = files::give(&mut *transaction, &batch.client(), draft.stored()).await?;
        ensure!(given, "a file took too long to write");
    }
    let id = |draft: &Option<Draft>| draft.as_ref().map(|draft| draft.stored().id.clone());
    let (output_id, errors_id) = (id(&output), id(&errors));
    let ids = (output_id.as_deref(), errors_id.as_deref());
    store::close(&mut transaction, &batch.id, (counts, ids.0, ids.1)).await?;
    transaction.commit().await?;
    for draft in [output, errors].into_iter().flatten() {
        draft.keep();
    }
    Ok(())
}

async fn begin_file(app: &App, batch: &Batch, what: &str) -> Result<Draft> {
    let filename = format!("{}_{what}.jsonl", batch.id);
    Ok(Draft::begin(app, "batch_output", filename).await?)
}

async fn write_line(draft: &mut Draft, line: &str) -> Result<()> {
    draft.write(line.as_bytes()).await?;
    Ok(draft.write(b"\n").await?)
}

/// The file, if there is anything in it.
async fn ended(mut draft: Draft) -> Result<Option<Draft>> {
    draft.finish().await?;
    Ok((draft.bytes() > 0).then_some(draft))
}
