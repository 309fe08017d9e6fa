//! A wallet at a routing server: signed requests, orders and streamed answers. Every signature
//! names the chain that the user's own node reported and a server that the chain knows.

use crate::{
    helpful::Helpful,
    router::{ANSWER_LIMIT, Router, ServerInfo},
    session::Session,
};
use anyhow::{Context, Result};
use cactus_ledger::Ledger;
use cactus_protocol::{
    Address, Hash, Octas, Order, OrderId, RequestClaim, RequestSignature, Scope, SecretKey,
    SignedOrder, auth::ORDER_HEADER,
};
use eventsource_stream::Eventsource;
use futures::{Stream, StreamExt};
use reqwest::Method;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a one-shot order stays good: long enough for retries, short enough to forget.
const ORDER_SECONDS: u64 = 600;

pub struct Account {
    pub key: SecretKey,
    pub ledger: Ledger,
    pub router: Router,
    scope: Scope,
    server: Address,
}

/// One step of a streamed answer.
pub enum ChatEvent {
    /// More text.
    Text(String),
    /// How it ended: OpenAI's usage object, and the routing server's `cactus` object.
    End { usage: Value, cactus: Value },
}

impl Account {
    /// Opens the user's wallet at the session's routing server.
    pub async fn open(session: &Session) -> Result<Self> {
        let key = session.wallet()?;
        let ledger = session.ledger().await?;
        let scope = Scope { chain_id: ledger.chain_id(), contract: session.contract };
        let router = session.public_router()?;
        let info: ServerInfo = router.get("/v1/server").await?;
        if (info.chain_id, info.contract) != (scope.chain_id, scope.contract) {
            return Err(Helpful::error(
                format!(
                    "the routing server settles on chain {} with contract {}, your node is on chain {} and you expect contract {}",
                    info.chain_id, info.contract, scope.chain_id, scope.contract
                ),
                "name matching --router, --chain and --contract",
            ));
        }
        let known = ledger.server(info.server).await.context("cannot look the server up")?;
        if !known.is_some_and(|server| server.authorized) {
            return Err(Helpful::error(
                format!("the routing server {} is not authorised by the contract", info.server),
                "use another routing server: this one cannot lock or release money",
            ));
        }
        Ok(Self { key, ledger, router, scope, server: info.server })
    }

    /// Signs a spending mandate for this server.
    pub fn order(
        &self,
        max_total: Octas,
        max_per_task: Octas,
        seconds: u64,
    ) -> Result<SignedOrder> {
        let order = Order {
            chain_id: self.scope.chain_id,
            client: self.key.address(),
            server: self.server,
            order_id: OrderId::random(),
            max_total,
            max_per_task,
            expires_seconds: now_ms()? / 1000 + seconds,
        };
        Ok(SignedOrder::new(order, self.scope.contract, &self.key)?)
    }

    /// A request signed by the wallet.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<reqwest::RequestBuilder> {
        self.request_as(method, path, ("application/json", body))
    }

    /// A request signed by the wallet, with a body of this kind.
    pub fn request_as(
        &self,
        method: Method,
        path: &str,
        (kind, body): (&str, Vec<u8>),
    ) -> Result<reqwest::RequestBuilder> {
        let claim = RequestClaim {
            client: self.key.address(),
            server: self.server,
            method: method.to_string(),
            path: path.to_owned(),
            body_hash: Hash::of(&body),
            nonce: rand::random(),
            time_ms: now_ms()?,
        };
        let signature = RequestSignature::new(claim, self.scope, &self.key)?;
        let request = self.router.http.request(method, format!("{}{path}", self.router.url));
        Ok(request
            .header("Authorization", signature.to_header())
            .header("Content-Type", kind)
            .body(body))
    }

    /// Sends a signed request and reads the JSON answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        order: Option<&SignedOrder>,
    ) -> Result<Value> {
        let mut request = self.request(method, path, body)?.timeout(ANSWER_LIMIT);
        if let Some(order) = order {
            request = request.header(ORDER_HEADER, order.to_header());
        }
        self.router.read(self.router.send(request).await?).await
    }

    /// Asks for a streamed answer, paid by a one-shot order of at most `max_cost`. `body` is
    /// OpenAI's chat completion request.
    pub async fn chat(
        &self,
        mut body: Value,
        max_cost: Octas,
    ) -> Result<impl Stream<Item = Result<ChatEvent>> + use<>> {
        body["stream"] = true.into();
        body["stream_options"] = serde_json::json!({ "include_usage": true });
        let order = self.order(max_cost, max_cost, ORDER_SECONDS)?;
        let request = self
            .request(Method::POST, "/v1/chat/completions", serde_json::to_vec(&body)?)?
            .header(ORDER_HEADER, order.to_header());
        let response = self.router.send(request).await?;
        let events = response.bytes_stream().eventsource();
        Ok(events.filter_map(|event| async move {
            match event.context("the answer broke off") {
                Ok(event) => parse_event(&event.data).transpose(),
                Err(error) => Some(Err(error)),
            }
        }))
    }
}

/// Reads one server-sent event; events without text or an ending are none.
fn parse_event(data: &str) -> Result<Option<ChatEvent>> {
    if data == "[DONE]" {
        return Ok(None);
    }
    let chunk: Value = serde_json::from_str(data).context("the answer is not JSON")?;
    if let Some(message) = chunk["error"]["message"].as_str() {
        let help = "nothing was charged for it; ask again";
        return Err(Helpful::error(format!("the answer broke off: {message}"), help));
    }
    if chunk["cactus"].is_object() {
        let (usage, cactus) = (chunk["usage"].clone(), chunk["cactus"].clone());
        return Ok(Some(ChatEvent::End { usage, cactus }));
    }
    let text = chunk["choices"][0]["delta"]["content"].as_str().filter(|text| !text.is_empty());
    Ok(text.map(|text| ChatEvent::Text(text.to_owned())))
}

fn now_ms() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(u64::try_from(since.as_millis())?)
}
