//! The engine against Hugging Face transformers, and against itself: alone, batched, in chunks.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use cactus_inference::{
    CandleEngine, Chunk, Decode, Engine, EngineError, EngineOptions, LoadError, Matrix, Prefill,
    SequenceId, Tap,
};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Expected {
    tokens: Vec<u32>,
    logits: Vec<Vec<f32>>,
    hidden: Vec<Vec<f32>>,
    greedy: Vec<u32>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn load(name: &str, threads: usize) -> (CandleEngine, Expected) {
    let options = EngineOptions { threads: Some(threads), ..EngineOptions::new(8) };
    let engine = CandleEngine::load(&fixture(name), options).unwrap();
    let expected = std::fs::read(fixture(name).join("expected.json")).unwrap();
    (engine, serde_json::from_slice(&expected).unwrap())
}

fn prefill(engine: &mut CandleEngine, id: u64, tokens: &[u32], tap: Tap) -> (Matrix, Matrix) {
    let chunk = Chunk { sequence: SequenceId(id), tokens: tokens.to_vec() };
    let step = engine.prefill(&Prefill { chunks: vec![chunk] }, tap).unwrap();
    let output = step.outputs.into_iter().next().unwrap();
    (output.logits, output.hidden)
}

fn likeliest(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    u32::try_from(best.0).unwrap()
}

/// The largest difference in a row, against the row's largest value.
fn check_close(found: &Matrix, expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.rows(), expected.len());
    for (position, expected) in expected.iter().enumerate() {
        let scale = expected.iter().fold(0.0_f32, |scale, value| scale.max(value.abs()));
        let pairs = found.row(position).unwrap().iter().zip(expected);
        let error = pairs.fold(0.0_f32, |error, (a, b)| error.max((a - b).abs())) / scale;
        assert!(error < 1e-4, "{what} at position {position}: relative error {error}");
    }
}

fn check_parity(name: &str) {
    let (mut engine, expected) = load(name, 1);
    let last = expected.tokens.len();
    engine.reserve(SequenceId(0), last + 24).unwrap();
    let (logits, hidden) = prefill(&mut engine, 0, &expected.tokens, Tap::AllLogitsAndHidden);
    check_close(&logits, &expected.logits, "logits");
    check_close(&hidden, &expected.hidden, "hidden states");
    let mut next = likeliest(logits.row(last - 1).unwrap());
    for (step, wanted) in expected.greedy.iter().enumerate() {
        assert_eq!(next, *wanted, "greedy token {step}");
        let decoded =
            engine.decode(&Decode { tokens: vec![(SequenceId(0), next)] }, Tap::Last).unwrap();
        next = likeliest(decoded.outputs[0].logits.row(0).unwrap());
    }
}

/// One test per family, so that a failure names it.
macro_rules! parity {
    ($($test:ident: $fixture:literal),+ $(,)?) => {$(
        #[test]
        fn $test() {
            check_parity($fixture);
            check_bits($fixture);
            check_batched($fixture);
        }
    )+};
}

parity! {
    llama_with_grouped_queries_and_llama3_rope_equals_transformers: "llama3",
    llama_with_sharded_untied_f32_weights_equals_transformers: "llama2",
    llama_with_biases_linear_rope_and_f16_weights_equals_transformers: "llama-biased",
    mistral_with_a_sliding_window_equals_transformers: "mistral",
    qwen2_with_biases_and_a_sliding_layer_equals_transformers: "qwen2",
    qwen3_with_normed_heads_and_yarn_equals_transformers: "qwen3",
    gemma2_with_softcaps_equals_transformers: "gemma2",
    gemma3_with_local_and_global_layers_equals_transformers: "gemma3",
    phi3_with_fused_projections_and_long_rope_equals_transformers: "phi3",
}

fn bits(matrix: &Matrix) -> Vec<u32> {
    matrix.values.iter().map(|value| value.to_bits()).collect()
}

/// A prompt in chunks, among others, on many threads, has the bits of the prompt alone.
fn check_bits(name: &str) {
    let (mut alone, expected) = load(name, 1);
    alone.reserve(SequenceId(0), 40).unwrap();
    let (whole, _) = prefill(&mut alone, 0, &expected.tokens, Tap::AllLogits);
    let (mut shared, _) = load(name, 3);
    let mut found = Matrix { columns: whole.columns, values: Vec::new() };
    for id in 0..5 {
        shared.reserve(SequenceId(id), 40).unwrap();
    }
    let mut done = 0;
    for (round, size) in [1, 5, 2, 17, 3, 8].into_iter().enumerate() {
        let tokens = &expected.tokens[done..(done + size).min(expected.tokens.len())];
        if tokens.is_empty() {
            break;
        }
        let ours = Chunk { sequence: SequenceId(2), tokens: tokens.to_vec() };
        let other = |id: u64| Chunk {
            sequence: SequenceId(id),
            tokens: vec![9, 8, 7, 6][..=round % 4].to_vec(),
        };
        let step = shared
            .prefill(&Prefill { chunks: vec![other(0), ours, other(4)] }, Tap::AllLogits)
            .unwrap();
        found.values.extend_from_slice(&step.outputs[1].logits.values);
        done += tokens.len();
    }
    assert_eq!(bits(&found), bits(&whole));
    check_adopted(&mut shared, &expected.tokens, &whole);
}

