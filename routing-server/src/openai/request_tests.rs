//! What the readers of requests accept and refuse.

use super::*;
use actix_web::http::header::HeaderMap;
use cactus_protocol::{Feature, Prompt, ResponseFormat, Role, Sampling};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn with(extra: Value) -> Result<TextCall, Invalid> {
    let mut body = json!({"model": "sprout", "messages": [{"role": "user", "content": "hi"}]});
    let target = body.as_object_mut().unwrap();
    target.extend(extra.as_object().unwrap().clone());
    TextCall::parse_chat(body.to_string().as_bytes(), &HeaderMap::new())
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
    for bad in [json!(0), json!(129), json!(-1), json!(1.5)] {
        check_refused(json!({"n": bad}), "n");
    }
    check_refused(json!({"top_k": -2}), "top_k");
    check_refused(json!({"min_p": 1.5}), "min_p");
    let many: Map<String, Value> = (0..301).map(|n| (n.to_string(), json!(1))).collect();
    for bad in [json!({"5": 100.1}), json!({"5": -101}), json!({"5": "1"}), json!({"5": null})] {
        check_refused(json!({"logit_bias": bad}), "logit_bias");
    }
    for bad in [json!({"x": 1}), json!({"-1": 1}), json!({"05": 1}), json!({"": 1}), json!(many)] {
        check_refused(json!({"logit_bias": bad}), "logit_bias");
    }
    check_refused(json!({"modalities": ["audio"]}), "modalities");
    check_refused(json!({"stop": ["a", "b", "c", "d", "e"]}), "stop");
    check_refused(json!({"stop": ""}), "stop");
    check_refused(json!({"messages": []}), "messages");
    check_refused(json!({"tools": [{}]}), "tools");
    check_refused(json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs");
    check_refused(json!({"top_logprobs": 2}), "top_logprobs");
    for bad in [json!({"type": "xml"}), json!({"type": "json_schema"}), schema(json!([1]))] {
        check_refused(json!({"response_format": bad}), "response_format");
    }
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
        "temperature": 0.7, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "seed": -1, "stop": "END", "n": 1,
        "max_tokens": 5, "max_completion_tokens": 7, "frequency_penalty": -0.5,
        "stream": true, "stream_options": {"include_usage": true},
        "logit_bias": {"50256": -100, "7": 1.5, "10": 0.25},
        "user": "u", "metadata": {"k": [1]}, "tools": null, "logprobs": false,
    }))
    .unwrap();
    assert!(call.stream && call.include_usage);
    let request = only(call, 100);
    let Prompt::Messages(messages) = &request.prompt else { panic!("no messages") };
    assert_eq!(messages[0].role, Role::System);
    assert_eq!(messages[1].content, "ab");
    assert_eq!(request.max_tokens, 7);
    assert_eq!(request.stop, ["END"]);
    assert_eq!(request.needed_features(), [Feature::LogitBias]);
    let biases = request.logit_bias.iter().map(|bias| (bias.token, bias.bias_milli));
    assert_eq!(biases.collect::<Vec<_>>(), [(7, 1500), (10, 250), (50_256, -100_000)]);
    let sampling = request.sampling;
    assert_eq!((sampling.temperature_milli, sampling.top_p_milli), (700, 900));
    assert_eq!((sampling.frequency_penalty_milli, sampling.seed), (-500, u64::MAX));
    assert_eq!((sampling.top_k, sampling.min_p_milli), (40, 50));
}

#[test]
fn logprobs_and_formats_ask_for_features() {
    let asked =
        json!({"logprobs": true, "top_logprobs": 3, "response_format": {"type": "json_object"}});
    let request = only(with(asked).unwrap(), 5);
    assert_eq!(request.logprobs, Some(3));
    assert_eq!(request.needed_features(), [Feature::Logprobs, Feature::JsonObject]);
    let text = r#"{"model": "m", "messages": [{"role": "user", "content": "x"}], "response_format":
        {"type": "json_schema", "json_schema": {"name": "s", "schema": {"z": 1, "a": 2}}}}"#;
    let call = TextCall::parse_chat(text.as_bytes(), &HeaderMap::new()).unwrap();
    let written = r#"{"z":1,"a":2}"#;
    assert_eq!(only(call, 5).response_format, ResponseFormat::JsonSchema(written.into()));
}

#[test]
fn each_choice_has_a_seed_of_its_own_and_the_first_the_requests() {
    let seeds = |n: usize| -> Vec<u64> {
        let call = with(json!({"seed": 9, "n": n})).unwrap();
        call.choices.into_iter().map(|c| sampling(c).seed).collect()
    };
    let three = seeds(3);
    assert_eq!((three[0], three.len()), (9, 3));
    assert!(three[1] != three[0] && three[2] != three[1]);
    assert_eq!(three, seeds(3));
    assert_eq!(seeds(1), [9]);
}

