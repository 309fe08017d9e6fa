//! An engine behind the OpenAI API, honest or not: what is passed on, counted and refused.

mod support;

use cactus_inference::{
    ChatMessage, FinishReason, GenerateError, GenerateEvent, GenerateRequest, Prompt,
};
use cactus_orchestrator::{
    EngineFault, RemoteConfig, RemoteError, RemoteLimits, RemoteModel, TextModel,
};
use cactus_protocol::{Feature, UNKNOWN_TOKEN};
use std::{sync::Arc, time::Duration};
use support::{FakeEngine, Manner, PATIENCE};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

fn config(engine: &FakeEngine) -> RemoteConfig {
    RemoteConfig {
        url: engine.url(),
        key: None,
        model: "remote".into(),
        context_length: None,
        slots: 2,
        queue: 1,
        limits: RemoteLimits {
            watch: Duration::from_millis(5),
            retry: Duration::from_millis(5),
            usage: Duration::from_millis(200),
            ..RemoteLimits::default()
        },
    }
}

async fn connect(config: RemoteConfig) -> Result<RemoteModel, RemoteError> {
    let stop = CancellationToken::new();
    timeout(PATIENCE, RemoteModel::connect(config, &stop)).await.expect("an engine or a reason")
}

fn request(script: &str) -> GenerateRequest {
    let message = ChatMessage { role: "user".into(), content: script.into() };
    GenerateRequest { max_tokens: 50, ..GenerateRequest::new(Prompt::Chat(vec![message])) }
}

#[derive(Debug, Default)]
struct Answer {
    text: String,
    token_ids: Vec<u32>,
    logprobs: usize,
    end: Option<GenerateEvent>,
}

