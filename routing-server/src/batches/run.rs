//! Carries batches from their input to their end: lines are answered at low priority, a bounded
//! number at once, and again after what may pass. It decides about no money.

use super::{
    finish::finish,
    line::{self, Line},
    lines::{self, Waiting},
    store::{self, Batch, State},
    validate::validate,
};
use crate::{
    app::App,
    auth::Payer,
    error::ApiError,
    exchange::{self, Reply},
    files,
    link::unix_ms,
    metrics::Metrics,
};
use anyhow::{Context, Result};
use cactus_database::begin;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Between two looks for batches that stand still after a failure of disk or database.
const LOOK_PERIOD: Duration = Duration::from_secs(10);
/// Lines read from the database at once.
const PART: u32 = 64;
/// Pauses before a line is tried again: each is twice the one before, to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How often a line whose nodes failed is tried again.
const MOST_FAILURES: u32 = 3;

/// Carries all batches until the server stops; lines under way then end with the other answers.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut carried = JoinSet::new();
    let mut period = tokio::time::interval(LOOK_PERIOD);
    while !app.stopping.is_cancelled() && !stop.is_cancelled() {
        match store::live(&app.pool, &app.instance.id).await {
            Ok(ids) => {
                for id in ids {
                    if let Some(cancelled) = app.batches.begin(&id) {
                        carried.spawn(carry(Arc::clone(&app), id, cancelled));
                    }
                }
            }
            Err(error) => tracing::error!(%error, "batches cannot be read"),
        }
        tokio::select! {
            () = app.batches.woken() => {}
            _ = period.tick() => {}
            Some(_) = carried.join_next() => {}
            () = app.stopping.cancelled() => {}
            () = stop.cancelled() => {}
        }
    }
    while carried.join_next().await.is_some() {}
}

async fn carry(app: Arc<App>, id: String, cancelled: CancellationToken) {
    if let Err(error) = advance(&app, &id, &cancelled).await {
        tracing::error!(batch = id, error = format!("{error:#}"), "a batch stands still");
    }
    app.batches.end(&id);
}