#[test]
fn plain_prompts_make_choices_in_openais_order() {
    let call = plain(json!({"prompt": ["a", "b"], "n": 2, "seed": 1})).unwrap();
    assert_eq!(call.choices.len(), 4);
    let requests: Vec<_> = call.choices.into_iter().map(request).collect();
    let prompts: Vec<_> = requests.iter().map(|r| r.prompt.clone()).collect();
    let text = |text: &str| Prompt::Text(text.into());
    assert_eq!(prompts, [text("a"), text("a"), text("b"), text("b")]);
    assert_eq!(requests[0].sampling.seed, requests[2].sampling.seed);
    assert_eq!(requests[0].max_tokens, 16);
    assert_eq!(requests[0].needed_features(), [Feature::TextPrompt]);
}

#[test]
fn what_plain_completions_cannot_do_is_refused_by_name() {
    for (bad, param) in [
        (json!({"echo": true}), "echo"),
        (json!({"suffix": "x"}), "suffix"),
        (json!({"best_of": 2}), "best_of"),
        (json!({"prompt": [1, 2]}), "prompt"),
        (json!({"prompt": []}), "prompt"),
        (json!({"prompt": ""}), "prompt"),
        (json!({"logprobs": 21}), "logprobs"),
        (json!({"n": 100, "prompt": ["a", "b"]}), "n"),
    ] {
        assert_eq!(plain(bad.clone()).unwrap_err().param, Some(param), "{bad}");
    }
    assert!(plain(json!({"echo": false, "suffix": null, "best_of": 1, "logprobs": 0})).is_ok());
}

#[test]
fn embedding_inputs_are_texts_within_bounds() {
    let read = |extra: Value| {
        let mut body = json!({"model": "m", "input": "x"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        EmbeddingCall::parse(body.to_string().as_bytes(), &HeaderMap::new())
    };
    for (bad, param) in [
        (json!({"input": [1, 2]}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": ["a", ""]}), "input"),
        (json!({"encoding_format": "int8"}), "encoding_format"),
        (json!({"dimensions": 0}), "dimensions"),
        (json!({"model": ""}), "model"),
    ] {
        assert_eq!(read(bad.clone()).unwrap_err().param, Some(param), "{bad}");
    }
    let call = read(json!({"input": ["a", "b"], "encoding_format": "base64"})).unwrap();
    assert_eq!(call.encoding, Encoding::Base64);
    assert_eq!(call.call.work().max_tokens(), 0);
}

#[test]
fn the_default_limit_is_filled_in() {
    assert_eq!(only(with(json!({})).unwrap(), 42).max_tokens, 42);
}

#[test]
fn a_body_that_says_it_is_no_json_is_refused() {
    use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
    for (kind, fits) in [
        ("application/json; charset=utf-8", true),
        ("application/x-www-form-urlencoded", true),
        ("text/plain", false),
        ("multipart/form-data; boundary=x", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        assert_eq!(expect_json(&headers).is_ok(), fits, "{kind}");
    }
    assert!(expect_json(&HeaderMap::new()).is_ok());
}

fn schema(schema: Value) -> Value {
    json!({"type": "json_schema", "json_schema": {"name": "s", "schema": schema}})
}

fn plain(extra: Value) -> Result<TextCall, Invalid> {
    let mut body = json!({"model": "sprout", "prompt": "hi"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    TextCall::parse_plain(body.to_string().as_bytes(), &HeaderMap::new())
}

fn request(call: Call) -> ChatRequest {
    match call.bounded(1) {
        Work::Chat(request) => request,
        Work::Embed(_) => panic!("no text"),
    }
}

fn sampling(call: Call) -> Sampling {
    request(call).sampling
}

/// The request of the only choice.
fn only(call: TextCall, default_max_tokens: u32) -> ChatRequest {
    let [call] = <[Call; 1]>::try_from(call.choices).unwrap();
    match call.bounded(default_max_tokens) {
        Work::Chat(request) => request,
        Work::Embed(_) => panic!("no text"),
    }
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
        prop_assert!(TextCall::parse_chat(&body, &HeaderMap::new()).is_err());
    }

    #[test]
    fn any_json_in_any_field_is_read_or_refused(
        field in prop::sample::select(vec![
            "model", "messages", "stream", "stream_options", "max_tokens", "temperature",
            "top_p", "frequency_penalty", "seed", "stop", "n", "logprobs", "tools",
            "functions", "response_format", "top_logprobs", "top_k", "min_p", "logit_bias", "cactus",
        ]),
        value in any_json(),
    ) {
        if let Ok(call) = with(json!({field: value})) {
            for choice in call.choices {
                // Whatever is let in, no node may refuse for its form.
                prop_assert_eq!(choice.bounded(5).check(), Ok(()));
            }
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
