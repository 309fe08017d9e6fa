//! Nodes that lie. Whatever they send: refused, nothing paid, and the server lives on.

use crate::support::{
    SCOPE, TestApp, apt,
    chain::Closed,
    client::{Client, EventReader},
    node::{Identity, Node, linked},
    spawn_app,
};
use cactus_protocol::{
    Fault, Hash, NodeFrame, SecretKey, ServerFrame, Signed, TaskId,
    frame::{Refusal, Task},
};
use serde_json::json;

const WORDS: &[&str] = &["a", "b"];

/// The node delivers both words, then does this instead of an honest end; the client gets an
/// error, the whole lock returns and the provider is to blame.
async fn check_unpaid(end: impl AsyncFnOnce(&TestApp, &mut Node, &Task), verdict: &str) {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let serving = async {
        let task = node.task().await;
        node.delta(&task, 0, WORDS[0]).await;
        node.delta(&task, 1, WORDS[1]).await;
        end(&app, &mut node, &task).await;
        task
    };
    let (response, task) = tokio::join!(client.chat(json!({"stream": true})), serving);
    let events = EventReader::new(response).rest().await;
    let last = events.last().unwrap();
    assert!(last["error"]["code"].is_string(), "{last}");
    let settled = app.settled(&task.task_id.to_string()).await;
    assert_eq!(settled["state"], "refunded");
    let text = settled["verdict"].as_str().unwrap();
    assert!(text.contains(verdict), "{text}");
    let failed = (task.task_id, Closed::Failed(Fault::Provider));
    assert_eq!(app.chain.closed(), [failed]);
    let balance = app.chain.balance_of(client.key.address());
    assert_eq!(balance.available, apt(10));
    assert_eq!(reqwest::get(app.url("/healthz")).await.unwrap().status(), 200);
}