/// From wherever the batch stands to its end, or to the server's.
async fn advance(app: &Arc<App>, id: &str, cancelled: &CancellationToken) -> Result<()> {
    while let Some(batch) = store::find(&app.pool, id).await? {
        match batch.state {
            State::Validating => validate(app, &batch).await?,
            State::InProgress => {
                answer_lines(app, &batch, cancelled).await?;
                if app.stopping.is_cancelled() {
                    return Ok(());
                }
                let mut transaction = begin(&app.pool).await?;
                if !store::is_carried_by(&mut transaction, (id, &app.instance.id)).await? {
                    tracing::warn!(batch = id, "another server took the batch over");
                    return Ok(());
                }
                let step = (State::InProgress, State::Finalizing, unix_ms());
                // False when it was cancelled meanwhile.
                store::advance(&mut transaction, id, step).await?;
                transaction.commit().await?;
            }
            State::Cancelling => finish(app, &batch, State::Cancelled).await?,
            State::Finalizing => {
                let left = lines::waiting(&app.pool, id, (0, 1)).await?;
                let end = if left.is_empty() { State::Completed } else { State::Expired };
                finish(app, &batch, end).await?;
            }
            State::Failed | State::Completed | State::Expired | State::Cancelled => {
                tracing::info!(batch = id, state = batch.state.as_str(), "batch ended");
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Everything that the lines of one batch share.
struct Lines {
    app: Arc<App>,
    batch: Batch,
    name: Arc<str>,
    payer: Payer,
    /// Room for the lines of all of the payer's batches together.
    payer_room: Arc<Semaphore>,
    /// No new line begins, and none is tried again.
    ended: CancellationToken,
}

/// Answers every line that has no result, unless the batch ends before.
async fn answer_lines(app: &Arc<App>, batch: &Batch, cancelled: &CancellationToken) -> Result<()> {
    let (ended, limits) = (CancellationToken::new(), &app.config.limits);
    let all = Arc::new(Lines {
        app: Arc::clone(app),
        name: batch.id.as_str().into(),
        payer: Payer::of_order(batch.order.clone()),
        // A payer's own requests must not wait for its batches.
        payer_room: app.batches.room(batch.client(), (limits.streams_per_payer / 2).max(1)),
        batch: batch.clone(),
        ended: ended.clone(),
    });
    let left = batch.expires_ms.saturating_sub(unix_ms());
    let watch = async {
        tokio::select! {
            () = cancelled.cancelled() => {}
            () = app.stopping.cancelled() => {}
            () = tokio::time::sleep(Duration::from_millis(left)) => {}
        }
        ended.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answered = all.answer_all() => answered,
        () = watch => Ok(()),
    }
}

impl Lines {
    async fn answer_all(self: &Arc<Self>) -> Result<()> {
        let mut under_way = JoinSet::new();
        let begun = self.begin_all(&mut under_way).await;
        // Whatever happened: a line that is dropped would be paid for as far as it came.
        while !under_way.is_empty() {
            if let Err(error) = join(&mut under_way).await {
                tracing::warn!(batch = %self.name, error = format!("{error:#}"), "a line failed");
            }
        }
        begun
    }

    async fn begin_all(self: &Arc<Self>, under_way: &mut JoinSet<Result<()>>) -> Result<()> {
        let mut first = 0;
        while !self.ended.is_cancelled() {
            let part = lines::waiting(&self.app.pool, &self.name, (first, PART)).await?;
            let Some(last) = part.last() else { return Ok(()) };
            first = last.number + 1;
            for line in part {
                let Some(room) = self.room().await else { return Ok(()) };
                while let Some(ended) = under_way.try_join_next() {
                    ended.context("a line panicked")??;
                }
                let all = Arc::clone(self);
                under_way.spawn(async move {
                    let answered = all.answer(line).await;
                    drop(room);
                    answered
                });
            }
        }
        Ok(())
    }

    /// A place among the payer's lines and one among all, unless the batch ends before there is.
    async fn room(&self) -> Option<[OwnedSemaphorePermit; 2]> {
        let of_payer = Arc::clone(&self.payer_room).acquire_owned();
        let of_payer = self.ended.run_until_cancelled(of_payer).await?.ok()?;
        let of_all = Arc::clone(&self.app.batch_room).acquire_owned();
        let of_all = self.ended.run_until_cancelled(of_all).await?.ok()?;
        Some([of_payer, of_all])
    }

    /// Answers a line, or stores why not, or leaves it because the batch ended.
    async fn answer(&self, waiting: Waiting) -> Result<()> {
        let place = (waiting.start, usize::try_from(waiting.length)?);
        let bytes = files::read_range(&self.app.pool, &self.batch.input_file, place)
            .await
            .context("read a line")?;
        let endpoint = self.batch.endpoint;
        let line = (waiting.number, waiting.custom_id);
        let (call, line) = match line::parse(&bytes, endpoint) {
            Ok((_, call, encoding)) => {
                (call, Line::new(Arc::clone(&self.name), line, (endpoint, encoding)))
            }
            // It was valid when the batch was made; this server's rules may be newer.
            Err(invalid) => {
                let encoding = crate::openai::Encoding::Float;
                let line = Line::new(Arc::clone(&self.name), line, (endpoint, encoding));
                return self.give_up(&line, &invalid.into()).await;
            }
        };
        let (began_at, mut pause, mut failures) = (Instant::now(), PAUSES.0, 0);
        while !self.ended.is_cancelled() {
            let Err(error) = self.try_once(call.clone(), &line).await else {
                Metrics::count(&self.app.metrics.batch_lines, "answered");
                return Ok(());
            };
            failures += u32::from(matches!(error, ApiError::NodesFailed { .. }));
            if !self.may_pass(&error, (began_at, failures)) {
                return self.give_up(&line, &error).await;
            }
            let wait = self.ended.run_until_cancelled(tokio::time::sleep(pause));
            if wait.await.is_none() {
                break;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
        Ok(())
    }

    /// The answer is on disk when this returns without an error.
    async fn try_once(&self, call: crate::openai::Call, line: &Line) -> Result<(), ApiError> {
        self.app.authorization.permit()?;
        let asked = (call, Instant::now());
        let mut replies =
            exchange::start_for(&self.app, &self.payer, asked, Some(line.clone())).await?;
        match replies.recv().await {
            Some(Reply::Finished(_)) => Ok(()),
            Some(Reply::Failed(error)) => Err(error),
            Some(Reply::Started(_) | Reply::Part { .. }) | None => {
                Err(ApiError::Internal(anyhow::anyhow!("a line ended without an end")))
            }
        }
    }

    /// Whether the same line may succeed later.
    fn may_pass(&self, error: &ApiError, (began_at, failures): (Instant, u32)) -> bool {
        let patience = Duration::from_millis(self.app.config.limits.batch_patience_ms);
        match error {
            ApiError::Busy { .. }
            | ApiError::Overloaded { .. }
            | ApiError::Draining
            | ApiError::NotAuthorized
            | ApiError::ChainAway => true,
            ApiError::NodesFailed { .. } => failures <= MOST_FAILURES,
            // Money comes back when other lines settle, and nodes come back when they restart.
            ApiError::PaymentRequired { code, .. } => {
                *code != "order_expired" && began_at.elapsed() < patience
            }
            ApiError::UnknownModel(_) => began_at.elapsed() < patience,
            _ => false,
        }
    }

    async fn give_up(&self, line: &Line, error: &ApiError) -> Result<()> {
        let result = line.refused(error);
        let place = (self.app.instance.id.as_str(), &*self.name, line.number);
        lines::failed(&self.app.pool, place, &result).await?;
        Metrics::count(&self.app.metrics.batch_lines, "failed");
        Ok(())
    }
}

async fn join(under_way: &mut JoinSet<Result<()>>) -> Result<()> {
    match under_way.join_next().await {
        Some(answered) => answered.context("a line panicked")?,
        None => Ok(()),
    }
}
