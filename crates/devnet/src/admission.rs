//! What a network's admin does before anyone can work: fills purses and lets the routing server
//! and the operators in, as `cactus admin` does. It never registers anyone: the daemons do that
//! themselves.

use anyhow::{Context, Result};
use cactus_ledger::Ledger;
use cactus_localnet::admin_seed;
use cactus_protocol::{Address, Octas, SecretKey};
use std::time::Duration;

/// What the admin and the server own at the start, for gas and the bond.
const PURSE: Octas = Octas(20_000_000_000);
/// How long a daemon may take to load what it needs and register.
const REGISTER_LIMIT: Duration = Duration::from_secs(120);

/// The admin of a local chain, who is its validator as well.
pub(crate) struct Admin {
    acts: cactus_ledger::Admin,
    ledger: Ledger,
}

impl Admin {
    pub(crate) async fn new(ledger: Ledger) -> Result<Self> {
        let key = SecretKey::from_seed(&admin_seed());
        let admin = Self { acts: cactus_ledger::Admin::new(ledger.clone(), key), ledger };
        admin.fill_purse(admin.address()).await?;
        Ok(admin)
    }

    pub(crate) fn address(&self) -> Address {
        self.acts.address()
    }

    /// Gives an account coins for gas and bonds, when it has few.
    pub(crate) async fn fill_purse(&self, account: Address) -> Result<()> {
        if self.ledger.coin_balance(account).await? < PURSE {
            self.ledger.fund(account, PURSE).await?;
        }
        Ok(())
    }

    /// Waits until a routing server has registered, and lets it in.
    pub(crate) async fn admit_server(&self, server: Address) -> Result<()> {
        let admitted = self.acts.authorize_server(server, REGISTER_LIMIT).await;
        admitted.context("the routing server cannot be let in")?;
        Ok(())
    }

    /// Waits until an operator has registered a node, and lets both in.
    pub(crate) async fn admit_operator(&self, operator: Address) -> Result<()> {
        let admitted = self.acts.admit_operator(operator, REGISTER_LIMIT).await;
        admitted.with_context(|| format!("the operator {operator} cannot be let in"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_means_the_same_local_network() {
        assert_eq!(cactus_ledger::LOCALNET_CONTRACT.0, cactus_localnet::CONTRACT_ADDRESS.0);
        assert_eq!(cactus_ledger::LOCALNET_CHAIN_ID, cactus_localnet::LOCALNET_CHAIN_ID);
        let admin = SecretKey::from_seed(&admin_seed());
        assert_eq!(admin.address(), cactus_ledger::LOCALNET_CONTRACT);
    }
}
