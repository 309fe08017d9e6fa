//! Joining the network on the chain: funds the server's account where a faucet allows it,
//! registers the server with its bond, and says when its public address there is out of date. Does
//! only what is missing, so every start may call it. It never authorises: that is the admin's; and
//! once the server is registered it sends nothing, because then only the outbox may use the key: a
//! transaction of an earlier run may hold the next sequence number.

use cactus_ledger::{Call, FundError, Ledger, SubmitError, ViewError};
use cactus_protocol::{Address, Octas, SecretKey};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A sender must own the most that a transaction could burn to send it at all (see the ledger's
/// gas limit), whatever it burns in the end.
const GAS_IN_HAND: Octas = Octas(10_000_000);
/// More than the registration burns.
const GAS_TO_REGISTER: Octas = Octas(2_000_000);
/// What a faucet is asked for on top: gas to lock and release the money of many tasks.
const GAS_RESERVE: Octas = Octas(1_000_000_000);
/// More rounds than there are things to do mean that the chain does not keep what it confirms.
const MAX_STEPS: usize = 8;
/// Between two attempts while the chain is away.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How the server is to stand on the chain.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) key: SecretKey,
    /// Where clients and orchestrators reach it, when it is registered for the first time.
    pub(crate) url: String,
    /// Whether a registered server's address is changed to `url`: only an address that someone
    /// chose replaces another one.
    pub(crate) replaces_url: bool,
    pub(crate) use_faucet: bool,
}

/// How it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Standing {
    /// The registered address; `None` before registration.
    url: Option<String>,
    authorized: bool,
    coins: Octas,
    minimum_bond: Octas,
}

/// What is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Register { bond: Octas },
    ChangeUrl,
}

/// Why the server is not part of the network.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrollError {
    /// Send coins.
    #[error(
        "the server's account {account} has {has}; fund it with at least {missing} more (bond \
         {bond} and gas) and start again, or name a test network's faucet with --faucet-url"
    )]
    Unfunded { account: Address, has: Octas, missing: Octas, bond: Octas },
    /// The chain does not answer, or not as expected.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A transaction did not happen.
    #[error("cannot register the server: {0}")]
    Submit(#[source] SubmitError),
    /// The faucet did not help.
    #[error("the server's account {account} is to be funded by the faucet: {source}")]
    Faucet { account: Address, source: FundError },
    /// Every transaction was confirmed and still something is missing.
    #[error("the chain confirms transactions but does not keep what they do")]
    Unstable,
    /// Someone stopped the server.
    #[error("stopped before the server was registered")]
    Stopped,
}

impl EnrollError {
    /// Whether trying again without changing anything can help.
    fn is_temporary(&self) -> bool {
        match self {
            Self::View(error) => error.is_temporary(),
            Self::Submit(source) => source.is_temporary(),
            _ => false,
        }
    }
}

/// Registers the server, waiting for a chain that is away until `shutdown`. Returns the call that
/// is left for the outbox: a change of the address.
pub(crate) async fn enroll(
    ledger: &Ledger,
    wanted: &Wanted,
    shutdown: &CancellationToken,
) -> Result<Option<Call>, EnrollError> {
    loop {
        let attempt = shutdown.run_until_cancelled(enroll_once(ledger, wanted)).await;
        match attempt.unwrap_or(Err(EnrollError::Stopped)) {
            Err(error) if error.is_temporary() => {
                tracing::warn!(%error, "the chain is not ready; trying again");
            }
            outcome => return outcome,
        }
        let _ = shutdown.run_until_cancelled(tokio::time::sleep(RETRY_PAUSE)).await;
    }
}

async fn enroll_once(ledger: &Ledger, wanted: &Wanted) -> Result<Option<Call>, EnrollError> {
    for _ in 0..MAX_STEPS {
        let standing = standing(ledger, wanted.key.address()).await?;
        let step = match next_step(&standing, wanted) {
            Err(EnrollError::Unfunded { account, missing, .. }) if wanted.use_faucet => {
                let amount = Octas(missing.0.saturating_add(GAS_RESERVE.0));
                tracing::info!(%account, %amount, "asking the faucet");
                let funded = ledger.fund(account, amount).await;
                funded.map_err(|source| EnrollError::Faucet { account, source })?;
                continue;
            }
            other => other?,
        };
        if let Some(Step::Register { bond }) = step {
            register(ledger, wanted, bond).await?;
            continue;
        }
        let (server, coins, authorized) =
            (wanted.key.address(), standing.coins, standing.authorized);
        tracing::info!(%server, %coins, authorized, "registered on the chain");
        let (url, public_key) = (wanted.url.clone(), wanted.key.public());
        return Ok(step.map(|_| Call::UpdateServer { url, public_key }));
    }
    Err(EnrollError::Unstable)
}

