//! Batches: every line answered or explained, paid once or not at all, whatever dies meanwhile.

use crate::support::{
    Disk, TestApp,
    batch::{chat_line, lines, paid},
    chain::TestChain,
    client::{Client, refusal},
    eventually, limits,
    node::{Node, linked},
    spawn_app, spawn_app_with, start,
};
use cactus_protocol::{Octas, Prompt, SecretKey, TaskId, Work, frame::Task};
use cactus_routing_server::Limits;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
};

fn question(task: &Task) -> String {
    let Work::Chat(request) = &task.work else { panic!("no text") };
    let Prompt::Messages(messages) = &request.prompt else { panic!("no messages") };
    messages[0].content.clone()
}

/// The node answers each question with itself.
fn echo(node: Node, app: &TestApp) {
    node.serve_each(app, |task| vec![question(task)]);
}

fn numbered(count: usize) -> String {
    let all: Vec<_> =
        (0..count).map(|n| chat_line(&format!("id-{n}"), &format!("question {n}"))).collect();
    lines(&all)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_batch_are_answered_by_many_nodes_and_each_is_paid() {
    let app = spawn_app();
    for _ in 0..3 {
        echo(Node::link(&app).await, &app);
    }
    linked(&app, 3).await;
    let client = Client::funded(&app);
    let file = client.uploaded(&numbered(30)).await;
    let id = client.batch(&file, "24h").await;
    let batch = client.batch_in(&id, "completed").await;
    assert_eq!(batch["request_counts"], json!({"total": 30, "completed": 30, "failed": 0}));
    assert_eq!((&batch["errors"], &batch["error_file_id"]), (&json!(null), &json!(null)));
    assert_eq!(batch["metadata"], json!({"for": "a test"}));
    for time in ["in_progress_at", "finalizing_at", "completed_at", "expires_at"] {
        assert!(batch[time].is_u64(), "{time}");
    }
    let output = client.lines_of(&batch["output_file_id"]).await;
    assert_eq!(output.len(), 30);
    let mut nodes = std::collections::HashSet::new();
    for (n, line) in output.iter().enumerate() {
        assert_eq!(line["custom_id"], format!("id-{n}"));
        assert_eq!((&line["error"], &line["response"]["status_code"]), (&json!(null), &json!(200)));
        let body = &line["response"]["body"];
        assert_eq!(body["choices"][0]["message"]["content"], format!("question {n}"));
        nodes.insert(body["cactus"]["node"].to_string());
        app.settled(body["cactus"]["task"].as_str().unwrap()).await;
    }
    assert!(nodes.len() > 1, "one node did it all");
    assert_eq!(paid(&app).len(), 30);
    let listed = client.read("/v1/batches?limit=5").await;
    assert_eq!(listed["data"][0]["id"], id.as_str());
    let stranger = Client::funded(&app);
    assert_eq!(refusal(stranger.get(&format!("/v1/batches/{id}")).await).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_cannot_be_answered_is_explained_and_the_others_go_on() {
    let app = spawn_app_with(Limits { batch_patience_ms: 0, ..limits() });
    echo(Node::link(&app).await, &app);
    let client = Client::funded(&app);
    let mut unknown = chat_line("b", "?");
    unknown["body"]["model"] = "gpt-9".into();
    let file = client.uploaded(&lines(&[chat_line("a", "one"), unknown])).await;
    let id = client.batch(&file, "24h").await;
    let batch = client.batch_in(&id, "completed").await;
    assert_eq!(batch["request_counts"], json!({"total": 2, "completed": 1, "failed": 1}));
    let errors = client.lines_of(&batch["error_file_id"]).await;
    assert_eq!((&errors[0]["custom_id"], errors.len()), (&json!("b"), 1));
    assert_eq!(errors[0]["response"]["status_code"], 404);
    assert_eq!(errors[0]["response"]["body"]["error"]["code"], "model_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_line_fails_the_batch_before_anything_is_paid() {
    let app = spawn_app();
    echo(Node::link(&app).await, &app);
    let client = Client::funded(&app);
    let check = async |content: String, expected: &[(u64, &str)]| {
        let file = client.uploaded(&content).await;
        let id = client.batch(&file, "1h").await;
        let batch = client.batch_in(&id, "failed").await;
        let errors = batch["errors"]["data"].as_array().unwrap().clone();
        let found: Vec<_> = errors
            .iter()
            .map(|e| (e["line"].as_u64().unwrap_or(0), e["code"].as_str().unwrap()))
            .collect();
        assert_eq!(found, expected, "{content}");
        assert_eq!(batch["request_counts"]["total"], 0);
    };
    let changed = |change: fn(&mut Value)| {
        let mut line = chat_line("a", "x");
        change(&mut line);
        lines(&[line])
    };
    let twice = lines(&[chat_line("a", "x"), chat_line("b", "x"), chat_line("a", "y")]);
    check(twice, &[(3, "duplicate_custom_id")]).await;
    check("{\n\n[]\n".into(), &[(1, "invalid_json_line"), (2, "invalid_json_line")]).await;
    check("\n \n".into(), &[(0, "empty_file")]).await;
    check(changed(|l| l["method"] = "GET".into()), &[(1, "invalid_method")]).await;
    check(changed(|l| l["url"] = "/v1/completions".into()), &[(1, "invalid_url")]).await;
    check(changed(|l| l["body"]["n"] = 2.into()), &[(1, "unsupported_parameter")]).await;
    check(changed(|l| l["body"]["stream"] = true.into()), &[(1, "unsupported_parameter")]).await;
    check(changed(|l| l["body"]["temperature"] = 9.into()), &[(1, "invalid_value")]).await;
    check("x".repeat(2 << 20), &[(1, "line_too_long"), (2, "invalid_json_line")]).await;
    assert!(app.chain.closed().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_asked_for_in_openais_words() {
    let app = spawn_app();
    let client = Client::funded(&app);
    let file = client.uploaded("{}").await;
    let usual = json!({"input_file_id": file, "endpoint": "/v1/chat/completions",
        "completion_window": "24h"});
    for (field, value, code) in [
        ("endpoint", json!("/v1/images"), "invalid_value"),
        ("completion_window", json!("soon"), "invalid_value"),
        ("completion_window", json!("0h"), "invalid_value"),
        ("completion_window", json!("169h"), "invalid_value"),
        ("metadata", json!({"a": 1}), "invalid_json"),
        ("metadata", json!({"a": "x".repeat(600)}), "invalid_value"),
        ("input_file_id", json!(5), "invalid_json"),
    ] {
        let mut body = usual.clone();
        body[field] = value;
        let (status, error) = refusal(client.post_to("/v1/batches", body).await).await;
        assert_eq!((status, error["code"].as_str()), (400, Some(code)), "{field}");
    }
    assert_eq!(refusal(client.get("/v1/batches?limit=0").await).await.0, 400);
    assert_eq!(refusal(client.get("/v1/batches?limit=x").await).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_begins_no_line_and_keeps_what_was_answered() {
    let app = spawn_app_with(Limits { batch_lines: 2, ..limits() });
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let file = client.uploaded(&numbered(6)).await;
    let id = client.batch(&file, "24h").await;
    let (first, second) = (node.task().await, node.task().await);
    let path = format!("/v1/files/{file}");
    let in_use = client.signed(reqwest::Method::DELETE, &path, vec![]).send().await.unwrap();
    let (status, error) = refusal(in_use).await;
    assert_eq!((status, error["code"].as_str()), (409, Some("file_in_use")));

    let cancel = format!("/v1/batches/{id}/cancel");
    let cancelled = client.post_to(&cancel, json!({})).await;
    assert_eq!(cancelled.json::<Value>().await.unwrap()["status"], "cancelling");
    node.answer(&app, &first, &["one"]).await;
    node.answer(&app, &second, &["two"]).await;
    let batch = client.batch_in(&id, "cancelled").await;
    assert_eq!(batch["request_counts"], json!({"total": 6, "completed": 2, "failed": 4}));
    assert_eq!(client.lines_of(&batch["output_file_id"]).await.len(), 2);
    let errors = client.lines_of(&batch["error_file_id"]).await;
    assert!(errors.iter().all(|line| line["error"]["code"] == "batch_cancelled"));
    let again = refusal(client.post_to(&cancel, json!({})).await).await;
    assert_eq!((again.0, again.1["code"].as_str()), (409, Some("batch_ended")));
    eventually(async || (paid(&app).len() == 2).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_time_is_over_says_which_lines_never_ran() {
    let app = spawn_app();
    // Nobody serves the model.
    let client = Client::funded(&app);
    let file = client.uploaded(&numbered(3)).await;
    let id = client.batch(&file, "1s").await;
    let batch = client.batch_in(&id, "expired").await;
    assert_eq!(batch["request_counts"], json!({"total": 3, "completed": 0, "failed": 3}));
    let errors = client.lines_of(&batch["error_file_id"]).await;
    assert!(errors.iter().all(|line| line["error"]["code"] == "batch_expired"));
    assert!(batch["expired_at"].is_u64() && batch["output_file_id"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_spends_no_more_than_its_order() {
    let app = spawn_app_with(Limits { batch_patience_ms: 0, batch_lines: 1, ..limits() });
    echo(Node::link(&app).await, &app);
    // Each line locks 244,000 octas at most and costs 6,000: the order covers one lock at a time,
    // and three payments leave too little for a fourth.
    let client = Client::new(&app, (Octas(262_000), Octas(262_000)));
    app.chain.deposit(client.key.address(), Octas(10_000_000));
    let file = client.uploaded(&numbered(40)).await;
    let id = client.batch(&file, "24h").await;
    let batch = client.batch_in(&id, "completed").await;
    let counts = &batch["request_counts"];
    assert!(counts["completed"].as_u64().unwrap() >= 1, "{counts}");
    assert!(counts["failed"].as_u64().unwrap() >= 30, "{counts}");
    let errors = client.lines_of(&batch["error_file_id"]).await;
    assert!(errors.iter().all(|line| line["response"]["status_code"] == 402));
    let spent = 10_000_000 - app.chain.balance_of(client.key.address()).available.0;
    assert!(spent <= 262_000, "{spent}");
}

/// A server is killed after so many lines; another one goes on from what the disk held.
async fn killed_after(answered: u64) {
    const LINES: usize = 24;
    let chain = TestChain::new();
    chain.carries.store(false, SeqCst);
    let key = SecretKey::random();
    let first = start(chain.clone(), key.clone(), (Disk::new(), limits()));
    let asked: Arc<Mutex<HashMap<TaskId, String>>> = Arc::default();
    let recording = |asked: &Arc<Mutex<HashMap<TaskId, String>>>| {
        let asked = Arc::clone(asked);
        move |task: &Task| {
            asked.lock().unwrap().insert(task.task_id, question(task));
            vec![question(task)]
        }
    };
    Node::link(&first).await.serve_each(&first, recording(&asked));
    let client = Client::funded(&first);
    let file = client.uploaded(&numbered(LINES)).await;
    let id = client.batch(&file, "24h").await;
    let is_there =
        |batch: &Value| batch["request_counts"]["completed"].as_u64().unwrap() >= answered;
    client.batch_when(&id, is_there).await;
    let disk = first.snapshot().await;

    chain.carries.store(true, SeqCst);
    let again = start(chain.clone(), key, (disk, limits()));
    Node::link(&again).await.serve_each(&again, recording(&asked));
    let batch = client.at(&again).batch_in(&id, "completed").await;
    assert_eq!(batch["request_counts"]["completed"], LINES);
    let output = client.at(&again).lines_of(&batch["output_file_id"]).await;
    for line in &output {
        let task = line["response"]["body"]["cactus"]["task"].as_str().unwrap();
        assert_eq!(again.settled(task).await["state"], "settled");
    }
    let asked = asked.lock().unwrap();
    let mut questions: Vec<_> = paid(&again).iter().map(|task| asked[task].clone()).collect();
    questions.sort();
    questions.dedup();
    assert_eq!((questions.len(), paid(&again).len()), (LINES, LINES));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_first_answer_every_line_is_paid_once() {
    killed_after(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_every_line_is_paid_once() {
    killed_after(7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_last_answer_every_line_is_paid_once() {
    killed_after(24).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_lets_its_lines_end_and_the_next_one_goes_on() {
    let app = spawn_app_with(Limits { batch_lines: 1, ..limits() });
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let file = client.uploaded(&numbered(3)).await;
    let id = client.batch(&file, "24h").await;
    let task = node.task().await;
    app.shutdown.cancel();
    node.answer(&app, &task, &["one"]).await;
    let mut app = app;
    let running = std::mem::replace(&mut app.running, tokio::spawn(async { Ok(()) }));
    running.await.unwrap().unwrap();

    let disk = app.snapshot().await;
    let again = start(app.chain.clone(), app.key.clone(), (disk, limits()));
    echo(Node::link(&again).await, &again);
    let batch = client.at(&again).batch_in(&id, "completed").await;
    assert_eq!(batch["request_counts"]["completed"], 3);
    eventually(async || (paid(&again).len() == 3).then_some(())).await;
}
