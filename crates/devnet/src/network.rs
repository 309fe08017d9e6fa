//! Starting a network, part by part, and stopping it in the opposite order.

use crate::{
    admission::Admin,
    balances::{Balances, Role},
    plan::{NetworkPlan, OrchestratorPlan},
};
use anyhow::{Context, Result};
use cactus_ledger::{Call, Ledger, LedgerConfig, key_file};
use cactus_localnet::{CONTRACT_ADDRESS, LOCALNET_CHAIN_ID, Localnet, LocalnetConfig};
use cactus_orchestrator::{Config as OrchestratorConfig, LocalModel, Source, Timing};
use cactus_protocol::{Address, Octas, SecretKey};
use cactus_routing_server::Config as RouterConfig;
use serde::Deserialize;
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time,
};
use tokio_util::sync::CancellationToken;

/// How long the orchestrators may take to load their models, register and link.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Links are refused until the validator has let an operator in, which takes a few blocks.
const FIRST_RETRY: Duration = Duration::from_millis(25);
/// Between two looks at the list of nodes.
const READY_POLL: Duration = Duration::from_millis(20);

/// An orchestrator of a running network.
#[derive(Debug, Clone)]
pub struct Operator {
    /// As planned.
    pub plan: OrchestratorPlan,
    /// Its account.
    pub address: Address,
}

/// A running network. Dropping it stops nothing: call [`Network::shutdown`].
pub struct Network {
    chain: Arc<Localnet>,
    ledger: Ledger,
    admin: Admin,
    chain_url: String,
    router_url: String,
    server: Address,
    operators: Vec<Operator>,
    /// In the order in which they stop.
    parts: Vec<Part>,
}

/// The keys of a network, one file each, so that a restarted network is the same network.
struct Keys {
    dir: PathBuf,
}

impl Keys {
    fn load_or_create(&self, name: &str) -> Result<SecretKey> {
        Ok(key_file::load_or_create(&self.dir.join(format!("{name}.key")))?)
    }
}

/// Something that runs until its token is cancelled.
struct Part {
    name: String,
    stop: CancellationToken,
    running: JoinHandle<Result<()>>,
    /// An orchestrator's own runtime: like its own machine, it can lose power.
    machine: Option<Runtime>,
}

impl Part {
    fn spawn<F>(name: &str, run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(stop.clone()));
        Self { name: name.to_owned(), stop, running, machine: None }
    }

    fn spawn_on_own_machine<F>(
        name: String,
        run: impl FnOnce(CancellationToken) -> F,
    ) -> Result<Self>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let machine = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let stop = CancellationToken::new();
        let running = machine.spawn(run(stop.clone()));
        Ok(Self { name, stop, running, machine: Some(machine) })
    }

    async fn end(self) -> Result<()> {
        self.stop.cancel();
        let outcome = self.running.await;
        if let Some(machine) = self.machine {
            machine.shutdown_background();
        }
        outcome?.with_context(|| format!("{} ended badly", self.name))
    }
}

impl Network {
    /// Starts everything and returns when every orchestrator is linked.
    ///
    /// # Errors
    /// When a part does not start; the text says which and why.
    pub async fn start(plan: NetworkPlan) -> Result<Self> {
        let keys = Keys { dir: plan.data_dir.join("keys") };
        let mut network = Self::start_chain(&plan.data_dir, plan.chain_listener).await?;
        network.start_router(&keys, &plan.data_dir, plan.router_listener).await?;
        for orchestrator in plan.orchestrators {
            network.start_orchestrator(&keys, &plan.model_dir, orchestrator)?;
        }
        let admitted = network.admit_operators();
        admitted.await.context("the orchestrators cannot be admitted")?;
        network.wait_until_linked().await?;
        Ok(network)
    }

    async fn start_chain(data_dir: &Path, listener: TcpListener) -> Result<Self> {
        let root = format!("http://{}", listener.local_addr()?);
        let data_dir = Some(data_dir.join("chain"));
        let opened = Localnet::open(LocalnetConfig { data_dir, chain_id: LOCALNET_CHAIN_ID });
        let chain = Arc::new(opened.context("the chain does not open")?);
        let served = Arc::clone(&chain);
        let part =
            Part::spawn("the chain", |stop| async move { Ok(served.serve(listener, stop).await?) });
        let (url, faucet_url) = (format!("{root}/v1"), Some(root.clone()));
        let contract = Address(CONTRACT_ADDRESS.0);
        let ledger =
            Ledger::connect(LedgerConfig { url: url.clone(), faucet_url, contract }).await?;
        let admin = Admin::new(ledger.clone()).await?;
        Ok(Self {
            chain,
            ledger,
            admin,
            chain_url: url,
            router_url: String::new(),
            server: Address::default(),
            operators: Vec::new(),
            parts: vec![part],
        })
    }

    /// Starts the routing server, which registers itself, and lets it in.
    async fn start_router(
        &mut self,
        keys: &Keys,
        data_dir: &Path,
        listener: TcpListener,
    ) -> Result<()> {
        let key = keys.load_or_create("server")?;
        self.server = key.address();
        self.router_url = format!("http://{}", listener.local_addr()?);
        self.admin.fill_purse(self.server).await?;
        let contract = self.ledger.contract();
        let config = RouterConfig {
            public_url: Some(self.router_url.clone()),
            ..RouterConfig::new(key, self.chain_url.clone(), contract, data_dir.join("router"))
        };
        let mut part = Part::spawn("the routing server", |stop| {
            cactus_routing_server::run(config, listener, stop)
        });
        tokio::select! {
            admitted = self.admin.admit_server(self.server) => admitted?,
            ended = &mut part.running => {
                ended?.context("the routing server does not start")?;
                anyhow::bail!("the routing server ended before the network was ready");
            }
        }
        self.parts.insert(0, part);
        Ok(())
    }

