//! Starts a routing server on a free port with a double of the chain.

pub mod batch;
pub mod chain;
pub mod client;
mod disk;
pub mod node;

use cactus_protocol::{Address, Octas, Scope, SecretKey};
use cactus_routing_server::{Config, Limits, serve};
use chain::TestChain;
pub use disk::Disk;
use serde_json::Value;
use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing in these tests takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(30);

pub const SCOPE: Scope = Scope { chain_id: 4, contract: Address([0xca; 32]) };

/// A running routing server.
pub struct TestApp {
    pub address: SocketAddr,
    pub chain: Arc<TestChain>,
    pub server: Address,
    pub shutdown: CancellationToken,
    pub running: JoinHandle<anyhow::Result<()>>,
    pub disk: Arc<Disk>,
    pub key: SecretKey,
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Limits that let failures show quickly.
pub fn limits() -> Limits {
    Limits { flush_ms: 0, drain_ms: 2_000, queue_ms: 0, ..Limits::default() }
}

/// A server with the usual limits.
pub fn spawn_app() -> TestApp {
    spawn_app_with(limits())
}

/// A server with these limits.
pub fn spawn_app_with(limits: Limits) -> TestApp {
    start(TestChain::new(), SecretKey::random(), (Disk::new(), limits))
}

/// A server on this chain, account and disk.
pub fn start(
    chain: Arc<TestChain>,
    key: SecretKey,
    (disk, limits): (impl Into<Arc<Disk>>, Limits),
) -> TestApp {
    let disk = disk.into();
    // The HTTP client wants to know, though no test uses TLS. Err: another test said so already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = disk.folder.path().to_owned();
    let config = Config {
        database: Some(disk.database.address().clone()),
        limits,
        ..Config::new(key.clone(), "http://unused".into(), SCOPE.contract, folder)
    };
    let shutdown = CancellationToken::new();
    let served = serve(config, chain.clone(), (listener, shutdown.clone()));
    TestApp {
        address,
        chain,
        server: key.address(),
        shutdown,
        running: tokio::spawn(served),
        disk,
        key,
    }
}

impl TestApp {
    /// Another server of the same account on the same database.
    pub fn beside(&self, limits: Limits) -> Self {
        start(Arc::clone(&self.chain), self.key.clone(), (Arc::clone(&self.disk), limits))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the server knows of a task, once `is_there` says so.
    pub async fn task(&self, id: &str, is_there: impl Fn(&Value) -> bool) -> Value {
        let url = self.url(&format!("/v1/tasks/{id}"));
        eventually(async || {
            let task: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
            is_there(&task).then_some(task)
        })
        .await
    }

    /// A task whose money has come to rest.
    pub async fn settled(&self, id: &str) -> Value {
        let is_final = |task: &Value| task["state"] == "settled" || task["state"] == "refunded";
        self.task(id, is_final).await
    }

    /// All nodes that are linked.
    pub async fn nodes(&self) -> Vec<Value> {
        let list = reqwest::get(self.url("/v1/nodes")).await.unwrap();
        let list: Value = list.json().await.unwrap();
        list["data"].as_array().unwrap().clone()
    }

    /// Copies the disk as a crash at this moment would leave it.
    pub async fn snapshot(&self) -> Disk {
        self.disk.copy().await
    }
}

/// Asks again and again until there is an answer.
pub async fn eventually<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        let mut period = tokio::time::interval(Duration::from_millis(5));
        loop {
            period.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    within(asking).await
}

/// Fails the test rather than hang.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("the test hangs")
}

/// Whole APT.
pub fn apt(whole: u64) -> Octas {
    Octas(whole * 100_000_000)
}
