//! OpenAI's formats: requests in, answers and events out. It knows no node and no money.

mod chat;
mod completion;
mod content;
mod embedding;
pub mod ordered;
mod parameters;
pub mod preferences;
#[cfg(test)]
mod request_tests;
pub mod response;
mod text;

pub use embedding::{EmbeddingCall, Encoding};
pub use text::{Shape, TextCall};

use crate::error::{ApiError, Invalid};
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use cactus_protocol::{ChatRequest, Work};
use preferences::Preferences;
use serde::de::DeserializeOwned;

/// The longest model id, in bytes.
const MAX_MODEL_BYTES: usize = 256;

/// One task's worth of a request: what is asked and how the answer is wanted.
#[derive(Debug, Clone)]
pub struct Call {
    /// What is asked. The `max_tokens` of text is 0 until [`Call::bounded`] fills it in.
    work: Work,
    /// The client's own limit of output tokens.
    pub max_tokens: Option<u32>,
    /// Parts as they come, instead of all at the end.
    pub streams: bool,
    /// What is wished of whoever answers.
    pub preferences: Preferences,
}

impl Call {
    /// A request for text.
    pub fn text(request: ChatRequest, max_tokens: Option<u32>, preferences: Preferences) -> Self {
        Self { work: Work::Chat(request), max_tokens, streams: false, preferences }
    }

    /// What is asked.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// The work with its limit: the client's, else the default.
    pub fn bounded(mut self, default_max_tokens: u32) -> Work {
        if let Work::Chat(request) = &mut self.work {
            request.max_tokens = self.max_tokens.unwrap_or(default_max_tokens);
        }
        self.work
    }
}

/// Reads a JSON body, or says what is wrong with it.
fn read_json<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, Invalid> {
    serde_json::from_slice(body).map_err(|error| Invalid {
        code: "invalid_json",
        param: None,
        message: format!("the body is not {what}: {error}"),
    })
}

fn check_model(model: &str) -> Result<(), Invalid> {
    if model.is_empty() || model.len() > MAX_MODEL_BYTES {
        return Err(Invalid::value("model", "must have 1 to 256 bytes"));
    }
    Ok(())
}

/// Refuses a body that says of itself that it is something other than JSON.
///
/// # Errors
/// [`ApiError::MediaType`].
pub fn expect_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(given) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let given = given.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    // `curl --data` calls everything a form unless it is told otherwise.
    let json = ["application/json", "text/json", "application/x-www-form-urlencoded"];
    match json.iter().any(|name| given.trim().eq_ignore_ascii_case(name)) {
        true => Ok(()),
        false => Err(ApiError::MediaType { wanted: "application/json" }),
    }
}
