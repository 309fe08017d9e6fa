//! Finds out what an engine can do by asking it small questions. It believes what it sees in the
//! answers, not what a server calls itself.

use super::{
    body::{Endpoint, Switches, body},
    client::{Client, EngineFault},
};
use cactus_inference::{ChatMessage, GenerateRequest, Prompt, ResponseFormat, Sampling};
use cactus_protocol::{Feature, UNKNOWN_TOKEN};
use serde_json::Value;

/// For an answer that must be JSON, in tokens.
const JSON_TOKENS: u32 = 64;
/// What any engine must be able to follow.
const TRIAL_SCHEMA: &str = r#"{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false}"#;

/// What an engine was found to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Abilities {
    pub(super) features: Vec<Feature>,
    pub(super) switches: Switches,
}

/// What a trial brought.
#[derive(Debug, Default)]
struct Trial {
    text: String,
    has_ids: bool,
    has_logprobs: bool,
    has_usage: bool,
    finish: Option<String>,
}

/// Whether the engine has the model, and how long its context is, if it says so.
pub(super) async fn find_model(client: &Client, model: &str) -> Result<Option<u32>, EngineFault> {
    let list = client.get("/models").await?;
    let models = list["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(entry) = models.iter().find(|entry| entry["id"] == model) else {
        let ids: Vec<_> = models.iter().filter_map(|entry| entry["id"].as_str()).collect();
        return Err(EngineFault::Missing(format!("model `{model}`; it has {ids:?}")));
    };
    // vLLM and SGLang, then llama.cpp as it runs and as it was trained.
    let told = [&entry["max_model_len"], &entry["meta"]["n_ctx"], &entry["meta"]["n_ctx_train"]];
    Ok(told.into_iter().find_map(Value::as_u64).and_then(|length| u32::try_from(length).ok()))
}

/// Tries what the engine can do.
pub(super) async fn abilities(client: &Client, model: &str) -> Result<Abilities, EngineFault> {
    let switches = switches(client, model).await?;
    let mut features = Vec::new();
    if switches.token_ids || switches.always_logprobs {
        features.push(Feature::TokenIds);
    }
    let logprobs = GenerateRequest { logprobs: Some(1), ..hello() };
    if can(client, model, (logprobs, switches), |trial| trial.has_logprobs).await? {
        features.push(Feature::Logprobs);
    }
    let text = GenerateRequest { prompt: Prompt::Text("Once upon".to_owned()), ..hello() };
    let tells_ids = features.contains(&Feature::TokenIds);
    if can(client, model, (text, switches), |trial| trial.has_ids || !tells_ids).await? {
        features.push(Feature::TextPrompt);
    }
    if can(client, model, (json(ResponseFormat::JsonObject), switches), is_object).await? {
        features.push(Feature::JsonObject);
    }
    let schema = ResponseFormat::JsonSchema(TRIAL_SCHEMA.to_owned());
    if can(client, model, (json(schema), switches), follows_schema).await? {
        features.push(Feature::JsonSchema);
    }
    Ok(Abilities { features, switches })
}

/// The most telling switches that the engine accepts and honours.
async fn switches(client: &Client, model: &str) -> Result<Switches, EngineFault> {
    let all = Switches { token_ids: true, always_logprobs: false, usage: true };
    let by_logprobs = Switches { token_ids: false, always_logprobs: true, usage: true };
    for switches in [all, by_logprobs] {
        if can(client, model, (hello(), switches), |trial| trial.has_ids).await? {
            return Ok(switches);
        }
    }
    let usage = Switches { usage: true, ..Switches::default() };
    if can(client, model, (hello(), usage), |trial| trial.has_usage).await? {
        return Ok(usage);
    }
    // The plainest request: whatever stands against it is the engine's fault.
    try_out(client, model, (hello(), Switches::default())).await?;
    Ok(Switches::default())
}

fn hello() -> GenerateRequest {
    let (role, content) = ("user".to_owned(), "Say hello.".to_owned());
    let prompt = Prompt::Chat(vec![ChatMessage { role, content }]);
    let sampling = Sampling::greedy();
    GenerateRequest { max_tokens: 4, sampling, ..GenerateRequest::new(prompt) }
}

fn json(response_format: ResponseFormat) -> GenerateRequest {
    GenerateRequest { response_format, max_tokens: JSON_TOKENS, ..hello() }
}

/// An object, or the beginning of one that did not fit.
fn is_object(trial: &Trial) -> bool {
    let text = trial.text.trim();
    let whole = serde_json::from_str(text).is_ok_and(|value: Value| value.is_object());
    whole || (trial.finish.as_deref() == Some("length") && text.starts_with('{'))
}

fn follows_schema(trial: &Trial) -> bool {
    serde_json::from_str(trial.text.trim()).is_ok_and(|value: Value| value["ok"].is_boolean())
}

/// Whether a trial succeeds; a request that the engine refuses shows that it cannot.
async fn can(
    client: &Client,
    model: &str,
    trial: (GenerateRequest, Switches),
    judge: impl Fn(&Trial) -> bool,
) -> Result<bool, EngineFault> {
    match try_out(client, model, trial).await {
        Ok(trial) => Ok(judge(&trial)),
        Err(EngineFault::Rejected(_) | EngineFault::Missing(_) | EngineFault::Broken(_)) => {
            Ok(false)
        }
        Err(fault) => Err(fault),
    }
}

async fn try_out(
    client: &Client,
    model: &str,
    (request, switches): (GenerateRequest, Switches),
) -> Result<Trial, EngineFault> {
    let body = body(model, &request, switches);
    let mut answer = client.ask(Endpoint::of(&request), &body, None).await?;
    let mut trial = Trial::default();
    while let Some(piece) = answer.next().await? {
        trial.text.push_str(&piece.text);
        let known = |ids: &Vec<u32>| !ids.is_empty() && !ids.contains(&UNKNOWN_TOKEN);
        trial.has_ids |= piece.token_ids.as_ref().is_some_and(known);
        trial.has_logprobs |= piece.logprobs.is_some_and(|logprobs| !logprobs.is_empty());
        trial.has_usage |= piece.completion_tokens.is_some();
        trial.finish = piece.finish.or(trial.finish);
        if trial.text.len() > 64 * 1024 {
            return Err(EngineFault::Broken("it does not keep to max_tokens".to_owned()));
        }
    }
    Ok(trial)
}
