//! The chain that outlives the processes, and its admin.

use std::net::TcpListener;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cactus_ledger::{Admin, LOCALNET_CONTRACT, Ledger, LedgerConfig};
use cactus_localnet::{Localnet, LocalnetConfig, admin_seed};
use cactus_protocol::{Address, SecretKey};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::post::Post;

/// Further than the time that a transaction has to commit and the time after which the outbox
/// does without a node's word for its expiry.
const LEAP: Duration = Duration::from_secs(200);

/// A chain with its HTTP server, and the network before it.
pub struct World {
    pub post: Post,
    chain: Localnet,
    leapt: Duration,
    url: String,
    server: JoinHandle<()>,
    stop: CancellationToken,
}

impl World {
    pub async fn start(seed: u64) -> Self {
        let chain = Localnet::open(LocalnetConfig::default()).unwrap();
        let (url, server, stop) = serve(&chain);
        // The SDK installs the TLS provider that HTTP clients ask for even without TLS.
        connect(&url).await;
        let post = Post::open(url.clone(), seed).await;
        Self { post, chain, leapt: Duration::ZERO, url, server, stop }
    }

    /// Lets the chain's time pass the expiry of all that was signed. Nobody may be alive: requests
    /// that dead processes left behind are handled or dropped before, so that what the chain does
    /// not know by then it will never know, as if it had expired.
    pub async fn leap(&mut self) {
        self.post.deliver().await;
        self.stop.cancel();
        (&mut self.server).await.unwrap();
        let chain = self.chain.clone();
        tokio::task::spawn_blocking(move || chain.advance_clock(LEAP)).await.unwrap();
        self.leapt += LEAP;
        (self.url, self.server, self.stop) = serve(&self.chain);
        self.post.forward_to(self.url.clone());
    }

    /// The chain's time.
    pub fn now_seconds(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        (now + self.leapt).as_secs()
    }

    /// The API without anything in between.
    pub fn url(&self) -> String {
        format!("{}/v1", self.url)
    }

    pub fn contract(&self) -> Address {
        LOCALNET_CONTRACT
    }

    pub async fn ledger(&self) -> Ledger {
        connect(&self.url).await
    }

    pub async fn admin(&self) -> Admin {
        Admin::new(self.ledger().await, SecretKey::from_seed(&admin_seed()))
    }
}

async fn connect(url: &str) -> Ledger {
    let config = LedgerConfig {
        url: format!("{url}/v1"),
        faucet_url: Some(url.to_owned()),
        contract: LOCALNET_CONTRACT,
    };
    Ledger::connect(config).await.unwrap()
}

fn serve(chain: &Localnet) -> (String, JoinHandle<()>, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let (serving, stopping) = (chain.clone(), stop.clone());
    let server = tokio::spawn(async move { serving.serve(listener, stopping).await.unwrap() });
    (url, server, stop)
}
