//! Several servers of one account on one PostgreSQL, with one chain. They run where the environment
//! names one: `scripts/with-postgres cargo test -p cactus-routing-server several -- --ignored`.

use crate::support::{
    TestApp, apt,
    batch::{chat_line, lines, paid},
    chain::{Closed, TestChain},
    client::{Client, EventReader, chat_body, refusal},
    eventually, limits,
    node::Node,
    spawn_app_with,
};
use cactus_protocol::{Fault, Octas};
use cactus_routing_server::Limits;
use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::SeqCst},
};

/// What 4,000 output tokens and the prompt lock.
const LOCK: u64 = 4_037_000;

/// Requests under way at once.
const AT_ONCE: usize = 96;

fn roomy() -> Limits {
    Limits { streams: 8_192, streams_per_payer: 8_192, queue: 8_192, queue_ms: 30_000, ..limits() }
}

/// So many servers, each with a node that answers everything.
async fn servers(count: usize) -> Vec<TestApp> {
    let first = spawn_app_with(roomy());
    let mut all: Vec<_> = (1..count).map(|_| first.beside(roomy())).collect();
    all.insert(0, first);
    for app in &all {
        Node::link(app).await.serve(app, &["ok"]);
    }
    all
}

/// Sends so many requests to all servers, many at once; how many were answered.
async fn flood(apps: &[TestApp], client: &Client, count: usize) -> u64 {
    let request = async |number: usize| {
        let client = client.at(&apps[number % apps.len()]);
        let response = client.chat(json!({"max_tokens": 4_000})).await;
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        // 429: the one node was taken while the money was asked for.
        assert!([200, 402, 429].contains(&status), "{status} {text}");
        u64::from(status == 200)
    };
    let requests = futures::stream::iter(0..count).map(request).buffer_unordered(AT_ONCE);
    requests.fold(0, |sum, answered| std::future::ready(sum + answered)).await
}

