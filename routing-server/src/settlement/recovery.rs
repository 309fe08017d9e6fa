//! After a start, and when another server fell silent: tasks that a crash left without a decision are given up, so that their escrow
//! returns; what was decided is carried on by the outbox. It decides nothing twice.

use super::store::{self, ABANDONED, Closing, StoreError, StoredTask};
use crate::{app::App, link::unix_ms};
use cactus_database::begin;
use cactus_protocol::TaskState;

/// Brings the database and the memory into step. Runs before any request.
pub async fn recover(app: &App) -> Result<(), StoreError> {
    let mut connection = app.pool.acquire().await?;
    let live = store::live(&mut connection, &app.instance.id).await?;
    drop(connection);
    take_up(app, &live).await
}

/// Takes up tasks of a server that has ended.
pub async fn take_up(app: &App, live: &[StoredTask]) -> Result<(), StoreError> {
    let mut abandoned = 0_usize;
    for task in live {
        if task.state == TaskState::Assigned {
            give_up(app, task.task_id).await?;
            abandoned += 1;
        }
        let (client, order) = (task.client, task.order_id);
        if app.instance.is_shared {
            app.budget.lock().inherit(client, task.task_id, (order, task.lock));
        } else {
            let used = store::order_used(&app.pool, &client, &order).await?;
            let mut budget = app.budget.lock();
            budget.learn_order(client, order, used);
            budget.recover(client, task.task_id, (order, task.lock));
        }
        app.nodes.fleet.add_exposure(task.operator, task.lock, u128::MAX);
    }
    if !live.is_empty() {
        tracing::info!(open = live.len(), abandoned, "tasks taken up again");
    }
    Ok(())
}

async fn give_up(app: &App, task_id: cactus_protocol::TaskId) -> Result<(), StoreError> {
    let closing = Closing {
        event: ABANDONED,
        verdict: "abandoned: the server restarted, or another one took over".into(),
        receipt: None,
        line: None,
        ttft_ms: None,
        total_ms: 0,
        closed_ms: unix_ms(),
    };
    let mut transaction = begin(&app.pool).await?;
    match store::close(&mut transaction, task_id, &closing).await {
        Ok(()) => Ok(transaction.commit().await?),
        // The silent server was not dead and decided it in its last moment.
        Err(StoreError::Illegal(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