/// A prompt whose beginning another sequence computed has the bits of the whole one.
fn check_adopted(engine: &mut CandleEngine, tokens: &[u32], whole: &Matrix) {
    (0..5).for_each(|id| engine.free(SequenceId(id)));
    let whole_blocks = (tokens.len() - 1) / 16 * 16;
    for (id, adopted) in [(7, 0), (8, whole_blocks)] {
        let sequence = SequenceId(id);
        let held = engine.adopt(sequence, 3, tokens).min(tokens.len());
        assert!(held >= adopted, "{held} of {adopted} tokens");
        engine.reserve(sequence, 64).unwrap();
        if held < tokens.len() {
            let (logits, _) = prefill(engine, id, &tokens[held..], Tap::AllLogits);
            assert_eq!(bits(&logits), bits(whole)[held * whole.columns..]);
        }
        engine.free(sequence);
    }
}

/// Sequences of different lengths, prefilled in one pass and decoded in one pass, have the bits that
/// each has alone.
fn check_batched(name: &str) {
    let (mut together, expected) = load(name, 2);
    let prompts: Vec<&[u32]> = (0..4).map(|id| &expected.tokens[id..4 * id]).collect();
    let prompts = &prompts[1..];
    (0..3).for_each(|id| together.reserve(SequenceId(id), 40).unwrap());
    let chunk =
        |(id, prompt): (u64, &&[u32])| Chunk { sequence: SequenceId(id), tokens: prompt.to_vec() };
    let batch = Prefill { chunks: (0..).zip(prompts).map(chunk).collect() };
    let mut step = together.prefill(&batch, Tap::Last).unwrap();
    let mut batched = vec![Vec::new(); prompts.len()];
    for _ in 0..12 {
        let mut next = Vec::new();
        for (output, batched) in step.outputs.iter().zip(&mut batched) {
            next.push((output.sequence, likeliest(&output.logits.values)));
            batched.extend(bits(&output.logits));
        }
        step = together.decode(&Decode { tokens: next }, Tap::Last).unwrap();
    }
    for (prompt, batched) in prompts.iter().zip(batched) {
        let (mut alone, _) = load(name, 1);
        alone.reserve(SequenceId(77), 40).unwrap();
        let (mut logits, _) = prefill(&mut alone, 77, prompt, Tap::Last);
        let mut single = Vec::new();
        for _ in 0..12 {
            single.extend(bits(&logits));
            let batch = Decode { tokens: vec![(SequenceId(77), likeliest(&logits.values))] };
            logits = alone.decode(&batch, Tap::Last).unwrap().outputs.remove(0).logits;
        }
        assert_eq!(single, batched);
    }
}

#[test]
fn the_language_part_of_a_gemma3_that_sees_is_the_model_without_eyes() {
    let (mut plain, expected) = load("gemma3", 1);
    plain.reserve(SequenceId(0), 40).unwrap();
    let (wanted, _) = prefill(&mut plain, 0, &expected.tokens, Tap::AllLogits);
    let parent = tempfile::tempdir().unwrap();
    let weights = fixture("gemma3").join("model.safetensors");
    let weights = candle_core::safetensors::load(weights, &Device::Cpu).unwrap();
    let text = std::fs::read(fixture("gemma3").join("config.json")).unwrap();
    let mut text: Value = serde_json::from_slice(&text).unwrap();
    let options = || EngineOptions { threads: Some(1), ..EngineOptions::new(2) };
    for (name, prefix) in [("new", "model.language_model."), ("old", "language_model.model.")] {
        let directory = parent.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        let renamed = |(name, tensor): (&String, &Tensor)| {
            (name.replacen("model.", prefix, 1), tensor.clone())
        };
        let mut all: HashMap<String, Tensor> = weights.iter().map(renamed).collect();
        let eye = Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
        all.insert("model.vision_tower.patches.weight".to_owned(), eye);
        candle_core::safetensors::save(&all, directory.join("model.safetensors")).unwrap();
        let config = json!({"model_type": "gemma3", "text_config": text, "vision_config": {}});
        std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
        let mut seeing = CandleEngine::load(&directory, options()).unwrap();
        seeing.reserve(SequenceId(0), 40).unwrap();
        let (found, _) = prefill(&mut seeing, 0, &expected.tokens, Tap::AllLogits);
        assert_eq!(bits(&found), bits(&wanted), "{name}");
    }
    let refused = |config: Value| {
        std::fs::write(parent.path().join("new/config.json"), config.to_string()).unwrap();
        CandleEngine::load(&parent.path().join("new"), options()).err().expect("loaded")
    };
    text["model_type"] = json!("llama");
    let error = refused(json!({"model_type": "gemma3", "text_config": text}));
    assert!(matches!(&error, LoadError::Unsupported(what) if what.contains("gemma3")), "{error}");
    let error = refused(json!({"model_type": "gemma3", "vision_config": {}}));
    assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
}

