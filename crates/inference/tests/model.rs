//! The model handle as the orchestrator uses it: many requests, cancellation, overload, shutdown.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

use std::path::Path;

use cactus_inference::{
    ChatMessage, CompleteError, Completion, FinishReason, GenerateError, GenerateEvent,
    GenerateRequest, LoadOptions, Model, Overloaded, Prompt, ResponseFormat, Sampling,
    TokenLogprobs,
};
use tokio_util::sync::CancellationToken;

fn options(slots: usize) -> LoadOptions {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama3");
    LoadOptions { threads: Some(1), slots, ..LoadOptions::new(fixture) }
}

fn request(content: &str, max_tokens: u32) -> GenerateRequest {
    GenerateRequest {
        sampling: Sampling { temperature: 0.8, seed: 7, ..Sampling::default() },
        max_tokens,
        ..GenerateRequest::new(Prompt::Chat(vec![ChatMessage {
            role: "user".to_owned(),
            content: content.to_owned(),
        }]))
    }
}

async fn complete(model: &Model, request: GenerateRequest) -> Result<Completion, CompleteError> {
    model.complete(request, CancellationToken::new()).await
}

#[tokio::test]
async fn a_request_gives_the_same_tokens_alone_and_among_others() {
    let alone = Model::load(options(1)).unwrap();
    let shared = Model::load(options(8)).unwrap();
    let prompts = ["the sun", "sand", "a cactus and the sand and the sun", "", "grüße"];
    let together = prompts.map(|prompt| complete(&shared, request(prompt, 40)));
    let together = futures::future::join_all(together).await;
    for (prompt, together) in prompts.into_iter().zip(together) {
        let (alone, together) =
            (complete(&alone, request(prompt, 40)).await.unwrap(), together.unwrap());
        assert_eq!(alone.token_ids, together.token_ids);
        assert_eq!(alone.text, together.text);
        assert_eq!(alone.token_ids.len(), usize::try_from(alone.output_tokens).unwrap());
        assert!(alone.ttft <= alone.total);
    }
}

#[tokio::test]
async fn the_seed_decides_the_answer() {
    let model = Model::load(options(4)).unwrap();
    let with_seed = |seed| {
        let mut request = request("the sun", 30);
        request.sampling.seed = seed;
        complete(&model, request)
    };
    let (first, again, other) = (with_seed(1).await, with_seed(1).await, with_seed(2).await);
    assert_eq!(first.as_ref().unwrap().token_ids, again.unwrap().token_ids);
    assert_ne!(first.unwrap().token_ids, other.unwrap().token_ids);
}

#[tokio::test]
async fn a_stop_string_ends_the_answer_before_it() {
    let model = Model::load(options(1)).unwrap();
    let whole = complete(&model, request("the sun", 40)).await.unwrap();
    let letters: Vec<char> = whole.text.chars().collect();
    let stop: String = letters[letters.len() / 2..letters.len() / 2 + 3].iter().collect();
    let stopped =
        complete(&model, GenerateRequest { stop: vec![stop.clone()], ..request("the sun", 40) })
            .await
            .unwrap();
    assert_eq!(stopped.reason, FinishReason::Stop);
    assert_eq!(stopped.text, whole.text[..whole.text.find(&stop).unwrap()]);
    assert!(stopped.output_tokens < whole.output_tokens);
    assert_eq!(stopped.token_ids[..], whole.token_ids[..stopped.token_ids.len()]);
}

#[tokio::test]
async fn without_a_limit_an_answer_ends_with_the_context() {
    let model = Model::load(options(1)).unwrap();
    for max_tokens in [0, 1_000_000, u32::MAX] {
        let mut request = request("the sun", max_tokens);
        // The end-of-turn token may come first; some seed gets by without it.
        let mut longest = complete(&model, request.clone()).await.unwrap();
        for seed in 0..20 {
            request.sampling.seed = seed;
            let next = complete(&model, request.clone()).await.unwrap();
            longest = if next.output_tokens > longest.output_tokens { next } else { longest };
        }
        assert_eq!(longest.reason, FinishReason::Length);
        assert_eq!(longest.prompt_tokens + longest.output_tokens, 128);
    }
}

