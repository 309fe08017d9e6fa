//! What the contract's admin and validator do in a network: authorise the routing server, put
//! operators on the whitelist, vouch for their nodes. Does only what is missing.

use anyhow::{Context, Result};
use cactus_ledger::{Call, Ledger};
use cactus_localnet::admin_seed;
use cactus_protocol::{Address, Octas, SecretKey};
use std::time::Duration;
use tokio::time;

/// What the admin and the server own at the start, for gas and the bond.
const PURSE: Octas = Octas(20_000_000_000);
/// How long an operator may take to load its model and register.
const REGISTER_LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at the chain.
const POLL: Duration = Duration::from_millis(20);

/// The admin of a local chain, who is its validator as well.
pub(crate) struct Admin {
    key: SecretKey,
    ledger: Ledger,
}

impl Admin {
    pub(crate) async fn new(ledger: Ledger) -> Result<Self> {
        let admin = Self { key: SecretKey::from_seed(&admin_seed()), ledger };
        admin.fill_purse(admin.address()).await?;
        if !admin.ledger.is_validator(admin.address()).await? {
            admin.submit(Call::SetValidator { validator: admin.address(), allowed: true }).await?;
        }
        Ok(admin)
    }

    pub(crate) fn address(&self) -> Address {
        self.key.address()
    }

    async fn fill_purse(&self, account: Address) -> Result<()> {
        if self.ledger.coin_balance(account).await? < PURSE {
            self.ledger.fund(account, PURSE).await?;
        }
        Ok(())
    }

    async fn submit(&self, call: Call) -> Result<()> {
        self.ledger.submit_and_wait(&self.key, call).await?;
        Ok(())
    }

    /// Funds, registers and authorises a routing server.
    pub(crate) async fn admit_server(&self, key: &SecretKey, url: &str) -> Result<()> {
        self.fill_purse(key.address()).await?;
        let known = self.ledger.server(key.address()).await?;
        if known.is_none() {
            let bond = Octas(self.ledger.parameter("min_server_bond").await?);
            let call = Call::RegisterServer { url: url.to_owned(), public_key: key.public(), bond };
            self.ledger.submit_and_wait(key, call).await?;
        }
        if !known.is_some_and(|server| server.authorized) {
            self.submit(Call::AuthorizeServer { server: key.address() }).await?;
        }
        Ok(())
    }

    /// Waits until an operator has registered a node, and lets both in.
    pub(crate) async fn admit_operator(&self, operator: Address) -> Result<()> {
        let registered = async {
            loop {
                match self.ledger.orchestrator(operator).await? {
                    Some(info) if !info.nodes.is_empty() => return anyhow::Ok(info),
                    _ => time::sleep(POLL).await,
                }
            }
        };
        let info = time::timeout(REGISTER_LIMIT, registered).await;
        let info =
            info.with_context(|| format!("operator {operator} did not register in time"))??;
        if !info.whitelisted {
            self.submit(Call::Whitelist { operator, allowed: true }).await?;
        }
        for node in info.nodes.iter().filter(|node| !node.validated) {
            let node_public_key = node.public_key;
            self.submit(Call::ValidateNode { operator, node_public_key }).await?;
        }
        Ok(())
    }
}
