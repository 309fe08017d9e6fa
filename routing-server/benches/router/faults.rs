//! One of several engines is lost in the middle: killed, so that its connections break, or hung, so
//! that nothing more comes of it. Requests start at a fixed rate whatever came of those before, so
//! that a system which stalls cannot hide how many it kept waiting.

use crate::{
    Running, clock, load::Connection, load::Load, node, script::Script, systems::Peer, upstream,
};
use anyhow::Result;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

/// Engines behind each system.
const ENGINES: u32 = 4;
const PER_SECOND: u32 = 500;
/// Some answers, so that each system knows its engines before one is lost.
const WARM_UP: Duration = Duration::from_secs(4);
/// What every peer is told to wait for an engine, in seconds.
pub const PEER_PATIENCE_SECONDS: u32 = 3;
/// Nobody waits longer for an answer.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);
const SCRIPT: Script = Script { frames: 3, cadence: Duration::from_millis(10) };

/// How an engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Well,
    /// It neither reads nor writes.
    Hung,
    /// Its connections are gone, and nobody listens.
    Killed,
}

/// The handle of one mock engine.
#[derive(Debug, Clone)]
pub struct Engine {
    health: Arc<watch::Sender<Health>>,
    /// Requests that reached any engine of its system.
    pub asked: Arc<AtomicU64>,
}

impl Engine {
    pub fn new(asked: &Arc<AtomicU64>) -> Self {
        Self { health: Arc::new(watch::Sender::new(Health::Well)), asked: Arc::clone(asked) }
    }

    /// Completes when the engine is killed.
    pub async fn killed(&self) {
        let mut health = self.health.subscribe();
        // Err: the sender is this.
        let _ = health.wait_for(|health| *health == Health::Killed).await;
    }

    /// Never completes while the engine hangs.
    pub async fn alive(&self) {
        if *self.health.borrow() == Health::Hung {
            std::future::pending::<()>().await;
        }
    }
}

/// Measures every system with one engine killed, then with one hung.
pub async fn measure(peers: &Path, seconds: u64) -> Result<()> {
    for health in [Health::Killed, Health::Hung] {
        let asked = Arc::new(AtomicU64::new(0));
        let engines: Vec<_> = (0..ENGINES).map(|_| Engine::new(&asked)).collect();
        let cactus = Running::cactus_with(&engines).await?;
        print("cactus", &cactus, (&engines, health), seconds).await;
        drop(cactus);
        for peer in [Peer::Nginx, Peer::SglangRouter, Peer::VllmRouter] {
            let asked = Arc::new(AtomicU64::new(0));
            let engines: Vec<_> = (0..ENGINES).map(|_| Engine::new(&asked)).collect();
            let mut addresses = Vec::new();
            for engine in &engines {
                addresses.push(upstream::start_with(engine.clone()).await?);
            }
            let patience = Some(PEER_PATIENCE_SECONDS);
            let Some(running) = Running::peer(peer, (peers, patience), &addresses).await? else {
                eprintln!("{} is not installed in {}: left out", peer.name(), peers.display());
                continue;
            };
            print(peer.name(), &running, (&engines, health), seconds).await;
        }
    }
    Ok(())
}

async fn print(
    name: &str,
    running: &Running,
    (engines, health): (&[Engine], Health),
    seconds: u64,
) {
    let load = Load { rate: Some(PER_SECOND), ..load(running.address, &running.headers) };
    // Unmeasured, so that connections are open and statistics known.
    Open::new(&load, WARM_UP).run().await;
    sleep(Duration::from_millis(200)).await;
    let asked = engines[0].asked.load(Relaxed);
    let lost = engines[0].clone();
    let losing = tokio::spawn(async move {
        sleep(Duration::from_secs(seconds) / 2).await;
        lost.health.send_replace(health);
    });
    let results = Open::new(&load, Duration::from_secs(seconds)).run().await;
    losing.abort();
    let asked = engines[0].asked.load(Relaxed) - asked;
    println!("{}", describe((name, health), results, asked));
}

fn load(address: SocketAddr, headers: &str) -> Load {
    let body = json!({
        "model": "sprout",
        "messages": [{ "role": "user", "content": SCRIPT.prompt("") }],
        "max_tokens": SCRIPT.frames,
        "seed": 1,
    });
    Load {
        address,
        headers: headers.to_owned(),
        body: body.to_string(),
        connections: 0,
        lasting: Duration::ZERO,
        rate: None,
    }
}

#[derive(Default)]
struct Results {
    /// Nanoseconds from the moment a request was due to its answer or error.
    whole: Vec<u64>,
    errors: Vec<String>,
}

fn describe((system, health): (&str, Health), results: Results, asked: u64) -> Value {
    let Results { mut whole, errors } = results;
    whole.sort_unstable();
    let requests = whole.len();
    let milliseconds = |ten_thousandths: usize| {
        let place = requests.saturating_sub(1) * ten_thousandths / 10_000;
        whole.get(place).map(|nanos| *nanos as f64 / 1e6)
    };
    json!({
        "case": match health { Health::Hung => "one engine hung", _ => "one engine killed" },
        "system": system,
        "requests": requests,
        "errors": errors.len(),
        "first_error": errors.first(),
        "p50_ms": milliseconds(5_000),
        "p99_ms": milliseconds(9_900),
        "p999_ms": milliseconds(9_990),
        "longest_ms": milliseconds(10_000),
        "engine_requests_per_request": asked as f64 / requests.max(1) as f64,
    })
}

/// An open loop over connections that are kept.
struct Open {
    load: Load,
    lasting: Duration,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Open {
    fn new(load: &Load, lasting: Duration) -> Self {
        Self { load: load.clone(), lasting, idle: Arc::default() }
    }

    async fn run(self) -> Results {
        let mut pace = interval(Duration::from_secs(1) / PER_SECOND);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let started = tokio::time::Instant::now();
        let mut asking = JoinSet::new();
        loop {
            let due = pace.tick().await;
            if due - started > self.lasting {
                break;
            }
            let late = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let due = clock::now().saturating_sub(late);
            let (load, idle) = (self.load.clone(), Arc::clone(&self.idle));
            asking.spawn(async move {
                let asked = timeout(CLIENT_PATIENCE, ask(&load, &idle)).await;
                let error = match asked {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some("no answer".into()),
                };
                (clock::now() - due, error)
            });
        }
        let mut results = Results::default();
        for (nanos, error) in asking.join_all().await {
            results.whole.push(nanos);
            results.errors.extend(error);
        }
        results
    }
}

async fn ask(load: &Load, idle: &Mutex<Vec<Connection>>) -> Result<()> {
    let kept = idle.lock().expect("nobody panics with it").pop();
    let mut connection = match kept {
        Some(kept) => kept,
        None => Connection::open(load).await?,
    };
    connection.ask(&mut crate::load::Measured::default()).await?;
    idle.lock().expect("nobody panics with it").push(connection);
    Ok(())
}

/// Links one node per engine.
pub async fn link(address: SocketAddr, engines: &[Engine]) -> Result<()> {
    for (index, engine) in (0..).zip(engines) {
        node::start_with(address, node::Identity::numbered(index), engine.clone()).await?;
    }
    Ok(())
}