#[tokio::test]
async fn bad_requests_are_answered_and_the_model_lives_on() {
    let model = Model::load(options(1)).unwrap();
    let base = request("the sun", 5);
    let sampling = |change: fn(&mut Sampling)| {
        let mut request = base.clone();
        change(&mut request.sampling);
        request
    };
    let bad = [
        request(&"sun ".repeat(200), 5),
        request(&"sun ".repeat(1_000_000), 5),
        GenerateRequest { prompt: Prompt::Chat(Vec::new()), ..base.clone() },
        GenerateRequest { prompt: Prompt::Text(String::new()), ..base.clone() },
        GenerateRequest { logprobs: Some(21), ..base.clone() },
        GenerateRequest {
            response_format: ResponseFormat::JsonSchema(" ".repeat(70_000)),
            ..base.clone()
        },
        GenerateRequest { stop: vec!["x".to_owned(); 17], ..base.clone() },
        GenerateRequest { stop: vec!["x".repeat(10_000)], ..base.clone() },
        GenerateRequest { stop: vec![String::new()], ..base.clone() },
        sampling(|sampling| sampling.temperature = f32::NAN),
        sampling(|sampling| sampling.temperature = -1.0),
        sampling(|sampling| sampling.top_p = 1.5),
        sampling(|sampling| sampling.min_p = f32::INFINITY),
        sampling(|sampling| sampling.presence_penalty = 3.0),
    ];
    for request in bad {
        let refused = complete(&model, request).await;
        assert!(
            matches!(refused, Err(CompleteError::Failed(GenerateError::BadRequest(_)))),
            "{refused:?}"
        );
    }
    assert!(complete(&model, base).await.is_ok());
    assert_eq!(model.current_load().queued, 0);
}

#[tokio::test]
async fn a_full_queue_answers_overloaded_and_recovers() {
    let slow = LoadOptions { queue: 2, tokens_per_second_limit: Some(0.01), ..options(1) };
    let model = Model::load(slow).unwrap();
    let cancel = CancellationToken::new();
    let ask = || model.generate(request("the sun", 50), cancel.clone());
    let mut first = ask().unwrap();
    // Once the first has started, two more may wait.
    assert!(matches!(first.recv().await, Some(GenerateEvent::Started { .. })));
    let waiting = [ask().unwrap(), ask().unwrap()];
    assert!(matches!(ask(), Err(Overloaded)));
    let load = model.current_load();
    assert_eq!((load.active, load.free_slots, load.queued), (1, 0, 2));
    cancel.cancel();
    for mut events in waiting.into_iter().chain([first]) {
        let mut last = None;
        while let Some(event) = events.recv().await {
            last = Some(event);
        }
        assert!(
            matches!(last, Some(GenerateEvent::Finished { reason: FinishReason::Cancelled, .. })),
            "{last:?}"
        );
    }
    assert!(model.generate(request("the sun", 1), CancellationToken::new()).is_ok());
}

#[tokio::test]
async fn dropping_the_model_cancels_what_runs_and_joins_its_threads() {
    let slow = LoadOptions { tokens_per_second_limit: Some(0.01), ..options(1) };
    let model = Model::load(slow).unwrap();
    let mut receivers: Vec<_> = (0..3)
        .map(|_| model.generate(request("the sun", 50), CancellationToken::new()).unwrap())
        .collect();
    assert!(matches!(receivers[0].recv().await, Some(GenerateEvent::Started { .. })));
    drop(model);
    for mut events in receivers {
        let mut last = None;
        while let Some(event) = events.recv().await {
            last = Some(event);
        }
        assert!(
            matches!(last, Some(GenerateEvent::Finished { reason: FinishReason::Cancelled, .. })),
            "{last:?}"
        );
    }
}

#[tokio::test]
async fn broken_weights_fail_the_request_and_not_the_node() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("nan");
    std::fs::create_dir(&directory).unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        std::fs::copy(options(1).dir.join(file), directory.join(file)).unwrap();
    }
    let mut weights = std::fs::read(options(1).dir.join("model.safetensors")).unwrap();
    let end = weights.len();
    weights[end - 4096..].fill(0xff);
    std::fs::write(directory.join("model.safetensors"), weights).unwrap();
    let model = Model::load(LoadOptions { dir: directory, ..options(1) }).unwrap();
    for _ in 0..2 {
        let failed = complete(&model, request("the sun", 5)).await;
        assert!(
            matches!(failed, Err(CompleteError::Failed(GenerateError::Internal(_)))),
            "{failed:?}"
        );
    }
}

