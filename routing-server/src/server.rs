//! Puts the parts together, serves, and takes them down in order: no new work, streams end, links
//! close, decisions reach the disk, intents the chain.

use crate::{
    app::App,
    auth::{ReplayCache, keys::ApiKeys},
    authorization, batches,
    chain::{Chain, LedgerChain},
    config::Config,
    database,
    enrollment::{self, Wanted},
    files,
    instances::{self, Instance},
    key_store, memory,
    nodes::Nodes,
    routes, settlement,
    settlement::Writer,
};
use actix_web::{HttpServer, dev::ServerHandle, web};
use anyhow::{Context, Result, ensure};
use cactus_dispatch::{Bounds, Rules};
use cactus_ledger::{Call, IntentId, LedgerConfig, outbox};
use cactus_protocol::Scope;
use parking_lot::Mutex;
use sqlx::AnyPool;
use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long closing links and connections may take, beyond the drain of streams.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at the operators' stakes.
const STAKE_PERIOD: Duration = Duration::from_secs(30);
/// Between two looks at what is usual among nodes.
const REFRESH_PERIOD: Duration = Duration::from_secs(1);
/// The index of a fleet of this size is brought up to date every second time, one of twice the size every
/// third time, and so on.
const NODES_PER_REFRESH: usize = 1_000;

/// Runs a routing server on `listener` until `shutdown`, then drains.
///
/// # Errors
/// Anything that keeps it from starting, and a failure of its HTTP server.
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
    config.check()?;
    let ledger = LedgerConfig {
        url: config.chain_url.clone(),
        faucet_url: config.faucet_url.clone(),
        contract: config.contract,
    };
    let chain = LedgerChain::connect(ledger, &shutdown).await?;
    let wanted = Wanted {
        key: config.key.clone(),
        url: public_url(&config, &listener)?,
        replaces_url: config.public_url.is_some(),
        use_faucet: config.faucet_url.is_some(),
    };
    if let Some(call) = enrollment::enroll(chain.ledger(), &wanted, &shutdown).await? {
        enqueue_first(&config, &call).await?;
    }
    serve(config, Arc::new(chain), (listener, shutdown)).await
}

/// Where others reach this server, unless the configuration says so: where it listens.
fn public_url(config: &Config, listener: &TcpListener) -> Result<String> {
    match &config.public_url {
        Some(url) => Ok(url.clone()),
        None => Ok(format!("http://{}", listener.local_addr()?)),
    }
}

/// [`run`] with the chain given: the seam for tests.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    config: Config,
    chain: Arc<dyn Chain>,
    (listener, shutdown): (TcpListener, CancellationToken),
) -> Result<()> {
    let pool = database::open(&config).await?;
    files::import(&pool, &config.data_dir).await?;
    let (writer, queue) = Writer::new();
    let app = web::Data::new(assemble(config, chain, (pool.clone(), writer)).await?);
    settlement::recover(&app).await.context("recover tasks")?;
    if app.instance.is_shared {
        instances::look(&app).await.context("look for other servers")?;
    }
    authorization::look(&app).await;

    let background = CancellationToken::new();
    let carrier = Arc::clone(&app.carrier);
    let wake = Arc::clone(&app.carrier);
    let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || wake.wake());
    let writing =
        tokio::spawn(settlement::write((pool.clone(), app.instance.id.clone()), queue, wake));
    let carried = background.clone();
    let carrying = tokio::spawn(async move { carrier.run(carried).await });
    let following = spawn_follower(&app, &background);
    let watching = tokio::spawn(watch_stakes(app.clone().into_inner(), background.clone()));
    let refreshing = tokio::spawn(refresh_fleet(app.clone().into_inner(), background.clone()));
    let authorizing = spawn_authorization_watch(&app, &background);
    let batching = tokio::spawn(batches::run(app.clone().into_inner(), background.clone()));
    let sweeping = spawn_sweep(&app, &background);
    let remembering = tokio::spawn(memory::keep(app.clone().into_inner(), background.clone()));
    let tending = tokio::spawn(instances::tend(app.clone().into_inner(), background.clone()));

    let (handle, serving) = start_http(&app, listener)?;
    tracing::info!(server = %app.server, "routing server is up");
    let mut serving = tokio::spawn(serving);
    let failed = tokio::select! {
        () = shutdown.cancelled() => None,
        () = app.taken_over.cancelled() => None,
        ended = &mut serving => Some(ended),
    };
    drain(&app, handle).await;
    if tokio::time::timeout(CLOSE_LIMIT, batching).await.is_err() {
        tracing::error!("the batches did not end");
    }
    let served = match failed {
        Some(ended) => ended,
        None => serving.await,
    };
    flush(&pool, Duration::from_millis(app.config.limits.flush_ms)).await;
    background.cancel();
    let _ = tokio::join!(carrying, following, watching, refreshing, authorizing);
    let _ = tokio::join!(sweeping, remembering, tending);
    let is_taken_over = app.taken_over.is_cancelled();
    drop(app);
    join_writer(writing).await;
    pool.close().await;
    ensure!(
        !is_taken_over,
        "silent for too long: other servers took the work over; start it again"
    );
    served.context("the HTTP server panicked")?.context("HTTP")
}

