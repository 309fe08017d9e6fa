use super::*;
use cactus_database::Scratch;
use cactus_ledger::IntentId;
use cactus_protocol::{
    Address, Fault, Hash, Octas, Order, OrderId, Price, SecretKey, SignedOrder, TaskEvent,
    TaskState, task::Delivery,
};

const WORK: Delivery =
    Delivery { prompt_tokens: 5, output_tokens: 3, compute_ms: 1, receipt_hash: Hash([1; 32]) };

const ME: &str = "me";

fn place(pool: &AnyPool) -> Place<'_> {
    Place { pool, instance: ME }
}

async fn live(pool: &AnyPool) -> Vec<store::StoredTask> {
    store::live(&mut pool.acquire().await.unwrap(), ME).await.unwrap()
}

/// The pool of a database of its own, which lives as long as the second value.
async fn database() -> (AnyPool, Scratch) {
    let scratch = Scratch::new();
    let pool = scratch.open().await;
    crate::database::migrate(&pool).await.unwrap();
    let join = "INSERT INTO instances (id, alive_until_ms) VALUES ($1, 0)";
    sqlx::query(join).bind(ME).execute(&pool).await.unwrap();
    (pool, scratch)
}

fn task(task_id: TaskId) -> NewTask {
    let key = SecretKey::random();
    let order = Order {
        chain_id: 4,
        client: key.address(),
        server: Address([2; 32]),
        order_id: OrderId([3; 32]),
        max_total: Octas(1_000),
        max_per_task: Octas(1_000),
        expires_seconds: 10,
    };
    NewTask {
        task_id,
        order: Arc::new(SignedOrder::new(order, Address([9; 32]), &key).unwrap()),
        operator: Address([5; 32]),
        node: SecretKey::random().public(),
        model: "sprout".into(),
        lock: Octas(100),
        price: Price::default(),
        deadline_seconds: 20,
        candidates: "{}".into(),
        previous: vec![],
        created_ms: 1,
    }
}

fn closing(event: TaskEvent) -> Closing {
    let verdict = "verified".into();
    Closing { event, verdict, receipt: None, line: None, ttft_ms: None, total_ms: 2, closed_ms: 3 }
}

async fn intents(pool: &AnyPool) -> Vec<String> {
    let query = "SELECT id FROM outbox ORDER BY position";
    sqlx::query_scalar(query).fetch_all(pool).await.unwrap()
}

fn start(pool: &AnyPool) -> Writer {
    let (writer, queue) = Writer::new();
    tokio::spawn(run((pool.clone(), ME.into()), queue, Arc::new(|| {})));
    writer
}

#[tokio::test]
async fn a_task_is_decided_once_with_one_intent() {
    let (pool, _scratch) = database().await;
    let (writer, id) = (start(&pool), TaskId([7; 32]));
    writer.try_reserve().unwrap().open(task(id));
    let deliver = closing(TaskEvent::Deliver(WORK));
    assert_eq!(writer.close(id, deliver.clone()).await, Ok(()));
    assert_eq!(writer.close(id, deliver).await, Err(NotDurable));
    let give_up = closing(TaskEvent::GiveUp(Fault::Provider));
    assert_eq!(writer.close(id, give_up).await, Err(NotDurable));
    let expected = [IntentId::create(id), IntentId::close(id)];
    assert_eq!(intents(&pool).await, expected.map(|id| id.as_str().to_owned()));
    let stored = live(&pool).await;
    assert_eq!(stored[0].state, TaskState::Delivered(WORK));
}

#[tokio::test]
async fn what_comes_together_is_written_together() {
    let (pool, _scratch) = database().await;
    let (writer, queue) = Writer::new();
    let ids: Vec<_> = (0..20).map(|n| TaskId([n; 32])).collect();
    let mut batch: Vec<_> = ids.iter().map(|id| Write::Open(Box::new(task(*id)))).collect();
    let ends = ids.iter().enumerate().map(|(place, id)| {
        let event = if place % 2 == 0 {
            TaskEvent::Deliver(WORK)
        } else {
            TaskEvent::GiveUp(Fault::Provider)
        };
        let closing = Box::new(closing(event));
        Write::Close { task_id: *id, closing, done: oneshot::channel().0 }
    });
    // Some ends come with their beginning, the others in a transaction of their own.
    let mut ends: Vec<_> = ends.collect();
    let later = ends.split_off(7);
    batch.extend(ends);
    let mut payers = Payers::default();
    for id in &ids {
        payers.opened(&task(*id));
    }
    write_together(place(&pool), &batch, &payers).await.unwrap();
    let twice = write_together(place(&pool), &batch, &payers).await;
    assert!(matches!(twice, Err(StoreError::Unexpected)), "{twice:?}");
    write_together(place(&pool), &later, &payers).await.unwrap();
    let twice = write_together(place(&pool), &later[..1], &payers).await;
    assert!(matches!(twice, Err(StoreError::Unexpected)), "{twice:?}");
    let live = live(&pool).await;
    let paid = live.iter().filter(|task| task.state == TaskState::Delivered(WORK)).count();
    assert_eq!((live.len(), paid, intents(&pool).await.len()), (20, 10, 40));
    drop((writer, queue));
}

