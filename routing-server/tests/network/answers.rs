//! Answers from end to end: whole and streamed, verified and paid.

use crate::support::{
    apt,
    chain::Closed,
    client::{Client, EventReader, text_of},
    node::{Node, linked},
    spawn_app,
};
use serde_json::{Value, json};

const WORDS: &[&str] = &["one ", "two ", "three"];

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_is_verified_and_paid() {
    let app = spawn_app();
    let node = Node::link(&app).await;
    let node_key = node.identity.node.public().to_string();
    node.serve(&app, WORDS);
    let client = Client::funded(&app);
    let response = client.chat(json!({})).await;
    assert_eq!(response.status(), 200);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    let task = header("x-cactus-task");
    assert_eq!(header("x-cactus-node"), node_key);
    assert_eq!(header("x-cactus-verified"), "verified");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["choices"][0]["message"]["content"], "one two three");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["usage"]["completion_tokens"], 3);
    assert_eq!(body["usage"]["total_tokens"], 8);
    assert_eq!(body["cactus"]["task"], task.as_str());
    assert_eq!(body["cactus"]["verdict"], "verified");

    let settled = app.settled(&task).await;
    assert_eq!(settled["state"], "settled");
    assert_eq!(settled["verdict"], "verified");
    assert_eq!(settled["receipt"]["body"]["output_tokens"], 3);
    let candidate = &settled["candidates"][0];
    assert!(candidate["terms"]["latency"].is_number(), "{candidate}");
    // 8 tokens at 1,000,000 octas per 1,000; the double's fee is a tenth.
    let payment = &settled["payment"];
    assert_eq!(payment["orchestrator_octas"], 7_200);
    assert_eq!(payment["fee_octas"], 800);
    let lock = settled["lock_octas"].as_u64().unwrap();
    assert_eq!(payment["refund_octas"], lock - 8_000);
    assert!(payment["transaction"].as_str().unwrap().contains("close:"));
    let balance = app.chain.balance_of(client.key.address());
    assert_eq!(balance.available.0, apt(10).0 - 8_000);
    assert_eq!(balance.locked.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_answer_has_openais_events_and_says_who_served() {
    let app = spawn_app();
    Node::link(&app).await.serve(&app, WORDS);
    let client = Client::funded(&app);
    let fields = json!({"stream": true, "stream_options": {"include_usage": true}});
    let response = client.chat(fields).await;
    let task = response.headers()["x-cactus-task"].to_str().unwrap();
    let task = task.to_owned();
    let events = EventReader::new(response).rest().await;
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(text_of(&events), "one two three");
    let tail = &events[events.len() - 3..];
    assert_eq!(tail[0]["choices"][0]["finish_reason"], "stop");
    assert_eq!(tail[0]["usage"], json!(null));
    assert_eq!(tail[1]["choices"], json!([]));
    assert_eq!(tail[1]["usage"]["completion_tokens"], 3);
    assert_eq!(tail[1]["cactus"]["task"], task.as_str());
    assert_eq!(tail[1]["cactus"]["verdict"], "verified");
    assert_eq!(tail[2], "[DONE]");
    assert_eq!(app.settled(&task).await["state"], "settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_flows_within_credit() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let words = vec!["w "; 500];
    let answering = async {
        let task = node.task().await;
        node.answer(&app, &task, &words).await;
    };
    let reading = async {
        let fields = json!({"stream": true, "max_tokens": 600});
        EventReader::new(client.chat(fields).await).rest().await
    };
    let ((), events) = tokio::join!(answering, reading);
    assert_eq!(text_of(&events), words.concat());
    assert_eq!(events.last().unwrap(), "[DONE]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_does_not_stall_the_others_on_the_link() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let slow = client.chat(json!({"stream": true, "max_tokens": 4_000}));
    let (slow, first) = tokio::join!(slow, async {
        let task = node.task().await;
        node.delta(&task, 0, "x").await;
        task
    });
    // The slow client reads nothing; its task uses up its credit.
    let text = "x".repeat(20_000);
    for sequence in 1..64 {
        node.delta(&first, sequence, &text).await;
    }
    let (quick, ()) = tokio::join!(client.chat(json!({})), async {
        let task = node.task().await;
        node.answer(&app, &task, WORDS).await;
    });
    assert_eq!(quick.status(), 200);
    drop(slow);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_are_all_answered_and_paid() {
    let app = spawn_app();
    for _ in 0..3 {
        Node::link(&app).await.serve(&app, WORDS);
    }
    linked(&app, 3).await;
    let client = Client::funded(&app);
    let requests = (0..24).map(|_| client.chat(json!({})));
    for response in futures::future::join_all(requests).await {
        assert_eq!(response.status(), 200);
        let task = response.headers()["x-cactus-task"].to_str().unwrap();
        app.settled(task).await;
    }
    let closed = app.chain.closed();
    assert_eq!(closed.len(), 24);
    let paid = Closed::Paid { prompt: 5, output: 3 };
    assert!(closed.iter().all(|(_, how)| *how == paid));
    let balance = app.chain.balance_of(client.key.address());
    assert_eq!(balance.available.0, apt(10).0 - 24 * 8_000);
}
