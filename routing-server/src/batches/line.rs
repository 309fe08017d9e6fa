//! One line of a batch: its request, and the line of the output file that it becomes. It sends
//! nothing.

use super::Endpoint;
use crate::{
    error::{ApiError, Invalid},
    exchange::Finished,
    link::unix_ms,
    openai::{
        Call, EmbeddingCall, Encoding, Shape, TextCall,
        ordered::Ordered,
        preferences::BATCH_PRIORITY,
        response::{Envelope, embeddings, text},
    },
};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use cactus_protocol::Work;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// The longest `custom_id`, in bytes.
const MAX_ID_BYTES: usize = 512;

/// A line that is being answered.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its batch.
    pub batch: Arc<str>,
    /// Its place in the input, from 0.
    pub number: u32,
    /// What the client calls it.
    pub custom_id: String,
    endpoint: Endpoint,
    encoding: Encoding,
}

/// What is stored with the payment of a line.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The batch.
    pub batch: Arc<str>,
    /// The line's place.
    pub number: u32,
    /// The line of the output file.
    pub result: String,
}

/// Why a line was never asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its time was over.
    Expired,
    /// The batch was cancelled.
    Cancelled,
}

/// A line of the input file.
#[derive(Deserialize)]
pub struct RawLine {
    /// What the client calls it.
    pub custom_id: String,
    method: String,
    url: String,
    body: Ordered,
}

/// A line of the output or the error file.
#[derive(Serialize)]
struct Written<'a, R, E> {
    id: String,
    custom_id: &'a str,
    response: Option<R>,
    error: Option<E>,
}

#[derive(Serialize)]
struct Response<B> {
    status_code: u16,
    request_id: Option<String>,
    body: B,
}

/// Reads a line and its request.
///
/// # Errors
/// [`Invalid`] says what is wrong with it.
pub fn parse(bytes: &[u8], endpoint: Endpoint) -> Result<(RawLine, Call, Encoding), Invalid> {
    let raw: RawLine = serde_json::from_slice(bytes).map_err(|error| Invalid {
        code: "invalid_json_line",
        param: None,
        message: format!("the line is no request of a batch: {error}"),
    })?;
    let is_short = !raw.custom_id.is_empty() && raw.custom_id.len() <= MAX_ID_BYTES;
    if !is_short || raw.custom_id.contains('\0') {
        let text = format!("must have 1 to {MAX_ID_BYTES} bytes, none of them zero");
        return Err(Invalid { code: "invalid_custom_id", ..Invalid::value("custom_id", text) });
    }
    if raw.method != "POST" {
        return Err(Invalid { code: "invalid_method", ..Invalid::value("method", "must be POST") });
    }
    if raw.url != endpoint.as_str() {
        let text = format!("must be {}, the endpoint of the batch", endpoint.as_str());
        return Err(Invalid { code: "invalid_url", ..Invalid::value("url", text) });
    }
    // It was read, so it can be written.
    let body = serde_json::to_vec(&raw.body).unwrap_or_default();
    let (call, encoding) = call(&body, endpoint)?;
    Ok((raw, call, encoding))
}

fn call(body: &[u8], endpoint: Endpoint) -> Result<(Call, Encoding), Invalid> {
    let mut headers = HeaderMap::new();
    let priority = HeaderName::from_static("x-cactus-priority");
    headers.insert(priority, HeaderValue::from(u16::from(BATCH_PRIORITY)));
    let text = match endpoint {
        Endpoint::Chat => TextCall::parse_chat(body, &headers)?,
        Endpoint::Plain => TextCall::parse_plain(body, &headers)?,
        Endpoint::Embeddings => {
            let embedding = EmbeddingCall::parse(body, &headers)?;
            if embedding.dimensions.is_some() {
                let text = "dimensions is not served in a batch: models have one length";
                return Err(Invalid::unsupported("dimensions", text));
            }
            return Ok((embedding.call, embedding.encoding));
        }
    };
    if text.stream {
        return Err(Invalid::unsupported("stream", "a line of a batch is not streamed"));
    }
    // One line is one task: that is what makes it paid once or not at all.
    match <[Call; 1]>::try_from(text.choices) {
        Ok([only]) => Ok((only, Encoding::Float)),
        Err(_) => {
            let text = "a line of a batch has one prompt and one answer: write several lines";
            Err(Invalid::unsupported("n", text))
        }
    }
}

impl Line {
    /// A line that was read.
    pub fn new(
        batch: Arc<str>,
        (number, custom_id): (u32, String),
        (endpoint, encoding): (Endpoint, Encoding),
    ) -> Self {
        Self { batch, number, custom_id, endpoint, encoding }
    }

    /// What is stored of an answer.
    pub fn answered(&self, work: &Work, finished: &Finished) -> Answered {
        let model = work.model();
        let told = (finished.usage, &finished.cactus);
        let result = match work {
            Work::Chat(_) => {
                let is_chat = self.endpoint == Endpoint::Chat;
                let envelope = Envelope {
                    task_id: finished.served.task_id,
                    created: unix_ms() / 1000,
                    model: model.to_owned(),
                    shape: if is_chat { Shape::Chat } else { Shape::Plain },
                };
                let answer = [(&finished.output, finished.reason)];
                self.succeeded(finished, text(&envelope, answer, told))
            }
            Work::Embed(request) => {
                let shape = (model, request.inputs.len(), self.encoding);
                self.succeeded(finished, embeddings(shape, &finished.output, told))
            }
        };
        Answered { batch: Arc::clone(&self.batch), number: self.number, result }
    }

    fn succeeded(&self, finished: &Finished, body: impl Serialize) -> String {
        let request_id = hex::encode(finished.served.task_id.as_bytes());
        self.written(Some(Response { status_code: 200, request_id: Some(request_id), body }))
    }

    /// The line of the error file for a request that was refused or failed.
    pub fn refused(&self, error: &ApiError) -> String {
        let body = error.to_json();
        let request_id = body["error"]["trace_id"].as_str().map(Into::into);
        self.written(Some(Response { status_code: error.status(), request_id, body }))
    }

    fn written(&self, response: Option<Response<impl Serialize>>) -> String {
        written((&self.batch, self.number), &self.custom_id, (response, None::<()>))
    }
}

/// The line of the error file for a request that was never sent.
pub fn not_sent((batch, number): (&str, u32), custom_id: &str, outcome: Outcome) -> String {
    let (code, message) = match outcome {
        Outcome::Expired => ("batch_expired", "the batch's time was over before this request ran"),
        Outcome::Cancelled => {
            ("batch_cancelled", "the batch was cancelled before this request ran")
        }
    };
    let error = json!({"code": code, "message": message});
    written((batch, number), custom_id, (None::<()>, Some(error)))
}

fn written(
    (batch, number): (&str, u32),
    custom_id: &str,
    (response, error): (Option<impl Serialize>, Option<impl Serialize>),
) -> String {
    let id = batch.strip_prefix("batch_").unwrap_or(batch);
    let id = format!("batch_req_{id}_{number}");
    // Plain structs of strings and numbers always have a JSON form.
    serde_json::to_string(&Written { id, custom_id, response, error }).unwrap_or_default()
}
