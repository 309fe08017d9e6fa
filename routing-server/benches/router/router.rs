//! The routing server under test: the real one, authentication, budget, score, receipts, metering
//! and durable decisions included, on a double of the chain that holds every account's money and
//! takes no transaction, so that the router is measured and not the chain.

use crate::{node::Identity, support::chain::TestChain};
use anyhow::{Context, Result};
use cactus_protocol::{
    Address, Hash, Octas, OrderId, RequestClaim, RequestSignature, Scope, SecretKey, SignedOrder,
    auth::ORDER_HEADER, chain_message::Order,
};
use cactus_routing_server::{Config, Limits, serve};
use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};
use tokio::time;
use tokio_util::sync::CancellationToken;

pub const SCOPE: Scope = crate::support::SCOPE;
/// More than any measurement spends.
const PLENTY: Octas = Octas(1 << 60);
const PER_TASK: Octas = Octas(100_000_000);
const READY_LIMIT: Duration = Duration::from_secs(60);

fn server_key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn client_key() -> SecretKey {
    SecretKey::from_seed(&[2; 32])
}

/// The account of the server under test.
pub fn server() -> Address {
    server_key().address()
}

/// Serves until the process is killed; `nodes` operators are registered, validated and staked.
pub async fn serve_forever(address: SocketAddr, data_dir: PathBuf, nodes: u32) -> Result<()> {
    let chain = TestChain::new();
    chain.carries.store(false, Ordering::SeqCst);
    chain.deposit(client_key().address(), PLENTY);
    for index in 0..nodes {
        let identity = Identity::numbered(index);
        chain.register(identity.operator.address(), identity.node.public(), PLENTY);
    }
    let mut config = Config::new(server_key(), "http://unused".into(), SCOPE.contract, data_dir);
    config.limits = Limits {
        streams: 1 << 20,
        streams_per_payer: 1 << 20,
        links: 1 << 16,
        ..Limits::default()
    };
    let listener = TcpListener::bind(address)?;
    serve(config, chain, (listener, CancellationToken::new())).await
}

/// Unix milliseconds.
pub fn now_ms() -> Result<u64> {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(u64::try_from(elapsed.as_millis())?)
}

/// Makes an API key backed by a standing order, as a client does.
pub async fn api_key(address: SocketAddr) -> Result<String> {
    let key = client_key();
    let now = now_ms()?;
    let order = Order {
        chain_id: SCOPE.chain_id,
        client: key.address(),
        server: server(),
        order_id: OrderId::random(),
        max_total: PLENTY,
        max_per_task: PER_TASK,
        expires_seconds: now / 1000 + 86_400,
    };
    let order = SignedOrder::new(order, SCOPE.contract, &key)?;
    let claim = RequestClaim {
        client: key.address(),
        server: server(),
        method: "POST".into(),
        path: "/v1/keys".into(),
        body_hash: Hash::of(b""),
        nonce: rand::random(),
        time_ms: now,
    };
    let response = reqwest::Client::new()
        .post(format!("http://{address}/v1/keys"))
        .header("Authorization", RequestSignature::new(claim, SCOPE, &key)?.to_header())
        .header(ORDER_HEADER, order.to_header())
        .send()
        .await?
        .error_for_status()?;
    let body: serde_json::Value = response.json().await?;
    Ok(body["api_key"].as_str().context("the answer has no key")?.to_owned())
}

/// Waits until this many nodes are linked; how long that took.
pub async fn linked(address: SocketAddr, nodes: u32) -> Result<Duration> {
    let started = time::Instant::now();
    let waiting = async {
        loop {
            let ready = reqwest::get(format!("http://{address}/readyz")).await?;
            let ready: serde_json::Value = ready.json().await?;
            if ready["nodes"].as_u64() >= Some(u64::from(nodes)) {
                return Ok(started.elapsed());
            }
            time::sleep(Duration::from_millis(20)).await;
        }
    };
    time::timeout(READY_LIMIT, waiting).await.context("the nodes are not linked in time")?
}
