//! The client of a routing server's HTTP API. It believes a routing server about tasks, never
//! about which chain or contract a signature is for.

use crate::helpful::Helpful;
use anyhow::{Context, Result};
use cactus_protocol::Address;
use reqwest::{Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::Duration;

/// How long a routing server may take to accept a connection, and to answer what is not a chat.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
pub const ANSWER_LIMIT: Duration = Duration::from_secs(30);

pub struct Router {
    pub url: String,
    pub http: reqwest::Client,
}

/// What `/v1/server` says.
#[derive(Debug, Deserialize)]
pub struct ServerInfo {
    pub server: Address,
    pub chain_id: u8,
    pub contract: Address,
}

impl Router {
    pub fn new(url: &str) -> Result<Self> {
        // Fails only when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().connect_timeout(CONNECT_LIMIT).build()?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), http })
    }

    /// Reads a public JSON document.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.http.get(format!("{}{path}", self.url)).timeout(ANSWER_LIMIT);
        self.read(self.send(request).await?).await
    }

    /// Sends a request and turns a refusal into an error that says what to do.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body: Value = response.json().await.unwrap_or_default();
        Err(refusal(status, &body["error"]))
    }

    /// Reads an answer as JSON.
    pub async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T> {
        let what = || format!("the routing server at {} sent an answer we cannot read", self.url);
        response.json().await.with_context(what)
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let message = format!("the routing server at {} does not answer: {error}", self.url);
        Helpful::error(message, "start a network with `cactus up`, or name a server with --router")
    }
}

/// OpenAI's error object as an error of ours.
fn refusal(status: StatusCode, error: &Value) -> anyhow::Error {
    let message = error["message"].as_str().unwrap_or("no reason given");
    let code = error["code"].as_str().unwrap_or("no code");
    let help = match status {
        StatusCode::PAYMENT_REQUIRED => {
            "put coins in with `cactus deposit 1`; `cactus balance` shows what is there"
        }
        StatusCode::UNAUTHORIZED => {
            "check the clock of this machine, and --home for the right wallet"
        }
        StatusCode::NOT_FOUND => {
            "`cactus models` lists what is on offer; ids are printed by `cactus chat`"
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            "all nodes are busy; try again in a moment"
        }
        _ if status.is_server_error() => "this is the server's fault; its log has the trace id",
        _ => "see `cactus chat --help`",
    };
    let trace = error["trace_id"].as_str().map(|id| format!(", trace {id}")).unwrap_or_default();
    Helpful::error(format!("{message} ({status}, {code}{trace})"), help)
}
