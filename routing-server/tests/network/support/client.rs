//! A client with a wallet: signed requests, orders, API keys, and reading of event streams.

use super::{SCOPE, TestApp, apt};
use cactus_protocol::{
    Address, Hash, Octas, OrderId, RequestClaim, RequestSignature, SecretKey, SignedOrder,
    auth::ORDER_HEADER, chain_message::Order,
};
use futures::StreamExt;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use std::time::SystemTime;

pub struct Client {
    pub key: SecretKey,
    pub order: SignedOrder,
    pub server: Address,
    base: String,
    http: reqwest::Client,
}

pub fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(elapsed.unwrap().as_millis()).unwrap()
}

impl Client {
    /// With 10 APT in the escrow and an order over 10 APT.
    pub fn funded(app: &TestApp) -> Self {
        let client = Self::new(app, (apt(10), apt(10)));
        app.chain.deposit(client.key.address(), apt(10));
        client
    }

    /// With nothing in the escrow.
    pub fn new(app: &TestApp, (max_total, max_per_task): (Octas, Octas)) -> Self {
        let key = SecretKey::random();
        let order = Order {
            chain_id: SCOPE.chain_id,
            client: key.address(),
            server: app.server,
            order_id: OrderId::random(),
            max_total,
            max_per_task,
            expires_seconds: now_ms() / 1000 + 3600,
        };
        Self {
            order: SignedOrder::new(order, SCOPE.contract, &key).unwrap(),
            key,
            server: app.server,
            base: app.url(""),
            http: reqwest::Client::new(),
        }
    }

    /// The same wallet at another server of the same account.
    pub fn at(&self, app: &TestApp) -> Self {
        Self {
            key: self.key.clone(),
            order: self.order.clone(),
            server: app.server,
            base: app.url(""),
            http: self.http.clone(),
        }
    }

    /// A true claim about a request.
    pub fn claim(&self, method: &str, path: &str, body: &[u8]) -> RequestClaim {
        RequestClaim {
            client: self.key.address(),
            server: self.server,
            method: method.into(),
            path: path.into(),
            body_hash: Hash::of(body),
            nonce: rand::random(),
            time_ms: now_ms(),
        }
    }

    pub fn sign(&self, claim: RequestClaim) -> String {
        RequestSignature::new(claim, SCOPE, &self.key).unwrap().to_header()
    }

    /// A request without credentials.
    pub fn bare(&self, method: Method, path: &str, body: Vec<u8>) -> RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.http.request(method, url).body(body)
    }

    /// A signed request with the order.
    pub fn signed(&self, method: Method, path: &str, body: Vec<u8>) -> RequestBuilder {
        let claim = self.claim(method.as_str(), path, &body);
        self.bare(method, path, body)
            .header("Authorization", self.sign(claim))
            .header(ORDER_HEADER, self.order.to_header())
    }

    /// A signed chat request with this body.
    pub async fn post(&self, body: Vec<u8>) -> Response {
        self.signed(Method::POST, "/v1/chat/completions", body).send().await.unwrap()
    }

    /// A signed request with this JSON.
    pub async fn post_to(&self, path: &str, body: Value) -> Response {
        let body = body.to_string().into_bytes();
        self.signed(Method::POST, path, body).send().await.unwrap()
    }

    /// A signed chat request: one message, and these fields besides.
    pub async fn chat(&self, extra: Value) -> Response {
        self.post(chat_body(extra)).await
    }
}

pub fn chat_body(extra: Value) -> Vec<u8> {
    let mut body = json!({
        "model": "sprout",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": "count"}],
    });
    let fields = extra.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body.to_string().into_bytes()
}

/// A refused request: status and the object under `error`.
pub async fn refusal(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    let error = body["error"].clone();
    for field in ["message", "type", "code", "trace_id"] {
        assert!(error[field].is_string(), "{field} of {body}");
    }
    assert!(error.get("param").is_some());
    let document: Value = serde_json::from_str(include_str!("../../../api/openapi.json")).unwrap();
    let codes = &document["components"]["schemas"]["Error"]["properties"]["error"]["properties"];
    let codes = codes["code"]["enum"].as_array().unwrap();
    assert!(codes.contains(&error["code"]), "not documented: {error}");
    (status, error)
}

/// The events of a stream; `[DONE]` is the text of that name.
pub struct EventReader {
    bytes: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: Vec<u8>,
}

impl EventReader {
    pub fn new(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { bytes: response.bytes_stream().boxed(), buffer: Vec::new() }
    }

    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            let end = self.buffer.windows(2).position(|pair| pair == b"\n\n");
            if let Some(end) = end {
                let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let text = String::from_utf8(event).unwrap();
                let data = text.trim_end().strip_prefix("data: ").unwrap().to_owned();
                return Some(serde_json::from_str(&data).unwrap_or(Value::String(data)));
            }
            self.buffer.extend(self.bytes.next().await?.ok()?);
        }
    }

    /// All events to the end.
    pub async fn rest(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// The text that a stream's events carry.
pub fn text_of(events: &[Value]) -> String {
    let text = |event: &Value| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
    events.iter().filter_map(text).collect()
}
