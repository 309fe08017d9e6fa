//! The handle on one chain and one deployment of the contracts: connecting, views, the faucet.
//! Never signs; that is `submit` and `outbox`.

use crate::{
    chain::{Chain, ChainError, Lookup},
    rest::{self, Rest},
    view::{ClientBalance, OrchestratorInfo, Reputation, ServerInfo, StakeInfo, TaskInfo},
    view_wire,
};
use aptos_sdk::{AptosConfig, api::FaucetClient};
use cactus_protocol::{Address, Octas, TaskId};
use std::{fmt, sync::Arc, time::Duration};

/// How long the faucet's transactions may take to commit.
const FUND_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at the faucet's transaction.
const POLL: Duration = Duration::from_millis(20);

/// Where the chain and the contracts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerConfig {
    /// The node's REST API, for example `http://127.0.0.1:8788/v1`.
    pub url: String,
    /// The faucet, where the network has one.
    pub faucet_url: Option<String>,
    /// The account that holds the contracts.
    pub contract: Address,
}

/// One chain and one deployment of the contracts. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    rest: Rest,
    faucet: Option<FaucetClient>,
    url: String,
    chain_id: u8,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({}, chain {})", self.shared.url, self.chain_id())
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Fix the configuration.
    #[error("{url:?} is no usable address of a node or faucet: {reason}")]
    BadUrl {
        /// What was configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Try again later, or start the chain.
    #[error("no chain answers at {url}: {reason}")]
    Unreachable {
        /// Where we asked.
        url: String,
        /// What happened.
        reason: String,
    },
}

/// Why a view brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// Try again later.
    #[error("the chain does not answer: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// The contracts are not at the configured address, or are of another version.
    #[error("the contracts do not answer as expected: {reason}")]
    Incompatible {
        /// What happened.
        reason: String,
    },
}

impl ViewError {
    /// Whether trying again without changing anything can help.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl From<ChainError> for ViewError {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Unavailable(reason) => Self::Unavailable { reason },
            ChainError::Refused(refusal) => Self::Incompatible { reason: refusal.message },
            ChainError::Unreadable(reason) => Self::Incompatible { reason },
        }
    }
}

/// Why an account was not funded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FundError {
    /// This network gives nothing away: send APT to the account.
    #[error("no faucet is configured for this network; send APT to the account instead")]
    NoFaucet,
    /// The faucet or the chain said no, or nothing.
    #[error("the faucet did not deliver: {reason}")]
    Failed {
        /// What happened.
        reason: String,
    },
}

