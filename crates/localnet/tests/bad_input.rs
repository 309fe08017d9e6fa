//! What a node answers to garbage, and that it lives on.
#![allow(clippy::unwrap_used)] // A test that cannot go on should panic.

mod support;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use support::{APT, Node};

const BCS: &str = "application/x.aptos.signed_transaction+bcs";

async fn post(node: &Node, path: &str, kind: &str, body: Vec<u8>) -> (StatusCode, Value) {
    let request = Client::new().post(node.url(path)).header("content-type", kind).body(body);
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or(Value::Null))
}

async fn get(node: &Node, path: &str) -> (StatusCode, Value) {
    let answer = reqwest::get(node.url(path)).await.unwrap();
    for header in ["x-aptos-chain-id", "x-aptos-ledger-version", "x-aptos-ledger-timestampusec"] {
        assert!(answer.headers().contains_key(header), "{path} without {header}");
    }
    (answer.status(), answer.json().await.unwrap())
}

/// The node still does its work.
async fn check_alive(node: &Node) {
    let account = node.funded(APT).await;
    assert_eq!(node.aptos.get_balance(account.address()).await.unwrap(), APT);
}

#[tokio::test]
async fn garbage_bodies_get_json_errors() {
    let node = Node::start();
    let cases = [
        ("/v1/transactions", BCS, vec![], 400),
        ("/v1/transactions", BCS, vec![0xff; 100_000], 400),
        ("/v1/transactions", BCS, b"{}".to_vec(), 400),
        ("/v1/transactions", "application/json", b"{}".to_vec(), 400),
        ("/v1/transactions", "text/plain", b"{}".to_vec(), 415),
        ("/v1/transactions/batch", "application/json", b"[]".to_vec(), 415),
        ("/v1/transactions/simulate", "application/json", b"[]".to_vec(), 400),
        ("/v1/transactions/simulate", BCS, vec![0; 7], 400),
        ("/v1/view", "application/json", b"{".to_vec(), 400),
        ("/v1/view", "application/json", b"{\"function\":1}".to_vec(), 400),
        ("/v1/view", "application/x.aptos.view_function+bcs", vec![1; 40], 400),
        ("/v1/tables/0x1/item", "application/json", b"[]".to_vec(), 400),
        ("/mint?address=zzz&amount=1", "text/plain", vec![], 400),
        ("/mint?address=0x1&amount=-1", "text/plain", vec![], 400),
        ("/mint", "text/plain", vec![], 400),
        ("/fund", "application/json", b"{}".to_vec(), 400),
        ("/v1/nothing", "application/json", vec![], 404),
    ];
    for (path, kind, body, status) in cases {
        let (found, answer) = post(&node, path, kind, body).await;
        assert_eq!(found.as_u16(), status, "{path} {answer}");
        assert!(answer["message"].is_string(), "{path} {answer}");
        assert!(answer["error_code"].is_string(), "{path} {answer}");
    }
    check_alive(&node).await;
    node.stop().await;
}

#[tokio::test]
async fn deeply_nested_type_arguments_are_refused() {
    let node = Node::start();
    // A view request with one type argument: vector<vector<…>>, a hundred thousand deep.
    let mut body = vec![0; 31];
    body.extend([1, 1, b'a', 1, b'b', 1]);
    body.extend(vec![6; 100_000]);
    let (status, _) = post(&node, "/v1/view", "application/x.aptos.view_function+bcs", body).await;
    assert_eq!(status, 400);
    let deep = format!("{}u8{}", "vector<".repeat(50_000), ">".repeat(50_000));
    let body = json!({"function": "0x1::coin::balance", "type_arguments": [deep], "arguments": []});
    let (status, _) = post(&node, "/v1/view", "application/json", body.to_string().into()).await;
    assert_eq!(status, 400);
    check_alive(&node).await;
    node.stop().await;
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused() {
    let node = Node::start();
    let (status, _) = post(&node, "/v1/transactions", BCS, vec![0; 9 * 1024 * 1024]).await;
    assert_eq!(status, 413);
    check_alive(&node).await;
    node.stop().await;
}

#[tokio::test]
async fn things_that_are_not_there_are_404_with_aptos_codes() {
    let node = Node::start();
    let hash = "0".repeat(64);
    let cases = [
        ("/v1/accounts/0xabc".to_owned(), "account_not_found"),
        ("/v1/accounts/0x1/resource/0x1::a::B".to_owned(), "resource_not_found"),
        ("/v1/accounts/0x1/module/nothing".to_owned(), "module_not_found"),
        (format!("/v1/transactions/by_hash/0x{hash}"), "transaction_not_found"),
        (format!("/v1/transactions/wait_by_hash/0x{hash}"), "transaction_not_found"),
        ("/v1/transactions/by_version/999999".to_owned(), "version_not_found"),
        ("/v1/transactions?start=999999".to_owned(), "version_not_found"),
        ("/v1/blocks/by_height/999999".to_owned(), "block_not_found"),
        ("/v1/blocks/by_version/999999".to_owned(), "block_not_found"),
    ];
    for (path, code) in cases {
        let (status, body) = get(&node, &path).await;
        assert_eq!((status.as_u16(), &body["error_code"]), (404, &json!(code)), "{path}");
    }
    for path in [
        "/v1/accounts/xyz",
        "/v1/accounts/0x1/resource/nonsense",
        "/v1/transactions/by_hash/0x12",
        "/v1/transactions/by_version/-1",
        "/v1/transactions?limit=0",
        "/v1/accounts/0x1/resources?start=zz",
    ] {
        let (status, body) = get(&node, path).await;
        assert!(status == 400 || status == 404, "{path} {status}");
        assert!(body["message"].is_string(), "{path} {body}");
    }
    node.stop().await;
}

#[tokio::test]
async fn an_offline_node_answers_503_and_comes_back() {
    let node = Node::start();
    node.chain.set_online(false);
    for path in ["/v1", "/v1/accounts/0x1"] {
        let answer = reqwest::get(node.url(path)).await.unwrap();
        assert_eq!(answer.status(), 503);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error_code"], json!("service_unavailable"));
    }
    node.chain.set_online(true);
    check_alive(&node).await;
    node.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let node = Node::start();
    let mut names = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let from = cursor.map_or(String::new(), |cursor| format!("&start={cursor}"));
        let path = format!("/v1/accounts/0x1/modules?limit=7{from}");
        let answer = reqwest::get(node.url(&path)).await.unwrap();
        let next = answer.headers().get("x-aptos-cursor").cloned();
        let page: Vec<Value> = answer.json().await.unwrap();
        assert!(page.len() <= 7);
        names.extend(page.iter().map(|one| one["abi"]["name"].to_string()));
        match next {
            Some(next) => cursor = Some(next.to_str().unwrap().to_owned()),
            None => break,
        }
    }
    let all: Vec<Value> =
        reqwest::get(node.url("/v1/accounts/0x1/modules")).await.unwrap().json().await.unwrap();
    let expected: Vec<_> = all.iter().map(|one| one["abi"]["name"].to_string()).collect();
    assert_eq!(names, expected);
    assert!(names.len() > 20);
    node.stop().await;
}
