//! The outbox against a chain that misbehaves: each intent's effect happens exactly once, and the
//! table says what the chain did.

use super::{
    IntentId, Outcome, Settled, enqueue, migrate, outcome,
    worker::{Pass, PassError, Worker},
};
use crate::{
    call::{Assignment, Call},
    scripted::{CHAIN_ID, CONTRACT, Crash, Faults, Scripted},
    transaction::Signer,
    view::{TaskInfo, TaskStage},
};
use cactus_database::Scratch;
use cactus_protocol::{
    Address, Hash, Octas, Order, OrderId, Price, PublicKey, SecretKey, SignedOrder, TaskId,
    task::Fault,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sqlx::AnyPool;
use std::{future::Future, pin::pin, sync::Arc, task::Poll};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

mod leadership;
mod payments;

/// Rounds of one pass and one second after which a test has hung.
const MOST_ROUNDS: usize = 3_000;

/// One routing server's database, and the chain that it talks to.
struct Bench {
    /// Closed before its database goes: fields are dropped in this order.
    pool: AnyPool,
    scratch: Scratch,
    chain: Scripted,
}

impl Bench {
    async fn new(seed: u64) -> Self {
        let scratch = Scratch::new();
        let pool = scratch.open().await;
        migrate(&pool).await.unwrap();
        Self { pool, scratch, chain: Scripted::new(seed) }
    }

    /// A worker as after a start of the process.
    async fn worker(&self) -> (Worker<Scripted>, AnyPool) {
        let (settled, _) = broadcast::channel(1024);
        self.worker_telling(settled).await
    }

    async fn worker_telling(
        &self,
        settled: broadcast::Sender<Settled>,
    ) -> (Worker<Scripted>, AnyPool) {
        let pool = self.scratch.open().await;
        let signer = Signer::new(&server_key(), CHAIN_ID, CONTRACT).unwrap();
        (Worker::new(self.chain.clone(), pool.clone(), signer, settled), pool)
    }

    async fn enqueue(&self, id: &IntentId, call: &Call) {
        enqueue(&mut self.pool.acquire().await.unwrap(), id, call).await.unwrap();
    }

    async fn outcome(&self, id: &IntentId) -> Option<Outcome> {
        outcome(&self.pool, id).await.unwrap()
    }

    async fn attempts(&self, id: &IntentId) -> i64 {
        sqlx::query_scalar("SELECT attempts FROM outbox WHERE id = $1")
            .bind(id.as_str())
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Passes and seconds in turn until nothing is open.
    async fn drain(&self) {
        let (mut worker, _pool) = self.worker().await;
        for _ in 0..MOST_ROUNDS {
            if matches!(worker.pass().await, Ok(Pass::Idle)) {
                return;
            }
            self.chain.advance(1);
        }
        panic!("not done after {MOST_ROUNDS} rounds");
    }
}

fn server_key() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

fn task(number: u8) -> TaskId {
    TaskId([number; 32])
}

fn create(number: u8) -> (IntentId, Call) {
    let key = SecretKey::from_seed(&[9; 32]);
    let order = Order {
        chain_id: CHAIN_ID,
        client: key.address(),
        server: server_key().address(),
        order_id: OrderId([1; 32]),
        max_total: Octas(1_000_000),
        max_per_task: Octas(1_000),
        expires_seconds: 9_000_000_000,
    };
    let assignment = Assignment {
        task_id: task(number),
        orchestrator: Address([5; 32]),
        node: PublicKey([6; 32]),
        lock: Octas(100 + u64::from(number)),
        price: Price { prompt: Octas(1), output: Octas(2) },
        deadline_seconds: 2_000_000,
    };
    let order = SignedOrder::new(order, CONTRACT, &key).unwrap();
    (IntentId::create(task(number)), Call::create_task(&order, assignment))
}

fn close(number: u8) -> (IntentId, Call) {
    let client = SecretKey::from_seed(&[9; 32]).address();
    let task_id = task(number);
    let call = if number.is_multiple_of(2) {
        Call::CompleteTask {
            client,
            task_id,
            prompt_tokens: 10,
            output_tokens: 20,
            compute_ms: 30,
            receipt_hash: Hash([8; 32]),
        }
    } else {
        Call::FailTask { client, task_id, fault: Fault::Provider }
    };
    (IntentId::close(task_id), call)
}

fn transfer(number: u8) -> (IntentId, Call) {
    let call =
        Call::Transfer { recipient: Address([number; 32]), amount: Octas(u64::from(number)) };
    (IntentId::new(format!("transfer:{number}")), call)
}

/// Tasks created and closed, and transfers, which a chain would happily do twice.
async fn enqueue_workload(bench: &Bench, tasks: u8, transfers: u8) {
    let creations = (0..tasks).map(create);
    let others = (0..transfers).map(transfer);
    for (id, call) in creations.chain(others).chain((0..tasks).map(close)) {
        bench.enqueue(&id, &call).await;
    }
}

/// Each effect exactly once on the chain, and each intent confirmed in the table.
async fn assert_exactly_once(bench: &Bench, tasks: u8, transfers: u8, context: &str) {
    {
        let state = bench.chain.state();
        let mut sent: Vec<_> = state.transfers.clone();
        sent.sort_unstable();
        let wanted: Vec<_> = (0..transfers).map(|n| (Address([n; 32]), u64::from(n))).collect();
        assert_eq!(sent, wanted, "transfers, {context}");
        let mut closed = state.closed.clone();
        closed.sort_unstable();
        assert_eq!(closed, (0..tasks).map(task).collect::<Vec<_>>(), "closed, {context}");
        for number in 0..tasks {
            let stage = state.tasks[&task(number)].stage;
            let paid = number.is_multiple_of(2);
            assert_eq!(stage == TaskStage::Settled, paid, "task {number}, {context}");
        }
    }
    let intents =
        (0..tasks).flat_map(|n| [create(n), close(n)]).chain((0..transfers).map(transfer));
    for (id, _) in intents {
        let outcome = bench.outcome(&id).await;
        assert!(
            matches!(outcome, Some(Outcome::Confirmed { .. })),
            "{id} is {outcome:?}, {context}"
        );
    }
}

/// Passes and seconds in turn until nothing is open (true) or the chain stops the worker (false).
async fn run_until_stopped(bench: &Bench) -> bool {
    let (mut worker, _pool) = bench.worker().await;
    for _ in 0..MOST_ROUNDS {
        tokio::select! {
            biased;
            result = worker.pass() => if matches!(result, Ok(Pass::Idle)) {
                return true;
            },
            () = bench.chain.stopped.notified() => return false,
        }
        bench.chain.advance(1);
    }
    panic!("not done after {MOST_ROUNDS} rounds");
}

#[tokio::test]
async fn a_crash_at_any_request_loses_and_doubles_nothing() {
    let (tasks, transfers) = (3, 3);
    for after_effect in [false, true] {
        for request in 0.. {
            let bench = Bench::new(request).await;
            enqueue_workload(&bench, tasks, transfers).await;
            bench.chain.state().crash = Some(Crash { request, after_effect });
            let done = run_until_stopped(&bench).await;
            bench.chain.advance(request % 50);
            bench.drain().await;
            let context = format!("request {request}, after its effect: {after_effect}");
            assert_exactly_once(&bench, tasks, transfers, &context).await;
            if done {
                assert!(request > 20, "the workload made only {request} requests");
                break;
            }
        }
    }
}

/// Polls a pass a limited number of times, then drops it: a `kill -9` between any two awaits.
async fn pass_cut_short(
    worker: &mut Worker<Scripted>,
    most_polls: u32,
) -> Option<Result<Pass, PassError>> {
    let mut pass = pin!(worker.pass());
    let mut polls = 0;
    std::future::poll_fn(move |context| {
        polls += 1;
        match pass.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if polls >= most_polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn random_kills_and_faults_lose_and_double_nothing() {
    // Each life connects anew, which takes PostgreSQL a process.
    for seed in 0..if Scratch::is_postgres() { 25 } else { 150 } {
        let mut random = StdRng::seed_from_u64(seed);
        let (tasks, transfers) = (6, 6);
        let bench = Bench::new(seed).await;
        enqueue_workload(&bench, tasks, transfers).await;
        bench.chain.state().faults = Faults { request_lost: 15, answer_lost: 15, evicted: 10 };
        for _ in 0..random.random_range(1..12) {
            let (mut worker, _pool) = bench.worker().await;
            loop {
                bench.chain.state().offline = random.random_range(0..10) == 0;
                let polls = random.random_range(1..40);
                if pass_cut_short(&mut worker, polls).await.is_none() {
                    break;
                }
                bench.chain.advance(random.random_range(0..20));
                if random.random_range(0..8) == 0 {
                    break;
                }
            }
        }
        bench.chain.state().offline = false;
        bench.chain.state().faults = Faults { request_lost: 5, answer_lost: 5, evicted: 5 };
        bench.drain().await;
        assert_exactly_once(&bench, tasks, transfers, &format!("seed {seed}")).await;
    }
}

#[tokio::test]
async fn many_are_in_flight_and_never_more_than_a_node_takes() {
    let bench = Bench::new(1).await;
    enqueue_workload(&bench, 0, 200).await;
    bench.drain().await;
    assert_exactly_once(&bench, 0, 200, "no faults").await;
    let state = bench.chain.state();
    assert_eq!(state.most_waiting, 64);
    assert!(state.transfers.is_sorted(), "not in the order of enqueueing");
}

#[tokio::test]
async fn a_gap_is_filled_with_the_same_transaction() {
    let bench = Bench::new(1).await;
    enqueue_workload(&bench, 0, 5).await;
    let (mut worker, _pool) = bench.worker().await;
    assert_eq!(worker.pass().await.unwrap(), Pass::Moved);
    bench.chain.state().evict(0);
    bench.chain.advance(1);
    assert!(bench.chain.state().transfers.is_empty(), "nothing passes the gap");
    for _ in 0..4 {
        worker.pass().await.unwrap();
        bench.chain.advance(1);
    }
    assert_eq!(bench.chain.state().transfers.len(), 5);
    assert_eq!(bench.attempts(&transfer(0).0).await, 1);
}

#[tokio::test]
async fn a_transaction_that_expired_unseen_is_signed_anew_and_those_behind_it_follow() {
    let bench = Bench::new(1).await;
    enqueue_workload(&bench, 0, 3).await;
    let (mut worker, _pool) = bench.worker().await;
    worker.pass().await.unwrap();
    bench.chain.state().evict(0);
    // Away for longer than a transaction lives.
    bench.chain.state().offline = true;
    for _ in 0..60 {
        assert!(worker.pass().await.is_err());
        bench.chain.advance(1);
    }
    bench.chain.state().offline = false;
    drop(worker);
    bench.drain().await;
    assert_exactly_once(&bench, 0, 3, "after an outage").await;
    assert_eq!(bench.attempts(&transfer(0).0).await, 2);
}

#[tokio::test]
async fn nothing_is_signed_while_the_chain_is_away() {
    let bench = Bench::new(1).await;
    bench.chain.state().offline = true;
    enqueue_workload(&bench, 2, 2).await;
    let (mut worker, _pool) = bench.worker().await;
    for _ in 0..100 {
        assert!(worker.pass().await.is_err());
        bench.chain.advance(60);
    }
    bench.chain.state().offline = false;
    bench.drain().await;
    assert_exactly_once(&bench, 2, 2, "after an hour").await;
    assert_eq!(bench.attempts(&create(0).0).await, 1);
}

#[tokio::test]
async fn a_chain_at_rest_that_shows_an_old_time_is_no_obstacle() {
    let bench = Bench::new(1).await;
    let long_ago = bench.chain.state().seconds - 3_600;
    bench.chain.state().frozen_seconds = Some(long_ago);
    enqueue_workload(&bench, 0, 2).await;
    let (mut worker, _pool) = bench.worker().await;
    worker.pass().await.unwrap();
    bench.chain.state().evict(0);
    bench.chain.state().evict(1);
    bench.chain.advance(40);
    drop(worker);
    bench.drain().await;
    assert_exactly_once(&bench, 0, 2, "frozen time").await;
}

#[tokio::test]
async fn a_failed_creation_fails_the_close_without_sending_it() {
    let bench = Bench::new(1).await;
    bench.chain.state().unfunded.insert(task(0));
    enqueue_workload(&bench, 2, 1).await;
    bench.drain().await;
    let Some(Outcome::Failed { abort: Some(abort), .. }) = bench.outcome(&create(0).0).await else {
        panic!("the creation did not fail");
    };
    assert_eq!(abort.name.as_deref(), Some("EINSUFFICIENT_BALANCE"));
    let Some(Outcome::Failed { abort, message }) = bench.outcome(&close(0).0).await else {
        panic!("the close did not fail");
    };
    assert_eq!((abort, message.as_str()), (None, "the task was never created"));
    let state = bench.chain.state();
    assert!(!state.executed.iter().any(|function| function == "complete_task"));
    assert_eq!(state.tasks[&task(1)].stage, TaskStage::Refunded, "the other task went on");
}

/// The chain has the effect from a transaction that this database never knew.
async fn check_already_there(change: impl FnOnce(&mut TaskInfo), confirmed: bool) {
    let bench = Bench::new(1).await;
    let (id, call) = create(2);
    let mut there = TaskInfo {
        stage: TaskStage::Assigned,
        server: server_key().address(),
        orchestrator: Address([5; 32]),
        lock: Octas(102),
        deadline_seconds: 2_000_000,
        ..TaskInfo::UNKNOWN
    };
    change(&mut there);
    bench.chain.state().tasks.insert(task(2), there);
    bench.enqueue(&id, &call).await;
    bench.drain().await;
    let outcome = bench.outcome(&id).await.unwrap();
    assert_eq!(matches!(outcome, Outcome::Confirmed { .. }), confirmed, "{outcome:?}");
}

#[tokio::test]
async fn an_effect_that_is_there_already_counts_only_with_the_same_values() {
    check_already_there(|_| {}, true).await;
    check_already_there(|task| task.lock = Octas(103), false).await;
    check_already_there(|task| task.server = Address([1; 32]), false).await;
    check_already_there(|task| task.orchestrator = Address([1; 32]), false).await;
}

#[tokio::test]
async fn a_payment_for_a_task_that_was_refunded_meanwhile_fails() {
    let bench = Bench::new(1).await;
    let (id, call) = create(2);
    bench.enqueue(&id, &call).await;
    bench.drain().await;
    bench.chain.state().tasks.get_mut(&task(2)).unwrap().stage = TaskStage::Refunded;
    let (id, call) = close(2);
    bench.enqueue(&id, &call).await;
    bench.drain().await;
    let Some(Outcome::Failed { abort: Some(abort), .. }) = bench.outcome(&id).await else {
        panic!("paid twice");
    };
    assert_eq!(abort.name.as_deref(), Some("ETASK_FINAL"));
}

#[tokio::test]
async fn another_sender_with_the_same_key_costs_time_and_nothing_else() {
    let bench = Bench::new(1).await;
    enqueue_workload(&bench, 0, 4).await;
    let (mut worker, _pool) = bench.worker().await;
    bench.chain.state().faults.request_lost = 40;
    for _ in 0..30 {
        worker.pass().await.ok();
        bench.chain.state().take_number();
        bench.chain.advance(1);
    }
    bench.chain.state().faults.request_lost = 0;
    bench.drain().await;
    assert_exactly_once(&bench, 0, 4, "a second sender").await;
}

#[tokio::test]
async fn an_intent_lives_and_dies_with_the_callers_transaction_and_its_name() {
    let bench = Bench::new(1).await;
    let (id, call) = transfer(1);
    let mut transaction = bench.pool.begin().await.unwrap();
    enqueue(&mut transaction, &id, &call).await.unwrap();
    transaction.rollback().await.unwrap();
    bench.drain().await;
    assert!(bench.chain.state().transfers.is_empty());
    bench.enqueue(&id, &call).await;
    bench.drain().await;
    bench.enqueue(&id, &transfer(2).1).await;
    bench.drain().await;
    assert_eq!(bench.chain.state().transfers.len(), 1);
}

#[tokio::test]
async fn nothing_is_sent_to_another_chain() {
    let bench = Bench::new(1).await;
    enqueue_workload(&bench, 0, 1).await;
    let signer = Signer::new(&server_key(), CHAIN_ID + 1, CONTRACT).unwrap();
    let (settled, _) = broadcast::channel(8);
    let mut worker = Worker::new(bench.chain.clone(), bench.pool.clone(), signer, settled);
    assert!(matches!(worker.pass().await, Err(PassError::WrongChain { found: CHAIN_ID, .. })));
    assert_eq!(bench.attempts(&transfer(0).0).await, 0);
}

#[tokio::test]
async fn a_running_worker_tells_its_subscribers_and_ends_when_told() {
    let bench = Bench::new(1).await;
    let (settled, mut outcomes) = broadcast::channel(64);
    let (worker, _pool) = bench.worker_telling(settled).await;
    let (bell, shutdown) = (Arc::new(Notify::new()), CancellationToken::new());
    let running = tokio::spawn({
        let (bell, shutdown) = (bell.clone(), shutdown.clone());
        async move { worker.run(&bell, shutdown).await }
    });
    bench.chain.state().instant = true;
    for number in 0..3 {
        let (id, call) = transfer(number);
        bench.enqueue(&id, &call).await;
        bell.notify_one();
        let told = outcomes.recv().await.unwrap();
        assert_eq!(told.id, id);
        assert_eq!(Some(told.outcome), bench.outcome(&id).await);
    }
    shutdown.cancel();
    running.await.unwrap();
}