/// Everything that was asked of the chain happens, and none of it is refused.
async fn all_of_it_is_locked_and_paid(chain: &Arc<TestChain>, answered: u64) {
    chain.executes.store(true, SeqCst);
    let count = usize::try_from(answered).unwrap();
    eventually(async || (chain.closed().len() >= count).then_some(())).await;
    assert_eq!(chain.refused.load(SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL: scripts/with-postgres"]
async fn no_coin_is_spent_at_two_servers() {
    let apps = servers(3).await;
    let client = Client::new(&apps[0], (apt(100), apt(100)));
    let affordable = 300;
    apps[0].chain.deposit(client.key.address(), Octas(affordable * LOCK + LOCK / 2));
    // Nothing that is locked shows on the chain before all have spent.
    apps[0].chain.executes.store(false, SeqCst);
    let answered = flood(&apps, &client, 1_000).await;
    assert!(answered <= affordable, "{answered} of {affordable}");
    assert!(answered >= affordable / 2, "money lies idle: {answered} of {affordable}");
    all_of_it_is_locked_and_paid(&apps[0].chain, answered).await;
    // What was returned is spent again, at whichever server, once it knows.
    for app in &apps {
        let at = std::slice::from_ref(app);
        eventually(async || (flood(at, &client, 1).await == 1).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL: scripts/with-postgres"]
async fn an_order_holds_at_all_servers_together() {
    let apps = servers(3).await;
    let affordable = 60;
    let client = Client::new(&apps[0], (Octas(affordable * LOCK), apt(100)));
    apps[0].chain.deposit(client.key.address(), apt(100));
    apps[0].chain.executes.store(false, SeqCst);
    let answered = flood(&apps, &client, 180).await;
    assert!(answered <= affordable, "{answered} of {affordable}");
    assert!(answered >= affordable / 2, "{answered} of {affordable}");
    all_of_it_is_locked_and_paid(&apps[0].chain, answered).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres"]
async fn the_last_coin_is_spent_wherever_it_is_wanted() {
    let apps = servers(3).await;
    let client = Client::new(&apps[0], (apt(100), apt(100)));
    apps[0].chain.deposit(client.key.address(), Octas(6 * LOCK));
    apps[0].chain.executes.store(false, SeqCst);
    // The first takes its part, the others what is left and then what it gives back.
    for place in [0, 1, 2, 2, 2, 2] {
        let response = client.at(&apps[place]).chat(json!({"max_tokens": 4_000})).await;
        assert_eq!(response.status(), 200, "{place}: {}", response.text().await.unwrap());
    }
    let last = client.at(&apps[1]).chat(json!({"max_tokens": 4_000})).await;
    assert_eq!(refusal(last).await.1["code"], "insufficient_funds");
    all_of_it_is_locked_and_paid(&apps[0].chain, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres"]
async fn a_request_is_not_taken_again_by_another_server() {
    let apps = servers(2).await;
    let client = Client::funded(&apps[0]);
    let body = chat_body(json!({}));
    let claim = client.claim("POST", "/v1/chat/completions", &body);
    let authorization = client.sign(claim);
    let send = |app: &TestApp| {
        let at = client.at(app).bare(Method::POST, "/v1/chat/completions", body.clone());
        let order = client.order.to_header();
        at.header("Authorization", &authorization)
            .header(cactus_protocol::auth::ORDER_HEADER, order)
            .send()
    };
    assert_eq!(send(&apps[0]).await.unwrap().status(), 200);
    let (status, error) = refusal(send(&apps[1]).await.unwrap()).await;
    assert_eq!(status, 401);
    assert!(error["message"].as_str().unwrap().contains("nonce"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres"]
async fn a_key_is_made_and_revoked_at_one_server_for_all() {
    let apps = servers(2).await;
    let client = Client::funded(&apps[0]);
    let made = client.signed(Method::POST, "/v1/keys", vec![]).send().await.unwrap();
    let key: Value = made.json().await.unwrap();
    let status = async |place: usize| {
        let request = client.at(&apps[place]).bare(Method::GET, "/v1/balance", vec![]);
        let request = request.bearer_auth(key["api_key"].as_str().unwrap());
        request.send().await.unwrap().status().as_u16()
    };
    eventually(async || (status(1).await == 200).then_some(())).await;
    let path = format!("/v1/keys/{}", key["id"].as_str().unwrap());
    let revoked = client.at(&apps[1]).signed(Method::DELETE, &path, vec![]).send().await;
    assert_eq!(revoked.unwrap().status(), 200);
    assert_eq!(status(1).await, 401);
    eventually(async || (status(0).await == 401).then_some(())).await;
}

/// Keeps the server that looks after a batch or a task from being heard, until another one has
/// taken over.
async fn silence(app: &TestApp, owner: &'static str, id: &str) {
    let pool = app.disk.database.open().await;
    let owner = || sqlx::query_scalar::<_, String>(owner).bind(id).fetch_one(&pool);
    let silent = owner().await.unwrap();
    // Whatever it says from now on, the others hear nothing.
    let gag = format!(
        "CREATE FUNCTION gag() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN NEW.alive_until_ms = 0; RETURN NEW; END $$;
         CREATE TRIGGER gag BEFORE UPDATE ON instances FOR EACH ROW
             WHEN (OLD.id = '{silent}') EXECUTE FUNCTION gag();
         UPDATE instances SET alive_until_ms = 0 WHERE id = '{silent}'"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(gag)).execute(&pool).await.unwrap();
    eventually(async || (owner().await.unwrap() != silent).then_some(())).await;
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres"]
async fn a_batch_goes_on_at_another_server_and_no_line_is_paid_twice() {
    const LINES: usize = 30;
    let first = spawn_app_with(Limits { batch_lines: 8, ..roomy() });
    let second = first.beside(roomy());
    let mut stuck = Node::link(&first).await;
    let client = Client::funded(&first);
    let text: Vec<_> = (0..LINES).map(|n| chat_line(&format!("line-{n}"), "hi")).collect();
    let file = client.uploaded(&lines(&text)).await;
    // Every server reads every file.
    assert_eq!(client.at(&second).read(&format!("/v1/files/{file}")).await["id"], file);
    let id = client.batch(&file, "24h").await;
    let mut under_way = Vec::new();
    for number in 0..4 {
        let task = stuck.task().await;
        if number < 2 {
            stuck.answer(&first, &task, &["first"]).await;
        } else {
            under_way.push(task);
        }
    }
    let has_two = |batch: &Value| batch["request_counts"]["completed"].as_u64().unwrap() >= 2;
    client.batch_when(&id, has_two).await;
    silence(&first, "SELECT instance FROM batches WHERE id = $1", &id).await;
    Node::link(&second).await.serve(&second, &["second"]);
    // The silent server was not dead, and its node answers late.
    for task in &under_way {
        stuck.answer(&first, task, &["late"]).await;
    }
    let batch = client.at(&second).batch_in(&id, "completed").await;
    assert_eq!(batch["request_counts"]["completed"], LINES);
    let output = client.at(&second).lines_of(&batch["output_file_id"]).await;
    let ids: HashSet<_> = output.iter().map(|line| line["custom_id"].to_string()).collect();
    assert_eq!((output.len(), ids.len()), (LINES, LINES));
    let answered: HashSet<_> = output
        .iter()
        .map(|line| line["response"]["body"]["cactus"]["task"].as_str().unwrap().to_owned())
        .collect();
    eventually(async || (paid(&second).len() >= LINES).then_some(())).await;
    let paid: Vec<_> = paid(&second).iter().map(ToString::to_string).collect();
    assert_eq!(paid.len(), LINES);
    assert!(paid.iter().all(|task| answered.contains(task)), "{paid:?} {answered:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres"]
async fn a_task_that_another_server_gave_up_is_refunded_and_its_late_answer_not_paid() {
    let first = spawn_app_with(roomy());
    let second = first.beside(roomy());
    let mut node = Node::link(&first).await;
    let client = Client::funded(&first);
    let (response, task) = tokio::join!(client.chat(json!({"stream": true})), async {
        let task = node.task().await;
        node.delta(&task, 0, "x").await;
        task
    });
    let id = task.task_id.to_string();
    first.task(&id, |task| task["state"] == "assigned").await;
    silence(&first, "SELECT instance FROM tasks WHERE task_id = $1", &id).await;
    let settled = second.settled(&id).await;
    assert_eq!(settled["state"], "refunded");
    node.answer(&first, &task, &["x"]).await;
    // The silent server ends, and whoever waits there sees no regular end.
    let events = EventReader::new(response).rest().await;
    assert!(!events.contains(&Value::String("[DONE]".into())), "{events:?}");
    assert_eq!(first.chain.closed(), [(task.task_id, Closed::Failed(Fault::Nobody))]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres"]
async fn a_batch_is_stopped_from_another_server() {
    let first = spawn_app_with(Limits { batch_lines: 1, ..limits() });
    let second = first.beside(roomy());
    let mut node = Node::link(&first).await;
    let client = Client::funded(&first);
    let text: Vec<_> = (0..5).map(|n| chat_line(&format!("line-{n}"), "hi")).collect();
    let file = client.uploaded(&lines(&text)).await;
    let id = client.batch(&file, "24h").await;
    let task = node.task().await;
    let path = format!("/v1/batches/{id}/cancel");
    assert_eq!(client.at(&second).post_to(&path, json!({})).await.status(), 200);
    node.answer(&first, &task, &["one"]).await;
    drop(node);
    client.at(&second).batch_in(&id, "cancelled").await;
}
