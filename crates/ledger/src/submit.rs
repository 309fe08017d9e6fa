//! One call, sent and waited for, for interactive use: the command line, registrations. Nothing
//! is stored: whoever must not lose a call uses the outbox.

use crate::{
    call::Call,
    chain::{Chain, ChainError, Execution, Lookup, RefusalKind},
    event::{Abort, ChainEvent},
    ledger::Ledger,
    transaction::{Signed, Signer, Terms},
};
use cactus_protocol::{Address, Octas, SecretKey};
use std::time::Duration;
use tokio::time::Instant;

/// Chain time that a transaction has to commit.
const EXPIRY_SECONDS: u64 = 60;
/// Tries for a sequence number that nobody else takes first.
const SEQUENCE_ATTEMPTS: u32 = 60;
/// The first and the longest pause between two looks; each is twice the one before.
const POLL: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
struct Waits {
    /// How far a node may lag behind the one that called the transaction expired.
    lag: Duration,
    /// For a chain that stopped answering, before giving up on knowing.
    patience: Duration,
}

const WAITS: Waits = Waits { lag: Duration::from_secs(5), patience: Duration::from_secs(120) };

/// A call that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The transaction, `0x…`.
    pub hash: String,
    /// Its place in the chain.
    pub version: u64,
    /// What it cost the sender.
    pub gas_octas: Octas,
    /// The contracts' events, in order.
    pub events: Vec<ChainEvent>,
}

/// Why a call did not happen, or is not known to have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The contract said no; only gas was paid.
    #[error("{abort} (transaction {hash})")]
    Aborted {
        /// The transaction.
        hash: String,
        /// The contract's reason.
        abort: Abort,
    },
    /// The transaction ran and failed without an abort, for example out of gas.
    #[error("the transaction failed: {vm_status} (transaction {hash})")]
    Failed {
        /// The transaction.
        hash: String,
        /// The chain's reason.
        vm_status: String,
    },
    /// Nothing happened: fund the account and try again.
    #[error("account {account} cannot pay for gas; fund it and try again")]
    Unfunded {
        /// Who has too little.
        account: Address,
    },
    /// Nothing happened: the node did not take the transaction.
    #[error("the chain did not accept the transaction: {reason}")]
    Refused {
        /// The node's words.
        reason: String,
    },
    /// Nothing happened and nothing will: the chain did not get to it in time. Try again.
    #[error("the transaction expired before the chain got to it; try again")]
    Expired,
    /// Nothing was sent: the chain does not answer.
    #[error("the chain does not answer: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// The chain stopped answering after the call was sent: look the hash up before trying again.
    #[error("it is not known whether transaction {hash} happened; look it up before trying again")]
    Unknown {
        /// What to look up.
        hash: String,
    },
}

impl SubmitError {
    /// Whether trying again without changing anything can help. After
    /// [`SubmitError::Unknown`] look first at what the chain holds.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Expired | Self::Unknown { .. })
    }
}

impl Ledger {
    /// Signs a call, sends it, and waits until the chain has decided.
    ///
    /// # Errors
    /// See [`SubmitError`]: all but [`SubmitError::Unknown`] are final.
    pub async fn submit_and_wait(
        &self,
        key: &SecretKey,
        call: Call,
    ) -> Result<Committed, SubmitError> {
        let signer = Signer::new(key, self.chain_id(), self.contract())
            .map_err(|error| SubmitError::Refused { reason: error.to_string() })?;
        submit_and_wait(self.rest(), &signer, &call, WAITS).await
    }
}

async fn submit_and_wait(
    chain: &impl Chain,
    signer: &Signer,
    call: &Call,
    waits: Waits,
) -> Result<Committed, SubmitError> {
    for _ in 0..SEQUENCE_ATTEMPTS {
        let signed = prepare(chain, signer, call).await?;
        match chain.submit(&signed.transaction).await {
            Err(ChainError::Refused(refusal)) => match refusal.kind {
                // Someone else sends with the same key: take the next number.
                RefusalKind::SequenceTaken => tokio::time::sleep(POLL.1 / 2).await,
                RefusalKind::Unfunded => {
                    return Err(SubmitError::Unfunded { account: signer.address() });
                }
                _ => return Err(SubmitError::Refused { reason: refusal.message }),
            },
            // Taken, or perhaps taken: only the hash tells.
            Ok(()) | Err(_) => return await_decision(chain, &signed, waits).await,
        }
    }
    Err(SubmitError::Refused {
        reason: "another sender with the same key keeps taking the sequence number".into(),
    })
}

async fn prepare(chain: &impl Chain, signer: &Signer, call: &Call) -> Result<Signed, SubmitError> {
    let unavailable = |error: ChainError| SubmitError::Unavailable { reason: error.to_string() };
    let head = chain.head().await.map_err(unavailable)?;
    let next = chain.sequence_number(signer.address()).await;
    let terms = Terms {
        sequence_number: next.map_err(unavailable)?,
        expires_seconds: head.expiry(EXPIRY_SECONDS),
        gas_unit_price: chain.gas_unit_price().await.map_err(unavailable)?,
    };
    signer.sign(call, terms).map_err(|error| SubmitError::Refused { reason: error.to_string() })
}

