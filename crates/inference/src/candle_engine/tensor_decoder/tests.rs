use std::path::{Path, PathBuf};

use candle_core::Device as Tensors;

use super::*;
use crate::candle_engine::CandleEngine;
use crate::engine::{Chunk, Decode, Engine, Matrix, Prefill, SequenceId, Tap};
use crate::load::files::ModelFiles;
use crate::options::EngineOptions;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The engine with its kernels, and the same weights in candle's operations on the same processor.
fn engines(name: &str) -> (CandleEngine, CandleEngine) {
    let options = EngineOptions { threads: Some(1), ..EngineOptions::new(4) };
    let load = || CandleEngine::load(&fixture(name), options.clone()).unwrap();
    let (kernels, mut tensors) = (load(), load());
    let mut files = ModelFiles::open(&fixture(name)).unwrap();
    let architecture = Architecture::load(&mut files).unwrap();
    let expected = Decoder::expected(&architecture);
    let weights = match files.gguf() {
        None => Weights::load(&mut files, &expected).unwrap(),
        Some(gguf) => {
            let dimension = architecture.head_dimension;
            crate::candle_engine::gguf_weights::load(gguf, &expected, dimension).unwrap()
        }
    };
    let place = Place { device: Tensors::Cpu, dtype: DType::F32 };
    let blocks = tensors.capacity().total_positions / BLOCK;
    let decoder = TensorDecoder::new(architecture, weights, blocks, place).unwrap();
    tensors.model = crate::candle_engine::forward::Forward::Tensors(decoder);
    (kernels, tensors)
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

fn tokens(seed: u32, count: u32) -> Vec<u32> {
    (0..count).map(|token| (token * 37 + seed * 11 + 5) % 89).collect()
}

/// Prompts of several lengths at once, more of some beside single tokens of others, then one token
/// of each: what the scheduler does.
fn check_family(name: &str) {
    let (mut kernels, mut tensors) = engines(name);
    let mut both = |run: &mut dyn FnMut(&mut CandleEngine) -> Vec<(Matrix, Matrix)>| {
        let (found, expected) = (run(&mut tensors), run(&mut kernels));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            check_close(&found.0, &expected.0, &format!("{name}: logits"));
            if expected.1.rows() > 0 {
                check_close(&found.1, &expected.1, &format!("{name}: hidden states"));
            }
        }
    };
    let prefill = |engine: &mut CandleEngine, chunks: &[(u64, u32, u32)], tap| {
        let chunk = |(id, seed, count): &(u64, u32, u32)| Chunk {
            sequence: SequenceId(*id),
            tokens: tokens(*seed, *count),
        };
        let step = engine.prefill(&Prefill { chunks: chunks.iter().map(chunk).collect() }, tap);
        let outputs = step.unwrap().outputs.into_iter();
        outputs.map(|output| (output.logits, output.hidden)).collect::<Vec<_>>()
    };
    both(&mut |engine| {
        (0..4).for_each(|id| engine.reserve(SequenceId(id), 60).unwrap());
        prefill(engine, &[(0, 1, 30), (1, 2, 1), (2, 3, 9)], Tap::AllLogitsAndHidden)
    });
    both(&mut |engine| {
        let chunks = [(1, 4, 1), (3, 5, 20), (2, 6, 1), (0, 7, 3)];
        prefill(engine, &chunks, Tap::AllLogits)
    });
    for step in 0..3 {
        both(&mut |engine| {
            let batch = (0..4).map(|id| (SequenceId(id), 9 + step)).collect();
            let step = engine.decode(&Decode { tokens: batch }, Tap::Last).unwrap();
            step.outputs.into_iter().map(|output| (output.logits, output.hidden)).collect()
        });
    }
}

#[test]
fn every_family_computes_in_candles_operations_what_it_does_with_our_kernels() {
    for name in [
        "llama3",
        "llama2",
        "llama-biased",
        "mistral",
        "qwen2",
        "qwen3",
        "gemma2",
        "gemma3",
        "phi3",
        "gguf/mixed",
    ] {
        check_family(name);
    }
}

#[test]
fn groups_are_cut_where_too_much_would_be_copied_or_scored() {
    let mut files = ModelFiles::open(&fixture("llama3")).unwrap();
    let architecture = Architecture::load(&mut files).unwrap();
    let mut rows = Rows::with_capacity(0);
    let block_table = |positions: usize| (0..positions.div_ceil(BLOCK)).collect::<Vec<_>>();
    let half = COPIED / 2;
    for (start, count) in [(half - 1, 1), (0, 3), (half - 1, 1), (7, 1), (SCORED - 2, 2)] {
        let tokens = vec![1; count];
        rows.push(&architecture, block_table(start + count), start, &tokens);
    }
    let place = Place { device: Tensors::Cpu, dtype: DType::F32 };
    let windows = Windows::new(&architecture);
    let layout = Layout::new(&rows, &architecture, &windows, &place).unwrap();
    let shapes = layout.groups.iter().map(|group| (group.sequences, group.each, group.positions));
    let shapes: Vec<_> = shapes.collect();
    let expected = [(2, 1, half), (1, 1, 8), (1, 3, 3), (1, 1, SCORED - 1), (1, 1, SCORED)];
    assert_eq!(shapes, expected);
    let order = layout.order.unwrap().to_vec1::<u32>().unwrap();
    assert_eq!(order, [0, 3, 4, 5, 1, 2, 6, 7]);
}
