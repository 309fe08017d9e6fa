//! Reads a chat completion request. Unknown fields are tolerated; known ones that cannot be served
//! are refused clearly.

use super::{
    check_model,
    content::{self, RawMessage},
    ordered::Ordered,
    parameters::{self, OneOrMany, RawSampling, StreamOptions},
    preferences::{Preferences, RawPreferences},
    read_json,
    text::{Parts, Shape},
};
use crate::error::Invalid;
use actix_web::http::header::HeaderMap;
use cactus_protocol::{ChatRequest, Prompt, ResponseFormat, chat::MAX_SCHEMA_BYTES};
use serde::Deserialize;
use serde_json::{Map, Number, Value};

#[derive(Deserialize)]
struct Raw {
    model: String,
    messages: Vec<RawMessage>,
    #[serde(default)]
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<Number>,
    max_completion_tokens: Option<Number>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    top_k: Option<i64>,
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    seed: Option<i64>,
    logit_bias: Option<Map<String, Value>>,
    stop: Option<OneOrMany>,
    n: Option<Number>,
    logprobs: Option<bool>,
    top_logprobs: Option<Number>,
    tools: Option<Vec<Value>>,
    functions: Option<Vec<Value>>,
    modalities: Option<Vec<String>>,
    response_format: Option<RawFormat>,
    cactus: Option<RawPreferences>,
}

#[derive(Deserialize)]
struct RawFormat {
    #[serde(rename = "type")]
    kind: String,
    json_schema: Option<RawSchema>,
}

#[derive(Deserialize)]
struct RawSchema {
    schema: Option<Ordered>,
}

/// Reads a JSON body and the headers that came with it.
pub fn parse(body: &[u8], headers: &HeaderMap) -> Result<Parts, Invalid> {
    let raw: Raw = read_json(body, "a chat completion request")?;
    refuse_unsupported(&raw)?;
    check_model(&raw.model)?;
    let request = ChatRequest {
        model: raw.model.clone(),
        sampling: parameters::sampling(&RawSampling {
            temperature: raw.temperature,
            top_p: raw.top_p,
            min_p: raw.min_p,
            top_k: raw.top_k,
            frequency_penalty: raw.frequency_penalty,
            presence_penalty: raw.presence_penalty,
            seed: raw.seed,
        })?,
        logit_bias: parameters::logit_bias(raw.logit_bias)?,
        max_tokens: 0,
        stop: parameters::stops(raw.stop)?,
        logprobs: parse_logprobs(raw.logprobs, raw.top_logprobs.as_ref())?,
        response_format: raw.response_format.map_or(Ok(ResponseFormat::Text), parse_format)?,
        resume: Vec::new(),
        prompt: Prompt::Messages(content::parse(raw.messages)?),
    };
    let max_tokens = match (&raw.max_completion_tokens, &raw.max_tokens) {
        (Some(given), _) => Some(parameters::max_tokens("max_completion_tokens", given)?),
        (None, Some(given)) => Some(parameters::max_tokens("max_tokens", given)?),
        (None, None) => None,
    };
    Ok(Parts {
        shape: Shape::Chat,
        model: raw.model,
        stream: raw.stream,
        stream_options: raw.stream_options,
        request,
        more_prompts: Vec::new(),
        n: parameters::choices(raw.n.as_ref())?,
        max_tokens,
        preferences: Preferences::parse(headers, raw.cactus)?,
    })
}

fn refuse_unsupported(raw: &Raw) -> Result<(), Invalid> {
    let is_used = |tools: &Option<Vec<Value>>| tools.as_ref().is_some_and(|t| !t.is_empty());
    if is_used(&raw.tools) || is_used(&raw.functions) {
        let text = "no engine of this network calls tools: ask for JSON with response_format";
        return Err(Invalid::unsupported("tools", text));
    }
    let other = raw.modalities.iter().flatten().any(|modality| modality != "text");
    if other {
        return Err(Invalid::unsupported("modalities", "only text is served"));
    }
    Ok(())
}

fn parse_logprobs(wanted: Option<bool>, top: Option<&Number>) -> Result<Option<u8>, Invalid> {
    let top = top.map(|top| parameters::alternatives("top_logprobs", top)).transpose()?;
    match (wanted.unwrap_or(false), top) {
        (true, top) => Ok(Some(top.unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => Err(Invalid::value("top_logprobs", "needs logprobs: true")),
    }
}

fn parse_format(format: RawFormat) -> Result<ResponseFormat, Invalid> {
    match format.kind.as_str() {
        "text" => Ok(ResponseFormat::Text),
        "json_object" => Ok(ResponseFormat::JsonObject),
        "json_schema" => {
            let schema = format.json_schema.and_then(|named| named.schema);
            let schema = schema.ok_or_else(|| {
                Invalid::value("response_format", "json_schema needs a `schema` in it")
            })?;
            let text = serde_json::to_string(&schema).unwrap_or_default();
            if !matches!(schema, Ordered::Object(_)) || text.len() > MAX_SCHEMA_BYTES {
                let limit =
                    format!("the schema must be an object of at most {MAX_SCHEMA_BYTES} bytes");
                return Err(Invalid::value("response_format", limit));
            }
            Ok(ResponseFormat::JsonSchema(text))
        }
        _ => {
            let text = "the type must be text, json_object or json_schema";
            Err(Invalid::value("response_format", text))
        }
    }
}
