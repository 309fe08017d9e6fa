//! Who pays what, and what happens when they cannot.

use crate::support::{
    apt,
    chain::Closed,
    client::{Client, now_ms, refusal},
    eventually, limits,
    node::{Identity, Node},
    spawn_app, spawn_app_with,
};
use cactus_protocol::{Octas, auth::ORDER_HEADER};
use cactus_routing_server::Limits;
use reqwest::Method;
use serde_json::json;
use std::sync::atomic::Ordering::SeqCst;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_funds_reads_what_to_do_and_is_served_after_a_deposit() {
    let app = spawn_app();
    Node::link(&app).await.serve(&app, &["ok"]);
    let client = Client::new(&app, (apt(10), apt(10)));
    let (status, error) = refusal(client.chat(json!({})).await).await;
    assert_eq!(status, 402);
    assert_eq!(error["code"], "insufficient_funds");
    assert!(error["message"].as_str().unwrap().contains("cactus deposit"));
    app.chain.deposit(client.key.address(), apt(1));
    let served = eventually(async || {
        let response = client.chat(json!({})).await;
        (response.status() == 200).then_some(())
    });
    served.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_never_overspent() {
    let app = spawn_app();
    Node::link(&app).await.serve(&app, &["ok"]);
    // A task locks (21 + 16 + 200) tokens' price: 237,000 octas.
    let lock = Octas(237_000);
    let small = Client::new(&app, (Octas(lock.0 + 5_999), lock));
    app.chain.deposit(small.key.address(), apt(1));
    let response = small.chat(json!({})).await;
    assert_eq!(response.status(), 200);
    let task = response.headers()["x-cactus-task"].to_str().unwrap();
    assert_eq!(app.settled(task).await["lock_octas"], lock.0);
    let (status, error) = refusal(small.chat(json!({})).await).await;
    assert_eq!((status, error["code"].as_str()), (402, Some("order_spent")));
    let (status, error) = refusal(small.chat(json!({"max_tokens": 201})).await).await;
    assert_eq!((status, error["code"].as_str()), (402, Some("order_too_small")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_missing_expired_or_anothers_pays_nothing() {
    let app = spawn_app();
    Node::link(&app).await.serve(&app, &["ok"]);
    let client = Client::funded(&app);
    let stranger = Client::funded(&app);
    let body = crate::support::client::chat_body(json!({}));
    let path = "/v1/chat/completions";
    let mut orders = vec![None, Some("zz".to_owned()), Some(stranger.order.to_header())];
    for change in [
        (|order| order.expires_seconds = 1) as fn(&mut cactus_protocol::Order),
        // The lock would get to the chain too late, and the answer would be free.
        |order| order.expires_seconds = now_ms() / 1000 + 30,
        |order| order.server = order.client,
        |order| order.chain_id = 1,
    ] {
        let mut order = client.order.order.clone();
        change(&mut order);
        let contract = crate::support::SCOPE.contract;
        let signed = cactus_protocol::SignedOrder::new(order, contract, &client.key).unwrap();
        orders.push(Some(signed.to_header()));
    }
    for order in orders {
        let claim = client.sign(client.claim("POST", path, &body));
        let mut request = client.bare(Method::POST, path, body.clone());
        request = request.header("Authorization", claim);
        if let Some(order) = order {
            request = request.header(ORDER_HEADER, order);
        }
        assert_eq!(refusal(request.send().await.unwrap()).await.0, 402);
    }
    assert!(app.chain.closed().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_continue_while_the_chain_is_away_and_settle_when_it_returns() {
    let app = spawn_app();
    Node::link(&app).await.serve(&app, &["ok"]);
    let client = Client::funded(&app);
    assert_eq!(client.chat(json!({})).await.status(), 200);
    app.chain.answers.store(false, SeqCst);
    app.chain.executes.store(false, SeqCst);
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let response = client.chat(json!({})).await;
        assert_eq!(response.status(), 200);
        let task = response.headers()["x-cactus-task"].to_str().unwrap();
        tasks.push(task.to_owned());
    }
    let stranger = Client::funded(&app);
    let (status, error) = refusal(stranger.chat(json!({})).await).await;
    assert_eq!((status, error["code"].as_str()), (503, Some("chain_unreachable")));
    app.chain.answers.store(true, SeqCst);
    app.chain.executes.store(true, SeqCst);
    for task in tasks {
        assert_eq!(app.settled(&task).await["state"], "settled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_its_money_away_under_a_task_is_not_served_again() {
    let app = spawn_app();
    Node::link(&app).await.serve(&app, &["ok"]);
    let client = Client::funded(&app);
    app.chain.executes.store(false, SeqCst);
    let response = client.chat(json!({})).await;
    assert_eq!(response.status(), 200);
    let task = response.headers()["x-cactus-task"].to_str().unwrap().to_owned();
    app.chain.withdraw_all(client.key.address());
    app.chain.executes.store(true, SeqCst);
    assert_eq!(app.settled(&task).await["payment"], json!(null));
    app.chain.deposit(client.key.address(), apt(10));
    let (status, error) = refusal(client.chat(json!({})).await).await;
    assert_eq!((status, error["code"].as_str()), (402, Some("payment_failed")));
    let honest = Client::funded(&app);
    assert_eq!(honest.chat(json!({})).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_announced_to_withdraw_buys_no_new_work() {
    let app = spawn_app();
    Node::link(&app).await.serve(&app, &["ok"]);
    let client = Client::funded(&app);
    app.chain.announce(client.key.address(), apt(10));
    let (status, error) = refusal(client.chat(json!({})).await).await;
    assert_eq!((status, error["code"].as_str()), (402, Some("insufficient_funds")));
    // What it did not announce, or announced no longer, does.
    app.chain.announce(client.key.address(), Octas(0));
    eventually(async || (client.chat(json!({})).await.status() == 200).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_owes_no_more_unsettled_work_than_its_stake_vouches_for() {
    let app = spawn_app();
    let mut identity = Identity::registered(&app);
    // 237 tokens at 2 APT per token lock 474 APT: over half of the stake of 900, not of 950.
    identity.price = Octas(apt(2).0 * 1_000);
    let (operator, node) = (identity.operator.address(), identity.node.public());
    app.chain.register(operator, node, apt(950));
    Node::link_as(&app, identity).await.serve(&app, &["ok"]);
    app.chain.executes.store(false, SeqCst);
    let client = Client::new(&app, (apt(10_000), apt(10_000)));
    app.chain.deposit(client.key.address(), apt(10_000));
    assert_eq!(client.chat(json!({})).await.status(), 200);
    assert_eq!(refusal(client.chat(json!({})).await).await.0, 429);
    app.chain.executes.store(true, SeqCst);
    eventually(async || {
        let response = client.chat(json!({})).await;
        (response.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_the_chain_refuses_ends_as_refunded() {
    let app = spawn_app();
    Node::link(&app).await.serve(&app, &["ok"]);
    let client = Client::funded(&app);
    app.chain.executes.store(false, SeqCst);
    let response = client.chat(json!({})).await;
    let task = response.headers()["x-cactus-task"].to_str().unwrap();
    // The client took its money out before the lock arrived.
    app.chain.withdraw_all(client.key.address());
    app.chain.executes.store(true, SeqCst);
    let settled = app.settled(task).await;
    assert_eq!(settled["state"], "refunded");
    assert!(settled["payment"].is_null());
    let paid = |(_, how): &(_, Closed)| matches!(how, Closed::Paid { .. });
    assert!(!app.chain.closed().iter().any(paid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_the_chain_would_not_end_returns_after_its_deadline() {
    let limits = Limits { task_ms: 900, lock_seconds: 1, reconcile_ms: 50, ..limits() };
    let app = spawn_app_with(limits);
    Node::link(&app).await.serve(&app, &["ok"]);
    let client = Client::funded(&app);
    app.chain.refuses_ends.store(true, SeqCst);
    let response = client.chat(json!({})).await;
    assert_eq!(response.status(), 200);
    let task = response.headers()["x-cactus-task"].to_str().unwrap();
    let settled = app.settled(task).await;
    assert_eq!(settled["state"], "refunded");
    assert_eq!(settled["payment"]["refund_octas"], settled["lock_octas"]);
    assert_eq!(app.chain.closed()[0].1, Closed::Expired);
    assert_eq!(app.chain.balance_of(client.key.address()).available, apt(10));
}