async fn standing(ledger: &Ledger, server: Address) -> Result<Standing, ViewError> {
    let (info, coins, minimum) = tokio::try_join!(
        ledger.server(server),
        ledger.coin_balance(server),
        ledger.parameter("min_server_bond"),
    )?;
    Ok(Standing {
        authorized: info.as_ref().is_some_and(|info| info.authorized),
        url: info.map(|info| info.url),
        coins,
        minimum_bond: Octas(minimum),
    })
}

/// What is missing. A registered server without coins is no error here: what it has decided
/// already must be carried on, and each transaction says itself when it cannot be paid.
fn next_step(standing: &Standing, wanted: &Wanted) -> Result<Option<Step>, EnrollError> {
    let Some(url) = &standing.url else {
        let bond = standing.minimum_bond;
        let needed = bond.0.saturating_add(GAS_IN_HAND.0).saturating_add(GAS_TO_REGISTER.0);
        check_funds(standing, wanted, (Octas(needed), bond))?;
        return Ok(Some(Step::Register { bond }));
    };
    if wanted.use_faucet {
        check_funds(standing, wanted, (GAS_IN_HAND, Octas::ZERO))?;
    }
    Ok((wanted.replaces_url && *url != wanted.url).then_some(Step::ChangeUrl))
}

fn check_funds(
    standing: &Standing,
    wanted: &Wanted,
    (needed, bond): (Octas, Octas),
) -> Result<(), EnrollError> {
    if standing.coins >= needed {
        return Ok(());
    }
    Err(EnrollError::Unfunded {
        account: wanted.key.address(),
        has: standing.coins,
        missing: needed.saturating_sub(standing.coins),
        bond,
    })
}

async fn register(ledger: &Ledger, wanted: &Wanted, bond: Octas) -> Result<(), EnrollError> {
    let (url, public_key) = (wanted.url.clone(), wanted.key.public());
    let call = Call::RegisterServer { url, public_key, bond };
    let sent = ledger.submit_and_wait(&wanted.key, call).await;
    let committed = sent.map_err(EnrollError::Submit)?;
    let (transaction, gas) = (committed.hash, committed.gas_octas);
    tracing::info!(transaction, %gas, %bond, "the server is registered");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOND: Octas = Octas(100_000_000);
    const RICH: Octas = Octas(100_000_000_000);

    fn wanted() -> Wanted {
        Wanted {
            key: SecretKey::from_seed(&[1; 32]),
            url: "https://router.example".into(),
            replaces_url: true,
            use_faucet: false,
        }
    }

    fn new(coins: Octas) -> Standing {
        Standing { coins, minimum_bond: BOND, ..Standing::default() }
    }

    fn registered(url: &str, coins: Octas) -> Standing {
        Standing { url: Some(url.into()), ..new(coins) }
    }

    #[test]
    fn a_new_server_registers_with_the_smallest_bond_and_once() {
        let step = next_step(&new(RICH), &wanted()).unwrap();
        assert_eq!(step, Some(Step::Register { bond: BOND }));
        let there = registered("https://router.example", Octas::ZERO);
        assert_eq!(next_step(&there, &wanted()).unwrap(), None, "a restart needs no coins");
    }

    #[test]
    fn only_an_address_that_was_chosen_replaces_the_registered_one() {
        let there = registered("https://old.example", RICH);
        assert_eq!(next_step(&there, &wanted()).unwrap(), Some(Step::ChangeUrl));
        let derived = Wanted { replaces_url: false, ..wanted() };
        assert_eq!(next_step(&there, &derived).unwrap(), None);
    }

    #[test]
    fn an_empty_account_is_told_which_account_to_fund_and_how() {
        let error = next_step(&new(Octas::ZERO), &wanted()).unwrap_err();
        let text = error.to_string();
        let account = wanted().key.address().to_string();
        assert!(text.contains(&account) && text.contains("at least 1.12 APT more"), "{text}");
        assert!(text.contains("--faucet-url"), "{text}");
        assert!(!error.is_temporary());
    }

    #[test]
    fn an_account_funded_with_what_was_asked_for_can_register() {
        let Err(EnrollError::Unfunded { missing, .. }) = next_step(&new(Octas(5)), &wanted())
        else {
            panic!("5 octas cannot pay");
        };
        let funded = new(missing.checked_add(Octas(5)).unwrap());
        assert_eq!(next_step(&funded, &wanted()).unwrap(), Some(Step::Register { bond: BOND }));
    }

    #[test]
    fn a_faucet_refills_a_registered_server_that_ran_out_of_gas() {
        let there = registered("https://router.example", Octas(1));
        let with_faucet = Wanted { use_faucet: true, ..wanted() };
        let error = next_step(&there, &with_faucet).unwrap_err();
        assert!(matches!(error, EnrollError::Unfunded { .. }), "{error}");
    }
}
