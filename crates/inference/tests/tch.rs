//! TorchScript modules against the candle engine on the same weights. `scripts/tch-test` makes the
//! modules and runs this.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

use std::path::{Path, PathBuf};

use cactus_inference::{
    CandleEngine, ChatMessage, Chunk, Decode, Engine, EngineError, EngineOptions, FinishReason,
    GenerateRequest, LoadError, LoadOptions, Matrix, Model, Prefill, Prompt, Sampling, SequenceId,
    Tap, TchEngine,
};
use tokio_util::sync::CancellationToken;

fn options() -> EngineOptions {
    EngineOptions { threads: Some(1), ..EngineOptions::new(4) }
}

/// The directory of modules that the script exported.
fn module(name: &str) -> PathBuf {
    let modules = std::env::var_os("CACTUS_TORCHSCRIPT_MODELS");
    PathBuf::from(modules.expect("scripts/tch-test says where the modules are")).join(name)
}

/// The weights that a module was made of.
fn original(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match name {
        "sprout" => root.join("../../models/sprout"),
        name => root.join("tests/fixtures").join(name),
    }
}

fn engines(name: &str) -> (TchEngine, CandleEngine) {
    let theirs = CandleEngine::load(&original(name), options()).unwrap();
    (TchEngine::load(&module(name), options()).unwrap(), theirs)
}

fn prefill(engine: &mut dyn Engine, tokens: &[u32], tap: Tap) -> (Matrix, Matrix) {
    let chunk = Chunk { sequence: SequenceId(0), tokens: tokens.to_vec() };
    let output = engine.prefill(&Prefill { chunks: vec![chunk] }, tap).unwrap().outputs.remove(0);
    (output.logits, output.hidden)
}

fn likeliest(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    u32::try_from(best.0).unwrap()
}

fn check_close(found: &Matrix, expected: &Matrix, what: &str) {
    assert_eq!((found.rows(), found.columns), (expected.rows(), expected.columns), "{what}");
    for row in 0..found.rows() {
        let (found, expected) = (found.row(row).unwrap(), expected.row(row).unwrap());
        let scale = expected.iter().fold(0.0_f32, |scale, value| scale.max(value.abs()));
        let pairs = found.iter().zip(expected);
        let error = pairs.fold(0.0_f32, |error, (a, b)| error.max((a - b).abs())) / scale;
        assert!(error < 1e-4, "{what} of row {row}: relative error {error}");
    }
}

fn prompt(engine: &dyn Engine, tokens: u32) -> Vec<u32> {
    let vocabulary = u32::try_from(engine.vocabulary()).unwrap();
    (0..tokens).map(|token| (token * 37 + 5) % vocabulary).collect()
}

/// Logits and hidden states at every position, with the prompt in two chunks, and the greedy
/// continuation.
fn check_equal(name: &str) {
    let (mut ours, mut theirs) = engines(name);
    assert_eq!(ours.card().parameters, theirs.card().parameters);
    assert_eq!(ours.card().context_length, theirs.card().context_length);
    let tokens = prompt(&ours, 40);
    for engine in [&mut ours as &mut dyn Engine, &mut theirs] {
        engine.reserve(SequenceId(0), 40 + 24).unwrap();
    }
    for chunk in [&tokens[..27], &tokens[27..39]] {
        let found = prefill(&mut ours, chunk, Tap::AllLogitsAndHidden);
        let expected = prefill(&mut theirs, chunk, Tap::AllLogitsAndHidden);
        check_close(&found.0, &expected.0, "logits");
        check_close(&found.1, &expected.1, "hidden states");
    }
    let mut next = tokens[39];
    for step in 0..24 {
        let batch = Decode { tokens: vec![(SequenceId(0), next)] };
        let found = ours.decode(&batch, Tap::Last).unwrap().outputs.remove(0);
        let expected = theirs.decode(&batch, Tap::Last).unwrap().outputs.remove(0);
        check_close(&found.logits, &expected.logits, "logits");
        assert_eq!(found.hidden, Matrix::default(), "the tap is off");
        next = likeliest(&found.logits.values);
        assert_eq!(next, likeliest(&expected.logits.values), "greedy token {step}");
    }
}

macro_rules! equal {
    ($($test:ident: $name:literal),+ $(,)?) => {$(
        #[test]
        fn $test() {
            check_equal($name);
        }
    )+};
}

equal! {
    sprout_equals_the_candle_engine: "sprout",
    llama_with_grouped_queries_and_llama3_rope_equals_the_candle_engine: "llama3",
    llama_with_untied_weights_equals_the_candle_engine: "llama2",
    llama_with_biases_equals_the_candle_engine: "llama-biased",
    qwen3_with_normed_heads_equals_the_candle_engine: "qwen3",
}