impl Ledger {
    /// Asks the node which chain it is.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(config: LedgerConfig) -> Result<Self, ConnectError> {
        let bad = |url: &str, error: aptos_sdk::AptosError| ConnectError::BadUrl {
            url: url.to_owned(),
            reason: error.to_string(),
        };
        let rest = Rest::new(&config.url, config.contract).map_err(|e| bad(&config.url, e))?;
        let faucet = config.faucet_url.as_deref().map(|url| {
            let config = AptosConfig::custom(&config.url).and_then(|c| c.with_faucet_url(url));
            config.and_then(|config| FaucetClient::new(&config)).map_err(|error| bad(url, error))
        });
        let faucet = faucet.transpose()?;
        let head = rest.head().await;
        let head = head.map_err(|error| ConnectError::Unreachable {
            url: config.url.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            shared: Arc::new(Shared { rest, faucet, url: config.url, chain_id: head.chain_id }),
        })
    }

    /// The chain's id: 1 mainnet, 2 testnet, 4 a local network.
    pub fn chain_id(&self) -> u8 {
        self.shared.chain_id
    }

    /// The account that holds the contracts.
    pub fn contract(&self) -> Address {
        self.rest().contract()
    }

    pub(crate) fn rest(&self) -> &Rest {
        &self.shared.rest
    }

    /// Has the faucet send `amount` to an account, and waits until it is there.
    ///
    /// # Errors
    /// See [`FundError`].
    pub async fn fund(&self, account: Address, amount: Octas) -> Result<(), FundError> {
        let failed = |reason: String| FundError::Failed { reason };
        let faucet = self.shared.faucet.as_ref().ok_or(FundError::NoFaucet)?;
        let address = crate::transaction::account_address(account);
        let hashes = faucet.fund(address, amount.0).await;
        for hash in hashes.map_err(|error| failed(rest::chain_error(error).to_string()))? {
            let wait = tokio::time::timeout(FUND_TIMEOUT, self.wait_for(&hash));
            match wait.await {
                Ok(outcome) => outcome.map_err(failed)?,
                Err(_) => return Err(failed(format!("{hash} is not in the chain yet"))),
            }
        }
        Ok(())
    }

    async fn wait_for(&self, hash: &str) -> Result<(), String> {
        loop {
            match self.rest().look_up(hash).await {
                Ok(Lookup::Committed(done)) if done.success => return Ok(()),
                Ok(Lookup::Committed(done)) => return Err(done.vm_status),
                Ok(Lookup::Pending | Lookup::Unknown) | Err(ChainError::Unavailable(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// An account's APT outside the contracts.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn coin_balance(&self, account: Address) -> Result<Octas, ViewError> {
        let coin = vec!["0x1::aptos_coin::AptosCoin".to_owned()];
        let arguments = vec![account.0.to_vec()];
        let balance = self.rest().view_at("0x1::coin::balance", coin, arguments);
        Ok(Octas(balance.await?))
    }

    /// All APT that exists on this chain.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn supply(&self) -> Result<Octas, ViewError> {
        let coin = vec!["0x1::aptos_coin::AptosCoin".to_owned()];
        let supply: Option<u128> =
            self.rest().view_at("0x1::coin::supply", coin, Vec::new()).await?;
        let octas = supply.and_then(|octas| u64::try_from(octas).ok());
        let reason = "the supply of APT is unknown or beyond 64 bits".to_owned();
        octas.map(Octas).ok_or(ViewError::Incompatible { reason })
    }

    /// A client's money in the escrow.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn client_balance(&self, client: Address) -> Result<ClientBalance, ViewError> {
        let wire = self.rest().view("payment::balance", vec![client.0.to_vec()]);
        let wire: view_wire::Balance = wire.await?;
        Ok(wire.into())
    }

    /// What the client's escrow vault really holds.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn vault_balance(&self, client: Address) -> Result<Octas, ViewError> {
        let arguments = vec![client.0.to_vec()];
        Ok(self.rest().view("payment::vault_balance", arguments).await?)
    }

    /// Where a task stands.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn task(&self, client: Address, task_id: TaskId) -> Result<TaskInfo, ViewError> {
        Ok(self.rest().task(client, task_id).await?)
    }

    /// How much of an order is locked or spent.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn order_used(
        &self,
        client: Address,
        order_id: cactus_protocol::OrderId,
    ) -> Result<Octas, ViewError> {
        let arguments = vec![client.0.to_vec(), order_id.0.to_vec()];
        Ok(self.rest().view("payment::order_used", arguments).await?)
    }

    /// An orchestrator, or `None` for an account that is none.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn orchestrator(
        &self,
        operator: Address,
    ) -> Result<Option<OrchestratorInfo>, ViewError> {
        let arguments = vec![operator.0.to_vec()];
        let wire = self.rest().view("registry::orchestrator", arguments);
        let wire: view_wire::Orchestrator = wire.await?;
        Ok(wire.into())
    }

    /// An operator's stake; all zero for an account without any.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn stake(&self, operator: Address) -> Result<StakeInfo, ViewError> {
        let wire = self.rest().view("stake::stake_of", vec![operator.0.to_vec()]);
        let wire: view_wire::Stake = wire.await?;
        Ok(wire.into())
    }

    /// An orchestrator's record; all zero for an account without one.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn reputation(&self, operator: Address) -> Result<Reputation, ViewError> {
        let wire = self.rest().view("reputation::of", vec![operator.0.to_vec()]);
        let wire: view_wire::Standing = wire.await?;
        Ok(wire.into())
    }

    /// A routing server, or `None` for an account that is none.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn server(&self, server: Address) -> Result<Option<ServerInfo>, ViewError> {
        let arguments = vec![server.0.to_vec()];
        let wire = self.rest().view("server_registry::server", arguments);
        let wire: view_wire::Server = wire.await?;
        wire.info().map_err(|length| ViewError::Incompatible {
            reason: format!("the server's key has {length} bytes"),
        })
    }

    /// A parameter of the contracts, in its own unit.
    ///
    /// # Errors
    /// See [`ViewError`]; an unknown name is [`ViewError::Incompatible`].
    pub async fn parameter(&self, name: &str) -> Result<u64, ViewError> {
        let argument = crate::argument::Argument::encode(&name.to_owned());
        let value = self.rest().view_json("config::param", vec![argument]).await?;
        let number = value.as_str().and_then(|text| text.parse().ok());
        number.ok_or_else(|| ViewError::Incompatible {
            reason: format!("parameter {name} is {value}, not a number"),
        })
    }

    /// Who administers the contracts.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn admin(&self) -> Result<Address, ViewError> {
        Ok(self.rest().view("config::admin", Vec::new()).await?)
    }

    /// Whether an account is a validator.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn is_validator(&self, account: Address) -> Result<bool, ViewError> {
        let arguments = vec![account.0.to_vec()];
        Ok(self.rest().view("config::is_validator", arguments).await?)
    }

    /// What the treasury holds.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn treasury(&self) -> Result<Octas, ViewError> {
        Ok(self.rest().view("treasury::balance", Vec::new()).await?)
    }
}
