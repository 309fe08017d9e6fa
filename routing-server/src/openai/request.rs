//! Reads a chat completion request. Every bound on a parameter is here; unknown fields are
//! tolerated, known ones that cannot be served are refused clearly.

use super::{
    content::{self, RawMessage},
    preferences::{Preferences, RawPreferences},
};
use crate::error::Invalid;
use actix_web::http::header::HeaderMap;
use cactus_protocol::{ChatRequest, Sampling};
use serde::Deserialize;
use serde_json::{Number, Value};

const MAX_MODEL_BYTES: usize = 256;
const MAX_STOPS: usize = 4;
const MAX_STOP_BYTES: usize = 1024;

/// A checked request and how it wants its answer.
#[derive(Debug, Clone)]
pub struct ChatCall {
    /// The model's id.
    pub model: String,
    /// What is asked. `max_tokens` is 0 until [`ChatCall::into_request`] fills it in.
    request: ChatRequest,
    /// The client's own limit.
    pub max_tokens: Option<u32>,
    /// Server-sent events instead of one body.
    pub stream: bool,
    /// A last event with the usage.
    pub include_usage: bool,
    /// What is wished of whoever answers.
    pub preferences: Preferences,
}

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
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    seed: Option<i64>,
    stop: Option<Stop>,
    n: Option<Number>,
    logprobs: Option<bool>,
    tools: Option<Vec<Value>>,
    functions: Option<Vec<Value>>,
    response_format: Option<ResponseFormat>,
    cactus: Option<RawPreferences>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

impl ChatCall {
    /// Reads a JSON body and the headers that came with it.
    ///
    /// # Errors
    /// [`Invalid`] names the parameter and what it may be.
    pub fn parse(body: &[u8], headers: &HeaderMap) -> Result<Self, Invalid> {
        let raw: Raw = serde_json::from_slice(body).map_err(|error| Invalid {
            code: "invalid_json",
            param: None,
            message: format!("the body is not a chat completion request: {error}"),
        })?;
        refuse_unsupported(&raw)?;
        if raw.model.is_empty() || raw.model.len() > MAX_MODEL_BYTES {
            return Err(Invalid::value("model", "must have 1 to 256 bytes"));
        }
        let max_tokens = parse_max_tokens(&raw)?;
        let sampling = parse_sampling(&raw)?;
        let messages = content::parse(raw.messages)?;
        let request = ChatRequest {
            stop: parse_stop(raw.stop)?,
            ..ChatRequest::new(raw.model.clone(), messages, sampling, 0)
        };
        Ok(Self {
            model: raw.model,
            request,
            max_tokens,
            stream: raw.stream.unwrap_or(false),
            include_usage: raw.stream_options.is_some_and(|o| o.include_usage),
            preferences: Preferences::parse(headers, raw.cactus)?,
        })
    }

    /// The request with its limit: the client's, else the default.
    pub fn into_request(mut self, default_max_tokens: u32) -> ChatRequest {
        self.request.max_tokens = self.max_tokens.unwrap_or(default_max_tokens);
        self.request
    }
}

fn refuse_unsupported(raw: &Raw) -> Result<(), Invalid> {
    let n = raw.n.as_ref();
    if n.is_some_and(|n| n.as_u64() != Some(1)) {
        return Err(Invalid::unsupported("n", "n must be 1: send one request per answer"));
    }
    let has_tools = raw.tools.as_ref().is_some_and(|t| !t.is_empty())
        || raw.functions.as_ref().is_some_and(|f| !f.is_empty());
    if has_tools {
        return Err(Invalid::unsupported("tools", "tools are not served"));
    }
    if raw.logprobs == Some(true) {
        return Err(Invalid::unsupported("logprobs", "logprobs are not served"));
    }
    match &raw.response_format {
        Some(format) if format.kind != "text" => {
            Err(Invalid::unsupported("response_format", "only text is served"))
        }
        _ => Ok(()),
    }
}

fn parse_max_tokens(raw: &Raw) -> Result<Option<u32>, Invalid> {
    let (param, given) = match (&raw.max_completion_tokens, &raw.max_tokens) {
        (Some(given), _) => ("max_completion_tokens", given),
        (None, Some(given)) => ("max_tokens", given),
        (None, None) => return Ok(None),
    };
    let tokens = given.as_u64().and_then(|n| u32::try_from(n).ok());
    match tokens {
        Some(tokens) if tokens >= 1 => Ok(Some(tokens)),
        _ => {
            let text = format!("must be a whole number from 1 to {}", u32::MAX);
            Err(Invalid::value(param, text))
        }
    }
}

fn parse_sampling(raw: &Raw) -> Result<Sampling, Invalid> {
    let unsigned = |param, value: Option<f64>, range, default| {
        milli(param, value, range).map(|m| m.map_or(default, i32::unsigned_abs))
    };
    let signed = |param, value| milli(param, value, (-2.0, 2.0)).map(|m| m.unwrap_or(0));
    Ok(Sampling {
        temperature_milli: unsigned("temperature", raw.temperature, (0.0, 2.0), 1000)?,
        top_p_milli: unsigned("top_p", raw.top_p, (0.0, 1.0), 1000)?,
        frequency_penalty_milli: signed("frequency_penalty", raw.frequency_penalty)?,
        presence_penalty_milli: signed("presence_penalty", raw.presence_penalty)?,
        seed: raw.seed.map_or_else(rand::random, i64::cast_unsigned),
        ..Sampling::default()
    })
}

