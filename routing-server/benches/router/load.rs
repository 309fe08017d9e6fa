//! Sends requests over kept-open HTTP/1.1 connections and times what comes back. It knows nothing
//! of who answers: every system under test sees the same bytes.

use crate::clock;
use anyhow::{Context, Result, bail, ensure};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{interval_at, timeout},
};

/// Nothing takes this long unless it hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Marks the moment at which a frame was made, in the text that it carries.
const STAMP: &[u8] = b"\"content\":\"t";

/// What to send and how.
#[derive(Debug, Clone)]
pub struct Load {
    pub address: SocketAddr,
    /// Header lines besides `Host`, `Content-Type` and `Content-Length`, each with its line end.
    pub headers: String,
    pub body: String,
    pub connections: u32,
    pub lasting: Duration,
    /// Requests per second over all connections; `None` sends the next one at once.
    pub rate: Option<u32>,
}

/// What came back. Times are in nanoseconds.
#[derive(Debug, Default)]
pub struct Measured {
    pub answers: u64,
    pub seconds: f64,
    /// From sending a request to the end of its answer.
    pub whole: Vec<u64>,
    /// From sending a request to its first stamped frame.
    pub first: Vec<u64>,
    /// From the making of a frame to its arrival.
    pub transit: Vec<u64>,
}

impl Measured {
    /// The value below which `thousandths` of the sorted values lie.
    pub fn quantile(values: &mut [u64], thousandths: usize) -> u64 {
        if values.is_empty() {
            return 0;
        }
        values.sort_unstable();
        values[(values.len() - 1) * thousandths / 1000]
    }
}

/// Runs the load to its end. Any answer but 200 ends it with an error: a system that refuses is
/// not fast.
pub async fn run(load: &Load) -> Result<Measured> {
    let mut connections = JoinSet::new();
    let started = Instant::now();
    for index in 0..load.connections {
        let mut connection = Connection::open(load).await?;
        let load = load.clone();
        connections.spawn(async move { connection.work(&load, (index, started)).await });
    }
    let mut all = Measured::default();
    while let Some(ended) = connections.join_next().await {
        let mut measured = ended??;
        all.answers += measured.answers;
        all.whole.append(&mut measured.whole);
        all.first.append(&mut measured.first);
        all.transit.append(&mut measured.transit);
    }
    all.seconds = started.elapsed().as_secs_f64();
    Ok(all)
}

/// A kept connection.
pub struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    received: Vec<u8>,
}

impl Connection {
    pub async fn open(load: &Load) -> Result<Self> {
        let stream = TcpStream::connect(load.address).await.context("connect")?;
        stream.set_nodelay(true)?;
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             {}Content-Length: {}\r\n\r\n{}",
            load.address,
            load.headers,
            load.body.len(),
            load.body
        );
        let received = Vec::with_capacity(1 << 16);
        Ok(Self { stream, request: request.into_bytes(), received })
    }

    async fn work(&mut self, load: &Load, (index, started): (u32, Instant)) -> Result<Measured> {
        let mut measured = Measured::default();
        let end = started + load.lasting;
        let mut pace = load.rate.map(|rate| {
            let period = Duration::from_secs(1) * load.connections / rate;
            interval_at((started + period * index / load.connections).into(), period)
        });
        while Instant::now() < end {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            timeout(ANSWER_LIMIT, self.ask(&mut measured)).await.context("no answer came")??;
        }
        Ok(measured)
    }

    /// One request and its answer.
    pub async fn ask(&mut self, measured: &mut Measured) -> Result<()> {
        let sent = clock::now();
        self.stream.write_all(&self.request).await?;
        self.received.clear();
        let (mut head, mut looked, mut is_first) = (None, 0, true);
        loop {
            let count = self.stream.read_buf(&mut self.received).await?;
            ensure!(count > 0, "the connection closed before the end of an answer");
            let now = clock::now();
            if head.is_none() {
                head = Head::parse(&self.received)?;
                looked = head.as_ref().map_or(0, |head| head.bytes);
            }
            let Some(head) = &head else { continue };
            while let Some((stamp, end)) = next_stamp(&self.received, looked) {
                measured.transit.push(now.saturating_sub(stamp));
                if std::mem::take(&mut is_first) {
                    measured.first.push(now - sent);
                }
                looked = end;
            }
            if head.is_complete(&self.received) {
                measured.answers += 1;
                measured.whole.push(now - sent);
                return Ok(());
            }
        }
    }
}

/// The next whole stamp at or after `from`, and where it ends.
fn next_stamp(received: &[u8], from: usize) -> Option<(u64, usize)> {
    let rest = received.get(from..)?;
    let start = from + find(rest, STAMP)? + STAMP.len();
    let digits = received[start..].iter().position(|byte| !byte.is_ascii_digit())?;
    let text = std::str::from_utf8(&received[start..start + digits]).ok()?;
    Some((text.parse().ok()?, start + digits))
}

enum Length {
    Bytes(usize),
    Chunked,
}

struct Head {
    bytes: usize,
    length: Length,
}

impl Head {
    fn parse(received: &[u8]) -> Result<Option<Self>> {
        let Some(end) = find(received, b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") {
            bail!("refused: {}", String::from_utf8_lossy(received));
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = match length {
            Some(length) => Length::Bytes(length.trim().parse()?),
            None => Length::Chunked,
        };
        Ok(Some(Self { bytes: end + 4, length }))
    }

    fn is_complete(&self, received: &[u8]) -> bool {
        match self.length {
            Length::Bytes(length) => received.len() >= self.bytes + length,
            Length::Chunked => received.ends_with(b"0\r\n\r\n"),
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