#[tokio::test]
async fn a_small_cache_shortens_the_context_and_makes_requests_take_turns() {
    // One block of sixteen positions takes 8 KiB in this model.
    let small = LoadOptions { kv_cache_bytes: Some(3 * 8192), ..options(4) };
    let model = Model::load(small).unwrap();
    assert_eq!(model.card().context_length, 48);
    let answers = (0..4).map(|seed| {
        let mut request = request("the sun", 0);
        request.sampling.seed = seed;
        complete(&model, request)
    });
    for answer in futures::future::join_all(answers).await {
        let answer = answer.unwrap();
        let tokens = answer.prompt_tokens + answer.output_tokens;
        assert!(tokens == 48 || (answer.reason == FinishReason::Stop && tokens < 48), "{answer:?}");
    }
}

/// All deltas of an answer, and what is said at its end: prompt and output tokens.
async fn deltas(model: &Model, request: GenerateRequest) -> (Vec<Delta>, FinishReason, u32, u32) {
    let mut events = model.generate(request, CancellationToken::new()).unwrap();
    let mut deltas = Vec::new();
    while let Some(event) = events.recv().await {
        match event {
            GenerateEvent::Started { .. } => {}
            GenerateEvent::Delta { text, token_ids, logprobs } => {
                deltas.push(Delta { text, token_ids, logprobs });
            }
            GenerateEvent::Finished { reason, prompt_tokens, output_tokens, .. } => {
                return (deltas, reason, prompt_tokens, output_tokens);
            }
            GenerateEvent::Failed(error) => panic!("{error}"),
        }
    }
    panic!("the answer has no end");
}

struct Delta {
    text: String,
    token_ids: Vec<u32>,
    logprobs: Vec<TokenLogprobs>,
}

fn joined(deltas: &[Delta]) -> (String, Vec<u32>) {
    let text = deltas.iter().map(|delta| delta.text.as_str()).collect();
    (text, deltas.iter().flat_map(|delta| delta.token_ids.clone()).collect())
}