fn honest(app: &TestApp, node: &Node, task: &Task) -> cactus_protocol::Receipt {
    let mut receipt = node.receipt(task, WORDS);
    receipt.server = app.server;
    receipt
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_signed_by_another_key_pays_nothing() {
    let end = async |app: &TestApp, node: &mut Node, task: &Task| {
        let receipt = honest(app, node, task);
        node.done_signed_by(receipt, &SecretKey::random()).await;
    };
    check_unpaid(end, "not signed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_for_another_task_pays_nothing() {
    let end = async |app: &TestApp, node: &mut Node, task: &Task| {
        let mut receipt = honest(app, node, task);
        receipt.task_id = TaskId::fresh(0);
        node.done(receipt).await;
    };
    check_unpaid(end, "link broke").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_for_more_tokens_than_were_delivered_pays_nothing() {
    let end = async |app: &TestApp, node: &mut Node, task: &Task| {
        let mut receipt = honest(app, node, task);
        receipt.output_tokens = 150;
        node.done(receipt).await;
    };
    check_unpaid(end, "token counts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_for_another_output_pays_nothing() {
    let end = async |app: &TestApp, node: &mut Node, task: &Task| {
        let mut receipt = honest(app, node, task);
        receipt.output_hash = Hash([1; 32]);
        node.done(receipt).await;
    };
    check_unpaid(end, "not what was delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_the_deltas_pays_nothing() {
    let end = async |_: &TestApp, node: &mut Node, task: &Task| {
        node.delta(task, 3, "d").await;
    };
    check_unpaid(end, "delta 3 came where 2 was due").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_tokens_than_were_asked_for_pay_nothing() {
    let end = async |_: &TestApp, node: &mut Node, task: &Task| {
        node.send(&NodeFrame::Delta(cactus_protocol::frame::Delta {
            task_id: task.task_id,
            sequence: 2,
            text: "x".into(),
            token_ids: vec![1; 199],
            logprobs: vec![],
        }))
        .await;
    };
    check_unpaid(end, "more than 200 tokens").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_text_than_the_tokens_can_hold_pays_nothing() {
    let end = async |_: &TestApp, node: &mut Node, task: &Task| {
        node.delta(task, 2, &"x".repeat(900_000)).await;
    };
    check_unpaid(end, "bytes of text").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_closes_the_link_and_pays_nothing() {
    let end = async |_: &TestApp, node: &mut Node, _: &Task| {
        node.send_bytes(vec![0xff; 50]).await;
        while node.recv().await.is_some() {}
    };
    check_unpaid(end, "link broke").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_over_the_limit_closes_the_link_and_pays_nothing() {
    let end = async |_: &TestApp, node: &mut Node, _: &Task| {
        node.send_bytes(vec![0; (1 << 20) + 1]).await;
        while node.recv().await.is_some() {}
    };
    check_unpaid(end, "link broke").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_receipt_did_not_stand_gets_no_task_for_a_while() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let (response, ()) = tokio::join!(client.chat(json!({})), async {
        let task = node.task().await;
        let receipt = honest(&app, &node, &task);
        node.done(receipt).await;
    });
    // The honest receipt of words that were never delivered.
    assert_eq!(response.status(), 502);
    let nodes = app.nodes().await;
    assert_eq!(nodes[0]["status"], "quarantined");
    assert_eq!(client.chat(json!({})).await.status(), 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_beyond_the_credit_pay_nothing() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let (response, task) =
        tokio::join!(client.chat(json!({"stream": true, "max_tokens": 4_000})), async {
            let task = node.task().await;
            node.delta(&task, 0, "x").await;
            task
        });
    // Nobody reads the response, so credit runs dry; the node goes on regardless.
    let text = "x".repeat(50_000);
    for sequence in 1..190 {
        node.delta(&task, sequence, &text).await;
    }
    let settled = async { app.settled(&task.task_id.to_string()).await };
    let (events, settled) = tokio::join!(EventReader::new(response).rest(), settled);
    assert_eq!(events.last().unwrap()["error"]["code"], "answer_not_verified");
    assert!(settled["verdict"].as_str().unwrap().contains("credit"));
    assert_eq!(settled["state"], "refunded");
}

async fn refusal_of(app: &TestApp, identity: Identity) -> Refusal {
    let (mut node, challenge) = Node::dial(app, identity).await;
    let hello = node.identity.hello(&challenge);
    match node.greet(hello).await {
        Some(ServerFrame::Refused(refused)) => {
            assert!(node.recv().await.is_none());
            refused.reason
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_nodes_that_the_chain_vouches_for_may_link() {
    let app = spawn_app();
    let stranger = Identity::unknown();
    assert_eq!(refusal_of(&app, stranger).await, Refusal::NotRegistered);
    let thief = Identity { node: SecretKey::random(), ..Identity::registered(&app) };
    assert_eq!(refusal_of(&app, thief).await, Refusal::NotRegistered);
    let poor = Identity::unknown();
    let (operator, node) = (poor.operator.address(), poor.node.public());
    app.chain.register(operator, node, cactus_protocol::Octas(1));
    assert_eq!(refusal_of(&app, poor).await, Refusal::StakeTooLow);
    let linked_already = Identity::registered(&app);
    let _first = Node::link_as(&app, linked_already.clone()).await;
    let again = refusal_of(&app, linked_already).await;
    assert_eq!(again, Refusal::AlreadyLinked);
    assert_eq!(app.nodes().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_hello_is_refused() {
    let app = spawn_app();
    let identity = Identity::registered(&app);
    let (mut first, challenge) = Node::dial(&app, identity.clone()).await;
    let hello = identity.hello(&challenge);
    let signed = Signed::new(hello, SCOPE, &identity.node).unwrap();
    let recorded = NodeFrame::Hello(Box::new(signed));
    first.send(&recorded).await;
    assert!(matches!(first.recv().await, Some(ServerFrame::Welcome(_))));
    drop(first);
    linked(&app, 0).await;
    let (mut second, _) = Node::dial(&app, identity).await;
    second.send(&recorded).await;
    match second.recv().await {
        Some(ServerFrame::Refused(refused)) => assert_eq!(refused.reason, Refusal::BadSignature),
        other => panic!("not refused: {other:?}"),
    }
    assert!(app.nodes().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_instead_of_a_hello_closes_the_link() {
    let app = spawn_app();
    for bytes in [vec![], vec![1, 2, 3], vec![0xff; 1000]] {
        let (mut node, _) = Node::dial(&app, Identity::unknown()).await;
        node.send_bytes(bytes).await;
        assert!(node.recv().await.is_none());
    }
    assert!(app.nodes().await.is_empty());
}
