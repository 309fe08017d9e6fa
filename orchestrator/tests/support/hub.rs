//! A hub with one model in it that misbehaves in every way a network can.

use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub const COMMIT: &str = "c0ffee0123456789c0ffee0123456789c0ffee01";

/// What happens to the next request for the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The connection ends after so many bytes.
    CutAfter(usize),
    /// Other bytes of the right length.
    OtherBytes,
    /// More bytes than announced.
    TooMany,
    /// This status.
    Status(u16),
    /// The whole file, though a part was asked for.
    IgnoresRange,
    /// Another part than was asked for.
    WrongRange,
    /// On another path.
    Redirect,
}

pub struct FakeHub {
    pub url: String,
    pub weights: Vec<u8>,
    pub mishaps: Arc<Mutex<VecDeque<Mishap>>>,
    /// The head of every request.
    pub requests: Arc<Mutex<Vec<String>>>,
    /// What the branch points to.
    newest: Arc<Mutex<String>>,
    serving: JoinHandle<()>,
}

impl FakeHub {
    pub async fn start() -> Self {
        Self::start_with((0..300_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect()).await
    }

    pub async fn start_with(weights: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let newest = Arc::new(Mutex::new(COMMIT.to_owned()));
        let branch = Arc::clone(&newest);
        let mishaps: Arc<Mutex<VecDeque<Mishap>>> = Arc::default();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let (sent, log, wrong) = (weights.clone(), Arc::clone(&requests), Arc::clone(&mishaps));
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(head) = read_head(&mut stream).await else { continue };
                log.lock().unwrap().push(head.clone());
                let is_weights = head.contains("model.safetensors ");
                let mishap = if is_weights { wrong.lock().unwrap().pop_front() } else { None };
                let main = branch.lock().unwrap().clone();
                let _ = answer(&mut stream, &head, (&sent, &main), mishap).await;
            }
        });
        Self { url, weights, mishaps, requests, newest, serving }
    }

    /// Moves the branch.
    pub fn move_to(&self, commit: &str) {
        *self.newest.lock().unwrap() = commit.to_owned();
    }

    pub fn die(&self) {
        self.serving.abort();
    }

    /// How many requests had this in their head.
    pub fn count(&self, part: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|head| head.contains(part)).count()
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn small(name: &str) -> &'static [u8] {
    if name == "config.json" { b"{\"architectures\": []}" } else { b"{}" }
}

fn git_blob(content: &[u8]) -> String {
    use sha1::Digest as _;
    let head = format!("blob {}\0", content.len());
    hex::encode(sha1::Sha1::new().chain_update(head).chain_update(content).finalize())
}

fn listing(weights: &[u8], commit: &str) -> String {
    let sha256 = hex::encode(Sha256::digest(weights));
    let plain = |name: &str| {
        let content = small(name);
        json!({"rfilename": name, "size": content.len(), "blobId": git_blob(content)})
    };
    let large = json!({"rfilename": "model.safetensors", "size": 1, "blobId": "a".repeat(40),
        "lfs": {"sha256": sha256, "size": weights.len()}});
    let siblings = [
        plain("config.json"),
        plain("tokenizer.json"),
        large,
        json!({"rfilename": "evil.py", "size": 9, "blobId": "b".repeat(40)}),
    ];
    json!({"sha": commit, "siblings": siblings}).to_string()
}

async fn answer(
    stream: &mut TcpStream,
    head: &str,
    (weights, main): (&[u8], &str),
    mishap: Option<Mishap>,
) -> std::io::Result<()> {
    let path = head.split(' ').nth(1).unwrap_or_default();
    if let Some(revision) = path.strip_prefix("/api/models/owner/name/revision/") {
        let revision = revision.split('?').next().filter(|revision| revision.len() == 40);
        let listing = listing(weights, revision.unwrap_or(main));
        return respond(stream, "200 OK", "", listing.as_bytes()).await;
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    if !path.contains("owner/name/resolve") && !path.starts_with("/cdn/") {
        return respond(stream, "404 Not Found", "", b"").await;
    }
    if name != "model.safetensors" {
        return respond(stream, "200 OK", "", small(name)).await;
    }
    let from = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok()
    });
    let from: usize = from.unwrap_or(0);
    let rest = &weights[from..];
    let range =
        format!("content-range: bytes {from}-{0}/{1}\r\n", weights.len() - 1, weights.len());
    let partial = from > 0;
    let status = if partial { "206 Partial Content" } else { "200 OK" };
    let range = if partial { range.as_str() } else { "" };
    match mishap {
        None => respond(stream, status, range, rest).await,
        Some(Mishap::CutAfter(bytes)) => {
            let head =
                format!("HTTP/1.1 {status}\r\n{range}content-length: {}\r\n\r\n", rest.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&rest[..bytes]).await
        }
        Some(Mishap::OtherBytes) => respond(stream, status, range, &vec![0; rest.len()]).await,
        Some(Mishap::TooMany) => respond(stream, status, range, &[rest, b"more"].concat()).await,
        Some(Mishap::Status(code)) => {
            respond(stream, &format!("{code} No"), "retry-after: 0\r\n", b"").await
        }
        Some(Mishap::IgnoresRange) => respond(stream, "200 OK", "", weights).await,
        Some(Mishap::WrongRange) => {
            let range = "content-range: bytes 0-9/300000\r\n";
            respond(stream, "206 Partial Content", range, &weights[..10]).await
        }
        Some(Mishap::Redirect) => {
            respond(stream, "302 Found", "location: /cdn/model.safetensors\r\n", b"").await
        }
    }
}

async fn respond(
    stream: &mut TcpStream,
    status: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}