    /// The orchestrator funds itself from the faucet, registers, stakes and dials, as on a GPU box.
    fn start_orchestrator(
        &mut self,
        keys: &Keys,
        model: &Path,
        plan: OrchestratorPlan,
    ) -> Result<()> {
        let operator_key = keys.load_or_create(&plan.name)?;
        let node_key = keys.load_or_create(&format!("{}-node", plan.name))?;
        let faucet_url = self.chain_url.strip_suffix("/v1").map(str::to_owned);
        let contract = self.ledger.contract();
        let ledger = LedgerConfig { url: self.chain_url.clone(), faucet_url, contract };
        let address = operator_key.address();
        let config = OrchestratorConfig {
            routers: vec![self.router_url.parse()?],
            source: Source::Local(vec![LocalModel::Directory(model.to_owned())]),
            price: plan.price,
            stake: plan.stake,
            slots: plan.slots,
            tokens_per_second_limit: plan.tokens_per_second_limit,
            timing: Timing { first_retry: FIRST_RETRY, ..Timing::default() },
            ..OrchestratorConfig::new(ledger, operator_key, node_key)
        };
        let name = format!("orchestrator {}", plan.name);
        let part = Part::spawn_on_own_machine(name, |stop| cactus_orchestrator::run(config, stop))?;
        self.parts.insert(self.operators.len() + 1, part);
        self.operators.push(Operator { plan, address });
        Ok(())
    }

    async fn admit_operators(&self) -> Result<()> {
        for operator in &self.operators {
            self.admin.admit_operator(operator.address).await?;
        }
        Ok(())
    }

    async fn wait_until_linked(&mut self) -> Result<()> {
        let waiting = async {
            while self.linked_nodes().await < self.operators.len() {
                if let Some(ended) = self.parts.iter().position(|part| part.running.is_finished()) {
                    let part = self.parts.remove(ended);
                    let name = part.name.clone();
                    part.end().await?;
                    anyhow::bail!("{name} ended before the network was ready");
                }
                time::sleep(READY_POLL).await;
            }
            Ok(())
        };
        time::timeout(READY_LIMIT, waiting)
            .await
            .context("the orchestrators are not linked in time")?
    }

    /// How many orchestrators work for a routing server that is ready.
    async fn linked_nodes(&self) -> usize {
        #[derive(Deserialize)]
        struct Ready {
            nodes: usize,
        }
        let answer = reqwest::get(format!("{}/readyz", self.router_url)).await;
        match answer.and_then(reqwest::Response::error_for_status) {
            Ok(answer) => answer.json::<Ready>().await.map_or(0, |ready| ready.nodes),
            Err(_) => 0,
        }
    }

    /// Stops the routing server, then the orchestrators, then the chain; each drains first.
    ///
    /// # Errors
    /// The first part that ended badly; the others are stopped all the same.
    pub async fn shutdown(self) -> Result<()> {
        let mut outcome = Ok(());
        for part in self.parts {
            outcome = outcome.and(part.end().await);
        }
        outcome
    }

    /// Takes an orchestrator away without a word, as a power failure does. Does nothing to one
    /// that is gone already.
    pub fn kill_orchestrator(&mut self, name: &str) {
        let of_name = |part: &Part| part.name == format!("orchestrator {name}");
        if let Some(index) = self.parts.iter().position(of_name)
            && let Some(machine) = self.parts.remove(index).machine
        {
            machine.shutdown_background();
        }
    }

    /// Gives a client coins and a deposit.
    ///
    /// # Errors
    /// When the chain refuses.
    pub async fn fund_client(&self, key: &SecretKey, coins: Octas, deposit: Octas) -> Result<()> {
        self.ledger.fund(key.address(), coins).await?;
        self.ledger.submit_and_wait(key, Call::Deposit { amount: deposit }).await?;
        Ok(())
    }

    /// Where every coin is, when `client` is the only client.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn balances(&self, client: Address) -> Result<Balances> {
        let mut holders = vec![("client".to_owned(), Role::Client, client)];
        for operator in &self.operators {
            holders.push((operator.plan.name.clone(), Role::Orchestrator, operator.address));
        }
        holders.push(("server".to_owned(), Role::Server, self.server));
        holders.push(("admin".to_owned(), Role::Admin, self.admin.address()));
        let faucet = Address(cactus_localnet::faucet_address().0);
        holders.push(("faucet".to_owned(), Role::Faucet, faucet));
        Balances::read(&self.ledger, &holders).await
    }

    /// The chain itself, for tests that move its clock or take it away.
    pub fn chain(&self) -> &Localnet {
        &self.chain
    }

    /// A client of the chain.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The chain's REST API.
    pub fn chain_url(&self) -> &str {
        &self.chain_url
    }

    /// The routing server.
    pub fn router_url(&self) -> &str {
        &self.router_url
    }

    /// The account of the contracts.
    pub fn contract(&self) -> Address {
        self.ledger.contract()
    }

    /// The routing server's account.
    pub fn server(&self) -> Address {
        self.server
    }

    /// Who sells.
    pub fn operators(&self) -> &[Operator] {
        &self.operators
    }
}
