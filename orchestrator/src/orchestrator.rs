//! The daemon put together: joins the network on the chain, then keeps a link to every routing
//! server until it is told to stop. It never reads files or the environment; that was `config`.

use crate::{
    config::Config,
    earnings,
    enrollment::{self, EnrollError, Wanted},
    hardware::Hardware,
    link::{Link, ServerCheck, ServerDoubt},
    models,
    shelf::{ServedModel, Shelf},
    worker::{GpuReading, Identity, Worker},
};
use anyhow::Context;
use cactus_ledger::{ConnectError, Ledger};
use cactus_protocol::{Address, PublicKey, Scope};
use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a chain that does not answer is asked again before the start fails.
const CHAIN_PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts.
const CHAIN_PAUSE: Duration = Duration::from_secs(2);

/// Loads the models that `config` names and serves them until `shutdown`; then lets running tasks
/// finish and closes the links.
///
/// # Errors
/// When the node cannot start; the text says what to do.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let engines = TaskTracker::new();
    let models = models::all(&config, &engines, &shutdown).await?;
    let orchestrator = Orchestrator::start(config, models, shutdown).await?;
    orchestrator.finished().await;
    engines.close();
    engines.wait().await;
    Ok(())
}

/// A running node.
pub struct Orchestrator {
    worker: Arc<Worker>,
    tasks: TaskTracker,
}

impl Orchestrator {
    /// Registers, adds the node and bonds what is missing, then starts to dial. The links work
    /// until `shutdown`.
    ///
    /// # Errors
    /// When the configuration, the chain or the account does not allow it; the text says what to
    /// do.
    pub async fn start(
        config: Config,
        models: Vec<ServedModel>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        config.check()?;
        check_models(&models)?;
        let ledger = joined(&config, &shutdown).await?;
        let hardware = spawn_blocking(Hardware::probe).await?;
        let (readings, gpu) = watch::channel(GpuReading::default());
        let identity = Identity {
            scope: Scope { chain_id: ledger.chain_id(), contract: ledger.contract() },
            operator: config.operator_key.address(),
            node_key: config.node_key.clone(),
        };
        let shelf = Shelf {
            models,
            price: config.price,
            slots: config.slots,
            queue: config.queue,
            region: config.region.clone(),
            hardware: hardware.report.clone(),
        };
        let worker = Arc::new(Worker::new(identity, shelf, gpu, shutdown.clone()));
        let tasks = TaskTracker::new();
        tasks.spawn(hardware.watch(readings, config.timing.heartbeat, shutdown.clone()));
        let server_check = server_check(ledger.clone());
        for router in config.routers {
            if router.is_exposed() {
                tracing::warn!(%router, "not encrypted: prompts cross the network in the clear; use wss://");
            }
            let link = Link {
                router,
                worker: Arc::clone(&worker),
                timing: config.timing.clone(),
                server_check: Arc::clone(&server_check),
            };
            tasks.spawn(link.run());
        }
        let pause = config.earnings_every;
        tasks.spawn(earnings::report(ledger, Arc::clone(&worker), pause, shutdown));
        tasks.close();
        Ok(Self { worker, tasks })
    }

    /// The account that owns the stake and is paid.
    pub fn operator(&self) -> Address {
        self.worker.identity().operator
    }

    /// The key that signs receipts.
    pub fn node(&self) -> PublicKey {
        self.worker.node()
    }

    /// Waits until, after shutdown, running tasks are finished and every link is closed.
    pub async fn finished(self) {
        self.tasks.wait().await;
    }
}

fn check_models(models: &[ServedModel]) -> anyhow::Result<()> {
    anyhow::ensure!(!models.is_empty(), "no model is loaded; give --model");
    let ids: BTreeSet<&str> = models.iter().map(ServedModel::id).collect();
    anyhow::ensure!(
        ids.len() == models.len(),
        "two models have the same id; a model's id is the name of its directory"
    );
    Ok(())
}

/// Connects to the chain and joins the network. A chain that is away is given some time: a
/// machine that boots may be faster than its network.
async fn joined(config: &Config, shutdown: &CancellationToken) -> anyhow::Result<Ledger> {
    let wanted = Wanted {
        operator_key: config.operator_key.clone(),
        node_key: config.node_key.clone(),
        metadata_uri: config.metadata_uri.clone(),
        specs_uri: config.metadata_uri.clone(),
        stake: config.stake,
    };
    let use_faucet = config.ledger.faucet_url.is_some();
    let give_up = Instant::now() + CHAIN_PATIENCE;
    loop {
        let attempt = async {
            let ledger = Ledger::connect(config.ledger.clone()).await?;
            enrollment::enroll(&ledger, &wanted, use_faucet).await?;
            anyhow::Ok(ledger)
        };
        let error = match attempt.await {
            Ok(ledger) => return Ok(ledger),
            Err(error) => error,
        };
        if !is_temporary(&error) || Instant::now() > give_up || shutdown.is_cancelled() {
            return Err(error).context("the node cannot join the network");
        }
        tracing::warn!(%error, "the chain is not ready; trying again");
        let _ = timeout(CHAIN_PAUSE, shutdown.cancelled()).await;
    }
}

fn is_temporary(error: &anyhow::Error) -> bool {
    let unreachable =
        matches!(error.downcast_ref::<ConnectError>(), Some(ConnectError::Unreachable { .. }));
    let enrollment = error.downcast_ref::<EnrollError>();
    unreachable || enrollment.is_some_and(EnrollError::is_temporary)
}

/// Asks the chain whether a server is registered and authorised. While the chain is away, servers
/// that could pay before still count: answers go on.
fn server_check(ledger: Ledger) -> ServerCheck {
    let known = Arc::new(Mutex::new(HashSet::new()));
    Arc::new(move |server| {
        let (ledger, known) = (ledger.clone(), Arc::clone(&known));
        Box::pin(async move {
            match ledger.server(server).await {
                Ok(Some(info)) if info.authorized => {
                    remember(&known).insert(server);
                    Ok(())
                }
                Ok(_) => {
                    remember(&known).remove(&server);
                    Err(ServerDoubt::CannotPay(server))
                }
                Err(_) if remember(&known).contains(&server) => Ok(()),
                Err(error) => Err(ServerDoubt::Unknown(error.to_string())),
            }
        })
    })
}

fn remember(known: &Mutex<HashSet<Address>>) -> std::sync::MutexGuard<'_, HashSet<Address>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
