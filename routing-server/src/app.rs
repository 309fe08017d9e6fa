//! What all parts of the server share. It only holds; it does nothing by itself.

use crate::{
    auth::{ReplayCache, keys::ApiKeys},
    authorization::Authorization,
    batches::Batches,
    budget::Budget,
    chain::{Carrier, Chain},
    config::Config,
    instances::Instance,
    metrics::Metrics,
    nodes::Nodes,
    settlement::Writer,
    shares::Shares,
    streams::Streams,
};
use cactus_protocol::{Address, Scope};
use parking_lot::Mutex;
use sqlx::AnyPool;
use std::sync::Arc;
use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The server's shared state.
pub struct App {
    /// The checked configuration.
    pub config: Config,
    /// Where signatures count.
    pub scope: Scope,
    /// This server's account.
    pub server: Address,
    /// Whether the chain lets this server take tasks.
    pub authorization: Authorization,
    /// The chain, for questions.
    pub chain: Arc<dyn Chain>,
    /// Carries intents to the chain.
    pub carrier: Arc<dyn Carrier>,
    /// The database.
    pub pool: AnyPool,
    /// Writes decisions about tasks.
    pub writer: Writer,
    /// This process among the servers of the database.
    pub instance: Instance,
    /// What it takes of the money that they share.
    pub shares: Shares,
    /// Reserved money.
    pub budget: Mutex<Budget>,
    /// Linked nodes.
    pub nodes: Nodes,
    /// Live API keys.
    pub keys: ApiKeys,
    /// Nonces of signed requests.
    pub replays: Mutex<ReplayCache>,
    /// Batches under way.
    pub batches: Batches,
    /// Room for lines of all batches together.
    pub batch_room: Arc<Semaphore>,
    /// Answers under way.
    pub streams: Arc<Streams>,
    /// What is counted and timed.
    pub metrics: Metrics,
    /// Where exchanges run, whatever thread their request came in on.
    pub runtime: Handle,
    /// Exchanges under way; joined by `run`.
    pub exchanges: TaskTracker,
    /// Links; joined by `run`.
    pub links: TaskTracker,
    /// The server takes no new work.
    pub stopping: CancellationToken,
    /// Others have taken this server's work over: it has to end.
    pub taken_over: CancellationToken,
    /// Links must end now.
    pub links_stop: CancellationToken,
}
