//! Joining the network on the chain: registers the operator, adds the node's key, bonds the stake.
//! Does only what is missing, so every start may call it. It never unbonds and never deregisters.

use cactus_ledger::{Availability, Call, FundError, Ledger, NodeInfo, SubmitError, ViewError};
use cactus_protocol::{Address, NodeKeyProof, Octas, PublicKey, SecretKey, chain_message};

/// A sender must own the most that a transaction could burn to send it at all (see the ledger's
/// gas limit), whatever it burns in the end.
const GAS_IN_HAND: Octas = Octas(10_000_000);
/// More than each of the steps burns.
const GAS_PER_STEP: Octas = Octas(2_000_000);
/// More rounds than there are things to do mean that the chain does not keep what it confirms.
const MAX_STEPS: usize = 8;

/// What the operator asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) operator_key: SecretKey,
    pub(crate) node_key: SecretKey,
    pub(crate) metadata_uri: String,
    pub(crate) specs_uri: String,
    pub(crate) stake: Octas,
}

/// What the chain holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Standing {
    registered: bool,
    online: bool,
    nodes: Vec<PublicKey>,
    vouched_for: bool,
    bonded: Octas,
    coins: Octas,
    minimum_stake: Octas,
}

/// One transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Register,
    AddNode,
    Bond(Octas),
    GoOnline,
}

/// Why the node is not part of the network.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// Money is missing.
    #[error(
        "account {account} has {has}; fund it with at least {missing} more (stake {stake} and gas)"
    )]
    Unfunded {
        /// The operator's account.
        account: Address,
        /// Its coins.
        has: Octas,
        /// What to send.
        missing: Octas,
        /// What is still to be bonded.
        stake: Octas,
    },
    /// The configuration offers too little.
    #[error("the network asks for a stake of at least {minimum}; raise --stake (now {configured})")]
    StakeTooLow {
        /// The network's minimum.
        minimum: Octas,
        /// What is configured.
        configured: Octas,
    },
    /// The chain does not answer, or not as expected.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A transaction did not happen.
    #[error("cannot {action}: {source}")]
    Submit {
        /// What it was to do.
        action: &'static str,
        /// Why not.
        source: SubmitError,
    },
    /// The faucet did not help.
    #[error("account {account} is to be funded by the faucet: {source}")]
    Faucet {
        /// The operator's account.
        account: Address,
        /// Why not.
        source: FundError,
    },
    /// The proof of the node's key has no BCS form.
    #[error("the proof of the node's key cannot be signed")]
    Unsignable,
    /// Every transaction was confirmed and still something is missing.
    #[error("the chain confirms transactions but does not keep what they do")]
    Unstable,
}

impl EnrollError {
    /// Whether trying again without changing anything can help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::View(error) => error.is_temporary(),
            Self::Submit { source, .. } => source.is_temporary(),
            _ => false,
        }
    }
}

/// Brings the chain to what is wanted. May be repeated after any error.
pub(crate) async fn enroll(
    ledger: &Ledger,
    wanted: &Wanted,
    use_faucet: bool,
) -> Result<(), EnrollError> {
    for _ in 0..MAX_STEPS {
        let standing = standing(ledger, wanted).await?;
        let step = match next_step(&standing, wanted) {
            Err(EnrollError::Unfunded { account, missing, .. }) if use_faucet => {
                tracing::info!(%account, amount = %missing, "asking the faucet");
                let funded = ledger.fund(account, missing).await;
                funded.map_err(|source| EnrollError::Faucet { account, source })?;
                continue;
            }
            other => other?,
        };
        let Some(step) = step else {
            log_enrolled(&standing, wanted);
            return Ok(());
        };
        perform(ledger, wanted, step).await?;
    }
    Err(EnrollError::Unstable)
}

fn log_enrolled(standing: &Standing, wanted: &Wanted) {
    let (operator, node) = (wanted.operator_key.address(), wanted.node_key.public());
    let (bonded, coins) = (standing.bonded, standing.coins);
    tracing::info!(%operator, %node, %bonded, %coins, "enrolled on the chain");
    if !standing.vouched_for {
        tracing::warn!(%operator, %node, "no work comes until a validator of this network whitelists this operator and validates this node");
    }
}

