//! Many nodes at once: they link, share the work, and each can be asked why it was chosen.

use crate::support::{
    client::Client,
    node::{Node, linked},
    spawn_app,
};
use futures::future::join_all;
use serde_json::{Value, json};
use std::collections::HashSet;

const NODES: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_link_at_once_and_share_the_work() {
    let app = spawn_app();
    for node in join_all((0..NODES).map(|_| Node::link(&app))).await {
        node.serve(&app, &["ok"]);
    }
    linked(&app, NODES).await;
    let client = Client::funded(&app);
    let mut served = HashSet::new();
    for _ in 0..5 {
        for response in join_all((0..10).map(|_| client.chat(json!({})))).await {
            assert_eq!(response.status(), 200);
            served.insert(response.headers()["x-cactus-node"].to_str().unwrap().to_owned());
        }
    }
    assert!(served.len() > 10, "{} of {NODES} nodes had work", served.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_s_score_is_explained_by_every_term() {
    let app = spawn_app();
    let node = Node::link(&app).await;
    let _other = Node::link(&app).await;
    linked(&app, 2).await;
    let key = node.identity.node.public().to_string();
    let get = async |path: String| -> Value {
        reqwest::get(app.url(&path)).await.unwrap().json().await.unwrap()
    };
    let score = get(format!("/v1/nodes/{key}/score")).await;
    let [only] = score["nodes"].as_array().unwrap().as_slice() else { panic!("{score}") };
    assert_eq!(only["node"], key.as_str());
    for term in ["stake", "success", "latency", "price", "verification", "affinity"] {
        assert!((0.0..=1.0).contains(&only["terms"][term].as_f64().unwrap()), "{term}: {only}");
        assert!(score["weights"][term].is_number(), "{term}: {score}");
    }
    // By the operator's address as well, and with the reason when it cannot serve.
    let operator = node.identity.operator.address();
    let score = get(format!("/v1/nodes/{operator}/score?model=other")).await;
    assert_eq!(score["nodes"][0]["ineligible"], "other_model", "{score}");
}
