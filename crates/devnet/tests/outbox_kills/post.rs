//! The network between the processes and the chain: it carries requests, and now and then keeps a
//! submission to itself and delivers it later, when its sender may be dead, or loses an answer.

use std::sync::{Arc, Mutex};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::{Client, Method, Response};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// One submission in so many is late, and of one in so many the answer gets lost.
const LATE: u32 = 16;
const UNANSWERED: u32 = 16;
const SUBMISSIONS: &str = "/v1/transactions";
const SIGNED_BCS: &str = "application/x.aptos.signed_transaction+bcs";

/// Listens for the processes.
#[derive(Clone)]
pub struct Post {
    shared: Arc<Shared>,
    url: String,
}

struct Shared {
    client: Client,
    state: Mutex<State>,
}

struct State {
    /// Where the chain is.
    chain: String,
    /// Submissions that were not delivered yet.
    late: Vec<Vec<u8>>,
    delivered_late: u32,
    unanswered: u32,
    random: StdRng,
}

struct Request {
    method: Method,
    path: String,
    /// Of the headers only those that the chain looks at.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

enum Fate {
    Carried,
    Late,
    Unanswered,
}

impl Post {
    pub async fn open(chain: String, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            chain,
            late: Vec::new(),
            delivered_late: 0,
            unanswered: 0,
            random: StdRng::seed_from_u64(seed),
        };
        let shared = Arc::new(Shared { client: Client::new(), state: Mutex::new(state) });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(Arc::clone(&serving), stream));
            }
        });
        Self { shared, url }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The chain has moved.
    pub fn forward_to(&self, chain: String) {
        self.shared.state.lock().unwrap().chain = chain;
    }

    /// Delivers what is late; whether the chain still wants it is the chain's business.
    pub async fn deliver(&self) {
        let (chain, late) = {
            let mut state = self.shared.state.lock().unwrap();
            let late = std::mem::take(&mut state.late);
            state.delivered_late += u32::try_from(late.len()).unwrap();
            (state.chain.clone(), late)
        };
        for body in late {
            let request = self.shared.client.post(format!("{chain}{SUBMISSIONS}"));
            request.header("content-type", SIGNED_BCS).body(body).send().await.unwrap();
        }
    }

    /// How many submissions arrived late, and how many were not answered.
    pub fn faults(&self) -> (u32, u32) {
        let state = self.shared.state.lock().unwrap();
        (state.delivered_late, state.unanswered)
    }
}

/// Carries the requests of one connection until its other end is gone or a fault breaks it.
async fn carry(shared: Arc<Shared>, stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let fate = shared.fate(&request);
        if matches!(fate, Fate::Late) {
            shared.state.lock().unwrap().late.push(request.body);
            return;
        }
        let Ok(answer) = shared.forward(request).await else {
            return;
        };
        if matches!(fate, Fate::Unanswered) || write(&mut stream, answer).await.is_err() {
            return;
        }
    }
}

impl Shared {
    fn fate(&self, request: &Request) -> Fate {
        let mut state = self.state.lock().unwrap();
        if request.method != Method::POST || request.path != SUBMISSIONS {
            Fate::Carried
        } else if state.random.random_range(0..LATE) == 0 {
            Fate::Late
        } else if state.random.random_range(0..UNANSWERED) == 0 {
            state.unanswered += 1;
            Fate::Unanswered
        } else {
            Fate::Carried
        }
    }

    async fn forward(&self, request: Request) -> reqwest::Result<Response> {
        let chain = self.state.lock().unwrap().chain.clone();
        let url = format!("{chain}{}", request.path);
        let mut forwarded = self.client.request(request.method, url).body(request.body);
        for (name, value) in request.headers {
            forwarded = forwarded.header(name, value);
        }
        forwarded.send().await
    }
}

/// The next request of a connection; `None` when there is none in full.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.parse().ok()?, words.next()?.to_owned());
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "content-length" => length = value.parse().ok()?,
            "content-type" | "accept" => headers.push((name, value.to_owned())),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { method, path, headers, body })
}

async fn write(stream: &mut BufReader<TcpStream>, answer: Response) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {}\r\n", answer.status());
    for (name, value) in answer.headers() {
        let framing = ["content-length", "transfer-encoding", "connection", "date"];
        if !framing.contains(&name.as_str()) {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
    }
    let body = answer.bytes().await.unwrap();
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(&[head.as_bytes(), &body].concat()).await?;
    stream.flush().await
}
