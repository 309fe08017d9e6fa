//! API keys: made once from a signed order, used as bearer tokens, ended at once.

use crate::support::{
    client::{Client, chat_body, refusal},
    limits,
    node::Node,
    spawn_app, start,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};

async fn make_key(client: &Client) -> Value {
    let request = client.signed(Method::POST, "/v1/keys", vec![]);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 201);
    response.json().await.unwrap()
}

async fn with_key(client: &Client, key: &Value) -> Response {
    let body = chat_body(json!({}));
    client
        .bare(Method::POST, "/v1/chat/completions", body)
        .bearer_auth(key["api_key"].as_str().unwrap())
        .send()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_spends_its_order_until_it_is_revoked() {
    let app = spawn_app();
    Node::link(&app).await.serve(&app, &["ok"]);
    let client = Client::funded(&app);
    let key = make_key(&client).await;
    let response = with_key(&client, &key).await;
    assert_eq!(response.status(), 200);
    let task = response.headers()["x-cactus-task"].to_str().unwrap();
    let settled = app.settled(task).await;
    assert_eq!(settled["order"], key["order"]);

    let balance = client
        .bare(Method::GET, "/v1/balance", vec![])
        .bearer_auth(key["api_key"].as_str().unwrap());
    let balance: Value = balance.send().await.unwrap().json().await.unwrap();
    assert_eq!(balance["client"], client.key.address().to_string());
    assert_eq!(balance["order"]["used_octas"], 6_000);

    let path = format!("/v1/keys/{}", key["id"].as_str().unwrap());
    let stranger = Client::funded(&app);
    let refused = stranger.signed(Method::DELETE, &path, vec![]).send().await;
    assert_eq!(refused.unwrap().status(), 404);
    assert_eq!(with_key(&client, &key).await.status(), 200);
    let revoked = client.signed(Method::DELETE, &path, vec![]).send().await;
    assert_eq!(revoked.unwrap().status(), 200);
    assert_eq!(refusal(with_key(&client, &key).await).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_no_key_and_needs_an_order() {
    let app = spawn_app();
    let client = Client::funded(&app);
    let key = make_key(&client).await;
    let request = client.bare(Method::POST, "/v1/keys", vec![]);
    let request = request.bearer_auth(key["api_key"].as_str().unwrap());
    assert_eq!(refusal(request.send().await.unwrap()).await.0, 401);
    let claim = client.sign(client.claim("POST", "/v1/keys", b""));
    let request = client.bare(Method::POST, "/v1/keys", vec![]);
    let request = request.header("Authorization", claim);
    let (status, error) = refusal(request.send().await.unwrap()).await;
    assert_eq!((status, error["code"].as_str()), (402, Some("order_required")));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_survive_a_restart_and_only_their_hash_is_stored() {
    let app = spawn_app();
    let client = Client::funded(&app);
    let key = make_key(&client).await;
    let copy = app.snapshot().await;
    let stored = copy.database.contents();
    let secret = key["api_key"].as_str().unwrap().as_bytes();
    assert!(!stored.windows(secret.len()).any(|window| window == secret));

    let again = start(app.chain.clone(), app.key.clone(), (copy, limits()));
    let (status, error) = refusal(with_key(&client.at(&again), &key).await).await;
    assert_eq!((status, error["code"].as_str()), (404, Some("model_not_found")));
}
