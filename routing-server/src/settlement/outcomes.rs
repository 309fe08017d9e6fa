//! What the chain made of the server's intents, brought back into tasks, budgets and exposure. It
//! creates no intent but the end of a lock that timed out.

use super::store::{self, StoreError, StoredTask};
use crate::{app::App, link::unix_ms, metrics::Metrics};
use cactus_database::begin;
use cactus_ledger::{Abort, Call, IntentId, Outcome, Settled, TaskInfo, TaskStage, outbox};
use cactus_protocol::{Octas, TaskEvent, TaskId, TaskState};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

/// How long a client whose lock failed by its own doing gets no answer: its node worked for
/// nothing.
const BAR: Duration = Duration::from_secs(600);

/// Between two looks where other processes may carry the outbox.
const SHARED_MS: u64 = 500;

/// Of the module `client_account`.
const ENO_ACCOUNT: u64 = 1;
/// Of the module `client_account`.
const EINSUFFICIENT_BALANCE: u64 = 2;
/// Of the module `payment`.
const EWRONG_CLIENT_KEY: u64 = 3;

/// Where a task's lock went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts {
    /// The transaction, if one is known.
    pub transaction: Option<String>,
    /// To the orchestrator.
    pub orchestrator: Octas,
    /// To server and treasury.
    pub fee: Octas,
    /// Back to the client.
    pub refund: Octas,
}

/// Applies outcomes until `shutdown`.
pub async fn follow(
    app: &App,
    mut settled: broadcast::Receiver<Settled>,
    shutdown: CancellationToken,
) {
    let limit_ms = app.config.limits.reconcile_ms;
    let period_ms = if app.instance.is_shared { limit_ms.min(SHARED_MS) } else { limit_ms };
    let period = Duration::from_millis(period_ms);
    let mut period = tokio::time::interval(period);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = period.tick() => reconcile(app).await,
            next = settled.recv() => match next {
                Ok(settled) => apply_logged(app, &settled.id, &settled.outcome).await,
                Err(RecvError::Lagged(_)) => reconcile(app).await,
                Err(RecvError::Closed) => return,
            }
        }
    }
}

/// Looks at every open task for outcomes that were missed: the process that carries the outbox tells
/// only itself.
async fn reconcile(app: &App) {
    match store::outcomes(&app.pool, &app.instance.id).await {
        Ok(outcomes) => {
            for (id, outcome) in outcomes {
                apply_logged(app, &id, &outcome).await;
            }
        }
        Err(error) => tracing::error!(%error, "outcomes cannot be read"),
    }
}

fn expiry(task_id: TaskId) -> IntentId {
    IntentId::new(format!("expire:{task_id}"))
}

fn release(task_id: TaskId) -> IntentId {
    IntentId::new(format!("release:{task_id}"))
}

async fn apply_logged(app: &App, id: &IntentId, outcome: &Outcome) {
    match apply(app, id, outcome).await {
        // Applied before: outcomes are looked at again after any doubt.
        Ok(()) | Err(StoreError::Illegal(_)) => {}
        Err(error) => tracing::error!(%error, intent = %id, "an outcome cannot be stored"),
    }
}

async fn apply(app: &App, id: &IntentId, outcome: &Outcome) -> Result<(), StoreError> {
    let Some((kind, task_id)) = id.as_str().split_once(':') else {
        return Ok(());
    };
    let Ok(task_id) = task_id.parse::<TaskId>() else {
        return Ok(());
    };
    let task = {
        let mut connection = app.pool.acquire().await?;
        store::load(&mut connection, task_id).await?
    };
    if task.instance.as_ref() != Some(&app.instance.id) {
        // Its own server looks for itself.
        return Ok(());
    }
    match (kind, outcome) {
        ("create", Outcome::Confirmed { hash, .. }) => {
            app.budget.lock().landed(task.client, &task_id, Instant::now());
            store::landed(&app.pool, task_id, hash).await
        }
        ("create", Outcome::Failed { abort, message }) => {
            tracing::warn!(%task_id, message, "the chain did not lock the task's money");
            if abort.as_ref().is_some_and(is_the_clients) {
                app.budget.lock().bar(task.client, Instant::now() + BAR);
            }
            Ok(())
        }
        ("close" | "expire" | "release", _) if is_final(&task) => Ok(()),
        ("close" | "expire" | "release", outcome) => finish(app, &task, outcome).await,
        _ => Ok(()),
    }
}

/// Whether the contract refused a lock for a reason that only the client can bring about between
/// this server's check and the chain's: it withdrew its money or changed its account's key.
fn is_the_clients(abort: &Abort) -> bool {
    let module = abort.module.rsplit("::").next();
    // Without Aptos' category.
    match abort.code & 0xffff {
        ENO_ACCOUNT | EINSUFFICIENT_BALANCE => module == Some("client_account"),
        EWRONG_CLIENT_KEY => module == Some("payment"),
        _ => false,
    }
}