impl Answer {
    fn failure(&self) -> &GenerateError {
        match &self.end {
            Some(GenerateEvent::Failed(error)) => error,
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    /// Why it ended, and the tokens of prompt and output.
    fn account(&self) -> (FinishReason, u32, u32) {
        match self.end {
            Some(GenerateEvent::Finished { reason, prompt_tokens, output_tokens, .. }) => {
                (reason, prompt_tokens, output_tokens)
            }
            ref other => panic!("expected an end, got {other:?}"),
        }
    }
}

async fn ask(model: &RemoteModel, request: GenerateRequest) -> Answer {
    let mut events = model.generate(request, CancellationToken::new()).expect("a place");
    let mut answer = Answer::default();
    while let Some(event) = timeout(PATIENCE, events.recv()).await.expect("an end") {
        match event {
            GenerateEvent::Started { .. } => {}
            GenerateEvent::Delta { text, token_ids, logprobs } => {
                answer.text.push_str(&text);
                answer.token_ids.extend(token_ids);
                answer.logprobs += logprobs.len();
            }
            end => answer.end = Some(end),
        }
    }
    answer
}

#[tokio::test]
async fn what_an_engine_can_do_is_found_out_by_asking() {
    use Feature as F;
    let all = vec![F::TokenIds, F::Logprobs, F::TextPrompt, F::JsonObject, F::JsonSchema];
    for (manner, features) in
        [(Manner::Vllm, all.clone()), (Manner::LlamaCpp, all), (Manner::Plain, vec![])]
    {
        let engine = FakeEngine::start(manner).await;
        let model = connect(config(&engine)).await.unwrap();
        assert_eq!(model.features(), features, "{manner:?}");
        assert_eq!(model.context_length(), 4096);
    }
}

#[tokio::test]
async fn an_answer_comes_with_its_tokens_and_its_usage() {
    for manner in [Manner::Vllm, Manner::LlamaCpp, Manner::Plain] {
        let engine = FakeEngine::start(manner).await;
        let model = connect(config(&engine)).await.unwrap();
        let answer = ask(&model, request("say 3")).await;
        assert_eq!(answer.text, "é0 é1 é2 ");
        assert_eq!(answer.account(), (FinishReason::Stop, 7, 3));
        let expected = match manner {
            Manner::Plain => vec![UNKNOWN_TOKEN; 3],
            _ => vec![0, 1, 2],
        };
        assert_eq!((answer.token_ids, answer.logprobs), (expected, 0), "{manner:?}");
        let limited = GenerateRequest { max_tokens: 2, ..request("say 3") };
        assert_eq!(ask(&model, limited).await.account(), (FinishReason::Length, 7, 2));
        assert_eq!(model.current_load().active, 0);
    }
}

#[tokio::test]
async fn log_probabilities_and_text_prompts_are_passed_on() {
    let engine = FakeEngine::start(Manner::Vllm).await;
    let model = connect(config(&engine)).await.unwrap();
    let asked = GenerateRequest { logprobs: Some(1), ..request("say 4") };
    let answer = ask(&model, asked).await;
    assert_eq!((answer.logprobs, answer.token_ids.len()), (4, 4));
    assert_eq!(engine.asked.borrow()["top_logprobs"], 1);
    let prompt = Prompt::Text("say 2".into());
    let answer = ask(&model, GenerateRequest { prompt, ..request("") }).await;
    assert_eq!(answer.text, "é0 é1 ");
    assert_eq!(engine.asked.borrow()["prompt"], "say 2");
}

#[tokio::test]
async fn nothing_that_contradicts_itself_becomes_an_answer() {
    let engine = FakeEngine::start(Manner::Plain).await;
    let model = connect(config(&engine)).await.unwrap();
    for script in ["garbage", "error", "line", "endless", "few 5", "many 60", "early 3"] {
        let answer = ask(&model, request(script)).await;
        assert!(matches!(answer.failure(), GenerateError::Internal(_)), "{script}: {answer:?}");
    }
    let boast = ask(&model, request("boast 3")).await;
    assert_eq!(boast.account().2, 12 + 16, "bytes of text, and what may be silent");
    assert_eq!(usize::try_from(boast.account().2), Ok(boast.token_ids.len()));
    let silent = ask(&model, request("silent 3")).await;
    assert_eq!(silent.account(), (FinishReason::Stop, 1, 3), "what is not told is not billed");
}

#[tokio::test]
async fn refusals_are_told_apart_by_what_the_caller_can_do() {
    let engine = FakeEngine::start(Manner::Vllm).await;
    let model = connect(config(&engine)).await.unwrap();
    let failure = async |script: &str| ask(&model, request(script)).await.failure().clone();
    assert!(matches!(failure("busy").await, GenerateError::Unavailable(_)));
    assert!(matches!(failure("key").await, GenerateError::Unavailable(_)));
    assert!(matches!(failure("broken").await, GenerateError::Internal(_)));
    let GenerateError::BadRequest(message) = failure("long").await else { panic!("a reason") };
    assert!(message.contains("the prompt is too long"), "{message}");
    assert!(model.is_available(), "it answers");
}

#[tokio::test]
async fn an_engine_that_stalls_is_left_in_time() {
    let engine = FakeEngine::start(Manner::Vllm).await;
    let limits = RemoteLimits { stall: Duration::from_millis(50), ..config(&engine).limits };
    let model = connect(RemoteConfig { limits, ..config(&engine) }).await.unwrap();
    let stalled = ask(&model, request("stall")).await;
    assert!(stalled.failure().to_string().contains("go on with its answer"));
    engine.idle().await;
    let limits = RemoteLimits { first_token: Duration::from_millis(300), ..config(&engine).limits };
    let model = connect(RemoteConfig { limits, ..config(&engine) }).await.unwrap();
    let silent = ask(&model, request("nothing")).await;
    assert!(silent.failure().to_string().contains("begin its answer"));
    engine.idle().await;
}

#[tokio::test]
async fn a_cancelled_request_stops_the_engine_at_once() {
    let engine = FakeEngine::start(Manner::Vllm).await;
    let model = connect(config(&engine)).await.unwrap();
    let cancel = CancellationToken::new();
    let mut events = model.generate(request("stall"), cancel.clone()).unwrap();
    while !matches!(events.recv().await, Some(GenerateEvent::Delta { .. })) {}
    cancel.cancel();
    engine.idle().await;
    assert!(events.recv().await.is_none());
    // Whoever drops the receiver has cancelled too.
    let mut events = model.generate(request("stall"), CancellationToken::new()).unwrap();
    while !matches!(events.recv().await, Some(GenerateEvent::Delta { .. })) {}
    drop(events);
    engine.idle().await;
}

#[tokio::test]
async fn no_more_requests_run_than_there_are_places() {
    let engine = FakeEngine::start(Manner::Vllm).await;
    let model = connect(config(&engine)).await.unwrap();
    let cancel = CancellationToken::new();
    let running: Vec<_> =
        (0..3).map(|_| model.generate(request("nothing"), cancel.clone()).unwrap()).collect();
    assert!(model.generate(request("say 1"), cancel.clone()).is_err());
    let load = model.current_load();
    assert_eq!((load.active, load.queued, load.free_slots), (2, 1, 0));
    cancel.cancel();
    engine.idle().await;
    drop(running);
    let freed = async {
        while model.current_load().active > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, freed).await.expect("the places are free again");
}

#[tokio::test]
async fn an_engine_that_breaks_off_or_dies_is_not_offered_until_it_is_back() {
    let engine = FakeEngine::start(Manner::Vllm).await;
    let model = Arc::new(connect(config(&engine)).await.unwrap());
    let stop = CancellationToken::new();
    let watching = tokio::spawn(Arc::clone(&model).watch(stop.clone()));
    let half = ask(&model, request("half")).await;
    assert!(matches!(half.failure(), GenerateError::Unavailable(_)), "{half:?}");
    let until = async |available: bool| {
        let reached = async {
            while model.is_available() != available {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reached).await.expect("the watch sees it");
    };
    until(true).await;
    let address = engine.die().await;
    until(false).await;
    let down = ask(&model, request("say 1")).await;
    assert!(matches!(down.failure(), GenerateError::Unavailable(_)));
    let engine = FakeEngine::start_on(address, Manner::Vllm).await;
    until(true).await;
    assert_eq!(ask(&model, request("say 1")).await.text, "é0 ");
    stop.cancel();
    timeout(PATIENCE, watching).await.expect("the watch ends").unwrap();
    drop(engine);
}

#[tokio::test]
async fn a_node_waits_for_its_engine_but_not_for_a_model_that_it_does_not_have() {
    let engine = FakeEngine::start(Manner::Vllm).await;
    let other = RemoteConfig { model: "other".into(), ..config(&engine) };
    let Err(RemoteError::Engine(EngineFault::Missing(reason))) = connect(other).await else {
        panic!("no such model");
    };
    assert!(reason.contains("remote"), "it says what there is: {reason}");
    let config = config(&engine);
    let address = engine.die().await;
    let waiting = tokio::spawn(connect(config.clone()));
    let engine = FakeEngine::start_on(address, Manner::Vllm).await;
    assert!(waiting.await.unwrap().is_ok());
    engine.die().await;
    let stop = CancellationToken::new();
    stop.cancel();
    assert!(matches!(RemoteModel::connect(config, &stop).await, Err(RemoteError::Stopped)));
}
