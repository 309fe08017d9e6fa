//! What the contracts' admin and validators do: let routing servers and operators in, take an
//! authorisation back. Every act does only what is missing and names its transactions. It
//! never chooses a key and never acts before it has checked that the key may.

use crate::{
    call::Call,
    ledger::{Ledger, ViewError},
    submit::{Committed, SubmitError},
    view::{OrchestratorInfo, ServerInfo},
};
use cactus_protocol::{Address, SecretKey};
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks at the chain while an account is expected to register.
const POLL: Duration = Duration::from_millis(20);

/// The key of the contracts' admin or of a validator, and the chain on which it acts.
#[derive(Debug, Clone)]
pub struct Admin {
    ledger: Ledger,
    key: SecretKey,
}

/// One transaction of an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// What it did, as words.
    pub action: &'static str,
    /// Its hash, `0x…`.
    pub transaction: String,
}

/// Why an act did not happen, or only in part. Repeating it does what is still missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// Use the admin's key.
    #[error("{account} is not the admin of these contracts; {admin} is")]
    NotAdmin {
        /// Whose key was given.
        account: Address,
        /// Whose key it takes.
        admin: Address,
    },
    /// Use a validator's key, or have the admin make this one a validator.
    #[error("{account} is no validator of these contracts")]
    NotValidator {
        /// Whose key was given.
        account: Address,
    },
    /// Start the daemon of this account first.
    #[error("{account} is not registered as {role}")]
    NotRegistered {
        /// Who is missing.
        account: Address,
        /// `a routing server`, `an orchestrator`.
        role: &'static str,
    },
    /// The operator has not added the key of a node.
    #[error("the orchestrator {operator} has no node yet")]
    NoNode {
        /// Who has none.
        operator: Address,
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
}

/// An act's transactions, in order; none when nothing was missing.
type Acts = Result<Vec<Done>, AdminError>;

impl Admin {
    /// Acts on this chain with this key.
    pub fn new(ledger: Ledger, key: SecretKey) -> Self {
        Self { ledger, key }
    }

    /// Whose key it is.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Lets a routing server lock and release money. Waits up to `patience` until it registers.
    ///
    /// # Errors
    /// [`AdminError`] by what to do about it.
    pub async fn authorize_server(&self, server: Address, patience: Duration) -> Acts {
        self.check_admin().await?;
        let info = self.registered_server(server, patience).await?;
        if info.authorized {
            return Ok(Vec::new());
        }
        Ok(vec![self.submit("authorise the server", Call::AuthorizeServer { server }).await?])
    }

    /// Stops a routing server from taking new tasks.
    ///
    /// # Errors
    /// [`AdminError`] by what to do about it.
    pub async fn revoke_server(&self, server: Address) -> Acts {
        self.check_admin().await?;
        let info = self.registered_server(server, Duration::ZERO).await?;
        if !info.authorized {
            return Ok(Vec::new());
        }
        Ok(vec![self.submit("revoke the server", Call::RevokeServer { server }).await?])
    }

    /// Puts an operator on the whitelist and vouches for its nodes. Waits up to `patience` until
    /// it has registered one. The admin becomes a validator first, when it is none.
    ///
    /// # Errors
    /// [`AdminError`] by what to do about it.
    pub async fn admit_operator(&self, operator: Address, patience: Duration) -> Acts {
        let info = self.registered_operator(operator, patience).await?;
        let unchecked = info.nodes.iter().filter(|node| !node.validated);
        let mut calls: Vec<_> = (!info.whitelisted)
            .then_some(("whitelist the operator", Call::Whitelist { operator, allowed: true }))
            .into_iter()
            .collect();
        calls.extend(unchecked.map(|node| {
            let node_public_key = node.public_key;
            ("validate a node", Call::ValidateNode { operator, node_public_key })
        }));
        self.submit_as_validator(calls).await
    }

    async fn check_admin(&self) -> Result<(), AdminError> {
        let (account, admin) = (self.address(), self.ledger.admin().await?);
        if account == admin { Ok(()) } else { Err(AdminError::NotAdmin { account, admin }) }
    }

    async fn submit_as_validator(&self, calls: Vec<(&'static str, Call)>) -> Acts {
        let mut done = Vec::new();
        if !calls.is_empty() && !self.ledger.is_validator(self.address()).await? {
            if self.ledger.admin().await? != self.address() {
                return Err(AdminError::NotValidator { account: self.address() });
            }
            let call = Call::SetValidator { validator: self.address(), allowed: true };
            done.push(self.submit("make the admin a validator", call).await?);
        }
        for (action, call) in calls {
            done.push(self.submit(action, call).await?);
        }
        Ok(done)
    }

    async fn submit(&self, action: &'static str, call: Call) -> Result<Done, AdminError> {
        let sent = self.ledger.submit_and_wait(&self.key, call).await;
        let Committed { hash, .. } =
            sent.map_err(|source| AdminError::Submit { action, source })?;
        Ok(Done { action, transaction: hash })
    }

    async fn registered_server(
        &self,
        server: Address,
        patience: Duration,
    ) -> Result<ServerInfo, AdminError> {
        let look = async || {
            let info = self.ledger.server(server).await?;
            info.ok_or_else(|| not_registered(server, "a routing server"))
        };
        until_registered(look, patience).await
    }

    async fn registered_operator(
        &self,
        operator: Address,
        patience: Duration,
    ) -> Result<OrchestratorInfo, AdminError> {
        let look = async || match self.ledger.orchestrator(operator).await? {
            Some(info) if info.nodes.is_empty() => Err(AdminError::NoNode { operator }),
            Some(info) => Ok(info),
            None => Err(not_registered(operator, "an orchestrator")),
        };
        until_registered(look, patience).await
    }
}

fn not_registered(account: Address, role: &'static str) -> AdminError {
    AdminError::NotRegistered { account, role }
}

/// Looks until the account is there; after `patience` what is missing is the error.
async fn until_registered<T>(
    look: impl AsyncFn() -> Result<T, AdminError>,
    patience: Duration,
) -> Result<T, AdminError> {
    let give_up = Instant::now() + patience;
    loop {
        match look().await {
            Err(AdminError::NotRegistered { .. } | AdminError::NoNode { .. })
                if Instant::now() < give_up =>
            {
                sleep(POLL).await;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn absent() -> AdminError {
        not_registered(Address([1; 32]), "an orchestrator")
    }

    #[tokio::test]
    async fn an_account_that_registers_late_is_waited_for() {
        let looks = Cell::new(0);
        let look = async || {
            looks.set(looks.get() + 1);
            if looks.get() < 4 { Err(absent()) } else { Ok("there") }
        };
        assert_eq!(until_registered(look, Duration::from_secs(60)).await, Ok("there"));
    }

    #[tokio::test]
    async fn an_account_that_never_registers_is_named() {
        let look = async || Err::<(), _>(absent());
        let error = until_registered(look, POLL).await.unwrap_err();
        assert_eq!(error, absent());
        let text = error.to_string();
        assert!(text.contains("0x0101") && text.contains("an orchestrator"), "{text}");
    }

    #[tokio::test]
    async fn a_chain_that_is_away_is_not_waited_for() {
        let looks = Cell::new(0);
        let look = async || {
            looks.set(looks.get() + 1);
            Err::<(), _>(AdminError::View(ViewError::Unavailable { reason: "gone".into() }))
        };
        let error = until_registered(look, Duration::from_secs(60)).await.unwrap_err();
        assert!(matches!(error, AdminError::View(_)), "{error}");
        assert_eq!(looks.get(), 1);
    }
}