fn is_final(task: &StoredTask) -> bool {
    matches!(task.state, TaskState::Settled | TaskState::Refunded)
}

/// The chain's last word on a decided task.
async fn finish(app: &App, task: &StoredTask, outcome: &Outcome) -> Result<(), StoreError> {
    let (hash, settlement) = match outcome {
        Outcome::Confirmed { hash, events, .. } => {
            let settlement = events.iter().find_map(|event| event.settlement());
            (Some(hash.clone()), settlement)
        }
        Outcome::Failed { message, .. } => {
            tracing::warn!(task_id = %task.task_id, message, "the chain refused to close a task");
            (None, None)
        }
    };
    match (task.state, settlement, &hash) {
        (_, Some(paid), _) => {
            let fee = paid.server_fee_octas.checked_add(paid.treasury_fee_octas);
            let amounts = Amounts {
                transaction: hash,
                orchestrator: paid.orchestrator_octas,
                fee: fee.unwrap_or_default(),
                refund: paid.refund_octas,
            };
            conclude(app, task, (TaskEvent::PaymentConfirmed, amounts)).await
        }
        (TaskState::Refunding { .. }, _, Some(_)) => {
            conclude(app, task, (TaskEvent::RefundConfirmed, refund(task, hash))).await
        }
        _ => ask_the_chain(app, task, hash).await,
    }
}

/// The transaction alone does not tell: the contract's own record does.
async fn ask_the_chain(
    app: &App,
    task: &StoredTask,
    hash: Option<String>,
) -> Result<(), StoreError> {
    let info = match app.chain.task(task.client, task.task_id).await {
        Ok(info) => info,
        // Asked again with the next reconciliation.
        Err(error) => {
            tracing::warn!(%error, task_id = %task.task_id, "a task's end is not known yet");
            return Ok(());
        }
    };
    match info.stage {
        TaskStage::Settled => {
            let amounts = Amounts {
                transaction: hash,
                orchestrator: info.orchestrator_paid,
                fee: info.fee_paid,
                refund: info.refunded,
            };
            conclude(app, task, (TaskEvent::PaymentConfirmed, amounts)).await
        }
        TaskStage::Refunded | TaskStage::Unknown => {
            conclude(app, task, (TaskEvent::RefundConfirmed, refund(task, hash))).await
        }
        TaskStage::Assigned | TaskStage::Delivered => end_by_time(app, task, &info).await,
        // Asked again with each reconciliation, until the case is closed.
        TaskStage::Disputed => Ok(()),
    }
}

/// The lock still stands though the chain refused its end: when its time is over anyone, hence this
/// server, may return it, or have paid what the orchestrator put on record.
async fn end_by_time(app: &App, task: &StoredTask, info: &TaskInfo) -> Result<(), StoreError> {
    let (client, task_id) = (task.client, task.task_id);
    let (id, call, until) = if info.stage == TaskStage::Delivered {
        let call = Call::ReleaseExpired { client, task_id };
        (release(task_id), call, info.review_until_seconds)
    } else {
        (expiry(task_id), Call::RefundExpired { client, task_id }, task.deadline_seconds)
    };
    if unix_ms() / 1000 <= until {
        return Ok(());
    }
    let mut connection = app.pool.acquire().await?;
    outbox::enqueue(&mut connection, &id, &call).await?;
    app.carrier.wake();
    Ok(())
}

fn refund(task: &StoredTask, transaction: Option<String>) -> Amounts {
    Amounts { transaction, refund: task.lock, ..Amounts::default() }
}

async fn conclude(
    app: &App,
    task: &StoredTask,
    (event, amounts): (TaskEvent, Amounts),
) -> Result<(), StoreError> {
    let now_ms = unix_ms();
    let mut transaction = begin(&app.pool).await?;
    store::settle(&mut transaction, task.task_id, (event, &amounts), now_ms).await?;
    transaction.commit().await?;
    let finished = (amounts.refund, Instant::now());
    app.budget.lock().finish(task.client, &task.task_id, finished);
    app.nodes.fleet.remove_exposure(&task.operator, task.lock);
    let lag_ms = now_ms.saturating_sub(task.closed_ms.unwrap_or(now_ms));
    let lag = Duration::from_millis(lag_ms).as_secs_f64();
    app.metrics.settlement_lag.observe(lag);
    let outcome = match event {
        TaskEvent::PaymentConfirmed => "paid",
        _ => "refunded",
    };
    Metrics::count(&app.metrics.settlements, outcome);
    Ok(())
}
