//! What the flags resolve to: places, the wallet, the chain and the routing server. Each is
//! opened when first asked for, so that `wallet create` needs no network.

use crate::{args::NetworkArgs, helpful::Helpful, router::Router, wallet};
use anyhow::{Context, Result};
use cactus_ledger::{LOCALNET_CONTRACT, Ledger, LedgerConfig};
use cactus_protocol::{Address, Scope, SecretKey};
use std::{env, path::PathBuf};

/// Resolved once per run.
pub struct Session {
    pub network: NetworkArgs,
    pub contract: Address,
    pub home: PathBuf,
}

impl Session {
    pub fn new(network: NetworkArgs) -> Result<Self> {
        let home = match &network.home {
            Some(home) => home.clone(),
            None => {
                env::home_dir().context("there is no home directory; use --home")?.join(".cactus")
            }
        };
        let contract = network.contract.unwrap_or(LOCALNET_CONTRACT);
        Ok(Self { network, contract, home })
    }

    /// Where the user's key is.
    pub fn wallet_path(&self) -> PathBuf {
        self.home.join("wallet.key")
    }

    pub fn wallet(&self) -> Result<SecretKey> {
        wallet::load(&self.wallet_path())
    }

    /// The chain, through the node that the user trusts.
    pub async fn ledger(&self) -> Result<Ledger> {
        let url = self.network.chain.trim_end_matches('/').to_owned();
        let faucet_url = url.strip_suffix("/v1").map(str::to_owned);
        let config = LedgerConfig { url: url.clone(), faucet_url, contract: self.contract };
        Ledger::connect(config).await.map_err(|e| {
            Helpful::error(
                format!("the chain at {url} does not answer: {e}"),
                "start a network with `cactus up`, or name a node with --chain",
            )
        })
    }

    /// Where our signatures count: the chain's own id and the contract that we were told of,
    /// never what a routing server says.
    pub async fn scope(&self) -> Result<Scope> {
        let chain_id = self.ledger().await?.chain_id();
        Ok(Scope { chain_id, contract: self.contract })
    }

    /// The routing server, without a wallet: enough to read what is public.
    pub fn public_router(&self) -> Result<Router> {
        Router::new(&self.network.router)
    }
}
