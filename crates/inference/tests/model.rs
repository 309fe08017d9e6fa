//! The model handle as the orchestrator uses it: many requests, cancellation, overload, shutdown.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

use std::path::Path;

use cactus_inference::{
    ChatMessage, CompleteError, Completion, FinishReason, GenerateError, GenerateEvent,
    GenerateRequest, LoadOptions, Model, Overloaded, Prompt, ResponseFormat, Sampling,
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
