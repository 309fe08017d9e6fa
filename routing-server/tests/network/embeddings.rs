//! Vectors through the network: delivered, checked and paid like text.

use crate::support::{
    TestApp,
    chain::Closed,
    client::{Client, refusal},
    node::{Identity, Node, linked},
    spawn_app,
};
use cactus_protocol::{Work, frame::Task};
use serde_json::{Value, json};

const PATH: &str = "/v1/embeddings";
const VALUES: &[f32] = &[0.5, -1.0, 0.25, 1.0, 2.0, 3.0];

async fn embedder(app: &TestApp) -> (Node, Client) {
    let node = Node::link_as(app, Identity::embedder(app)).await;
    linked(app, 1).await;
    (node, Client::funded(app))
}

fn body(extra: Value) -> Value {
    let mut body = json!({"model": "sprout", "input": ["a", "b"]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

/// The node answers one request for two vectors with what `serve` sends.
async fn answer(
    extra: Value,
    serve: impl AsyncFnOnce(&TestApp, &mut Node, &Task),
) -> (reqwest::Response, TestApp) {
    let app = spawn_app();
    let (mut node, client) = embedder(&app).await;
    let serving = async {
        let task = node.task().await;
        serve(&app, &mut node, &task).await;
    };
    let (response, ()) = tokio::join!(client.post_to(PATH, body(extra)), serving);
    (response, app)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_input_gets_its_vector_and_the_prompt_is_paid() {
    let (response, app) = answer(json!({}), async |app, node, task| {
        let Work::Embed(request) = &task.work else { panic!("no embedding") };
        assert_eq!(request.inputs, ["a", "b"]);
        node.embed(task, 0, &VALUES[..3]).await;
        node.embed(task, 1, &VALUES[3..]).await;
        node.embedded(app, task, VALUES).await;
    })
    .await;
    assert_eq!(response.status(), 200);
    let task = response.headers()["x-cactus-task"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["object"], "list");
    assert_eq!(body["data"][0]["embedding"], json!([0.5, -1.0, 0.25]));
    assert_eq!(
        body["data"][1],
        json!({"object": "embedding", "index": 1, "embedding": [1.0, 2.0, 3.0]})
    );
    assert_eq!(body["usage"], json!({"prompt_tokens": 5, "total_tokens": 5}));
    assert_eq!(app.settled(&task).await["state"], "settled");
    assert!(matches!(app.chain.closed()[0].1, Closed::Paid { prompt: 5, output: 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_clients_get_base64() {
    let (response, _app) = answer(json!({"encoding_format": "base64"}), async |app, node, task| {
        node.embed(task, 0, VALUES).await;
        node.embedded(app, task, VALUES).await;
    })
    .await;
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["data"][0]["embedding"], "AAAAPwAAgL8AAIA+");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_vector_pays_nothing() {
    let (response, app) = answer(json!({}), async |app, node, task| {
        node.embed(task, 0, &VALUES[..3]).await;
        node.embedded(app, task, &VALUES[..3]).await;
    })
    .await;
    let (status, error) = refusal(response).await;
    assert_eq!((status, error["code"].as_str()), (502, Some("answer_not_verified")));
    let paid = app.chain.closed().iter().any(|(_, how)| matches!(how, Closed::Paid { .. }));
    assert!(!paid);
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_that_are_not_what_was_delivered_pay_nothing() {
    let (response, _app) = answer(json!({}), async |app, node, task| {
        node.embed(task, 0, VALUES).await;
        node.embedded(app, task, &[0.0; 6]).await;
    })
    .await;
    assert_eq!(refusal(response).await.1["code"], "answer_not_verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_in_place_of_vectors_pays_nothing() {
    let (response, _app) = answer(json!({}), async |_, node, task| {
        node.delta(task, 0, "hello").await;
    })
    .await;
    assert_eq!(refusal(response).await.1["code"], "answer_not_verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_meets_only_a_model_of_its_kind_and_length() {
    let app = spawn_app();
    let (_node, client) = embedder(&app).await;
    let (status, error) = refusal(client.post_to(PATH, body(json!({"dimensions": 5}))).await).await;
    assert_eq!((status, error["param"].as_str()), (400, Some("dimensions")));
    assert!(error["message"].as_str().unwrap().contains("3 numbers"));
    let (status, error) = refusal(client.chat(json!({})).await).await;
    assert_eq!((status, error["param"].as_str()), (400, Some("model")));
    let tokens = client.post_to(PATH, body(json!({"input": [[1, 2], [3]]}))).await;
    assert_eq!(refusal(tokens).await.1["code"], "unsupported_parameter");
}
