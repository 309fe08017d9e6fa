//! Nodes that die, stall or refuse, and clients that leave.

use crate::support::{
    chain::Closed,
    client::{Client, EventReader, refusal, text_of},
    limits,
    node::{Identity, Node, linked},
    spawn_app, spawn_app_with,
};
use cactus_protocol::{Fault, Octas, ServerFrame, frame::Failure};
use cactus_routing_server::Limits;
use serde_json::json;

const WORDS: &[&str] = &["fine"];

/// Two nodes; whichever is asked first gets `first`, the other answers.
async fn the_other_node_answers(first: impl AsyncFnOnce(Node, cactus_protocol::frame::Task)) {
    let app = spawn_app();
    let (mut a, mut b) = (Node::link(&app).await, Node::link(&app).await);
    linked(&app, 2).await;
    let client = Client::funded(&app);
    let serving = async {
        let (bad, mut good, task) = tokio::select! {
            task = a.task() => (a, b, task),
            task = b.task() => (b, a, task),
        };
        first(bad, task.clone()).await;
        let second = good.task().await;
        assert_ne!(second.task_id, task.task_id);
        assert_eq!(second.work, task.work);
        good.answer(&app, &second, WORDS).await;
        // A node that leaves at once may take its last frames with it.
        (task, second, good)
    };
    let chat = client.chat(json!({"stream": true}));
    let (response, (failed, served, _good)) = tokio::join!(chat, serving);
    assert_eq!(response.status(), 200, "{:?}", response.text().await);
    let header = response.headers()["x-cactus-task"].to_str().unwrap();
    assert_eq!(header, served.task_id.to_string());
    let events = EventReader::new(response).rest().await;
    assert_eq!(text_of(&events), "fine");
    let settled = app.settled(&served.task_id.to_string()).await;
    assert_eq!(settled["previous"], json!([failed.task_id]));
    let refunded = app.settled(&failed.task_id.to_string()).await;
    assert_eq!(refunded["state"], "refunded");
    assert_eq!(refunded["payment"]["refund_octas"], refunded["lock_octas"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_moves_when_its_node_dies_before_the_first_token() {
    the_other_node_answers(async |node, _| drop(node)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_moves_when_its_node_is_overloaded() {
    the_other_node_answers(async |mut node, task| {
        node.fail(&task, Failure::Overloaded).await;
        // Keeps the link: the node only has no room.
        tokio::spawn(async move { while node.recv().await.is_some() {} });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_calls_a_short_prompt_too_long_is_not_believed() {
    the_other_node_answers(async |mut node, task| {
        node.fail(&task, Failure::BadRequest).await;
        tokio::spawn(async move { while node.recv().await.is_some() {} });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_is_too_long_for_one_node_moves_to_a_roomier_one() {
    let app = spawn_app();
    let small = Identity { price: Octas(1), context: 300, ..Identity::registered(&app) };
    let (mut small, mut large) = (Node::link_as(&app, small).await, Node::link(&app).await);
    linked(&app, 2).await;
    let client = Client::funded(&app);
    let long = json!({"messages": [{"role": "user", "content": "x".repeat(500)}]});
    let serving = async {
        let task = tokio::select! {
            task = small.task() => {
                small.fail(&task, Failure::BadRequest).await;
                large.task().await
            }
            // Seldom, by exploration.
            task = large.task() => task,
        };
        large.answer(&app, &task, WORDS).await;
        (small, large)
    };
    let (response, _nodes) = tokio::join!(client.chat(long), serving);
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body["choices"][0]["message"]["content"], "fine", "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_mid_stream_ends_it_with_a_clear_event_and_a_refund() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let (response, task) = tokio::join!(client.chat(json!({"stream": true})), async {
        let task = node.task().await;
        node.delta(&task, 0, "half an ").await;
        task
    });
    drop(node);
    let events = EventReader::new(response).rest().await;
    assert_eq!(text_of(&events), "half an ");
    let last = events.last().unwrap();
    assert_eq!(last["error"]["code"], "node_lost");
    let settled = app.settled(&task.task_id.to_string()).await;
    assert_eq!(settled["state"], "refunded");
    let failed = (task.task_id, Closed::Failed(Fault::Provider));
    assert_eq!(app.chain.closed(), [failed]);
    linked(&app, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_moves_even_when_its_node_dies_halfway() {
    let app = spawn_app();
    let (mut a, mut b) = (Node::link(&app).await, Node::link(&app).await);
    linked(&app, 2).await;
    let client = Client::funded(&app);
    let serving = async {
        let (mut bad, mut good, task) = tokio::select! {
            task = a.task() => (a, b, task),
            task = b.task() => (b, a, task),
        };
        bad.delta(&task, 0, "lost").await;
        drop(bad);
        let second = good.task().await;
        good.answer(&app, &second, WORDS).await;
        good
    };
    let (response, _good) = tokio::join!(client.chat(json!({})), serving);
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body["choices"][0]["message"]["content"], "fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_node_fails_nothing_is_charged() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let (response, task) = tokio::join!(client.chat(json!({})), async {
        let task = node.task().await;
        node.fail(&task, Failure::Internal).await;
        task
    });
    let (status, error) = refusal(response).await;
    assert_eq!((status, error["code"].as_str()), (502, Some("node_failed")));
    let text = error["message"].as_str().unwrap();
    assert!(text.contains("nothing was charged") && !text.contains("because"));
    app.settled(&task.task_id.to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_given_up_after_the_first_token_limit() {
    let limits = Limits { first_token_ms: 50, ..limits() };
    let app = spawn_app_with(limits);
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let (response, ()) = tokio::join!(client.chat(json!({})), async {
        let task = node.task().await;
        node.cancelled(task.task_id).await;
    });
    let (status, error) = refusal(response).await;
    assert_eq!((status, error["code"].as_str()), (502, Some("timeout")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_mid_stream_cancels_its_task() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let (response, task) = tokio::join!(client.chat(json!({"stream": true})), async {
        let task = node.task().await;
        node.delta(&task, 0, "x").await;
        task
    });
    drop(response);
    node.cancelled(task.task_id).await;
    // What crosses the cancellation is ignored.
    node.delta(&task, 1, "y").await;
    app.settled(&task.task_id.to_string()).await;
    let failed = (task.task_id, Closed::Failed(Fault::User));
    assert_eq!(app.chain.closed(), [failed]);
    linked(&app, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_first_token_cancels_its_task() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    for stream in [true, false] {
        let client = Client::funded(&app);
        let fields = json!({"stream": stream});
        let chat = tokio::spawn(async move { client.chat(fields).await });
        let task = node.task().await;
        chat.abort();
        node.cancelled(task.task_id).await;
        app.settled(&task.task_id.to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_finishes_its_streams_and_takes_no_more() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let (response, task) = tokio::join!(client.chat(json!({"stream": true})), async {
        let task = node.task().await;
        node.delta(&task, 0, "a").await;
        task
    });
    app.shutdown.cancel();
    node.delta(&task, 1, "b").await;
    let mut receipt = node.receipt(&task, &["a", "b"]);
    receipt.server = app.server;
    node.done(receipt).await;
    let events = EventReader::new(response).rest().await;
    assert_eq!(text_of(&events), "ab");
    assert_eq!(events.last().unwrap(), "[DONE]");
    loop {
        match node.recv().await {
            None => break,
            Some(ServerFrame::Task(task)) => panic!("new work while draining: {task:?}"),
            Some(_) => {}
        }
    }
    let mut app = app;
    let running = std::mem::replace(&mut app.running, tokio::spawn(async { Ok(()) }));
    crate::support::within(running).await.unwrap().unwrap();
    assert!(reqwest::get(app.url("/healthz")).await.is_err());
}