#[tokio::test]
async fn a_server_that_others_took_over_from_opens_nothing_where_there_are_others() {
    let (pool, _scratch) = database().await;
    sqlx::query("DELETE FROM instances").execute(&pool).await.unwrap();
    let batch = [Write::Open(Box::new(task(TaskId([1; 32]))))];
    let written = write_patiently(place(&pool), &batch, &Payers::default()).await;
    assert_eq!(written, [!Scratch::is_postgres()]);
    assert_eq!(live(&pool).await.len(), usize::from(!Scratch::is_postgres()));
}

#[tokio::test]
async fn one_bad_write_does_not_take_the_others_with_it() {
    let (pool, _scratch) = database().await;
    let (writer, queue) = Writer::new();
    let (good, unknown) = (TaskId([1; 32]), TaskId([2; 32]));
    writer.try_reserve().unwrap().open(task(good));
    let (bad, well) = (
        writer.close(unknown, closing(TaskEvent::Deliver(WORK))),
        writer.close(good, closing(TaskEvent::Deliver(WORK))),
    );
    // The loop starts late, so that all three come in one batch.
    let late = async { drop(tokio::spawn(run((pool.clone(), ME.into()), queue, Arc::new(|| {})))) };
    let (bad, well, ()) = tokio::join!(bad, well, late);
    assert_eq!((bad, well), (Err(NotDurable), Ok(())));
    assert_eq!(intents(&pool).await.len(), 2);
}

#[tokio::test]
async fn a_failure_of_the_database_that_passes_loses_no_decision() {
    let (pool, _scratch) = database().await;
    let id = TaskId([7; 32]);
    let (closing, done) = (Box::new(closing(TaskEvent::Deliver(WORK))), oneshot::channel().0);
    let batch = [Write::Open(Box::new(task(id))), Write::Close { task_id: id, closing, done }];
    sqlx::raw_sql("ALTER TABLE outbox RENAME TO away").execute(&pool).await.unwrap();
    let payers = Payers::default();
    let failed = write_together(place(&pool), &batch, &payers).await;
    assert!(matches!(failed, Err(StoreError::Database(_))), "{failed:?}");
    let mend = sqlx::raw_sql("ALTER TABLE away RENAME TO outbox").execute(&pool);
    let (written, mended) = tokio::join!(write_patiently(place(&pool), &batch, &payers), mend);
    assert_eq!((written, mended.is_ok()), (vec![true, true], true));
    assert_eq!(intents(&pool).await.len(), 2);
}

#[tokio::test]
async fn a_decision_that_reached_the_disk_without_a_word_counts_as_written() {
    let (pool, _scratch) = database().await;
    let id = TaskId([7; 32]);
    let decide = |event| {
        let (closing, done) = (Box::new(closing(event)), oneshot::channel().0);
        [Write::Open(Box::new(task(id))), Write::Close { task_id: id, closing, done }]
    };
    let batch = decide(TaskEvent::Deliver(WORK));
    write_together(place(&pool), &batch, &Payers::default()).await.unwrap();
    assert_eq!(write_each(place(&pool), &batch, true).await, [true, true]);
    assert_eq!(write_each(place(&pool), &batch, false).await, [true, false]);
    let other = decide(TaskEvent::GiveUp(Fault::Provider));
    assert_eq!(write_each(place(&pool), &other, true).await, [true, false]);
    assert_eq!(intents(&pool).await.len(), 2);
}

#[tokio::test]
async fn a_full_queue_refuses_new_tasks_without_waiting() {
    let (writer, _queue) = Writer::new();
    let permits: Vec<_> = std::iter::from_fn(|| writer.try_reserve()).take(2 * CAPACITY).collect();
    assert_eq!(permits.len(), CAPACITY);
}

#[tokio::test]
async fn what_an_order_has_spent_is_live_locks_and_payments_less_refunds() {
    let (pool, _scratch) = database().await;
    let (writer, id) = (start(&pool), TaskId([7; 32]));
    let new = task(id);
    let (client, order) = (new.order.order.client, new.order.order.order_id);
    writer.try_reserve().unwrap().open(new);
    writer.close(id, closing(TaskEvent::Deliver(WORK))).await.unwrap();
    assert_eq!(store::order_used(&pool, &client, &order).await.unwrap(), Octas(100));
    let amounts = crate::settlement::outcomes::Amounts { refund: Octas(92), ..Default::default() };
    let mut connection = pool.acquire().await.unwrap();
    let paid = (TaskEvent::PaymentConfirmed, &amounts);
    store::settle(&mut connection, id, paid, 9).await.unwrap();
    let again = store::settle(&mut connection, id, paid, 9).await;
    assert!(matches!(again, Err(StoreError::Illegal(_))));
    drop(connection);
    assert_eq!(store::order_used(&pool, &client, &order).await.unwrap(), Octas(8));
}