/// Leaves a call for the outbox, behind what an earlier run left there.
async fn enqueue_first(config: &Config, call: &Call) -> Result<()> {
    let pool = database::open(config).await?;
    let id = IntentId::new(format!("address:of-start-{:016x}", rand::random::<u64>()));
    let mut connection = pool.acquire().await.context("open the database")?;
    outbox::enqueue(&mut connection, &id, call).await.context("write to the outbox")?;
    drop(connection);
    pool.close().await;
    Ok(())
}

async fn assemble(
    config: Config,
    chain: Arc<dyn Chain>,
    (pool, writer): (AnyPool, Writer),
) -> Result<App> {
    let scope = Scope { chain_id: chain.chain_id(), contract: config.contract };
    let keys = key_store::live(&pool).await.context("read API keys")?;
    let instance = Instance::join(&pool).await.context("join the servers of the database")?;
    let server = config.key.address();
    let bounds = Bounds {
        min_stake: chain.parameters().min_stake,
        exposure_milli: config.limits.exposure_milli,
    };
    let rules = Rules { bounds, weights: config.weights };
    let nodes = Nodes::new(rules, config.limits.queue, Instant::now());
    memory::recall(&nodes.fleet, &config.data_dir);
    let batch_lines = config.limits.batch_lines;
    Ok(App {
        carrier: Arc::clone(&chain).carry(pool.clone(), config.key.clone()),
        keys: ApiKeys::new(keys, scope),
        config,
        scope,
        server,
        authorization: Default::default(),
        chain,
        pool,
        writer,
        instance,
        shares: Default::default(),
        budget: Default::default(),
        nodes,
        replays: Mutex::new(ReplayCache::default()),
        batches: Default::default(),
        batch_room: Arc::new(Semaphore::new(batch_lines)),
        streams: Default::default(),
        metrics: Default::default(),
        runtime: Handle::current(),
        exchanges: TaskTracker::new(),
        links: TaskTracker::new(),
        stopping: CancellationToken::new(),
        taken_over: CancellationToken::new(),
        links_stop: CancellationToken::new(),
    })
}

type Serving = actix_web::dev::Server;

fn start_http(app: &web::Data<App>, listener: TcpListener) -> Result<(ServerHandle, Serving)> {
    let drain = Duration::from_millis(app.config.limits.drain_ms) + CLOSE_LIMIT;
    let (data, limits) = (app.clone(), &app.config.limits);
    let factory = move || {
        actix_web::App::new()
            .app_data(data.clone())
            .wrap(actix_web::middleware::from_fn(crate::trace::trace))
            .configure(routes::configure)
    };
    let server = HttpServer::new(factory)
        .tcp_nodelay(true)
        // A client that closes its side has left: its task is cancelled at once.
        .h1_allow_half_closed(false)
        .client_request_timeout(Duration::from_millis(limits.header_ms))
        .keep_alive(Duration::from_millis(limits.idle_ms))
        .disable_signals()
        .shutdown_timeout(drain.as_secs())
        .listen(listener)
        .context("listen")?
        .run();
    Ok((server.handle(), server))
}

