//! The mock engine behind HTTP, for the systems that forward HTTP: it reads no more of a request
//! than it must, so that its share of the core stays small.

use crate::{
    faults::Engine,
    script::{self, Script},
};
use anyhow::Result;
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

const MODELS: &str =
    r#"{"object":"list","data":[{"id":"sprout","object":"model","created":1,"owned_by":"bench"}]}"#;

/// Listens on a free port and answers for as long as the process lives.
pub async fn start() -> Result<SocketAddr> {
    start_with(Engine::new(&Arc::default())).await
}

/// [`start`] for an engine that may be lost.
pub async fn start_with(engine: Engine) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        // Dropped, and every connection with it, when the engine is killed.
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = engine.killed() => return,
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { return };
                    // An error means that the peer hung up.
                    connections.spawn(serve(stream, engine.clone()));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream, engine: Engine) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::with_capacity(1 << 16);
    loop {
        let Some(request) = next_request(&mut stream, &mut received).await? else { return Ok(()) };
        engine.alive().await;
        if request.is_get {
            answer(&mut stream, MODELS).await?;
            continue;
        }
        engine.asked.fetch_add(1, Relaxed);
        if request.body.contains("\"stream\":true") {
            stream_frames(&mut stream, Script::parse(&request.body)).await?;
        } else {
            let script = Script::parse(&request.body);
            if !script.cadence.is_zero() {
                // As long as a stream would take: its first frame comes at once.
                sleep(script.cadence * (script.frames - 1)).await;
                engine.alive().await;
            }
            let text = script::stamped_text();
            let body = format!(
                r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"sprout","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}}}"#
            );
            answer(&mut stream, &body).await?;
        }
    }
}

struct Request {
    is_get: bool,
    body: String,
}

async fn next_request(stream: &mut TcpStream, received: &mut Vec<u8>) -> Result<Option<Request>> {
    loop {
        if let Some(head_end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..head_end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
            let end = head_end + 4 + length;
            if received.len() >= end {
                let body = String::from_utf8_lossy(&received[head_end + 4..end]).into_owned();
                received.drain(..end);
                return Ok(Some(Request { is_get: head.starts_with("get "), body }));
            }
        }
        if stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

async fn answer(stream: &mut TcpStream, body: &str) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
    Ok(stream.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await?)
}

async fn stream_frames(stream: &mut TcpStream, script: Script) -> Result<()> {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut pace = interval(script.cadence.max(std::time::Duration::from_micros(1)));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..script.frames {
        if !script.cadence.is_zero() {
            pace.tick().await;
        }
        let text = script::stamped_text();
        let event = format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"sprout\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
        );
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
    }
    let done = "data: [DONE]\n\n";
    Ok(stream.write_all(format!("{:x}\r\n{done}\r\n0\r\n\r\n", done.len()).as_bytes()).await?)
}