#[tokio::test]
async fn an_answer_that_another_node_began_goes_on_as_that_node_would_have() {
    let (first, second) = (Model::load(options(1)).unwrap(), Model::load(options(4)).unwrap());
    let plain = request("the sun", 40);
    let mut penalised = request("a cactus", 40);
    penalised.sampling.frequency_penalty = 1.2;
    let mut stopped = request("sand", 60);
    let whole = complete(&first, stopped.clone()).await.unwrap().text;
    let letters: Vec<char> = whole.chars().collect();
    stopped.stop = vec![letters[letters.len() / 2..letters.len() / 2 + 2].iter().collect()];
    let mut json = request("grüße", 60);
    json.response_format = ResponseFormat::JsonObject;
    for request in [plain, penalised, stopped, json] {
        let (whole, reason, prompt_tokens, output_tokens) = deltas(&first, request.clone()).await;
        for cut in 0..=whole.len() {
            let ((_, resume), (text, token_ids)) = (joined(&whole[..cut]), joined(&whole[cut..]));
            let resumed = u32::try_from(resume.len()).unwrap();
            let rest = deltas(&second, GenerateRequest { resume, ..request.clone() }).await;
            assert_eq!(joined(&rest.0), (text, token_ids), "cut at {cut}");
            let counts = (prompt_tokens + resumed, output_tokens - resumed);
            assert_eq!((rest.1, (rest.2, rest.3)), (reason, counts), "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_bias_rules_out_and_insists_and_an_answer_goes_on_with_it() {
    let model = Model::load(options(2)).unwrap();
    let plain = complete(&model, request("the sun", 20)).await.unwrap().token_ids;
    let biased = |token: u32, bias: f32| {
        let mut request = request("the sun", 20);
        request.sampling.logit_bias.insert(token, bias);
        request
    };
    let without = complete(&model, biased(plain[3], -100.0)).await.unwrap().token_ids;
    assert_eq!(without[..3], plain[..3]);
    assert!(!without.contains(&plain[3]));
    let resumed = GenerateRequest { resume: without[..7].to_vec(), ..biased(plain[3], -100.0) };
    assert_eq!(complete(&model, resumed).await.unwrap().token_ids, without[7..]);
    assert_eq!(complete(&model, biased(40, 100.0)).await.unwrap().token_ids, [40; 20]);
    for bad in [biased(288, 1.0), biased(40, 100.5), biased(40, f32::NAN)] {
        let refused = complete(&model, bad).await;
        assert!(matches!(refused, Err(CompleteError::Failed(GenerateError::BadRequest(_)))));
    }
}

#[tokio::test]
async fn a_beginning_that_cannot_be_is_refused() {
    let model = Model::load(options(1)).unwrap();
    let object = ResponseFormat::JsonObject;
    let plain = request("the sun", 5);
    let bad = [
        GenerateRequest { resume: vec![u32::MAX], ..plain.clone() },
        GenerateRequest { resume: vec![1, 40], ..plain.clone() },
        GenerateRequest { resume: vec![40, 40], response_format: object, ..plain },
    ];
    for request in bad {
        let refused = complete(&model, request).await;
        let refused = matches!(refused, Err(CompleteError::Failed(GenerateError::BadRequest(_))));
        assert!(refused);
    }
}

#[tokio::test]
async fn logprobs_come_with_their_tokens_and_are_those_of_the_model_itself() {
    let model = Model::load(options(2)).unwrap();
    let mut greedy = request("the sun", 30);
    greedy.sampling = Sampling::greedy();
    greedy.logprobs = Some(3);
    let (answer, ..) = deltas(&model, greedy.clone()).await;
    let mut bytes = Vec::new();
    for delta in &answer {
        let ids: Vec<u32> = delta.logprobs.iter().map(|entry| entry.chosen.token_id).collect();
        assert_eq!(ids, delta.token_ids);
        for entry in &delta.logprobs {
            assert_eq!(entry.top.len(), 3);
            assert_eq!(entry.top[0], entry.chosen, "the likeliest was chosen");
            let order = entry.top.windows(2).all(|pair| pair[0].logprob >= pair[1].logprob);
            let sum: f32 = entry.top.iter().map(|other| other.logprob.exp()).sum();
            assert!(order && sum <= 1.0 + 1e-5, "{entry:?}");
            bytes.extend_from_slice(&entry.chosen.bytes);
        }
    }
    let (text, _) = joined(&answer);
    assert!(String::from_utf8_lossy(&bytes).starts_with(&text));
    // Temperature, filters and penalties change the choice and not what is reported of it.
    let sampling = Sampling { temperature: 3.0, top_k: 1, ..Sampling::default() };
    let (other, ..) = deltas(&model, GenerateRequest { sampling, ..greedy.clone() }).await;
    assert_eq!(joined(&other), joined(&answer));
    for (other, delta) in other.iter().zip(&answer) {
        assert_eq!(other.logprobs, delta.logprobs);
    }
    let none = GenerateRequest { logprobs: None, ..greedy };
    assert!(deltas(&model, none).await.0.iter().all(|delta| delta.logprobs.is_empty()));
}

#[tokio::test]
async fn text_goes_to_the_model_without_a_template() {
    let model = Model::load(options(1)).unwrap();
    let text = GenerateRequest { prompt: Prompt::Text("the sun".to_owned()), ..request("", 10) };
    let (text, chat) =
        (complete(&model, text).await.unwrap(), complete(&model, request("the sun", 10)).await);
    assert!(text.prompt_tokens < chat.unwrap().prompt_tokens);
}

/// A model of random weights writes JSON: what it ends is valid, what it does not end is cut.
#[tokio::test]
async fn json_answers_are_what_the_schema_accepts_or_end_at_the_limit() {
    let model = Model::load(options(8)).unwrap();
    let schema = serde_json::json!({
        "type": "object",
        "properties": { "a": { "type": "integer" }, "b": { "enum": ["x", "yy", null] } },
        "required": ["a", "b"],
        "additionalProperties": false,
    });
    let answers = (0..32).map(|seed| {
        let mut request = request("the sun", 60);
        request.sampling.seed = seed;
        request.response_format = ResponseFormat::JsonSchema(schema.to_string());
        complete(&model, request)
    });
    let mut ended = 0;
    for answer in futures::future::join_all(answers).await {
        let answer = answer.unwrap();
        match answer.reason {
            FinishReason::Stop => {
                ended += 1;
                let document: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
                assert_eq!(document.as_object().unwrap().len(), 2, "{}", answer.text);
                assert!(document["a"].is_number(), "{}", answer.text);
                assert!([Some("x"), Some("yy"), None].contains(&document["b"].as_str()));
            }
            reason => assert_eq!((reason, answer.output_tokens), (FinishReason::Length, 60)),
        }
    }
    assert!(ended > 0, "none of them came to an end");
}
