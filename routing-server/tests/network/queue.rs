//! Requests that wait for their turn, and those that are told to come back.

use crate::support::{
    TestApp,
    client::{Client, refusal},
    limits,
    node::{Identity, Node, linked},
    spawn_app_with,
};
use cactus_routing_server::Limits;
use serde_json::json;

const PATIENT: u64 = 25_000;

/// A server with room for so many in each line.
fn spawn_patient(queue: usize) -> TestApp {
    spawn_app_with(Limits { queue, queue_ms: PATIENT, ..limits() })
}

/// A node that works on one task at a time and lets none wait.
async fn narrow(app: &TestApp) -> Node {
    let identity = Identity { slots: 1, queue: 0, ..Identity::registered(app) };
    Node::link_as(app, identity).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_while_every_node_is_busy() {
    let app = spawn_patient(10);
    let mut node = narrow(&app).await;
    let client = Client::funded(&app);
    let both = async { tokio::join!(client.chat(json!({})), client.chat(json!({}))) };
    let ((first, second), ()) = tokio::join!(both, async {
        for word in ["one", "two"] {
            let task = node.task().await;
            node.answer(&app, &task, &[word]).await;
        }
    });
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_a_node_of_a_model_that_was_here_before() {
    let app = spawn_patient(10);
    let gone = Node::link(&app).await;
    drop(gone);
    linked(&app, 0).await;
    let client = Client::funded(&app);
    let (response, _node) = tokio::join!(client.chat(json!({})), async {
        let mut node = Node::link(&app).await;
        let task = node.task().await;
        node.answer(&app, &task, &["here"]).await;
        node
    });
    assert_eq!(response.status(), 200);
    let unknown = client.chat(json!({"model": "never-seen"})).await;
    assert_eq!(unknown.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_line_a_request_is_told_when_to_come_back() {
    let app = spawn_patient(1);
    let mut node = narrow(&app).await;
    let client = Client::funded(&app);
    let task = async { node.task().await };
    let (_running, task) = {
        let chat = tokio::spawn({
            let client = client.at(&app);
            async move { client.chat(json!({})).await.status() }
        });
        (chat, task.await)
    };
    // One of these waits, the other finds the line full.
    let (a, b) = (client.chat(json!({})), client.chat(json!({})));
    tokio::pin!(a, b);
    let (refused, waiting) = tokio::select! {
        response = &mut a => (response, b),
        response = &mut b => (response, a),
    };
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    let (status, error) = refusal(refused).await;
    assert_eq!((status, error["code"].as_str()), (429, Some("overloaded")));
    let (response, ()) = tokio::join!(waiting, async {
        node.answer(&app, &task, &["done"]).await;
        let next = node.task().await;
        node.answer(&app, &next, &["next"]).await;
    });
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_no_longer_than_its_deadline() {
    let app = spawn_patient(10);
    let mut node = narrow(&app).await;
    let client = Client::funded(&app);
    let other = client.at(&app);
    let chat = tokio::spawn(async move { other.chat(json!({})).await.status() });
    let task = node.task().await;
    let hurried = json!({"cactus": {"deadline_ms": 50}});
    let (status, error) = refusal(client.chat(hurried).await).await;
    assert_eq!((status, error["code"].as_str()), (429, Some("overloaded")));
    node.answer(&app, &task, &["done"]).await;
    assert_eq!(chat.await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_the_line_gives_up_its_place() {
    let app = spawn_patient(10);
    let mut node = narrow(&app).await;
    let client = Client::funded(&app);
    let other = client.at(&app);
    let running = tokio::spawn(async move { other.chat(json!({})).await.status() });
    let task = node.task().await;
    let leaving = client.at(&app);
    let leaver = tokio::spawn(async move { leaving.chat(json!({"max_tokens": 3})).await });
    let staying = client.at(&app);
    let stayer = tokio::spawn(async move { staying.chat(json!({"max_tokens": 4})).await.status() });
    leaver.abort();
    let _ = leaver.await;
    node.answer(&app, &task, &["done"]).await;
    assert_eq!(running.await.unwrap(), 200);
    // Either the one who left was never sent on, or it was and is cancelled at once.
    loop {
        let task = node.task().await;
        if task.work.max_tokens() == 4 {
            node.answer(&app, &task, &["next"]).await;
            break;
        }
        node.cancelled(task.task_id).await;
    }
    assert_eq!(stayer.await.unwrap(), 200);
}
