//! Reads an embedding request.

use super::{
    Call, check_model,
    parameters::OneOrMany,
    preferences::{Preferences, RawPreferences},
    read_json,
};
use crate::error::Invalid;
use actix_web::http::header::HeaderMap;
use cactus_protocol::{EmbedRequest, Work};
use serde::{Deserialize, de::IgnoredAny};

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A list of numbers.
    Float,
    /// Base64 of little-endian binary32 values; what OpenAI's own clients ask for.
    Base64,
}

/// A checked request for vectors.
#[derive(Debug, Clone)]
pub struct EmbeddingCall {
    /// The model's id.
    pub model: String,
    /// How the vectors are written.
    pub encoding: Encoding,
    /// Numbers per vector, when the client counts on it.
    pub dimensions: Option<u32>,
    /// What is asked.
    pub call: Call,
}

#[derive(Deserialize)]
struct Raw {
    model: String,
    input: RawInput,
    encoding_format: Option<String>,
    dimensions: Option<u32>,
    cactus: Option<RawPreferences>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawInput {
    Text(OneOrMany),
    /// Token ids, which mean nothing without the tokenizer that made them.
    Other(IgnoredAny),
}

impl EmbeddingCall {
    /// Reads a JSON body and the headers that came with it.
    ///
    /// # Errors
    /// [`Invalid`] names the parameter and what it may be.
    pub fn parse(body: &[u8], headers: &HeaderMap) -> Result<Self, Invalid> {
        let raw: Raw = read_json(body, "an embedding request")?;
        check_model(&raw.model)?;
        let RawInput::Text(inputs) = raw.input else {
            let text = "an input must be a text or a list of texts: token ids are not served";
            return Err(Invalid::unsupported("input", text));
        };
        let encoding = match raw.encoding_format.as_deref() {
            None | Some("float") => Encoding::Float,
            Some("base64") => Encoding::Base64,
            Some(_) => return Err(Invalid::value("encoding_format", "must be float or base64")),
        };
        if raw.dimensions == Some(0) {
            return Err(Invalid::value("dimensions", "must be at least 1"));
        }
        let request = EmbedRequest { model: raw.model.clone(), inputs: inputs.into() };
        request.check().map_err(|reason| Invalid::value("input", reason.to_string()))?;
        let call = Call {
            work: Work::Embed(request),
            max_tokens: None,
            streams: false,
            preferences: Preferences::parse(headers, raw.cactus)?,
        };
        Ok(Self { model: raw.model, encoding, dimensions: raw.dimensions, call })
    }
}
