//! Several choices, plain completions, log probabilities and quotes.

use crate::support::{
    client::{Client, EventReader, refusal},
    node::{Identity, Node, linked},
    spawn_app,
};
use cactus_protocol::{Prompt, Work, frame::Task};
use serde_json::{Value, json};
use std::collections::HashSet;

const WORDS: &[&str] = &["one ", "two"];

fn prompt_of(task: &Task) -> (String, u64) {
    let Work::Chat(request) = &task.work else { panic!("no text") };
    let Prompt::Text(text) = &request.prompt else { panic!("no plain prompt") };
    (text.clone(), request.sampling.seed)
}

#[tokio::test(flavor = "multi_thread")]
async fn several_choices_are_tasks_of_their_own_with_seeds_of_their_own() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let fields = json!({"n": 3, "seed": 7});
    let serving = async {
        let mut seeds = HashSet::new();
        for _ in 0..3 {
            let task = node.task().await;
            let Work::Chat(request) = &task.work else { panic!("no text") };
            seeds.insert(request.sampling.seed);
            node.answer(&app, &task, WORDS).await;
        }
        seeds
    };
    let (response, seeds) = tokio::join!(client.chat(fields), serving);
    assert_eq!(response.status(), 200);
    let body: Value = response.json().await.unwrap();
    let choices = body["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 3);
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(
            (choice["index"].as_u64(), &choice["finish_reason"]),
            (Some(index as u64), &json!("stop"))
        );
        assert_eq!(choice["message"]["content"], "one two");
    }
    assert!(seeds.len() == 3 && seeds.contains(&7));
    assert_eq!(
        body["usage"],
        json!({"prompt_tokens": 15, "completion_tokens": 6, "total_tokens": 21})
    );
    for choice in body["cactus"]["choices"].as_array().unwrap() {
        let settled = app.settled(choice["task"].as_str().unwrap()).await;
        assert_eq!(settled["state"], "settled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn choices_are_streamed_as_they_come_and_each_is_whole() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let serving = async {
        let first = node.task().await;
        let second = node.task().await;
        node.delta(&second, 0, "b1").await;
        node.delta(&first, 0, "a1").await;
        node.delta(&second, 1, "b2").await;
        node.delta(&first, 1, "a2").await;
        for (task, words) in [(&first, ["a1", "a2"]), (&second, ["b1", "b2"])] {
            let mut receipt = node.receipt(task, &words);
            receipt.server = app.server;
            node.done(receipt).await;
        }
    };
    let fields = json!({"n": 2, "stream": true, "stream_options": {"include_usage": true}});
    let reading = async { EventReader::new(client.chat(fields).await).rest().await };
    let (events, ()) = tokio::join!(reading, serving);
    let (mut texts, mut ends) = ([String::new(), String::new()], 0);
    for event in &events {
        let choice = &event["choices"][0];
        let Some(index) = choice["index"].as_u64() else { continue };
        let text = choice["delta"]["content"].as_str().unwrap_or_default();
        texts[usize::try_from(index).unwrap()].push_str(text);
        ends += u8::from(choice["finish_reason"] == "stop");
    }
    assert_eq!((texts, ends), (["a1a2".to_owned(), "b1b2".to_owned()], 2));
    let tail = &events[events.len() - 2..];
    assert_eq!(tail[0]["usage"]["completion_tokens"], 4);
    assert_eq!(tail[0]["cactus"]["choices"].as_array().unwrap().len(), 2);
    assert_eq!(tail[1], "[DONE]");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_choice_fails_the_others_are_stopped() {
    let app = spawn_app();
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    let serving = async {
        let first = node.task().await;
        let second = node.task().await;
        node.delta(&first, 0, "a").await;
        node.delta(&second, 0, "b").await;
        node.fail(&second, cactus_protocol::frame::Failure::Internal).await;
        node.cancelled(first.task_id).await;
    };
    let fields = json!({"n": 2, "stream": true});
    let reading = async { EventReader::new(client.chat(fields).await).rest().await };
    let (events, ()) = tokio::join!(reading, serving);
    assert_eq!(events.last().unwrap()["error"]["code"], "node_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_completions_go_on_from_each_prompt() {
    let app = spawn_app();
    let mut node = Node::link_as(&app, Identity::able(&app)).await;
    let client = Client::funded(&app);
    let body = json!({"model": "sprout", "prompt": ["x", "y"], "logprobs": 2, "max_tokens": 9});
    let serving = async {
        for _ in 0..2 {
            let task = node.task().await;
            let words = if prompt_of(&task).0 == "x" { ["after ", "x"] } else { ["after ", "y"] };
            node.answer(&app, &task, &words).await;
        }
    };
    let (response, ()) = tokio::join!(client.post_to("/v1/completions", body), serving);
    assert_eq!(response.status(), 200);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["object"], "text_completion");
    assert!(body["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!(body["choices"][0]["text"], "after x");
    assert_eq!(body["choices"][1]["text"], "after y");
    let logprobs = &body["choices"][1]["logprobs"];
    assert_eq!(logprobs["tokens"], json!(["after ", "y"]));
    assert_eq!(logprobs["token_logprobs"], json!([-0.5, -0.5]));
    assert_eq!(logprobs["text_offset"], json!([0, 6]));
    assert_eq!(logprobs["top_logprobs"][0], json!({"a": -1.0, "b": -2.0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_plain_completion_has_its_own_chunks() {
    let app = spawn_app();
    let mut node = Node::link_as(&app, Identity::able(&app)).await;
    let client = Client::funded(&app);
    let body = json!({"model": "sprout", "prompt": "x", "stream": true, "logprobs": 0});
    let serving = async {
        let task = node.task().await;
        node.answer(&app, &task, WORDS).await;
    };
    let (response, ()) = tokio::join!(client.post_to("/v1/completions", body), serving);
    let events = EventReader::new(response).rest().await;
    let texts: String = events.iter().filter_map(|e| e["choices"][0]["text"].as_str()).collect();
    assert_eq!(texts, "one two");
    assert_eq!(events[0]["object"], "text_completion");
    assert_eq!(events[1]["choices"][0]["logprobs"]["text_offset"], json!([4]));
    assert_eq!(events.last().unwrap(), "[DONE]");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_probabilities_come_with_each_token_of_a_chat() {
    let app = spawn_app();
    let mut node = Node::link_as(&app, Identity::able(&app)).await;
    let client = Client::funded(&app);
    for stream in [false, true] {
        let fields = json!({"logprobs": true, "top_logprobs": 1, "stream": stream});
        let serving = async {
            let task = node.task().await;
            node.answer(&app, &task, WORDS).await;
        };
        let (response, ()) = tokio::join!(client.chat(fields), serving);
        let tokens: Vec<Value> = if stream {
            let events = EventReader::new(response).rest().await;
            let parts =
                events.iter().filter_map(|e| e["choices"][0]["logprobs"]["content"].as_array());
            parts.flatten().cloned().collect()
        } else {
            let body: Value = response.json().await.unwrap();
            body["choices"][0]["logprobs"]["content"].as_array().unwrap().clone()
        };
        assert_eq!(tokens.len(), 2);
        assert_eq!(tokens[0]["token"], "one ");
        assert_eq!(tokens[0]["logprob"], -0.5);
        assert_eq!(tokens[0]["top_logprobs"][0]["token"], "a");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_engine_does_is_refused_before_anybody_pays() {
    let app = spawn_app();
    let _node = Node::link(&app).await;
    linked(&app, 1).await;
    let client = Client::funded(&app);
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {}}});
    for (fields, param) in [
        (json!({"logprobs": true}), "logprobs"),
        (json!({"response_format": format}), "response_format"),
    ] {
        let (status, error) = refusal(client.chat(fields).await).await;
        assert_eq!((status, error["param"].as_str()), (400, Some(param)));
        assert_eq!(error["code"], "unsupported_parameter");
    }
    let plain = json!({"model": "sprout", "prompt": "x"});
    let (status, error) = refusal(client.post_to("/v1/completions", plain).await).await;
    assert_eq!((status, error["param"].as_str()), (400, Some("prompt")));
    assert!(app.chain.closed().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_says_what_each_node_would_cost_and_runs_nothing() {
    let app = spawn_app();
    let cheap = Identity { price: cactus_protocol::Octas(100), ..Identity::registered(&app) };
    let _cheap = Node::link_as(&app, cheap).await;
    let _dear = Node::link(&app).await;
    linked(&app, 2).await;
    let client = Client::funded(&app);
    let body = json!({"model": "sprout", "max_tokens": 1_000, "n": 2,
        "messages": [{"role": "user", "content": "count"}]});
    let response = client.post_to("/v1/quote", body).await;
    assert_eq!(response.status(), 200);
    let quote: Value = response.json().await.unwrap();
    let choice = &quote["choices"][0];
    assert_eq!(choice["max_tokens"], 1_000);
    assert_eq!(choice["eligible"].as_array().unwrap().len(), 2);
    // 1,000 tokens and a prompt of at most 37, at 100 and at 1,000,000 octas per 1,000 tokens.
    assert_eq!(choice["least_octas"], 104);
    assert_eq!(choice["most_octas"], 1_037_000);
    assert_eq!(quote["most_octas"], 2 * 1_037_000);
    let nothing = client.post_to("/v1/quote", json!({"model": "sprout"})).await;
    assert_eq!(refusal(nothing).await.0, 400);
    assert!(app.chain.closed().is_empty());
}
