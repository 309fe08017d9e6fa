//! Reserves a task's money before its first token, in memory, and undoes that unless the task is
//! kept. The chain is asked only when the balance is unknown or seems too small.

use crate::{app::App, budget::Refusal, error::ApiError, settlement::store};
use cactus_dispatch::exposure_limit;
use cactus_protocol::{Address, Octas, SignedOrder, TaskId};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A balance younger than this is not asked for again because it is too small.
const REFUSAL_AGE: Duration = Duration::from_millis(25);
/// A reservation may have to learn the balance, the order, and a fresher balance.
const MAX_LESSONS: usize = 3;

/// What a task would cost at most and who would be owed.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// The task.
    pub task_id: TaskId,
    /// The most that it can cost.
    pub lock: Octas,
    /// Who would be paid.
    pub operator: Address,
    /// What vouches for the work.
    pub stake: Octas,
}

/// Why nothing is reserved.
#[derive(Debug)]
pub enum NotReserved {
    /// The operator owes too much already: take another node.
    Exposure,
    /// Tell the client.
    Refused(ApiError),
}

/// Reserved money. Dropping it gives the money back; [`Reservation::keep`] leaves that to the
/// task's settlement.
pub struct Reservation {
    app: Arc<App>,
    client: Address,
    ask: Ask,
    kept: bool,
}

impl Reservation {
    /// From now on the task's settlement gives the money back.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.kept {
            let refund = (self.ask.lock, Instant::now());
            self.app.budget.lock().finish(self.client, &self.ask.task_id, refund);
            self.app.nodes.fleet.remove_exposure(&self.ask.operator, self.ask.lock);
        }
    }
}

/// Reserves a task's money against the payer's balance, the order and the operator's stake.
///
/// # Errors
/// [`NotReserved`]; then nothing is reserved.
pub async fn reserve(
    app: &Arc<App>,
    order: &SignedOrder,
    ask: Ask,
) -> Result<Reservation, NotReserved> {
    reserve_money(app, order, ask).await.map_err(NotReserved::Refused)?;
    let limit = exposure_limit(ask.stake, app.config.limits.exposure_milli);
    if !app.nodes.fleet.add_exposure(ask.operator, ask.lock, limit) {
        let refund = (ask.lock, Instant::now());
        app.budget.lock().finish(order.order.client, &ask.task_id, refund);
        return Err(NotReserved::Exposure);
    }
    keep_balance_fresh(app, order.order.client);
    Ok(Reservation { app: Arc::clone(app), client: order.order.client, ask, kept: false })
}

async fn reserve_money(app: &App, order: &SignedOrder, ask: Ask) -> Result<(), ApiError> {
    if app.budget.lock().is_barred(&order.order.client, Instant::now()) {
        return Err(ApiError::PaymentRequired {
            code: "payment_failed",
            message: "an earlier task of this account could not be locked on the chain, because \
                      its money or its key was gone; try again in some minutes"
                .into(),
        });
    }
    forget_what_may_have_left(app, &order.order.client);
    let attempt = || app.budget.lock().reserve(&order.order, ask.task_id, ask.lock);
    let client = order.order.client;
    for _ in 0..MAX_LESSONS {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(Refusal::BalanceUnknown) => refresh_balance(app, client).await?,
            Err(Refusal::OrderUnknown) => recall_order(app, order).await?,
            Err(Refusal::Insufficient { .. }) => {
                let now = Instant::now();
                if !app.budget.lock().start_refresh(client, REFUSAL_AGE, now) {
                    break;
                }
                refresh_balance(app, client).await?;
            }
            Err(Refusal::OrderSpent { .. }) => break,
        }
    }
    attempt().map_err(|refusal| payment_required(order, ask.lock, refusal))
}

/// What was free when the chain was last asked stays for the withdrawal delay at least. Half of it
/// is for reservations, the other half for their locks to reach the chain.
fn forget_what_may_have_left(app: &App, client: &Address) {
    let trust = Duration::from_secs(app.chain.parameters().withdrawal_delay_seconds) / 2;
    if let Some(oldest) = Instant::now().checked_sub(trust) {
        app.budget.lock().expire(client, oldest);
    }
}

fn payment_required(order: &SignedOrder, lock: Octas, refusal: Refusal) -> ApiError {
    let client = order.order.client;
    let (code, message) = match refusal {
        Refusal::Insufficient { available } => (
            "insufficient_funds",
            format!(
                "this request may cost up to {lock} and {client} has {available} free in the \
                 escrow, without what it asked to withdraw: run `cactus deposit {}`",
                lock.saturating_sub(available)
            ),
        ),
        Refusal::OrderSpent { remaining } => (
            "order_spent",
            format!(
                "this request may cost up to {lock} and the order has {remaining} left: sign a new \
                 order, or create a new API key with `cactus key create`"
            ),
        ),
        // Forgotten between asking and reserving: the caches are full.
        Refusal::BalanceUnknown | Refusal::OrderUnknown => return ApiError::ChainAway,
    };
    ApiError::PaymentRequired { code, message }
}

/// Learns what was spent under an order: an order names its server, so this database knows every
/// task that there ever was. Were it lost, the contract still refuses what exceeds the order.
async fn recall_order(app: &App, order: &SignedOrder) -> Result<(), ApiError> {
    let (client, order_id) = (order.order.client, order.order.order_id);
    let used = store::order_used(&app.pool, &client, &order_id).await?;
    app.budget.lock().learn_order(client, order_id, used);
    Ok(())
}

async fn refresh_balance(app: &App, client: Address) -> Result<(), ApiError> {
    let asked_at = Instant::now();
    match app.chain.balance(client).await {
        Ok(balance) => {
            app.budget.lock().learn_balance(client, balance.uncommitted(), asked_at);
            Ok(())
        }
        Err(error) => {
            app.budget.lock().end_refresh(client);
            tracing::warn!(%error, "a balance cannot be checked");
            Err(ApiError::ChainAway)
        }
    }
}

/// Asks for an old balance beside the request that uses it.
fn keep_balance_fresh(app: &Arc<App>, client: Address) {
    let age = Duration::from_millis(app.config.limits.balance_age_ms);
    if app.budget.lock().start_refresh(client, age, Instant::now()) {
        let background = Arc::clone(app);
        let refresh = async move {
            // A failure is logged there, and the old balance serves on.
            let _ = refresh_balance(&background, client).await;
        };
        app.exchanges.spawn_on(refresh, &app.runtime);
    }
}
