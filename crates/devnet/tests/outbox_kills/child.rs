//! The process that dies: decides, each decision and its intents in one database transaction, and
//! carries intents to the chain until it is killed or nothing is open.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cactus_database::{Address, Durability, Settings};
use cactus_ledger::{
    Ledger, LedgerConfig,
    outbox::{self, Outbox, Point, Probe},
};
use sqlx::AnyPool;
use tokio_util::sync::CancellationToken;

use super::plan::{Cast, Place, Plan, VARIABLE};

/// Counts how often the process passes a place, and aborts it there.
#[derive(Clone)]
struct Fate {
    passed: Arc<AtomicU32>,
    dies_at: Option<(Place, u32)>,
}

impl Fate {
    fn pass(&self, place: Place) {
        let Some((end, count)) = self.dies_at else {
            return;
        };
        if place == end && self.passed.fetch_add(1, Ordering::AcqRel) + 1 == count {
            println!("\ndied {}", serde_json::to_string(&place).unwrap());
            // No destructor runs and no buffer is written.
            std::process::abort();
        }
    }
}

impl Probe for Fate {
    fn reached(&self, point: Point) {
        self.pass(Place::of(point));
    }
}

/// A routing server's database, opened as it opens it, but for the power cuts that a process
/// cannot have: what is written survives the process without waiting for the disk.
pub async fn open(database: &Path) -> AnyPool {
    let address = Address::file(database).unwrap();
    let settings = Settings { connections: 2, durability: Durability::Crashes };
    let pool = cactus_database::open(&address, settings).await.unwrap();
    outbox::migrate(&pool).await.unwrap();
    let decided = "CREATE TABLE IF NOT EXISTS decided (number INTEGER PRIMARY KEY) STRICT";
    sqlx::query(decided).execute(&pool).await.unwrap();
    pool
}

/// How many decisions are on record; they are numbered from 0.
pub async fn decided(pool: &AnyPool) -> u32 {
    let query = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM decided");
    u32::try_from(query.fetch_one(pool).await.unwrap()).unwrap()
}

pub fn run() {
    // Without its variable the process was not started by the test, and has nothing to do.
    let Some(plan) = std::env::var_os(VARIABLE) else {
        return;
    };
    let plan: Plan = serde_json::from_str(plan.to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(live(plan));
}

async fn live(plan: Plan) {
    let fate = Fate { passed: Arc::default(), dies_at: plan.dies_at };
    let config = LedgerConfig { url: plan.url.clone(), faucet_url: None, contract: plan.contract };
    let (ledger, pool) = tokio::join!(Ledger::connect(config), open(&plan.database));
    let cast = Cast::of(plan.lane);
    let outbox = Outbox::new(ledger.unwrap(), pool.clone(), cast.server());
    let mut settled = outbox.subscribe();
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (outbox, fate, stop) = (outbox.clone(), fate.clone(), stop.clone());
        async move { outbox.run_probed(fate, stop).await }
    });
    let first = decided(&pool).await;
    for number in first..first + plan.decisions {
        decide(&pool, &fate, &cast, &plan, number).await;
        outbox.wake();
        tokio::task::yield_now().await;
    }
    while open_intents(&pool).await > 0 {
        settled.recv().await.ok();
    }
    stop.cancel();
    running.await.unwrap();
}

async fn decide(pool: &AnyPool, fate: &Fate, cast: &Cast, plan: &Plan, number: u32) {
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO decided (number) VALUES ($1)")
        .bind(i64::from(number))
        .execute(&mut *transaction)
        .await
        .unwrap();
    for (id, call) in cast.decision(plan, number) {
        outbox::enqueue(&mut transaction, &id, &call).await.unwrap();
    }
    fate.pass(Place::BeforeDeciding);
    transaction.commit().await.unwrap();
    fate.pass(Place::AfterDeciding);
}

async fn open_intents(pool: &AnyPool) -> u64 {
    let backlog = outbox::backlog(pool).await.unwrap();
    backlog.pending + backlog.submitted
}