fn spawn_follower(app: &web::Data<App>, background: &CancellationToken) -> JoinHandle<()> {
    let (app, stop) = (app.clone(), background.clone());
    let settled = app.carrier.subscribe();
    tokio::spawn(async move { settlement::follow(&app, settled, stop).await })
}

fn spawn_authorization_watch(
    app: &web::Data<App>,
    background: &CancellationToken,
) -> JoinHandle<()> {
    let (app, stop) = (app.clone(), background.clone());
    tokio::spawn(async move { authorization::watch(&app, stop).await })
}

fn spawn_sweep(app: &web::Data<App>, background: &CancellationToken) -> JoinHandle<()> {
    let (app, stop) = (app.clone(), background.clone());
    tokio::spawn(async move { files::sweep(&app, stop).await })
}

/// No new work; answers under way end, to a deadline; then links close, then the threads that serve
/// HTTP, on which answers are made. Until then new requests are told to go elsewhere.
async fn drain(app: &App, handle: ServerHandle) {
    tracing::info!("draining");
    app.stopping.cancel();
    app.exchanges.close();
    let limit = Duration::from_millis(app.config.limits.drain_ms);
    if tokio::time::timeout(limit, app.exchanges.wait()).await.is_err() {
        let left = app.exchanges.len();
        tracing::warn!(left, "answers were cut off at the drain's deadline");
    }
    app.links_stop.cancel();
    app.links.close();
    let _ = tokio::time::timeout(CLOSE_LIMIT, app.links.wait()).await;
    // What was cut off is decided now: its escrow returns without a restart.
    let _ = tokio::time::timeout(CLOSE_LIMIT, app.exchanges.wait()).await;
    let _ = tokio::time::timeout(CLOSE_LIMIT, handle.stop(true)).await;
}

/// Lets intents reach the chain for a moment. What does not is carried on at the next start.
async fn flush(pool: &AnyPool, limit: Duration) {
    let is_empty = async {
        let mut pause = tokio::time::interval(Duration::from_millis(50));
        loop {
            pause.tick().await;
            match outbox::backlog(pool).await {
                Ok(left) if left.pending + left.submitted == 0 => return,
                Ok(_) => {}
                Err(error) => return tracing::error!(%error, "the outbox cannot be read"),
            }
        }
    };
    if tokio::time::timeout(limit, is_empty).await.is_err() {
        tracing::warn!("some intents are carried to the chain at the next start");
    }
}

/// The writer ends when the last handle to it is dropped.
async fn join_writer(writing: JoinHandle<()>) {
    if tokio::time::timeout(CLOSE_LIMIT, writing).await.is_err() {
        tracing::error!("the writer did not end");
    }
}

/// Keeps the index of nodes fresh, beside the requests that read it.
async fn refresh_fleet(app: Arc<App>, stop: CancellationToken) {
    let mut period = tokio::time::interval(REFRESH_PERIOD);
    let mut ticks = 0_usize;
    while stop.run_until_cancelled(period.tick()).await.is_some() {
        // What is usual among many moves slowly, and every node costs a look.
        if ticks.is_multiple_of(1 + app.nodes.len() / NODES_PER_REFRESH) {
            app.nodes.fleet.refresh(Instant::now());
        }
        ticks = ticks.wrapping_add(1);
        app.nodes.lines.wake_all();
    }
}

/// Follows the stakes of linked operators; one that left the chain counts as without stake.
async fn watch_stakes(app: Arc<App>, stop: CancellationToken) {
    let mut period = tokio::time::interval(STAKE_PERIOD);
    while stop.run_until_cancelled(period.tick()).await.is_some() {
        for node in app.nodes.all() {
            match app.chain.operator(node.operator).await {
                Ok(operator) => {
                    let stake = operator.map(|o| o.stake_behind(&node.key));
                    let fleet = &app.nodes.fleet;
                    fleet.set_stake(&node.member, stake.unwrap_or_default(), Instant::now());
                }
                Err(error) => tracing::warn!(%error, "a stake cannot be read"),
            }
        }
    }
}
