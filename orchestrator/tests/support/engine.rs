//! A server with the OpenAI API that does what the prompt says, or what the test set: the honest
//! one counts its words as tokens, the others lie, stall, break off or never end.

use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// How the server behaves towards everything but its list of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Understands token ids, log probabilities, JSON and text prompts.
    Vllm,
    /// Tells ids only with log probabilities, as llama.cpp does.
    LlamaCpp,
    /// Nothing but text and usage; refuses fields that OpenAI does not have.
    Plain,
}

pub struct FakeEngine {
    address: SocketAddr,
    pub manner: watch::Sender<Manner>,
    /// Streams that are open now.
    pub open: Arc<watch::Sender<usize>>,
    /// The last body that was asked.
    pub asked: Arc<watch::Sender<Value>>,
    pub requests: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    manner: watch::Receiver<Manner>,
    open: Arc<watch::Sender<usize>>,
    asked: Arc<watch::Sender<Value>>,
    requests: Arc<AtomicUsize>,
}

impl FakeEngine {
    pub async fn start(manner: Manner) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), manner).await
    }

    /// On an address where another one was before.
    pub async fn start_on(address: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let manner = watch::Sender::new(manner);
        let shared = Shared {
            manner: manner.subscribe(),
            open: Arc::new(watch::Sender::new(0)),
            asked: Arc::new(watch::Sender::new(Value::Null)),
            requests: Arc::default(),
        };
        let (open, asked) = (Arc::clone(&shared.open), Arc::clone(&shared.asked));
        let requests = Arc::clone(&shared.requests);
        let serving = tokio::spawn(async move {
            // Dropped with the server: connections end when it dies.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, shared.clone()));
            }
        });
        Self { address, manner, open, asked, requests, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The process dies.
    pub async fn die(self) -> SocketAddr {
        self.serving.abort();
        let _ = self.serving.await;
        self.address
    }

    /// Waits until no stream is open.
    pub async fn idle(&self) {
        let mut open = self.open.subscribe();
        let idle = open.wait_for(|count| *count == 0);
        tokio::time::timeout(super::PATIENCE, idle).await.expect("the engine stops").unwrap();
    }
}

/// One connection, one request after the other.
async fn serve(mut stream: TcpStream, shared: Shared) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = read_request(&mut stream, &mut buffer).await {
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let manner = *shared.manner.borrow();
        if head.starts_with("GET /v1/models") {
            let model = json!({"id": "remote", "max_model_len": 4096});
            respond(&mut stream, "200 OK", &json!({"data": [model]})).await;
            continue;
        }
        shared.asked.send_replace(body.clone());
        if let Some((status, reason)) = refusal(manner, &head, &body) {
            respond(&mut stream, status, &json!({"error": {"message": reason}})).await;
            continue;
        }
        shared.open.send_modify(|count| *count += 1);
        let _ = answer(&mut stream, manner, &body).await;
        shared.open.send_modify(|count| *count -= 1);
        return;
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Value)> {
    loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
            });
            let length: usize = length.unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                let body = serde_json::from_slice(&buffer[end + 4..end + 4 + length]);
                buffer.drain(..end + 4 + length);
                return Some((head, body.unwrap_or_default()));
            }
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => buffer.extend_from_slice(&part[..read]),
        }
    }
}

async fn respond(stream: &mut TcpStream, status: &str, body: &Value) {
    let body = body.to_string();
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
    let _ = stream.write_all((head + &body).as_bytes()).await;
}

fn refusal(manner: Manner, head: &str, body: &Value) -> Option<(&'static str, &'static str)> {
    match script(body).0.as_str() {
        "busy" => return Some(("503 Service Unavailable", "loading")),
        "broken" => return Some(("500 Internal Server Error", "secret trace")),
        "long" => return Some(("400 Bad Request", "the prompt is too long")),
        "key" => return Some(("401 Unauthorized", "wrong key")),
        _ => {}
    }
    let extra = ["return_token_ids", "logprobs", "response_format"];
    let strange = manner == Manner::Plain && extra.iter().any(|name| !body[name].is_null());
    let text = head.starts_with("POST /v1/completions") && manner == Manner::Plain;
    if strange || text {
        return Some(("422 Unprocessable Entity", "unexpected keys"));
    }
    let ids = manner == Manner::LlamaCpp && body["return_token_ids"] == true;
    ids.then_some(("400 Bad Request", "unknown field"))
}

