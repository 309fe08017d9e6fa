//! A request in the words of the OpenAI API. It never adds what was not asked for, but for the
//! switches that make an engine count its tokens.

use cactus_inference::{GenerateRequest, Prompt, ResponseFormat, Sampling};
use serde_json::{Map, Value, json};

/// Which of the two APIs answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Chat,
    Completions,
}

/// What an engine was found to understand beyond OpenAI's own fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Switches {
    /// `return_token_ids`, as vLLM has it.
    pub(super) token_ids: bool,
    /// Log probabilities with every answer, because they carry the token ids (llama.cpp).
    pub(super) always_logprobs: bool,
    /// `stream_options`.
    pub(super) usage: bool,
}

impl Endpoint {
    pub(super) fn of(request: &GenerateRequest) -> Self {
        match request.prompt {
            Prompt::Chat(_) => Self::Chat,
            Prompt::Text(_) => Self::Completions,
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
        }
    }
}

/// The JSON body.
pub(super) fn body(model: &str, request: &GenerateRequest, switches: Switches) -> Value {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("model", json!(model));
    set("stream", json!(true));
    set("max_tokens", json!(request.max_tokens));
    match &request.prompt {
        Prompt::Chat(messages) => set("messages", json!(messages)),
        Prompt::Text(text) => set("prompt", json!(text)),
    };
    if !request.stop.is_empty() {
        set("stop", json!(request.stop));
    }
    match &request.response_format {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => set("response_format", json!({"type": "json_object"})),
        ResponseFormat::JsonSchema(schema) => {
            // What is no JSON is passed on as text, for the engine to refuse.
            let schema: Value = serde_json::from_str(schema).unwrap_or_else(|_| json!(schema));
            let schema = json!({"name": "answer", "strict": true, "schema": schema});
            set("response_format", json!({"type": "json_schema", "json_schema": schema}))
        }
    };
    let wanted = request.logprobs.or(switches.always_logprobs.then_some(1));
    match (wanted, Endpoint::of(request)) {
        (None, _) => {}
        (Some(top), Endpoint::Chat) => {
            set("logprobs", json!(true));
            set("top_logprobs", json!(top));
        }
        (Some(top), Endpoint::Completions) => {
            set("logprobs", json!(top));
        }
    }
    if switches.usage {
        set("stream_options", json!({"include_usage": true}));
    }
    if switches.token_ids {
        set("return_token_ids", json!(true));
    }
    add_sampling(&mut fields, &request.sampling);
    Value::Object(fields)
}

/// Fields that OpenAI does not have go only when they say something.
fn add_sampling(fields: &mut Map<String, Value>, sampling: &Sampling) {
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("temperature", thousandths(sampling.temperature));
    set("top_p", thousandths(sampling.top_p));
    if sampling.frequency_penalty != 0.0 {
        set("frequency_penalty", thousandths(sampling.frequency_penalty));
    }
    if sampling.presence_penalty != 0.0 {
        set("presence_penalty", thousandths(sampling.presence_penalty));
    }
    if sampling.top_k > 0 {
        set("top_k", json!(sampling.top_k));
    }
    if sampling.min_p > 0.0 {
        set("min_p", thousandths(sampling.min_p));
    }
    // Engines keep seeds in 32 or 63 bits, and some read the highest one as "none".
    set("seed", json!(sampling.seed & 0x7fff_ffff));
}

/// Without the digits that a binary fraction adds.
fn thousandths(value: f32) -> Value {
    json!((f64::from(value) * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cactus_inference::ChatMessage;

    fn chat() -> GenerateRequest {
        let content = "hi".to_owned();
        let messages = vec![ChatMessage { role: "user".into(), content }];
        GenerateRequest { max_tokens: 9, ..GenerateRequest::new(Prompt::Chat(messages)) }
    }

    #[test]
    fn a_plain_chat_has_only_openais_own_fields() {
        let body = body("m", &chat(), Switches::default());
        let expected = json!({
            "model": "m", "stream": true, "max_tokens": 9, "temperature": 1.0, "top_p": 1.0,
            "seed": 0, "messages": [{"role": "user", "content": "hi"}],
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn everything_that_is_asked_for_is_passed_on() {
        let mut request = chat();
        request.logprobs = Some(3);
        request.stop = vec!["END".into()];
        request.response_format = ResponseFormat::JsonSchema("{\"type\":\"object\"}".into());
        request.sampling = Sampling {
            temperature: 0.7,
            top_k: 40,
            min_p: 0.05,
            frequency_penalty: -0.5,
            seed: u64::MAX,
            ..Sampling::default()
        };
        let switches = Switches { token_ids: true, always_logprobs: true, usage: true };
        let body = body("m", &request, switches);
        assert_eq!((&body["temperature"], &body["min_p"]), (&json!(0.7), &json!(0.05)));
        assert_eq!((&body["top_k"], &body["frequency_penalty"]), (&json!(40), &json!(-0.5)));
        assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&json!(true), &json!(3)));
        assert_eq!((&body["stop"], &body["seed"]), (&json!(["END"]), &json!(0x7fff_ffff)));
        assert_eq!(body["response_format"]["json_schema"]["schema"]["type"], "object");
        assert_eq!(body["return_token_ids"], true);
        assert_eq!(body["stream_options"]["include_usage"], true);
    }

    #[test]
    fn a_text_prompt_goes_to_the_other_endpoint_in_its_own_form() {
        let request = GenerateRequest {
            logprobs: Some(2),
            ..GenerateRequest::new(Prompt::Text("Once".into()))
        };
        let body = body("m", &request, Switches::default());
        assert_eq!(Endpoint::of(&request).path(), "/completions");
        assert_eq!((&body["prompt"], &body["logprobs"]), (&json!("Once"), &json!(2)));
    }
}
