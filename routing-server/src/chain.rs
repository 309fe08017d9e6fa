//! What the server asks of the chain, as a seam: the ledger in production, a double in tests.
//! Nothing here is asked between a request's first and last token.

use cactus_ledger::{
    Availability, ClientBalance, Ledger, LedgerConfig, NodeInfo, Outbox, Settled, TaskInfo,
    ViewError,
};
use cactus_protocol::{Address, Octas, PublicKey, SecretKey, TaskId};
use futures::future::{BoxFuture, FutureExt, try_join};
use sqlx::AnyPool;
use std::{sync::Arc, time::Duration};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// Between two attempts to reach the chain at start-up.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// The chain could not be asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the chain cannot be asked: {0}")]
pub struct ChainAway(pub String);

impl From<ViewError> for ChainAway {
    fn from(error: ViewError) -> Self {
        Self(error.to_string())
    }
}

/// An operator as the chain holds it.
#[derive(Debug, Clone)]
pub struct Operator {
    /// It says that it takes work.
    pub online: bool,
    /// A validator put it on the whitelist; without that the contract locks no money for it.
    pub whitelisted: bool,
    /// Its nodes.
    pub nodes: Vec<OperatorNode>,
    /// What it has bonded.
    pub stake: Octas,
}

impl Operator {
    /// What vouches for a node's work: nothing, unless the contract lets the node work.
    pub fn stake_behind(&self, node: &PublicKey) -> Octas {
        let mut nodes = self.nodes.iter();
        let may_work = nodes.any(|other| other.key == *node && other.validated);
        if may_work && self.online && self.whitelisted { self.stake } else { Octas::ZERO }
    }
}

/// A node as the chain holds it.
#[derive(Debug, Clone, Copy)]
pub struct OperatorNode {
    /// The key that signs its receipts.
    pub key: PublicKey,
    /// A validator vouches for it; without that the contract locks no money for its work.
    pub validated: bool,
}

/// The contracts' parameters that matter here, as of start-up.
#[derive(Debug, Clone, Copy)]
pub struct Parameters {
    /// The least that an operator must have bonded.
    pub min_stake: Octas,
    /// The longest that a lock may stand, in seconds.
    pub max_task_seconds: u64,
    /// A client's money stays for so long after it announced a withdrawal, in seconds.
    pub withdrawal_delay_seconds: u64,
    /// The server's fee in hundredths of a per cent.
    pub server_fee_bps: u64,
    /// The treasury's fee in hundredths of a per cent.
    pub treasury_fee_bps: u64,
}

/// An answer from the chain.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ChainAway>>;

/// The chain.
pub trait Chain: Send + Sync {
    /// Which chain.
    fn chain_id(&self) -> u8;
    /// The contracts' parameters.
    fn parameters(&self) -> &Parameters;
    /// A client's money in the escrow.
    fn balance(&self, client: Address) -> Answer<'_, ClientBalance>;
    /// An operator; `None` for an account that is none.
    fn operator(&self, operator: Address) -> Answer<'_, Option<Operator>>;
    /// Whether the contracts let a server create tasks.
    fn is_authorized(&self, server: Address) -> Answer<'_, bool>;
    /// Where a task stands.
    fn task(&self, client: Address, task_id: TaskId) -> Answer<'_, TaskInfo>;
    /// Starts to carry intents of this database to the chain.
    fn carry(self: Arc<Self>, pool: AnyPool, key: SecretKey) -> Arc<dyn Carrier>;
}

/// What carries intents to the chain.
pub trait Carrier: Send + Sync {
    /// Works until `shutdown`.
    fn run(&self, shutdown: CancellationToken) -> BoxFuture<'_, ()>;
    /// Says that something was enqueued.
    fn wake(&self);
    /// Outcomes from now on.
    fn subscribe(&self) -> broadcast::Receiver<Settled>;
}

/// The real chain.
#[derive(Debug)]
pub struct LedgerChain {
    ledger: Ledger,
    parameters: Parameters,
}

impl LedgerChain {
    /// Connects, waiting for the chain until `shutdown`.
    ///
    /// # Errors
    /// A configuration that cannot work, or the shutdown.
    pub async fn connect(
        config: LedgerConfig,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        loop {
            match Self::try_connect(config.clone()).await {
                Ok(chain) => return Ok(chain),
                Err(error) => tracing::warn!(%error, "waiting for the chain"),
            }
            let pause = tokio::time::sleep(CONNECT_PAUSE);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                anyhow::bail!("stopped while waiting for the chain");
            }
        }
    }

    /// The ledger behind it.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    async fn try_connect(config: LedgerConfig) -> anyhow::Result<Self> {
        let ledger = Ledger::connect(config).await?;
        let parameters = Parameters {
            min_stake: Octas(ledger.parameter("min_stake").await?),
            max_task_seconds: ledger.parameter("max_task_seconds").await?,
            withdrawal_delay_seconds: ledger.parameter("withdrawal_delay_seconds").await?,
            server_fee_bps: ledger.parameter("server_fee_bps").await?,
            treasury_fee_bps: ledger.parameter("treasury_fee_bps").await?,
        };
        Ok(Self { ledger, parameters })
    }
}

impl Chain for LedgerChain {
    fn chain_id(&self) -> u8 {
        self.ledger.chain_id()
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn balance(&self, client: Address) -> Answer<'_, ClientBalance> {
        async move { Ok(self.ledger.client_balance(client).await?) }.boxed()
    }

    fn operator(&self, operator: Address) -> Answer<'_, Option<Operator>> {
        async move {
            let (info, stake) =
                try_join(self.ledger.orchestrator(operator), self.ledger.stake(operator)).await?;
            Ok(info.map(|info| Operator {
                online: info.status == Availability::Online,
                whitelisted: info.whitelisted,
                nodes: info.nodes.iter().map(OperatorNode::from).collect(),
                stake: stake.bonded,
            }))
        }
        .boxed()
    }

    fn is_authorized(&self, server: Address) -> Answer<'_, bool> {
        async move { Ok(self.ledger.server(server).await?.is_some_and(|info| info.authorized)) }
            .boxed()
    }

    fn task(&self, client: Address, task_id: TaskId) -> Answer<'_, TaskInfo> {
        async move { Ok(self.ledger.task(client, task_id).await?) }.boxed()
    }

    fn carry(self: Arc<Self>, pool: AnyPool, key: SecretKey) -> Arc<dyn Carrier> {
        Arc::new(Outbox::new(self.ledger.clone(), pool, key))
    }
}

impl From<&NodeInfo> for OperatorNode {
    fn from(info: &NodeInfo) -> Self {
        Self { key: info.public_key, validated: info.validated }
    }
}

impl Carrier for Outbox {
    fn run(&self, shutdown: CancellationToken) -> BoxFuture<'_, ()> {
        Self::run(self, shutdown).boxed()
    }

    fn wake(&self) {
        Self::wake(self);
    }

    fn subscribe(&self) -> broadcast::Receiver<Settled> {
        Self::subscribe(self)
    }
}
