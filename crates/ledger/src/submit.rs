//! One call, sent and waited for, for interactive use: the command line, registrations. Nothing
//! is stored: whoever must not lose a call uses the outbox.

use crate::{
    call::Call,
    chain::{Chain, ChainError, Execution, Lookup, RefusalKind},
    event::{Abort, ChainEvent},
    ledger::{Ledger, POLL},
    transaction::{Signed, Signer, Terms},
};
use cactus_protocol::{Address, Octas, SecretKey};
use std::time::Duration;
use tokio::time::Instant;

/// Chain time that a transaction has to commit.
const EXPIRY_SECONDS: u64 = 60;
/// How far a node may lag behind the one that called the transaction expired.
const LAG: Duration = Duration::from_secs(5);
/// How long to wait for a chain that stopped answering before giving up on knowing.
const PATIENCE: Duration = Duration::from_secs(120);
/// Tries for a sequence number that nobody else takes first.
const SEQUENCE_ATTEMPTS: u32 = 60;

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
        let signer = Signer::new(key, self.chain_id(), self.contract());
        let signer = signer.map_err(|error| SubmitError::Refused { reason: error.to_string() })?;
        for _ in 0..SEQUENCE_ATTEMPTS {
            let signed = prepare(self.rest(), &signer, &call).await?;
            match self.rest().submit(&signed.transaction).await {
                Err(ChainError::Refused(refusal)) => match refusal.kind {
                    // Someone else sends with the same key: take the next number.
                    RefusalKind::SequenceTaken => tokio::time::sleep(POLL).await,
                    RefusalKind::Unfunded => {
                        let account = signer.address();
                        return Err(SubmitError::Unfunded { account });
                    }
                    _ => {
                        let reason = refusal.message;
                        return Err(SubmitError::Refused { reason });
                    }
                },
                // Taken, or perhaps taken: only the hash tells.
                Ok(()) | Err(_) => return await_decision(self.rest(), &signed).await,
            }
        }
        Err(SubmitError::Refused {
            reason: "another sender with the same key keeps taking the sequence number".into(),
        })
    }
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
async fn await_decision(chain: &impl Chain, signed: &Signed) -> Result<Committed, SubmitError> {
    let give_up = Instant::now() + PATIENCE;
    let mut expired: Option<Instant> = None;
    while Instant::now() < give_up {
        match chain.look_up(&signed.hash).await {
            Ok(Lookup::Committed(execution)) => return decided(signed, execution),
            Ok(Lookup::Unknown) if expired.is_some_and(|since| since.elapsed() >= LAG) => {
                return Err(SubmitError::Expired);
            }
            // The node lost it or never had it. The same bytes cannot happen twice.
            Ok(Lookup::Unknown) if expired.is_none() => {
                let answer = chain.submit(&signed.transaction).await;
                if is_expired(&answer) {
                    expired = Some(Instant::now());
                }
            }
            Ok(Lookup::Pending | Lookup::Unknown) | Err(_) => {}
        }
        tokio::time::sleep(POLL).await;
    }
    let hash = signed.hash.clone();
    Err(SubmitError::Unknown { hash })
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
