//! What servers of one database do for each other beside the requests: they say that they live,
//! give back money that others want, and notice keys and cancellations. It takes no decision about
//! a task.

use super::look;
use crate::{app::App, auth::nonces, batches, key_store, link::unix_ms, shares};
use anyhow::Result;
use std::{sync::Arc, time::Duration};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Between two rounds.
const ROUND: Duration = Duration::from_millis(500);
/// Rounds between two looks at who lives: a fifth of the lease.
const LOOK_ROUNDS: u64 = 6;
/// Rounds between two looks for money that nobody here spends.
const IDLE_ROUNDS: u64 = 20;
/// Rounds between two sweeps of what is over.
const SWEEP_ROUNDS: u64 = 240;
/// How far back changes of keys are looked for: servers' clocks differ, and rounds fail.
const KEYS_MS: u64 = 120_000;

/// Goes on until `stop`, then leaves the others. A server that has its database for itself has
/// nothing to do.
pub async fn tend(app: Arc<App>, stop: CancellationToken) {
    if !app.instance.is_shared {
        return;
    }
    let mut period = tokio::time::interval(ROUND);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut round = 0_u64;
    while stop.run_until_cancelled(period.tick()).await.is_some() {
        if let Err(error) = go_round(&app, round).await {
            tracing::warn!(error = format!("{error:#}"), "the other servers cannot be heard");
        }
        round = round.wrapping_add(1);
    }
    if let Err(error) = app.instance.leave(&app.pool).await {
        tracing::warn!(%error, "the other servers take over when the lease ends");
    }
}

async fn go_round(app: &App, round: u64) -> Result<()> {
    let me = app.instance.id.as_str();
    if round.is_multiple_of(LOOK_ROUNDS) {
        look(app).await?;
    }
    for pot in shares::wanted(&app.pool, me).await? {
        shares::give_back(app, &pot).await?;
    }
    if round.is_multiple_of(IDLE_ROUNDS) {
        let idle = app.budget.lock().idle();
        for client in idle {
            shares::give_back(app, &shares::balance_of(&client)).await?;
        }
    }
    hear_of_keys(app).await?;
    for id in batches::cancelling(&app.pool, me).await? {
        app.batches.stop(&id);
    }
    if round.is_multiple_of(SWEEP_ROUNDS) {
        nonces::sweep(&app.pool, unix_ms()).await?;
        shares::sweep(&app.pool, unix_ms()).await?;
    }
    Ok(())
}

async fn hear_of_keys(app: &App) -> Result<()> {
    let since_ms = unix_ms().saturating_sub(KEYS_MS);
    app.keys.merge(key_store::made_since(&app.pool, since_ms).await?, app.scope);
    for (client, id) in key_store::revoked_since(&app.pool, since_ms).await? {
        app.keys.remove(&client, &id);
    }
    Ok(())
}