async fn standing(ledger: &Ledger, wanted: &Wanted) -> Result<Standing, ViewError> {
    let operator = wanted.operator_key.address();
    let node = wanted.node_key.public();
    let (orchestrator, stake, coins, minimum) = tokio::try_join!(
        ledger.orchestrator(operator),
        ledger.stake(operator),
        ledger.coin_balance(operator),
        ledger.parameter("min_stake"),
    )?;
    Ok(Standing {
        registered: orchestrator.is_some(),
        online: orchestrator.as_ref().is_some_and(|info| info.status == Availability::Online),
        vouched_for: orchestrator.as_ref().is_some_and(|info| {
            let validated = |known: &NodeInfo| known.public_key == node && known.validated;
            info.whitelisted && info.nodes.iter().any(validated)
        }),
        nodes: orchestrator
            .map(|info| info.nodes.iter().map(|node| node.public_key).collect())
            .unwrap_or_default(),
        bonded: stake.bonded,
        coins,
        minimum_stake: Octas(minimum),
    })
}

/// What is missing, in the order that the contracts need.
fn next_step(standing: &Standing, wanted: &Wanted) -> Result<Option<Step>, EnrollError> {
    let minimum = standing.minimum_stake;
    if wanted.stake.max(standing.bonded) < minimum {
        return Err(EnrollError::StakeTooLow { minimum, configured: wanted.stake });
    }
    let missing_stake = wanted.stake.saturating_sub(standing.bonded);
    let node = wanted.node_key.public();
    let steps = [
        (!standing.registered).then_some(Step::Register),
        (!standing.nodes.contains(&node)).then_some(Step::AddNode),
        (missing_stake > Octas::ZERO).then_some(Step::Bond(missing_stake)),
        (!standing.online).then_some(Step::GoOnline),
    ];
    let mut steps = steps.into_iter().flatten();
    let Some(step) = steps.next() else {
        return Ok(None);
    };
    // What all steps need is asked for at once, so that the operator funds the account only once.
    let gas = (0..=steps.count()).fold(GAS_IN_HAND.0, |gas, _| gas + GAS_PER_STEP.0);
    let needed = Octas(missing_stake.0.saturating_add(gas));
    if standing.coins < needed {
        return Err(EnrollError::Unfunded {
            account: wanted.operator_key.address(),
            has: standing.coins,
            missing: needed.saturating_sub(standing.coins),
            stake: missing_stake,
        });
    }
    Ok(Some(step))
}

async fn perform(ledger: &Ledger, wanted: &Wanted, step: Step) -> Result<(), EnrollError> {
    let (action, call) = match step {
        Step::Register => {
            let metadata_uri = wanted.metadata_uri.clone();
            let call = Call::RegisterOrchestrator { metadata_uri };
            ("register the orchestrator", call)
        }
        Step::AddNode => ("add the node's key", add_node(ledger, wanted)?),
        Step::Bond(amount) => ("bond the stake", Call::Bond { amount }),
        Step::GoOnline => {
            let status = Availability::Online;
            ("go online", Call::SetStatus { status })
        }
    };
    let sent = ledger.submit_and_wait(&wanted.operator_key, call).await;
    let committed = sent.map_err(|source| EnrollError::Submit { action, source })?;
    tracing::info!(
        action,
        transaction = committed.hash,
        gas = %committed.gas_octas,
        "enrollment step done"
    );
    Ok(())
}

