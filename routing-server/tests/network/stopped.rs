//! Answers that end before their end: what was delivered is paid for, and nobody is blamed for what
//! another did.

use crate::support::{
    TestApp, apt,
    chain::Closed,
    client::{Client, EventReader},
    limits,
    node::{Node, linked},
    spawn_app, spawn_app_with,
};
use cactus_protocol::{Fault, ServerFrame, frame::Task};
use cactus_routing_server::Limits;
use serde_json::json;

/// Reads this many parts of the text.
async fn read_parts(reader: &mut EventReader, mut parts: usize) {
    while parts > 0 {
        let event = reader.next().await.expect("more text");
        let text = event["choices"][0]["delta"]["content"].as_str();
        parts -= usize::from(text.is_some_and(|text| !text.is_empty()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_mid_stream_pays_for_what_it_got() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let (response, task) = tokio::join!(client.chat(json!({"stream": true})), async {
        let task = node.task().await;
        node.delta(&task, 0, "a").await;
        node.delta(&task, 1, "b").await;
        task
    });
    let mut reader = EventReader::new(response);
    read_parts(&mut reader, 2).await;
    drop(reader);
    node.cancelled(task.task_id).await;
    node.bill(&app, &task, &["a", "b"]).await;
    let settled = app.settled(&task.task_id.to_string()).await;
    assert_eq!(settled["state"], "settled", "{settled}");
    let paid = (task.task_id, Closed::Paid { prompt: 5, output: 2 });
    assert_eq!(app.chain.closed(), [paid]);
    assert!(app.chain.balance_of(client.key.address()).available < apt(10));
    linked(&app, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_cannot_cut_an_answer_by_itself() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let (response, task) = tokio::join!(client.chat(json!({})), async {
        let task = node.task().await;
        node.delta(&task, 0, "a").await;
        node.bill(&app, &task, &["a"]).await;
        task
    });
    assert_eq!(response.status(), 502);
    let settled = app.settled(&task.task_id.to_string()).await;
    assert_eq!(settled["state"], "refunded");
}

/// Sends as much as it has credit for until it is told to stop; what it sent.
async fn talk(node: &mut Node, task: &Task, part: &str) -> Vec<String> {
    let (mut sent, mut credit) = (Vec::new(), task.credits);
    loop {
        while credit > 0 && sent.len() < 250 {
            node.delta(task, u32::try_from(sent.len()).unwrap(), part).await;
            sent.push(part.to_owned());
            credit -= 1;
        }
        match node.recv().await {
            Some(ServerFrame::Credit { deltas, .. }) => credit += deltas,
            Some(ServerFrame::Cancel { .. }) => return sent,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_pays_and_its_node_is_not_blamed() {
    let limits = Limits { task_ms: 1_500, ..limits() };
    let app = spawn_app_with(limits);
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let fields = json!({"stream": true, "max_tokens": 4_000});
    let (response, task) = tokio::join!(client.chat(fields), async {
        let task = node.task().await;
        let words = talk(&mut node, &task, &"x".repeat(60_000)).await;
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        node.bill(&app, &task, &words).await;
        task
    });
    let settled = app.settled(&task.task_id.to_string()).await;
    assert_eq!(settled["state"], "settled", "{settled}");
    drop(response);
    let measured = &app.nodes().await[0]["measured"];
    assert_eq!(measured["itl_seconds"], json!(null), "{measured}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_to_blame_when_there_is_no_bill() {
    let limits = Limits { task_ms: 1_000, ..limits() };
    let app = spawn_app_with(limits);
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let fields = json!({"stream": true, "max_tokens": 4_000});
    let (_response, task) = tokio::join!(client.chat(fields), async {
        let task = node.task().await;
        talk(&mut node, &task, &"x".repeat(60_000)).await;
        task
    });
    app.settled(&task.task_id.to_string()).await;
    assert_eq!(app.chain.closed(), [(task.task_id, Closed::Failed(Fault::User))]);
}

/// The node hangs up right after its last frame, over and over.
async fn answer_and_hang_up(app: &TestApp) {
    let mut node = Node::link(app).await;
    let client = Client::funded(app);
    let (response, task) = tokio::join!(client.chat(json!({"stream": true})), async {
        let task = node.task().await;
        node.answer(app, &task, &["a", "b"]).await;
        node.hang_up().await;
        task
    });
    EventReader::new(response).rest().await;
    let settled = app.settled(&task.task_id.to_string()).await;
    assert_eq!(settled["state"], "settled", "{}", settled["verdict"]);
    linked(app, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_up_right_after_its_last_frame_is_paid() {
    let app = spawn_app();
    for _ in 0..20 {
        answer_and_hang_up(&app).await;
    }
}
