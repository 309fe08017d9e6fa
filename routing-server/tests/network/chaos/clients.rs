//! Clients that read their answers, or leave.

use super::{
    Shared,
    script::{Answer, Asked, Conduct},
};
use futures::StreamExt;
use serde_json::{Value, json};
use std::{sync::Arc, time::Instant};
use tokio::time::timeout;

/// What a client saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The whole answer.
    Whole,
    /// It left after so many tokens.
    Left(u32),
    /// An error instead of the answer or in the middle of it.
    Error(String),
}

/// Asks once.
pub async fn ask(shared: Arc<Shared>, asked: Asked) -> (Asked, Seen) {
    let seen = match asked.conduct {
        Conduct::LeavesAfter(patience) => {
            match timeout(patience, read(&shared, asked, None)).await {
                Ok(seen) => seen,
                Err(_) => {
                    shared.left(asked.seed, Instant::now());
                    Seen::Left(0)
                }
            }
        }
        Conduct::LeavesAfterTokens(tokens) => read(&shared, asked, Some(tokens)).await,
        Conduct::Reads => read(&shared, asked, None).await,
    };
    (asked, seen)
}

async fn read(shared: &Shared, asked: Asked, leaves_after: Option<u32>) -> Seen {
    let answer = Answer::of(asked.seed);
    let body = json!({
        "model": "sprout",
        "messages": [{"role": "user", "content": "go"}],
        "seed": asked.seed.cast_signed(),
        "max_tokens": answer.max_tokens,
        "stream": asked.streams,
        "stream_options": asked.streams.then(|| json!({"include_usage": true})),
    });
    let request = shared.http.post(shared.app.url("/v1/chat/completions"));
    let response = request.bearer_auth(&shared.api_key).json(&body).send().await.unwrap();
    if response.status() != 200 {
        return Seen::Error(response.text().await.unwrap());
    }
    if asked.streams {
        return read_events(shared, (asked, answer), (response, leaves_after)).await;
    }
    let body: Value = response.json().await.unwrap();
    let choice = &body["choices"][0];
    let text = choice["message"]["content"].as_str().unwrap();
    check(answer, text, (&choice["finish_reason"], &body["usage"]))
}

async fn read_events(
    shared: &Shared,
    (asked, answer): (Asked, Answer),
    (response, leaves_after): (reqwest::Response, Option<u32>),
) -> Seen {
    let (mut bytes, mut buffer) = (response.bytes_stream(), Vec::new());
    let (mut text, mut tokens) = (String::new(), 0);
    let (mut reason, mut usage) = (Value::Null, Value::Null);
    while let Some(event) = next_event(&mut bytes, &mut buffer).await {
        if event["error"].is_object() {
            return Seen::Error(event.to_string());
        }
        let choice = &event["choices"][0];
        if let Some(part) = choice["delta"]["content"].as_str() {
            text.push_str(part);
            tokens += u32::from(!part.is_empty());
        }
        for (kept, new) in [(&mut reason, &choice["finish_reason"]), (&mut usage, &event["usage"])]
        {
            if !new.is_null() {
                *kept = new.clone();
            }
        }
        if leaves_after.is_some_and(|after| tokens >= after) {
            assert!(answer.text().starts_with(&text), "seed {}: {text}", asked.seed);
            shared.left(asked.seed, Instant::now());
            return Seen::Left(tokens);
        }
    }
    check(answer, &text, (&reason, &usage))
}

/// The next event; `None` after the last.
async fn next_event(
    bytes: &mut (impl StreamExt<Item = reqwest::Result<bytes::Bytes>> + Unpin),
    buffer: &mut Vec<u8>,
) -> Option<Value> {
    loop {
        if let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = buffer.drain(..end + 2).collect();
            return serde_json::from_slice(event.strip_prefix(b"data: ")?).ok();
        }
        buffer.extend(bytes.next().await?.unwrap());
    }
}

/// A finished answer must have each token once, and say so.
fn check(answer: Answer, text: &str, (reason, usage): (&Value, &Value)) -> Seen {
    assert_eq!(text, answer.text());
    assert_eq!(reason, answer.reason().as_str());
    let counts = [&usage["prompt_tokens"], &usage["completion_tokens"]];
    let expected = [super::script::PROMPT_TOKENS, answer.length];
    assert_eq!(counts.map(Value::as_u64), expected.map(|count| Some(u64::from(count))));
    Seen::Whole
}
