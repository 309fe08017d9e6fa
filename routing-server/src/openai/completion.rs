//! Reads a plain completion request: text goes on where a prompt ends, without a template.

use super::{
    check_model,
    parameters::{self, OneOrMany, RawSampling, StreamOptions},
    preferences::{Preferences, RawPreferences},
    read_json,
    text::{Parts, Shape},
};
use crate::error::Invalid;
use actix_web::http::header::HeaderMap;
use cactus_protocol::{ChatRequest, Prompt, ResponseFormat};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Number, Value};

/// OpenAI's default for this endpoint.
const DEFAULT_MAX_TOKENS: u32 = 16;

#[derive(Deserialize)]
struct Raw {
    model: String,
    prompt: RawPrompt,
    #[serde(default)]
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<Number>,
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
    best_of: Option<Number>,
    logprobs: Option<Number>,
    echo: Option<bool>,
    suffix: Option<String>,
    cactus: Option<RawPreferences>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPrompt {
    Text(OneOrMany),
    /// Token ids, which mean nothing without the tokenizer that made them.
    Other(IgnoredAny),
}

/// Reads a JSON body and the headers that came with it.
pub fn parse(body: &[u8], headers: &HeaderMap) -> Result<Parts, Invalid> {
    let raw: Raw = read_json(body, "a completion request")?;
    refuse_unsupported(&raw)?;
    check_model(&raw.model)?;
    let mut prompts = parse_prompts(raw.prompt)?.into_iter().map(Prompt::Text);
    let first = prompts.next().unwrap_or_else(|| Prompt::Text(String::new()));
    let logprobs = raw.logprobs.as_ref();
    let request = ChatRequest {
        model: raw.model.clone(),
        prompt: first,
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
        logprobs: logprobs.map(|n| parameters::alternatives("logprobs", n)).transpose()?,
        response_format: ResponseFormat::Text,
        resume: Vec::new(),
    };
    let max_tokens = raw.max_tokens.as_ref().map(|n| parameters::max_tokens("max_tokens", n));
    Ok(Parts {
        shape: Shape::Plain,
        model: raw.model,
        stream: raw.stream,
        stream_options: raw.stream_options,
        request,
        more_prompts: prompts.collect(),
        n: parameters::choices(raw.n.as_ref())?,
        max_tokens: Some(max_tokens.transpose()?.unwrap_or(DEFAULT_MAX_TOKENS)),
        preferences: Preferences::parse(headers, raw.cactus)?,
    })
}

fn parse_prompts(prompt: RawPrompt) -> Result<Vec<String>, Invalid> {
    let RawPrompt::Text(prompts) = prompt else {
        let text = "a prompt must be a text or a list of texts: token ids are not served";
        return Err(Invalid::unsupported("prompt", text));
    };
    let prompts: Vec<String> = prompts.into();
    if prompts.is_empty() || prompts.iter().any(String::is_empty) {
        return Err(Invalid::value("prompt", "must not be empty"));
    }
    Ok(prompts)
}

fn refuse_unsupported(raw: &Raw) -> Result<(), Invalid> {
    if raw.echo == Some(true) {
        return Err(Invalid::unsupported(
            "echo",
            "echo is not served: the prompt is yours already",
        ));
    }
    if raw.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty()) {
        return Err(Invalid::unsupported("suffix", "suffix is not served"));
    }
    let n = raw.n.as_ref().map_or(Some(1), Number::as_u64);
    if raw.best_of.as_ref().is_some_and(|best| best.as_u64() != n) {
        return Err(Invalid::unsupported("best_of", "best_of is not served: ask for n choices"));
    }
    Ok(())
}
