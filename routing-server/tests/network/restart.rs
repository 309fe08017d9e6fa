//! The server killed at bad moments. A copy of its database stands for what the disk held.

use crate::support::{
    Disk, apt,
    chain::{Closed, TestChain},
    client::Client,
    limits,
    node::{Identity, Node, linked},
    spawn_app, start,
};
use cactus_protocol::{Fault, SecretKey};
use serde_json::json;
use std::{mem, sync::atomic::Ordering::SeqCst};

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_answer_and_settlement_the_payment_happens_once() {
    let chain = TestChain::new();
    chain.carries.store(false, SeqCst);
    let key = SecretKey::random();
    let first = start(chain.clone(), key.clone(), (Disk::new(), limits()));
    Node::link(&first).await.serve(&first, &["ok"]);
    let client = Client::funded(&first);
    let response = client.chat(json!({})).await;
    assert_eq!(response.status(), 200);
    let task = response.headers()["x-cactus-task"].to_str().unwrap();

    chain.carries.store(true, SeqCst);
    for _ in 0..3 {
        let disk = first.snapshot().await;
        let again = start(chain.clone(), key.clone(), (disk, limits()));
        let settled = again.settled(task).await;
        assert_eq!(settled["verdict"], "verified");
    }
    let closed = chain.closed();
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert!(matches!(closed[0].1, Closed::Paid { output: 1, .. }));
    let balance = chain.balance_of(client.key.address());
    assert_eq!(balance.available.0 + 6_000, apt(10).0);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_mid_stream_the_escrow_returns_and_nobody_is_blamed() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let (_response, task) = tokio::join!(client.chat(json!({"stream": true})), async {
        let task = node.task().await;
        node.delta(&task, 0, "x").await;
        task
    });
    let id = task.task_id.to_string();
    app.task(&id, |task| task["state"] == "assigned").await;
    let disk = app.snapshot().await;
    let again = start(app.chain.clone(), app.key.clone(), (disk, limits()));
    let settled = again.settled(&id).await;
    assert_eq!(settled["state"], "refunded");
    assert!(settled["verdict"].as_str().unwrap().contains("restarted"), "{settled}");
    let given_up = (task.task_id, Closed::Failed(Fault::Nobody));
    assert_eq!(app.chain.closed(), [given_up]);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_was_locked_before_a_restart_is_not_spent_again() {
    let chain = TestChain::new();
    chain.carries.store(false, SeqCst);
    let key = SecretKey::random();
    let first = start(chain.clone(), key.clone(), (Disk::new(), limits()));
    Node::link(&first).await.serve(&first, &["ok"]);
    let client = Client::funded(&first);
    // 4,000 tokens lock 0.04037 APT: 247 such tasks fit into 10 APT, and nothing settles.
    let fields = json!({"max_tokens": 4_000});
    let lock = 4_037_000;
    for _ in 0..3 {
        assert_eq!(client.chat(fields.clone()).await.status(), 200);
    }
    let disk = first.snapshot().await;
    let again = start(chain.clone(), key, (disk, limits()));
    let balance = client.at(&again);
    let order = balance.signed(reqwest::Method::GET, "/v1/balance", vec![]);
    let order: serde_json::Value = order.send().await.unwrap().json().await.unwrap();
    assert_eq!(order["order"]["used_octas"], 3 * lock);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgives_no_liar() {
    let mut app = spawn_app();
    let identity = Identity::registered(&app);
    let mut liar = Node::link_as(&app, identity.clone()).await;
    let client = Client::funded(&app);
    let (response, ()) = tokio::join!(client.chat(json!({})), async {
        let task = liar.task().await;
        liar.delta(&task, 0, "x").await;
        let receipt = liar.receipt(&task, &["y"]);
        liar.done(receipt).await;
    });
    assert_eq!(response.status(), 502);
    drop(liar);
    app.shutdown.cancel();
    (&mut app.running).await.unwrap().unwrap();
    let disk = mem::replace(&mut app.disk, Disk::new().into());
    let again = start(app.chain.clone(), app.key.clone(), (disk, limits()));
    let _liar = Node::link_as(&again, identity).await;
    linked(&again, 1).await;
    assert_eq!(again.nodes().await[0]["status"], "quarantined");
}