/// Thousandths of a parameter within its range.
fn milli(
    param: &'static str,
    value: Option<f64>,
    (least, most): (f64, f64),
) -> Result<Option<i32>, Invalid> {
    let Some(value) = value else { return Ok(None) };
    if !(least..=most).contains(&value) {
        return Err(Invalid::value(param, format!("must be from {least} to {most}")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 2000 either way")]
    Ok(Some((value * 1000.0).round() as i32))
}

fn parse_stop(stop: Option<Stop>) -> Result<Vec<String>, Invalid> {
    let stops = match stop {
        None => Vec::new(),
        Some(Stop::One(stop)) => vec![stop],
        Some(Stop::Many(stops)) => stops,
    };
    let fits = |stop: &String| (1..=MAX_STOP_BYTES).contains(&stop.len());
    if stops.len() > MAX_STOPS || !stops.iter().all(fits) {
        let text = format!("must be up to {MAX_STOPS} texts of 1 to {MAX_STOP_BYTES} bytes");
        return Err(Invalid::value("stop", text));
    }
    Ok(stops)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cactus_protocol::{Prompt, Role};
    use proptest::prelude::*;
    use serde_json::json;

    fn with(extra: Value) -> Result<ChatCall, Invalid> {
        let mut body = json!({"model": "sprout", "messages": [{"role": "user", "content": "hi"}]});
        let target = body.as_object_mut().unwrap();
        target.extend(extra.as_object().unwrap().clone());
        ChatCall::parse(body.to_string().as_bytes(), &HeaderMap::new())
    }

    fn check_refused(extra: Value, param: &str) {
        let refused = with(extra.clone()).unwrap_err();
        assert_eq!(refused.param, Some(param), "{extra}");
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        for bad in [json!(-1), json!(0), json!(1.5), json!(1e30), json!(1_u64 << 33)] {
            check_refused(json!({"max_tokens": bad}), "max_tokens");
        }
        check_refused(json!({"max_completion_tokens": 0}), "max_completion_tokens");
        check_refused(json!({"temperature": 2.1}), "temperature");
        check_refused(json!({"temperature": -0.1}), "temperature");
        check_refused(json!({"top_p": 1.1}), "top_p");
        check_refused(json!({"presence_penalty": -3}), "presence_penalty");
        check_refused(json!({"n": 2}), "n");
        check_refused(json!({"stop": ["a", "b", "c", "d", "e"]}), "stop");
        check_refused(json!({"stop": ""}), "stop");
        check_refused(json!({"messages": []}), "messages");
        check_refused(json!({"tools": [{}]}), "tools");
        check_refused(json!({"logprobs": true}), "logprobs");
        check_refused(json!({"response_format": {"type": "json_object"}}), "response_format");
        let many: Vec<_> = (0..1025).map(|_| json!({"role": "user", "content": ""})).collect();
        check_refused(json!({"messages": many}), "messages");
        let image = json!([{"role": "user", "content": [{"type": "image_url"}]}]);
        check_refused(json!({"messages": image}), "messages");
        let tool = json!([{"role": "tool", "content": "x"}]);
        check_refused(json!({"messages": tool}), "messages");
    }

    #[test]
    fn what_clients_send_is_understood() {
        let call = with(json!({
            "messages": [
                {"role": "developer", "content": "be brief", "name": "x"},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": null},
            ],
            "temperature": 0.7, "top_p": 0.9, "seed": -1, "stop": "END", "n": 1,
            "max_tokens": 5, "max_completion_tokens": 7, "frequency_penalty": -0.5,
            "stream": true, "stream_options": {"include_usage": true},
            "user": "u", "metadata": {"k": [1]}, "tools": null, "logprobs": false,
        }))
        .unwrap();
        assert!(call.stream && call.include_usage);
        let request = call.into_request(100);
        let Prompt::Messages(messages) = &request.prompt else { panic!("a conversation") };
        assert_eq!(messages[0].role, Role::System);
        assert_eq!(messages[1].content, "ab");
        assert_eq!(request.max_tokens, 7);
        assert_eq!(request.stop, ["END"]);
        let sampling = request.sampling;
        assert_eq!((sampling.temperature_milli, sampling.top_p_milli), (700, 900));
        assert_eq!((sampling.frequency_penalty_milli, sampling.seed), (-500, u64::MAX));
    }

    #[test]
    fn the_default_limit_is_filled_in() {
        assert_eq!(with(json!({})).unwrap().into_request(42).max_tokens, 42);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        let keys = prop::sample::select(vec!["role", "content", "type", "text", "include_usage"]);
        leaf.prop_recursive(4, 24, 4, move |inner| {
            let object = prop::collection::btree_map(keys.clone(), inner.clone(), 0..4);
            let object = object.prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
            });
            prop_oneof![prop::collection::vec(inner, 0..4).prop_map(Value::from), object]
        })
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_and_no_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(ChatCall::parse(&body, &HeaderMap::new()).is_err());
        }

        #[test]
        fn any_json_in_any_field_is_read_or_refused(
            field in prop::sample::select(vec![
                "model", "messages", "stream", "stream_options", "max_tokens", "temperature",
                "top_p", "frequency_penalty", "seed", "stop", "n", "logprobs", "tools",
                "functions", "response_format",
            ]),
            value in any_json(),
        ) {
            if let Ok(call) = with(json!({field: value})) {
                let request = call.into_request(5);
                prop_assert!(request.check().is_ok());
                prop_assert!(request.prompt_tokens_bound() >= 1);
            }
        }

        #[test]
        fn numbers_of_any_kind_are_read_or_refused(number: f64, integer: i128) {
            for value in [json!(number), serde_json::from_str(&integer.to_string()).unwrap()] {
                let _ = with(json!({"max_tokens": value}));
                let _ = with(json!({"temperature": value}));
                let _ = with(json!({"seed": value}));
            }
        }
    }
}