/// Looks the hash up until it is in the chain or can no longer get there.
async fn await_decision(
    chain: &impl Chain,
    signed: &Signed,
    waits: Waits,
) -> Result<Committed, SubmitError> {
    let give_up = Instant::now() + waits.patience;
    let mut expired: Option<Instant> = None;
    let mut pause = POLL.0;
    while Instant::now() < give_up {
        match (chain.look_up(&signed.hash).await, expired) {
            (Ok(Lookup::Committed(execution)), _) => return decided(signed, execution),
            (Ok(Lookup::Unknown), Some(since)) if since.elapsed() >= waits.lag => {
                return Err(SubmitError::Expired);
            }
            // The node lost it or never had it. The same bytes cannot happen twice, and the node
            // says if it is too late for them.
            (Ok(Lookup::Unknown), None) => {
                let answer = chain.submit(&signed.transaction).await;
                expired = is_expired(&answer).then(Instant::now);
            }
            (Ok(Lookup::Pending | Lookup::Unknown) | Err(_), _) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(POLL.1);
    }
    Err(SubmitError::Unknown { hash: signed.hash.clone() })
}

fn is_expired(answer: &Result<(), ChainError>) -> bool {
    matches!(answer, Err(ChainError::Refused(refusal)) if refusal.kind == RefusalKind::Expired)
}

fn decided(signed: &Signed, execution: Execution) -> Result<Committed, SubmitError> {
    let hash = signed.hash.clone();
    if execution.success {
        return Ok(Committed {
            hash,
            version: execution.version,
            gas_octas: execution.gas,
            events: execution.events,
        });
    }
    Err(match Abort::parse(&execution.vm_status) {
        Some(abort) => SubmitError::Aborted { hash, abort },
        None => SubmitError::Failed { hash, vm_status: execution.vm_status },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::{CHAIN_ID, CONTRACT, Faults, Scripted};
    use cactus_protocol::{Hash, TaskId};

    const NOT_LONG: Waits = Waits { lag: Duration::ZERO, patience: Duration::from_millis(300) };

    fn pay() -> Call {
        Call::Transfer { recipient: Address([1; 32]), amount: Octas(5) }
    }

    async fn send(chain: &Scripted, call: Call) -> Result<Committed, SubmitError> {
        let key = SecretKey::from_seed(&[7; 32]);
        let signer = Signer::new(&key, CHAIN_ID, CONTRACT).unwrap();
        submit_and_wait(chain, &signer, &call, NOT_LONG).await
    }

    fn chain() -> Scripted {
        let chain = Scripted::new(1);
        chain.state().instant = true;
        chain
    }

    #[tokio::test]
    async fn a_call_happens_once_though_answers_get_lost() {
        for seed in 0..40 {
            let chain = Scripted::new(seed);
            chain.state().instant = true;
            chain.state().faults = Faults { answer_lost: 30, ..Faults::default() };
            let result = send(&chain, pay()).await;
            let sent = chain.state().transfers.len();
            match result {
                Ok(_) => assert_eq!(sent, 1, "seed {seed}"),
                Err(SubmitError::Unavailable { .. }) => assert_eq!(sent, 0, "seed {seed}"),
                other => panic!("{other:?}, seed {seed}"),
            }
        }
    }

    #[tokio::test]
    async fn an_abort_is_final_and_named() {
        let call = Call::CompleteTask {
            client: Address([1; 32]),
            task_id: TaskId([2; 32]),
            prompt_tokens: 1,
            output_tokens: 1,
            compute_ms: 1,
            receipt_hash: Hash([3; 32]),
        };
        let Err(SubmitError::Aborted { abort, .. }) = send(&chain(), call).await else {
            panic!("no abort");
        };
        assert_eq!(abort.name.as_deref(), Some("ETASK_NOT_FOUND"));
    }

    #[tokio::test]
    async fn a_chain_that_is_away_takes_nothing() {
        let chain = chain();
        chain.state().offline = true;
        assert!(matches!(send(&chain, pay()).await, Err(SubmitError::Unavailable { .. })));
    }

    #[tokio::test]
    async fn a_transaction_that_waits_for_ever_is_not_called_a_failure() {
        let chain = Scripted::new(1);
        assert!(matches!(send(&chain, pay()).await, Err(SubmitError::Unknown { .. })));
    }

    #[tokio::test]
    async fn a_transaction_that_no_node_had_in_time_has_expired() {
        let chain = Scripted::new(1);
        chain.state().forgetful = true;
        let (sent, ()) = tokio::join!(send(&chain, pay()), async {
            while chain.state().requests < 6 {
                tokio::task::yield_now().await;
            }
            chain.advance(EXPIRY_SECONDS);
        });
        assert_eq!(sent, Err(SubmitError::Expired));
        assert!(chain.state().transfers.is_empty());
    }
}
