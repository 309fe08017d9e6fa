//! The HTTP side of an engine: one request, one bounded answer or stream. It follows no redirect,
//! uses no proxy and shows its key to nobody but the engine.

use super::{
    body::Endpoint,
    chunk::{self, BadChunk, Piece},
    events::{Events, TooLong},
};
use cactus_protocol::TraceContext;
use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, HeaderValue},
    redirect,
};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// Where an engine such as vLLM looks for the trace to go on with.
const TRACE_PARENT: &str = "traceparent";
/// The longest answer that is no stream, in bytes.
const MAX_BODY_BYTES: usize = 4 << 20;

/// How long an engine may take.
#[derive(Debug, Clone)]
pub struct RemoteLimits {
    /// To accept a connection.
    pub connect: Duration,
    /// To answer what computes nothing.
    pub answer: Duration,
    /// To send the first part of an answer: its queue and the prompt.
    pub first_token: Duration,
    /// Between two parts of an answer.
    pub stall: Duration,
    /// To tell its usage after the end of the text.
    pub usage: Duration,
    /// Between two looks at an engine that works.
    pub watch: Duration,
    /// Between two looks at an engine that is away.
    pub retry: Duration,
}

impl Default for RemoteLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(10),
            first_token: Duration::from_secs(120),
            stall: Duration::from_secs(30),
            usage: Duration::from_secs(5),
            watch: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Why an engine did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineFault {
    /// It is down, or the network is.
    #[error("the engine cannot be reached: {0}")]
    Unreachable(String),
    /// It has no room, or is still loading.
    #[error("the engine is busy ({0})")]
    Busy(String),
    /// It does not know the key.
    #[error("the engine does not accept the key: {0}; see --engine-key-file")]
    Forbidden(String),
    /// It does not have the model or the endpoint.
    #[error("the engine does not have it: {0}")]
    Missing(String),
    /// It refuses the request as such.
    #[error("the engine refuses the request: {0}")]
    Rejected(String),
    /// It took too long.
    #[error("the engine did not {step} within {limit:?}")]
    TimedOut {
        /// What it was to do.
        step: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// It failed, or answers nonsense.
    #[error("the engine failed: {0}")]
    Broken(String),
}

/// An engine's address and key.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    key: Option<HeaderValue>,
    pub(super) limits: RemoteLimits,
}

/// An answer as it streams. Dropping it closes the connection, which stops the engine.
pub(super) struct Answer {
    response: Response,
    events: Events,
    limits: RemoteLimits,
    started: bool,
    ending: bool,
}

impl Client {
    pub(super) fn new(
        url: &str,
        key: Option<HeaderValue>,
        limits: RemoteLimits,
    ) -> Result<Self, EngineFault> {
        // Fails only when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(limits.connect)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| EngineFault::Broken(error.to_string()))?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), key, limits })
    }

    /// A JSON document.
    pub(super) async fn get(&self, path: &str) -> Result<Value, EngineFault> {
        let limit = self.limits.answer;
        let reading = async {
            let response = self.send(self.request(Method::GET, path)).await?;
            let body = read_body(response).await?;
            serde_json::from_slice(&body).map_err(|error| EngineFault::Broken(error.to_string()))
        };
        let read = timeout(limit, reading).await;
        read.unwrap_or(Err(EngineFault::TimedOut { step: "answer", limit }))
    }

    /// Asks for a streamed answer; returns when its head is there.
    pub(super) async fn ask(
        &self,
        endpoint: Endpoint,
        body: &Value,
        trace: Option<TraceContext>,
    ) -> Result<Answer, EngineFault> {
        let limit = self.limits.first_token;
        let mut request = self.request(Method::POST, endpoint.path()).json(body);
        if let Some(trace) = trace {
            request = request.header(TRACE_PARENT, trace.to_string());
        }
        let response = timeout(limit, self.send(request)).await;
        let response =
            response.unwrap_or(Err(EngineFault::TimedOut { step: "take the request", limit }))?;
        Ok(Answer {
            response,
            events: Events::default(),
            limits: self.limits.clone(),
            started: false,
            ending: false,
        })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.key {
            Some(key) => request.header(AUTHORIZATION, key),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, EngineFault> {
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let read = timeout(self.limits.answer, read_body(response)).await;
        let body = read.unwrap_or(Ok(Vec::new())).unwrap_or_default();
        let message = serde_json::from_slice(&body).map_or_else(
            |_| status.to_string(),
            |error| format!("{status}: {}", chunk::message_of(&error)),
        );
        Err(refusal(status, message))
    }
}

impl Answer {
    /// The next piece; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, EngineFault> {
        let (step, limit) = match (self.ending, self.started) {
            (true, _) => ("end its answer", self.limits.usage),
            (false, true) => ("go on with its answer", self.limits.stall),
            (false, false) => ("begin its answer", self.limits.first_token),
        };
        let piece = match timeout(limit, self.read()).await {
            // All text is there; an engine that never tells its usage bills what was counted.
            Err(_) if self.ending => return Ok(None),
            Err(_) => return Err(EngineFault::TimedOut { step, limit }),
            Ok(piece) => piece?,
        };
        if let Some(piece) = &piece {
            self.started |= !piece.text.is_empty() || piece.token_ids.is_some();
            self.ending |= piece.finish.is_some();
        }
        Ok(piece)
    }

    /// Cancel-safe: what was read of an incomplete event stays in the buffer.
    async fn read(&mut self) -> Result<Option<Piece>, EngineFault> {
        loop {
            let event = self.events.next();
            match event.map_err(|TooLong| EngineFault::Broken(TooLong.to_string()))? {
                Some(data) if data == "[DONE]" => return Ok(None),
                Some(data) if data.is_empty() => {}
                Some(data) => return chunk::parse(&data).map(Some).map_err(Into::into),
                None => match self.response.chunk().await.map_err(|error| unreachable(&error))? {
                    Some(bytes) => self.events.push(&bytes),
                    None => return Ok(None),
                },
            }
        }
    }
}

impl From<BadChunk> for EngineFault {
    fn from(bad: BadChunk) -> Self {
        Self::Broken(bad.to_string())
    }
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, EngineFault> {
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + bytes.len() > MAX_BODY_BYTES {
            return Err(EngineFault::Broken(format!("more than {MAX_BODY_BYTES} bytes came")));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

fn refusal(status: StatusCode, message: String) -> EngineFault {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => EngineFault::Forbidden(message),
        StatusCode::NOT_FOUND => EngineFault::Missing(message),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            EngineFault::Busy(message)
        }
        _ if status.is_client_error() => EngineFault::Rejected(message),
        _ => EngineFault::Broken(message),
    }
}

/// The error with its causes: the outermost says only that something went wrong.
fn unreachable(error: &reqwest::Error) -> EngineFault {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    EngineFault::Unreachable(text)
}
