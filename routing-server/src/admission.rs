//! Reserves a task's money before its first token, in memory, and undoes that unless the task is
//! kept. The chain is asked only when the balance is unknown or seems too small.

use crate::{
    app::App,
    budget::Refusal,
    chain::ChainAway,
    error::ApiError,
    settlement::store,
    shares::{self, NotGranted},
};
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
/// How often it waits for what other servers give back, and how long each time.
const MAX_WAITS: usize = 12;
const WAIT: Duration = Duration::from_millis(250);

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
    if !app.instance.is_alive() {
        return Err(busy("this server lost touch with its database; use another one"));
    }
    forget_what_may_have_left(app, &order.order.client);
    let (mut lessons, mut waits) = (MAX_LESSONS, MAX_WAITS);
    loop {
        let reserved = app.budget.lock().reserve(&order.order, ask.task_id, ask.lock);
        let Err(refusal) = reserved else { return Ok(()) };
        let lesson =
            if lessons == 0 { Lesson::None } else { learn(app, order, (ask, refusal)).await? };
        match lesson {
            Lesson::None => return Err(payment_required(order, ask.lock, refusal)),
            Lesson::Learnt => lessons -= 1,
            Lesson::OthersHoldIt if waits == 0 => lessons = 0,
            Lesson::OthersHoldIt => {
                waits -= 1;
                tokio::time::sleep(WAIT).await;
            }
        }
    }
}

/// What came of asking.
enum Lesson {
    /// There is nothing to learn.
    None,
    /// Trying again is worth it.
    Learnt,
    /// Other servers hold what is missing, and were asked for it.
    OthersHoldIt,
}

async fn learn(
    app: &App,
    order: &SignedOrder,
    (ask, refusal): (Ask, Refusal),
) -> Result<Lesson, ApiError> {
    let (client, is_shared) = (order.order.client, app.instance.is_shared);
    let others_hold_it = match refusal {
        Refusal::BalanceUnknown => refresh_balance(app, client, Some(ask.lock)).await?,
        Refusal::OrderUnknown => recall_order(app, order, ask.lock).await?,
        Refusal::OrderSpent { .. } if is_shared => recall_order(app, order, ask.lock).await?,
        Refusal::OrderSpent { .. } => return Ok(Lesson::None),
        Refusal::Insufficient { .. } => {
            let start = || app.budget.lock().start_refresh(client, REFUSAL_AGE, Instant::now());
            if !is_shared && !start() {
                return Ok(Lesson::None);
            }
            refresh_balance(app, client, Some(ask.lock)).await?
        }
    };
    Ok(if others_hold_it { Lesson::OthersHoldIt } else { Lesson::Learnt })
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
/// Says whether other servers hold what is missing.
async fn recall_order(app: &App, order: &SignedOrder, wanted: Octas) -> Result<bool, ApiError> {
    if app.instance.is_shared {
        return shares::take_order(app, &order.order, wanted).await.map_err(not_granted);
    }
    let (client, order_id) = (order.order.client, order.order.order_id);
    let used = store::order_used(&app.pool, &client, &order_id).await?;
    app.budget.lock().learn_order(client, order_id, used);
    Ok(false)
}

/// Says whether other servers hold what is missing.
async fn refresh_balance(
    app: &App,
    client: Address,
    wanted: Option<Octas>,
) -> Result<bool, ApiError> {
    let refreshed = if app.instance.is_shared {
        shares::take_balance(app, client, wanted).await
    } else {
        ask_balance(app, client).await.map_err(NotGranted::from)
    };
    refreshed.map_err(|error| {
        app.budget.lock().end_refresh(client);
        not_granted(error)
    })
}

/// The whole balance is this server's to spend.
async fn ask_balance(app: &App, client: Address) -> Result<bool, ChainAway> {
    let asked_at = Instant::now();
    let balance = app.chain.balance(client).await?;
    app.budget.lock().learn_balance(client, balance.uncommitted(), asked_at);
    Ok(false)
}

fn not_granted(error: NotGranted) -> ApiError {
    match error {
        NotGranted::Chain(error) => {
            tracing::warn!(%error, "a balance cannot be checked");
            ApiError::ChainAway
        }
        NotGranted::Database(error) => error.into(),
        NotGranted::Crowded => busy("too many requests for the same money; try again"),
    }
}

fn busy(message: &str) -> ApiError {
    ApiError::Busy { code: "overloaded", message: message.into() }
}

/// Asks for an old balance beside the request that uses it.
fn keep_balance_fresh(app: &Arc<App>, client: Address) {
    let age = Duration::from_millis(app.config.limits.balance_age_ms);
    if app.budget.lock().start_refresh(client, age, Instant::now()) {
        let background = Arc::clone(app);
        let refresh = async move {
            // A failure is logged there, and the old balance serves on.
            let _ = refresh_balance(&background, client, None).await;
        };
        app.exchanges.spawn_on(refresh, &app.runtime);
    }
}
