//! Both neighbours of a node, for tests: a routing server that speaks the real protocol over a
//! loopback WebSocket, and a model that does what its prompt says. Neither ever sleeps.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "what a test sets up itself cannot fail quietly")]

mod engine;
mod hub;
mod model;
mod router;
mod vectors;

pub use engine::{FakeEngine, Manner};
pub use hub::{COMMIT, FakeHub, Mishap};
pub use model::ScriptedModel;
pub use router::{FakeLink, FakeRouter, SCOPE, SERVER, challenge, welcome};
pub use vectors::{ScriptedVectors, vector};

use cactus_orchestrator::{
    GpuReading, Identity, Link, ServedModel, ServerCheck, ServerDoubt, Shelf, TextModel, Timing,
    Worker,
};
use cactus_protocol::{
    ChatMessage, ChatRequest, EmbedRequest, Octas, Price, Role, Sampling, SecretKey, TaskId, Work,
    frame::{HardwareReport, Task},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// A test that waits longer for anything has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const PRICE: Price = Price { prompt: Octas(1000), output: Octas(2000) };

/// A node under test, with its links.
pub struct Node {
    pub worker: Arc<Worker>,
    pub model: Arc<ScriptedModel>,
    pub shutdown: CancellationToken,
    pub links: Vec<JoinHandle<()>>,
}

/// How a node differs from the usual one.
pub struct Setup {
    pub slots: u16,
    pub queue: u16,
    pub timing: Timing,
    pub server_check: ServerCheck,
    pub model: ScriptedModel,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            slots: 4,
            queue: 4,
            timing: quick(),
            server_check: Arc::new(|_| Box::pin(async { Ok(()) })),
            model: ScriptedModel::new(),
        }
    }
}

/// Short pauses between attempts, and time-outs that a busy machine does not reach by accident.
pub fn quick() -> Timing {
    Timing {
        heartbeat: Duration::from_millis(50),
        first_retry: Duration::from_millis(1),
        slowest_retry: Duration::from_millis(10),
        refused_retry: Duration::from_millis(10),
        ..Timing::default()
    }
}

/// A chain on which no server may create tasks.
pub fn nobody_can_pay() -> ServerCheck {
    Arc::new(|server| Box::pin(async move { Err(ServerDoubt::CannotPay(server)) }))
}

impl Node {
    /// Starts a node that dials these routers.
    pub fn start(setup: Setup, routers: &[&FakeRouter]) -> Self {
        let model = Arc::new(setup.model);
        let shutdown = CancellationToken::new();
        let identity = Identity {
            scope: SCOPE,
            operator: SecretKey::from_seed(&[1; 32]).address(),
            node_key: SecretKey::from_seed(&[2; 32]),
        };
        let shelf = Shelf {
            models: vec![
                ServedModel::Text(Arc::clone(&model) as Arc<dyn TextModel>),
                ServedModel::Vectors(Arc::new(ScriptedVectors)),
            ],
            price: PRICE,
            slots: setup.slots,
            queue: setup.queue,
            region: "test".into(),
            hardware: HardwareReport::default(),
        };
        let (_, gpu) = watch::channel(GpuReading::default());
        let worker = Arc::new(Worker::new(identity, shelf, gpu, shutdown.clone()));
        let links = routers.iter().map(|router| {
            let link = Link {
                router: router.url(),
                worker: Arc::clone(&worker),
                timing: setup.timing.clone(),
                server_check: Arc::clone(&setup.server_check),
            };
            tokio::spawn(link.run())
        });
        Self { links: links.collect(), worker, model, shutdown }
    }

    /// Waits until every link has ended after shutdown.
    pub async fn ended(self) {
        for link in self.links {
            tokio::time::timeout(PATIENCE, link)
                .await
                .expect("the link ends after shutdown")
                .expect("the link does not panic");
        }
    }
}

/// A task that the scripted model understands, at the advertised price, with plenty of credit.
pub fn task(number: u8, script: &str) -> Task {
    Task {
        task_id: TaskId([number; 32]),
        work: Work::Chat(ChatRequest::new(
            "scripted",
            vec![ChatMessage { role: Role::User, content: script.into() }],
            Sampling::default(),
            1000,
        )),
        deadline_ms: 60_000,
        priority: 0,
        price: PRICE,
        credits: 1000,
        cache_scope: 0,
        trace: None,
    }
}

/// A task for the scripted embedding model.
pub fn embed_task(number: u8, inputs: &[&str]) -> Task {
    let inputs = inputs.iter().map(|&text| text.to_owned()).collect();
    let work = Work::Embed(EmbedRequest { model: "vectors".into(), inputs });
    Task { work, ..task(number, "") }
}

/// The same task with a change to what it asks.
pub fn asking(number: u8, script: &str, change: impl FnOnce(&mut ChatRequest)) -> Task {
    let mut task = task(number, script);
    if let Work::Chat(request) = &mut task.work {
        change(request);
    }
    task
}