#[test]
fn neighbours_in_a_batch_change_no_bit() {
    let (mut alone, _) = engines("llama3");
    let (mut shared, _) = engines("llama3");
    let tokens = prompt(&alone, 20);
    alone.reserve(SequenceId(0), 21).unwrap();
    let (whole, _) = prefill(&mut alone, &tokens, Tap::AllLogits);
    let chunk = |id, tokens: &[u32]| Chunk { sequence: SequenceId(id), tokens: tokens.to_vec() };
    (0..3).for_each(|id| shared.reserve(SequenceId(id), 21).unwrap());
    let chunks = vec![chunk(1, &tokens[3..9]), chunk(0, &tokens), chunk(2, &tokens[..2])];
    let step = shared.prefill(&Prefill { chunks }, Tap::AllLogits).unwrap();
    assert_eq!(step.outputs[1].logits, whole);
    let decoded = |engine: &mut TchEngine, ids: &[u64]| {
        let tokens = ids.iter().map(|id| (SequenceId(*id), 7)).collect();
        let step = engine.decode(&Decode { tokens }, Tap::Last).unwrap();
        step.outputs.into_iter().find(|output| output.sequence == SequenceId(0)).unwrap().logits
    };
    assert_eq!(decoded(&mut shared, &[2, 0, 1]), decoded(&mut alone, &[0]));
}

#[test]
fn memory_is_given_out_taken_back_and_never_exceeded() {
    // Two layers of two heads of sixteen values; keys and values in F32.
    let options = EngineOptions { kv_cache_bytes: Some(100 * 2 * 2 * 2 * 16 * 4), ..options() };
    let mut engine = TchEngine::load(&module("llama3"), options).unwrap();
    let positions = engine.capacity().total_positions;
    assert_eq!(engine.capacity().free_positions, positions);
    assert!(positions < 128, "the cache is smaller than the context: {positions}");
    engine.reserve(SequenceId(0), 10).unwrap();
    let refused = engine.reserve(SequenceId(1), positions);
    assert!(matches!(refused, Err(EngineError::OutOfMemory { .. })), "{refused:?}");
    engine.free(SequenceId(0));
    engine.reserve(SequenceId(1), positions).unwrap();
    assert_eq!(engine.capacity().free_positions, 0);
    let refused = engine.reserve(SequenceId(1), 1000);
    assert!(matches!(refused, Err(EngineError::InvalidBatch(_))), "{refused:?}");
}

#[test]
fn an_invalid_batch_is_refused_and_changes_nothing() {
    let (mut engine, mut theirs) = engines("llama3");
    for engine in [&mut engine as &mut dyn Engine, &mut theirs] {
        engine.reserve(SequenceId(0), 40).unwrap();
    }
    for (id, tokens) in [(9, vec![1]), (0, vec![]), (0, vec![u32::MAX]), (0, vec![1; 65])] {
        let chunks = vec![Chunk { sequence: SequenceId(id), tokens }];
        let refused = engine.prefill(&Prefill { chunks }, Tap::Last);
        assert!(matches!(refused, Err(EngineError::InvalidBatch(_))), "{refused:?}");
    }
    let tokens = prompt(&engine, 10);
    let found = prefill(&mut engine, &tokens, Tap::Last).0;
    check_close(&found, &prefill(&mut theirs, &tokens, Tap::Last).0, "logits");
}

fn question(max_tokens: u32) -> GenerateRequest {
    let message = ChatMessage { role: "user".to_owned(), content: "What is 2 + 2?".to_owned() };
    GenerateRequest {
        sampling: Sampling::greedy(),
        max_tokens,
        ..GenerateRequest::new(Prompt::Chat(vec![message]))
    }
}

#[tokio::test]
async fn a_module_is_served_like_any_model() {
    let ours = Model::load(LoadOptions::new(module("sprout").join("model.pt"))).unwrap();
    let theirs = Model::load(LoadOptions::new(original("sprout"))).unwrap();
    assert_eq!(ours.card().id, "sprout");
    assert_ne!(ours.card().revision, theirs.card().revision, "a module is another program");
    let ask = |model: &Model| {
        let model = model.clone();
        async move { model.complete(question(60), CancellationToken::new()).await.unwrap() }
    };
    let (found, expected) = (ask(&ours).await, ask(&theirs).await);
    assert_eq!((found.text, found.reason), (expected.text, expected.reason));
    let cancel = CancellationToken::new();
    let mut events = ours.generate(question(400), cancel.clone()).unwrap();
    events.recv().await.unwrap();
    cancel.cancel();
    let mut last = None;
    while let Some(event) = events.recv().await {
        last = Some(event);
    }
    let reason = match last {
        Some(cactus_inference::GenerateEvent::Finished { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    // The answer may be over before the cancellation is seen.
    assert!(matches!(reason, FinishReason::Cancelled | FinishReason::Stop), "{reason:?}");
}

/// A copy of a module's directory with other bytes in the module.
fn load_with(content: &[u8]) -> LoadError {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("model");
    std::fs::create_dir(&directory).unwrap();
    for entry in std::fs::read_dir(module("llama3")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, directory.join(from.file_name().unwrap())).unwrap();
    }
    std::fs::write(directory.join("model.pt"), content).unwrap();
    Model::load(LoadOptions::new(directory)).err().expect("a damaged module was loaded")
}

#[test]
fn damaged_modules_are_refused() {
    let whole = std::fs::read(module("llama3").join("model.pt")).unwrap();
    let mut altered = whole.clone();
    altered[whole.len() / 2..].fill(0);
    for content in [&b""[..], b"not a module", &whole[..whole.len() / 2], &altered] {
        let refused = load_with(content);
        assert!(matches!(refused, LoadError::Malformed { .. }), "{refused:?}");
    }
}