fn add_node(ledger: &Ledger, wanted: &Wanted) -> Result<Call, EnrollError> {
    let node_public_key = wanted.node_key.public();
    let consent = NodeKeyProof {
        chain_id: ledger.chain_id(),
        operator: wanted.operator_key.address(),
        node_public_key,
    };
    let proof = chain_message::sign(&consent, ledger.contract(), &wanted.node_key);
    Ok(Call::AddNode {
        node_public_key,
        specs_uri: wanted.specs_uri.clone(),
        proof: proof.map_err(|_| EnrollError::Unsignable)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(stake: u64) -> Wanted {
        Wanted {
            operator_key: SecretKey::from_seed(&[1; 32]),
            node_key: SecretKey::from_seed(&[2; 32]),
            metadata_uri: String::new(),
            specs_uri: String::new(),
            stake: Octas(stake),
        }
    }

    const RICH: Octas = Octas(100_000_000_000);

    /// Performs the steps on a model of the contracts until nothing is missing.
    fn steps_from(mut standing: Standing, wanted: &Wanted) -> Vec<Step> {
        let mut steps = vec![];
        while let Some(step) = next_step(&standing, wanted).unwrap() {
            steps.push(step);
            assert!(steps.len() <= MAX_STEPS);
            apply(&mut standing, wanted, step);
        }
        steps
    }

    fn apply(standing: &mut Standing, wanted: &Wanted, step: Step) {
        match step {
            Step::Register => standing.registered = true,
            Step::AddNode => standing.nodes.push(wanted.node_key.public()),
            Step::GoOnline => standing.online = true,
            Step::Bond(amount) => {
                standing.bonded = standing.bonded.checked_add(amount).unwrap();
                standing.coins = standing.coins.checked_sub(amount).unwrap();
            }
        }
    }

    #[test]
    fn a_new_operator_registers_adds_its_node_bonds_and_goes_online_once() {
        let new = Standing { coins: RICH, minimum_stake: Octas(100), ..Standing::default() };
        let expected = [Step::Register, Step::AddNode, Step::Bond(Octas(500)), Step::GoOnline];
        assert_eq!(steps_from(new, &wanted(500)), expected);
    }

    #[test]
    fn a_restart_does_only_what_is_missing() {
        let wanted = wanted(500);
        let there = Standing {
            registered: true,
            online: true,
            nodes: vec![wanted.node_key.public()],
            vouched_for: true,
            bonded: Octas(500),
            coins: Octas::ZERO,
            minimum_stake: Octas(100),
        };
        assert!(steps_from(there.clone(), &wanted).is_empty());
        let less = Standing { bonded: Octas(200), coins: RICH, ..there.clone() };
        assert_eq!(steps_from(less, &wanted), [Step::Bond(Octas(300))]);
        let more = Standing { bonded: Octas(900), ..there.clone() };
        assert!(steps_from(more, &wanted).is_empty(), "never unbonds");
        let offline = Standing { online: false, coins: RICH, ..there };
        assert_eq!(steps_from(offline, &wanted), [Step::GoOnline]);
    }

    #[test]
    fn an_empty_account_is_told_how_much_to_fund() {
        let poor = Standing { minimum_stake: Octas(100), ..Standing::default() };
        let error = next_step(&poor, &wanted(500_000_000)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("has 0 APT; fund it with at least 5.18 APT more"), "{text}");
        assert!(!error.is_temporary());
    }

    #[test]
    fn an_account_funded_with_what_was_asked_for_is_never_asked_again() {
        let wanted = wanted(500_000_000);
        let mut standing = Standing { minimum_stake: Octas(100), ..Standing::default() };
        let Err(EnrollError::Unfunded { missing, .. }) = next_step(&standing, &wanted) else {
            panic!("an empty account cannot pay");
        };
        standing.coins = missing;
        while let Some(step) = next_step(&standing, &wanted).unwrap() {
            apply(&mut standing, &wanted, step);
            standing.coins = standing.coins.checked_sub(GAS_PER_STEP).unwrap();
        }
        assert_eq!(standing.bonded, wanted.stake);
    }

    #[test]
    fn a_stake_below_the_minimum_is_refused_before_anything_is_paid() {
        let standing = Standing { coins: RICH, minimum_stake: Octas(1_000), ..Standing::default() };
        let error = next_step(&standing, &wanted(500)).unwrap_err();
        assert!(matches!(error, EnrollError::StakeTooLow { .. }), "{error}");
    }
}
