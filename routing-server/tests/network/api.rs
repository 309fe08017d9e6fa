//! Bad requests and bad credentials: an error in OpenAI's shape, and the server lives on.

use crate::support::{
    Disk,
    chain::TestChain,
    client::{Client, chat_body, refusal},
    eventually, limits,
    node::{CONTEXT, Node, linked},
    spawn_app, spawn_app_with, start,
};
use cactus_protocol::SecretKey;
use cactus_routing_server::Limits;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::atomic::Ordering::SeqCst;

const CHAT: &str = "/v1/chat/completions";

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_in_openais_shape_and_the_server_lives_on() {
    let app = spawn_app();
    Node::link(&app).await.serve(&app, &["ok"]);
    let client = Client::funded(&app);
    let check = async |body: Vec<u8>, status: u16, code: &str| {
        let (got, error) = refusal(client.post(body).await).await;
        assert_eq!((got, error["code"].as_str().unwrap()), (status, code));
    };
    check(b"{\"model\": ".to_vec(), 400, "invalid_json").await;
    check(vec![0xff; 100], 400, "invalid_json").await;
    check(b"{}".to_vec(), 400, "invalid_json").await;
    check(vec![b'['; 100_000], 400, "invalid_json").await;
    let unknown = chat_body(json!({"model": "gpt-9"}));
    check(unknown, 404, "model_not_found").await;
    for bad in [json!(-5), json!(0), json!(1e300), json!("7"), json!(2.5)] {
        let code = if bad.is_string() { "invalid_json" } else { "invalid_value" };
        check(chat_body(json!({"max_tokens": bad})), 400, code).await;
    }
    let over = chat_body(json!({"max_tokens": CONTEXT}));
    check(over, 400, "context_length_exceeded").await;
    check(chat_body(json!({"n": 300})), 400, "invalid_value").await;
    check(chat_body(json!({"tools": [{}]})), 400, "unsupported_parameter").await;
    let logprobs = chat_body(json!({"logprobs": true}));
    check(logprobs, 400, "unsupported_parameter").await;
    check(vec![b' '; 10 << 20], 413, "body_too_large").await;
    assert_eq!(client.chat(json!({})).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_over_the_context_is_the_clients_to_change() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let long = json!([{"role": "user", "content": "x".repeat(100_000)}]);
    let (response, ()) = tokio::join!(client.chat(json!({"messages": long})), async {
        let task = node.task().await;
        node.fail(&task, cactus_protocol::frame::Failure::BadRequest).await;
    });
    let (status, error) = refusal(response).await;
    assert_eq!(status, 400);
    assert_eq!(error["code"], "context_length_exceeded");
    assert!(error["message"].as_str().unwrap().contains("because"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_served_without_proof_of_who_they_are() {
    let app = spawn_app();
    Node::link(&app).await.serve(&app, &["ok"]);
    let client = Client::funded(&app);
    let body = chat_body(json!({}));
    let check = async |authorization: Option<String>, body: &[u8]| {
        let mut request = client.bare(Method::POST, CHAT, body.to_vec());
        if let Some(value) = authorization {
            request = request.header("Authorization", value);
        }
        let (status, error) = refusal(request.send().await.unwrap()).await;
        assert_eq!(status, 401, "{error}");
        assert_eq!(error["type"], "authentication_error");
    };
    check(None, &body).await;
    check(Some("Bearer ck_00".into()), &body).await;
    check(Some("Basic eDp5".into()), &body).await;
    check(Some("Cactus zz".into()), &body).await;
    let claim = || client.claim("POST", CHAT, &body);
    let mut wrong = vec![claim(), claim(), claim(), claim(), claim(), claim()];
    wrong[0].method = "GET".into();
    wrong[1].path = "/v1/keys".into();
    wrong[2].server = client.key.address();
    wrong[3].time_ms -= 61_000;
    wrong[4].time_ms += 61_000;
    wrong[5].client = SecretKey::random().address();
    for claim in wrong {
        check(Some(client.sign(claim)), &body).await;
    }
    let other_body = chat_body(json!({"max_tokens": 7}));
    check(Some(client.sign(claim())), &other_body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_counts_once() {
    let app = spawn_app();
    let client = Client::funded(&app);
    let claim = client.sign(client.claim("GET", "/v1/balance", b""));
    let send = async || {
        let request = client.bare(Method::GET, "/v1/balance", vec![]);
        request.header("Authorization", &claim).send().await.unwrap()
    };
    assert_eq!(send().await.status(), 200);
    let (status, error) = refusal(send().await).await;
    assert_eq!(status, 401);
    assert!(error["message"].as_str().unwrap().contains("nonce"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_public_says_who_serves_what() {
    let app = spawn_app();
    let node = Node::link(&app).await;
    let operator = node.identity.operator.address();
    linked(&app, 1).await;
    let get = async |path: &str| {
        let response = reqwest::get(app.url(path)).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.json::<Value>().await.unwrap()
    };
    let models = get("/v1/models").await;
    assert_eq!(models["data"][0]["id"], "sprout");
    assert_eq!(get("/v1/models/sprout").await["context_length"], CONTEXT);
    let nodes = get("/v1/nodes").await;
    assert_eq!(nodes["data"][0]["operator"], operator.to_string());
    let score = get(&format!("/v1/nodes/{operator}/score?model=sprout")).await;
    let terms = &score["nodes"][0]["terms"];
    for term in ["stake", "success", "latency", "price", "verification"] {
        assert!((0.0..=1.0).contains(&terms[term].as_f64().unwrap()));
    }
    let server = get("/v1/server").await;
    assert_eq!(server["server"], app.server.to_string());
    assert_eq!(server["chain_id"], 4);
    assert_eq!(server["fees"]["server_bps"], 500);
    assert_eq!(get("/healthz").await["status"], "ok");
    assert_eq!(get("/readyz").await["nodes"], 1);
    let metrics = reqwest::get(app.url("/metrics")).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("cactus_router_linked_nodes 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_in_openais_shape() {
    let app = spawn_app();
    let unknown_task = format!("/v1/tasks/0x{}", "0".repeat(64));
    for path in ["/v1/nothing", "/v1/models/x", "/v1/nodes/0x1/score", &unknown_task] {
        let response = reqwest::get(app.url(path)).await.unwrap();
        assert_eq!(refusal(response).await.0, 404, "{path}");
    }
    for path in ["/v1/tasks/zz", "/v1/nodes/zz/score"] {
        let response = reqwest::get(app.url(path)).await.unwrap();
        assert_eq!(refusal(response).await.0, 400, "{path}");
    }
    let ready = reqwest::get(app.url("/readyz")).await.unwrap();
    assert_eq!(ready.status(), 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_a_code_and_the_trace_id_of_its_request() {
    let app = spawn_app();
    let client = Client::funded(&app);
    let check = async |request: reqwest::RequestBuilder, status: u16, code: &str| {
        let response = request.send().await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let allow = response.headers().get("allow").cloned();
        let (got, error) = refusal(response).await;
        assert_eq!((got, error["code"].as_str().unwrap()), (status, code));
        assert_eq!(error["trace_id"], id.as_str());
        allow.map(|allow| allow.to_str().unwrap().to_owned())
    };
    check(client.bare(Method::GET, "/nothing", vec![]), 404, "not_found").await;
    let get_chat = client.bare(Method::GET, CHAT, vec![]);
    let allow = check(get_chat, 405, "method_not_allowed").await;
    assert_eq!(allow.as_deref(), Some("POST"));
    let put = client.bare(Method::PUT, "/v1/models", b"x".to_vec());
    assert_eq!(check(put, 405, "method_not_allowed").await.as_deref(), Some("GET"));
    let text = client.signed(Method::POST, CHAT, chat_body(json!({})));
    let text = text.header("Content-Type", "text/plain");
    check(text, 415, "unsupported_media_type").await;
    let json = client.signed(Method::POST, CHAT, chat_body(json!({})));
    let json = json.header("Content-Type", "application/json; charset=utf-8");
    check(json, 404, "model_not_found").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unauthorised_server_is_not_ready_and_takes_no_task_until_the_admin_lets_it() {
    let chain = TestChain::new();
    chain.authorizes.store(false, SeqCst);
    let app = start(chain, SecretKey::random(), (Disk::new(), limits()));
    Node::link(&app).await.serve(&app, &["ok"]);
    let client = Client::funded(&app);
    let (status, error) = refusal(client.chat(json!({})).await).await;
    assert_eq!((status, error["code"].as_str()), (503, Some("server_not_authorized")));
    let ready = reqwest::get(app.url("/readyz")).await.unwrap();
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.json::<Value>().await.unwrap()["authorized"], false);

    app.chain.authorizes.store(true, SeqCst);
    eventually(async || {
        let ready = reqwest::get(app.url("/readyz")).await.unwrap();
        (ready.status() == 200).then_some(())
    })
    .await;
    assert_eq!(client.chat(json!({})).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_has_only_so_many_answers_under_way() {
    let limits = Limits { streams_per_payer: 1, ..limits() };
    let app = spawn_app_with(limits);
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let (first, task) = tokio::join!(client.chat(json!({"stream": true})), async {
        let task = node.task().await;
        node.delta(&task, 0, "x").await;
        task
    });
    let second = client.chat(json!({})).await;
    assert!(second.headers().contains_key("retry-after"));
    assert_eq!(refusal(second).await.0, 429);
    drop(first);
    node.cancelled(task.task_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_its_page_are_served_whole() {
    let app = spawn_app();
    let document = reqwest::get(app.url("/openapi.json")).await.unwrap();
    assert_eq!(document.headers()["content-type"], "application/json");
    assert_eq!(document.json::<Value>().await.unwrap()["openapi"], "3.1.0");
    let page = reqwest::get(app.url("/docs")).await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("'none'"));
    let page = page.text().await.unwrap();
    assert!(page.contains("openapi.json") && !page.contains("https://"));
    let (status, error) = refusal(reqwest::get(app.url("/v1/link")).await.unwrap()).await;
    assert_eq!((status, error["code"].as_str()), (400, Some("upgrade_required")));
}

/// What the server says to a connection that sends this and no more, until it hangs up.
async fn last_words(app: &crate::support::TestApp, sent: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(app.address).await.unwrap();
    socket.write_all(sent).await.unwrap();
    let mut said = Vec::new();
    crate::support::within(socket.read_to_end(&mut said)).await.unwrap();
    String::from_utf8(said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_dawdle_are_closed() {
    let app = spawn_app_with(Limits { header_ms: 100, ..limits() });
    let silent = last_words(&app, b"").await;
    assert!(silent.is_empty() || silent.starts_with("HTTP/1.1 408"), "{silent}");
    let half_a_head = last_words(&app, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    assert!(half_a_head.starts_with("HTTP/1.1 408"), "{half_a_head}");
    let app = spawn_app_with(Limits { idle_ms: 100, ..limits() });
    let idle = last_words(&app, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(idle.starts_with("HTTP/1.1 200"), "{idle}");
    let app = spawn_app_with(Limits { body_ms: 100, ..limits() });
    let client = Client::funded(&app);
    let claim = client.sign(client.claim("POST", CHAT, b""));
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {claim}\r\nContent-Length: 50\r\n\r\nhalf"
    );
    let half_a_body = last_words(&app, head.as_bytes()).await;
    assert!(half_a_body.starts_with("HTTP/1.1 400"), "{half_a_body}");
    assert!(half_a_body.contains("invalid_body"), "{half_a_body}");
}
