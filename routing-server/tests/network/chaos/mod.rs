//! Everything that can be lost is lost, at random: connections of nodes at any place of an answer,
//! nodes that hang or forget, clients that leave. The server is the real one, over real links. What
//! must hold is checked when all has come to rest; see `books`.

mod books;
mod clients;
mod nodes;
mod script;

use crate::support::{
    TestApp, apt,
    client::Client,
    limits,
    node::{Identity, linked},
    spawn_app_with,
};
use cactus_protocol::TaskId;
use cactus_routing_server::Limits;
use clients::Seen;
use futures::{StreamExt, stream};
use nodes::Effort;
use script::Asked;
pub use script::Odds;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// What is tried.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub requests: u64,
    pub nodes: u64,
    /// Requests under way.
    pub at_once: usize,
    /// Before each token.
    pub cadence: Duration,
    pub odds: Odds,
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Summary {
    pub whole: u64,
    pub left: u64,
    /// Answers that ended with an error though their clients stayed.
    pub errors: Vec<String>,
    /// Connections cut, nodes that hung, tasks forgotten or failed.
    pub breaks: u64,
    /// Attempts that went on with an answer that another node had begun.
    pub resumed: u64,
    /// From a client's leaving to the node's reading of `Cancel`, in order.
    pub cancels: Vec<Duration>,
    pub paid_octas: u64,
}

#[derive(Default)]
struct Counts {
    breaks: AtomicU64,
}

/// What the clients, the nodes and the books of one run share.
struct Shared {
    plan: Plan,
    app: TestApp,
    client: Client,
    api_key: String,
    http: reqwest::Client,
    works: Mutex<HashMap<TaskId, Effort>>,
    left_at: Mutex<HashMap<u64, Instant>>,
    cancels: Mutex<Vec<Duration>>,
    counts: Counts,
}

impl Shared {
    /// A client leaves.
    fn left(&self, seed: u64, now: Instant) {
        self.left_at.lock().unwrap().insert(seed, now);
    }

    /// A node read `Cancel`.
    fn cancelled(&self, task_id: TaskId) {
        let Some(effort) = self.works.lock().unwrap().get(&task_id).copied() else { return };
        // Others are losers of hedges.
        if let Some(left_at) = self.left_at.lock().unwrap().get(&effort.seed) {
            self.cancels.lock().unwrap().push(left_at.elapsed());
        }
    }
}

/// Limits that let hung nodes show within a test's time.
fn quick_limits() -> Limits {
    Limits {
        first_token_ms: 2_000,
        stall_ms: 2_000,
        queue_ms: 20_000,
        streams: 1 << 16,
        streams_per_payer: 1 << 16,
        ..limits()
    }
}

impl Summary {
    /// The time that so many thousandths of the cancellations took at most.
    pub fn cancelled_within(&self, thousandths: usize) -> Duration {
        let last = self.cancels.len().saturating_sub(1);
        self.cancels.get(last * thousandths / 1000).copied().unwrap_or_default()
    }
}

/// Runs a plan to its end and checks every account.
pub async fn run(plan: Plan) -> Summary {
    let app = spawn_app_with(quick_limits());
    let deposit = apt(300);
    let client = Client::new(&app, (apt(1_000), apt(1_000)));
    app.chain.deposit(client.key.address(), deposit);
    let api_key = books::api_key(&client).await;
    let shared = Arc::new(Shared {
        plan,
        app,
        client,
        api_key,
        http: reqwest::Client::new(),
        works: Mutex::default(),
        left_at: Mutex::default(),
        cancels: Mutex::default(),
        counts: Counts::default(),
    });
    let mut nodes = JoinSet::new();
    for number in 0..plan.nodes {
        let identity = Identity::able(&shared.app);
        nodes.spawn(nodes::serve(Arc::clone(&shared), identity, number));
    }
    linked(&shared.app, usize::try_from(plan.nodes).unwrap()).await;
    let seen = ask_all(&shared).await;
    books::at_rest(&shared).await;
    let paid_octas = books::check_payments(&shared, &seen);
    books::check_money(&shared, (deposit, paid_octas)).await;
    summarise(&shared, seen, paid_octas)
}

async fn ask_all(shared: &Arc<Shared>) -> Vec<(Asked, Seen)> {
    let first = shared.plan.seed << 32;
    let asked = (first..first + shared.plan.requests).map(|seed| {
        let asked = Asked::of(seed, &shared.plan.odds);
        let asking = tokio::spawn(clients::ask(Arc::clone(shared), asked));
        async { asking.await.unwrap() }
    });
    stream::iter(asked).buffer_unordered(shared.plan.at_once).collect().await
}

fn summarise(shared: &Shared, seen: Vec<(Asked, Seen)>, paid_octas: u64) -> Summary {
    let works = shared.works.lock().unwrap();
    let resumed = works.values().filter(|effort| effort.resumed > 0).count();
    let mut cancels = std::mem::take(&mut *shared.cancels.lock().unwrap());
    cancels.sort();
    let mut summary = Summary {
        breaks: shared.counts.breaks.load(Relaxed),
        resumed: u64::try_from(resumed).unwrap(),
        cancels,
        paid_octas,
        ..Summary::default()
    };
    for (asked, seen) in seen {
        match seen {
            Seen::Whole => summary.whole += 1,
            Seen::Left(_) => summary.left += 1,
            Seen::Error(error) => summary.errors.push(format!("{asked:?}: {error}")),
        }
    }
    summary
}
