//! What the node earned, told to the operator's log. The chain's numbers are the truth; the node's
//! own only say what is still under way. It never moves money.

use crate::worker::Worker;
use cactus_ledger::{Ledger, Reputation, ViewError};
use cactus_protocol::Octas;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// For the chain's answer: a stopping node does not wait for a chain that is away.
const PATIENCE: Duration = Duration::from_secs(3);

/// Logs a line every `pause` when something changed, and a last one at `shutdown`.
pub(crate) async fn report(
    ledger: Ledger,
    worker: Arc<Worker>,
    pause: Duration,
    shutdown: CancellationToken,
) {
    let at_start = read(&ledger, &worker).await.ok();
    let mut last_line = None;
    loop {
        let stop = timeout(pause, shutdown.cancelled()).await.is_ok();
        match read(&ledger, &worker).await {
            Ok(now) if last_line != Some(now) => {
                log(&worker, at_start.unwrap_or(now), now);
                last_line = Some(now);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "earnings unknown for now"),
        }
        if stop {
            return;
        }
    }
}

/// What the chain says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Account {
    reputation: Reputation,
    coins: Octas,
}

async fn read(ledger: &Ledger, worker: &Worker) -> Result<Account, ViewError> {
    let operator = worker.identity().operator;
    let reading =
        async { tokio::try_join!(ledger.reputation(operator), ledger.coin_balance(operator)) };
    let reading = timeout(PATIENCE, reading).await;
    let (reputation, coins) = reading.map_err(|_| ViewError::Unavailable {
        reason: format!("no answer within {PATIENCE:?}"),
    })??;
    Ok(Account { reputation, coins })
}

fn log(worker: &Worker, at_start: Account, now: Account) {
    let earned = now.reputation.volume.saturating_sub(at_start.reputation.volume);
    tracing::info!(
        operator = %worker.identity().operator,
        earned_since_start = %earned,
        earned_ever = %now.reputation.volume,
        balance = %now.coins,
        tasks_paid_ever = now.reputation.served,
        tasks_failed_ever = now.reputation.failed_by_provider,
        tasks_answered_here = worker.totals().answered(),
        output_tokens_here = worker.totals().output_tokens(),
        "earnings"
    );
}