#[test]
fn a_tap_returns_the_bits_of_one_token_after_another_and_nothing_when_it_is_off() {
    let (mut tapped, expected) = load("llama3", 1);
    tapped.reserve(SequenceId(0), 64).unwrap();
    let (all, hidden) = prefill(&mut tapped, 0, &expected.tokens, Tap::AllLogitsAndHidden);
    assert_eq!((all.rows(), hidden.rows()), (expected.tokens.len(), expected.tokens.len()));
    let (mut stepped, _) = load("llama3", 1);
    stepped.reserve(SequenceId(0), 64).unwrap();
    let mut found = Matrix { columns: all.columns, values: Vec::new() };
    for token in &expected.tokens {
        let batch = Decode { tokens: vec![(SequenceId(0), *token)] };
        let output = stepped.decode(&batch, Tap::Last).unwrap().outputs.remove(0);
        assert_eq!((output.logits.rows(), output.hidden), (1, Matrix::default()));
        found.values.extend(output.logits.values);
    }
    assert_eq!(bits(&found), bits(&all));
    stepped.free(SequenceId(0));
    stepped.reserve(SequenceId(0), 64).unwrap();
    let (last, none) = prefill(&mut stepped, 0, &expected.tokens, Tap::Last);
    assert_eq!((last.rows(), none), (1, Matrix::default()), "no other row is computed");
    assert_eq!(last.row(0), all.row(all.rows() - 1));
}

#[test]
fn a_shared_prefix_gives_the_bits_of_computing_it_again() {
    let (mut engine, expected) = load("llama3", 2);
    let long: Vec<u32> = expected.tokens.iter().cycle().take(70).copied().collect();
    for id in 0..2 {
        let known = engine.adopt(SequenceId(id), 9, &long[..69]);
        assert_eq!(known, if id == 0 { 0 } else { 64 });
        engine.reserve(SequenceId(id), 80).unwrap();
        prefill(&mut engine, id, &long[known..], Tap::Last);
    }
    for token in [5, 9, 200, 31] {
        let batch = Decode { tokens: vec![(SequenceId(0), token), (SequenceId(1), token)] };
        let step = engine.decode(&batch, Tap::Last).unwrap();
        assert_eq!(bits(&step.outputs[0].logits), bits(&step.outputs[1].logits));
    }
}

#[test]
fn a_freed_sequence_leaves_no_trace_in_the_next() {
    let (mut engine, expected) = load("llama3", 1);
    engine.reserve(SequenceId(0), 128).unwrap();
    let fresh = prefill(&mut engine, 0, &expected.tokens, Tap::AllLogits).0;
    engine.free(SequenceId(0));
    engine.reserve(SequenceId(1), 128).unwrap();
    prefill(&mut engine, 1, &[5; 100], Tap::Last);
    engine.free(SequenceId(1));
    engine.reserve(SequenceId(2), 128).unwrap();
    let reused = prefill(&mut engine, 2, &expected.tokens, Tap::AllLogits).0;
    assert_eq!(bits(&fresh), bits(&reused));
}

#[test]
fn an_invalid_batch_is_refused_and_changes_nothing() {
    let (mut engine, expected) = load("llama3", 1);
    engine.reserve(SequenceId(0), 40).unwrap();
    let refused = |engine: &mut CandleEngine, chunks: Vec<(u64, Vec<u32>)>| {
        let chunks = chunks
            .into_iter()
            .map(|(id, tokens)| Chunk { sequence: SequenceId(id), tokens })
            .collect();
        let result = engine.prefill(&Prefill { chunks }, Tap::Last);
        assert!(matches!(result, Err(EngineError::InvalidBatch(_))), "{result:?}");
    };
    refused(&mut engine, vec![(9, vec![1])]);
    refused(&mut engine, vec![(0, vec![])]);
    refused(&mut engine, vec![(0, vec![1]), (0, vec![2])]);
    refused(&mut engine, vec![(0, vec![288])]);
    refused(&mut engine, vec![(0, vec![u32::MAX])]);
    refused(&mut engine, vec![(0, vec![1; 41])]);
    assert!(matches!(engine.reserve(SequenceId(1), 129), Err(EngineError::InvalidBatch(_))));
    let (logits, _) = prefill(&mut engine, 0, &expected.tokens, Tap::AllLogits);
    check_close(&logits, &expected.logits, "logits");
}
