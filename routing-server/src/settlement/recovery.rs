//! After a start: tasks that a crash left without a decision are given up, so that their escrow
//! returns; what was decided is carried on by the outbox. It decides nothing twice.

use super::store::{self, ABANDONED, Closing, StoreError};
use crate::{app::App, link::unix_ms};
use cactus_database::begin;
use cactus_protocol::TaskState;

/// Brings the database and the memory into step. Runs before any request.
pub async fn recover(app: &App) -> Result<(), StoreError> {
    let live = store::live(&app.pool).await?;
    let mut abandoned = 0_usize;
    for task in &live {
        if task.state == TaskState::Assigned {
            give_up(app, task.task_id).await?;
            abandoned += 1;
        }
        let used = store::order_used(&app.pool, &task.client, &task.order_id).await?;
        let mut budget = app.budget.lock();
        budget.learn_order(task.client, task.order_id, used);
        budget.recover(task.client, task.task_id, (task.order_id, task.lock));
        drop(budget);
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
        verdict: "abandoned: the server restarted".into(),
        receipt: None,
        line: None,
        ttft_ms: None,
        total_ms: 0,
        closed_ms: unix_ms(),
    };
    let mut transaction = begin(&app.pool).await?;
    store::close(&mut transaction, task_id, &closing).await?;
    transaction.commit().await?;
    Ok(())
}