/// The prompt's verb and number.
fn script(body: &Value) -> (String, u32) {
    let prompt = body["messages"][0]["content"].as_str().or(body["prompt"].as_str());
    let prompt = prompt.unwrap_or_default();
    let (verb, count) = prompt.split_once(' ').unwrap_or((prompt, "1"));
    (verb.to_owned(), count.parse().unwrap_or(2))
}

struct Words<'a> {
    manner: Manner,
    body: &'a Value,
}

impl Words<'_> {
    fn chunk(&self, index: u32, word: &str) -> Value {
        let mut choice = json!({"index": 0, "finish_reason": null});
        if self.body["prompt"].is_string() {
            choice["text"] = json!(word);
        } else {
            choice["delta"] = json!({"content": word});
        }
        if self.manner == Manner::Vllm && self.body["return_token_ids"] == true {
            choice["token_ids"] = json!([index]);
        }
        if !self.body["logprobs"].is_null() {
            let mut token = json!({"token": word, "logprob": -0.5, "top_logprobs": [
                {"token": word, "logprob": -0.5}, {"token": "x", "logprob": -2.0}]});
            if self.manner == Manner::LlamaCpp {
                token["id"] = json!(index);
            }
            choice["logprobs"] = json!({"content": [token]});
        }
        json!({"choices": [choice]})
    }
}

async fn answer(stream: &mut TcpStream, manner: Manner, body: &Value) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let (verb, count) = script(body);
    let words = Words { manner, body };
    match body["response_format"]["type"].as_str() {
        Some(_) => send(stream, &words.chunk(0, "{\"ok\": true}")).await?,
        None => misbehave(stream, &words, &verb).await?,
    }
    let most = body["max_tokens"].as_u64().map_or(count, |most| u32::try_from(most).unwrap());
    let is_json = body["response_format"].is_object();
    let wanted = match verb.as_str() {
        _ if is_json => 0,
        "many" => count,
        _ => count.min(most),
    };
    for index in 0..wanted {
        send(stream, &words.chunk(index, &format!("é{index} "))).await?;
    }
    let finish = if wanted == most || verb == "early" { "length" } else { "stop" };
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]});
    send(stream, &end).await?;
    let told = match verb.as_str() {
        "boast" => 4000,
        "few" => 1,
        _ => wanted + u32::from(is_json),
    };
    if body["stream_options"]["include_usage"] == true && verb != "silent" {
        let usage = json!({"prompt_tokens": 7, "completion_tokens": told});
        send(stream, &json!({"choices": [], "usage": usage})).await?;
    }
    stream.write_all(b"data: [DONE]\n\n").await
}

/// What the verb does before, or instead of, an honest answer.
async fn misbehave(stream: &mut TcpStream, words: &Words<'_>, verb: &str) -> std::io::Result<()> {
    match verb {
        "garbage" => stream.write_all(b"data: {]\n\n\xff\xfe").await?,
        "error" => send(stream, &json!({"error": {"message": "secret trace"}})).await?,
        "half" => {
            send(stream, &words.chunk(0, "é0 ")).await?;
            stream.write_all(b"data: {\"choices\": [{\"del").await?;
            stream.shutdown().await?;
        }
        "line" => loop {
            stream.write_all(&[b'x'; 8192]).await?;
        },
        "endless" => loop {
            send(stream, &words.chunk(1, "é")).await?;
        },
        "stall" => {
            send(stream, &words.chunk(0, "é0 ")).await?;
            closed(stream).await;
        }
        "nothing" => closed(stream).await,
        _ => {}
    }
    Ok(())
}

/// Waits until the other side hangs up.
async fn closed(stream: &mut TcpStream) {
    let mut rest = [0; 64];
    while matches!(stream.read(&mut rest).await, Ok(read) if read > 0) {}
}

async fn send(stream: &mut TcpStream, chunk: &Value) -> std::io::Result<()> {
    stream.write_all(format!("data: {chunk}\n\n").as_bytes()).await
}
