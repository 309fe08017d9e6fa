//! Whether the contracts' admin lets this server take tasks, as the chain last said. It changes
//! nothing on the chain; it tells people what the admin has to run.

use crate::{app::App, error::ApiError};
use cactus_ledger::{LOCALNET_CONTRACT, LOCALNET_URL};
use parking_lot::Mutex;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks while the authorisation is there. Work taken after a revocation is not paid.
const PERIOD: Duration = Duration::from_secs(10);
/// Between two looks while it is missing: each pause is twice the one before, to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What the chain last said; nothing before it first answered.
#[derive(Debug, Default)]
pub struct Authorization(Mutex<Option<bool>>);

impl Authorization {
    /// The chain said that the server may take tasks.
    pub fn is_granted(&self) -> bool {
        *self.0.lock() == Some(true)
    }

    /// Lets a request pass unless the chain said that nothing could be locked for it. A chain that
    /// was not heard yet refuses nothing: it may be away while answers go on.
    ///
    /// # Errors
    /// [`ApiError::NotAuthorized`].
    pub fn permit(&self) -> Result<(), ApiError> {
        if *self.0.lock() == Some(false) { Err(ApiError::NotAuthorized) } else { Ok(()) }
    }

    /// Remembers an answer and says whether it is news.
    fn learn(&self, is_granted: bool) -> bool {
        self.0.lock().replace(is_granted) != Some(is_granted)
    }
}

/// Asks the chain once, and tells the log what is new.
pub async fn look(app: &App) {
    match app.chain.is_authorized(app.server).await {
        Ok(is_granted) => {
            if app.authorization.learn(is_granted) {
                report(app, is_granted);
            }
        }
        Err(error) => tracing::warn!(%error, "the server's authorisation cannot be read"),
    }
}

/// Follows the authorisation until `stop`.
pub async fn watch(app: &App, stop: CancellationToken) {
    let mut pause = PAUSES.0;
    loop {
        let wait = if app.authorization.is_granted() { PERIOD } else { pause };
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
        look(app).await;
        pause = if app.authorization.is_granted() { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
    }
}

fn report(app: &App, is_granted: bool) {
    let server = app.server;
    if is_granted {
        tracing::info!(%server, "authorised: taking tasks");
    } else {
        let command = command(app);
        tracing::warn!(%server, %command, "not authorised: no task is taken until the admin of the contracts runs this command");
    }
}

/// What the admin runs, with what a default does not say.
fn command(app: &App) -> String {
    let (config, server) = (&app.config, app.server);
    let mut command = format!("cactus admin authorize-server {server}");
    if config.chain_url != LOCALNET_URL {
        command.push_str(&format!(" --chain {}", config.chain_url));
    }
    if config.contract != LOCALNET_CONTRACT {
        command.push_str(&format!(" --contract {}", config.contract));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_says_no_refuses_work() {
        let authorisation = Authorization::default();
        assert!(authorisation.permit().is_ok() && !authorisation.is_granted());
        assert!(authorisation.learn(false));
        assert!(authorisation.permit().is_err() && !authorisation.is_granted());
        assert!(authorisation.learn(true) && !authorisation.learn(true));
        assert!(authorisation.permit().is_ok() && authorisation.is_granted());
    }
}
