//! GGUF files: against transformers, against the same weights widened, and as whole models.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use cactus_inference::load::{ModelKind, kind};
use cactus_inference::{
    CandleEngine, ChatMessage, Chunk, Decode, Engine, EngineOptions, GenerateRequest, LoadError,
    LoadOptions, Matrix, Model, Prefill, Prompt, Sampling, SequenceId, Tap,
};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const HIDDEN: usize = 256;
const HEAD: usize = 64;
const VOCABULARY: usize = 288;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn engine(path: &Path) -> Result<CandleEngine, LoadError> {
    let options = EngineOptions { threads: Some(2), ..EngineOptions::new(4) };
    CandleEngine::load(path, options)
}

fn prefill(engine: &mut CandleEngine, tokens: &[u32]) -> Matrix {
    let sequence = SequenceId(0);
    engine.reserve(sequence, 64).unwrap();
    let chunks = vec![Chunk { sequence, tokens: tokens.to_vec() }];
    let mut step = engine.prefill(&Prefill { chunks }, Tap::AllLogits).unwrap();
    step.outputs.remove(0).logits
}

fn likeliest(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    u32::try_from(best.0).unwrap()
}

#[derive(Deserialize)]
struct Expected {
    tokens: Vec<u32>,
    logits: Vec<Vec<f32>>,
    greedy: Vec<u32>,
}

fn check_parity(name: &str) {
    let expected = std::fs::read(fixture(name).join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&expected).unwrap();
    let mut engine = engine(&fixture(name)).unwrap();
    let logits = prefill(&mut engine, &expected.tokens);
    for (position, row) in expected.logits.iter().enumerate() {
        let scale = row.iter().fold(0.0_f32, |scale, value| scale.max(value.abs()));
        let pairs = logits.row(position).unwrap().iter().zip(row);
        let error = pairs.fold(0.0_f32, |error, (a, b)| error.max((a - b).abs())) / scale;
        assert!(error < 1e-4, "position {position}: relative error {error}");
    }
    let mut next = likeliest(logits.row(expected.tokens.len() - 1).unwrap());
    for wanted in expected.greedy {
        assert_eq!(next, wanted);
        let batch = Decode { tokens: vec![(SequenceId(0), next)] };
        next = likeliest(&engine.decode(&batch, Tap::Last).unwrap().outputs[0].logits.values);
    }
}

#[test]
fn llama_in_blocks_of_several_formats_equals_transformers() {
    check_parity("gguf/mixed");
}

#[test]
fn qwen2_with_biases_in_simple_formats_equals_transformers() {
    check_parity("gguf/qwen2");
}

/// The tensors of a small model: name in GGUF, name of Hugging Face, shape.
fn shapes() -> Vec<(String, String, Vec<usize>)> {
    let row = |gguf: &str, face: &str, shape: &[usize]| {
        (format!("{gguf}.weight"), format!("{face}.weight"), shape.to_vec())
    };
    let block = |gguf: &str, face: &str, shape: &[usize]| {
        row(&format!("blk.0.{gguf}"), &format!("model.layers.0.{face}"), shape)
    };
    let square = [HIDDEN, HIDDEN];
    vec![
        row("token_embd", "model.embed_tokens", &[VOCABULARY, HIDDEN]),
        row("output_norm", "model.norm", &[HIDDEN]),
        block("attn_norm", "input_layernorm", &[HIDDEN]),
        block("ffn_norm", "post_attention_layernorm", &[HIDDEN]),
        block("attn_q", "self_attn.q_proj", &square),
        block("attn_k", "self_attn.k_proj", &[HIDDEN / 2, HIDDEN]),
        block("attn_v", "self_attn.v_proj", &[HIDDEN / 2, HIDDEN]),
        block("attn_output", "self_attn.o_proj", &square),
        block("attn_q_norm", "self_attn.q_norm", &[HEAD]),
        block("attn_k_norm", "self_attn.k_norm", &[HEAD]),
        block("ffn_gate", "mlp.gate_proj", &square),
        block("ffn_up", "mlp.up_proj", &square),
        block("ffn_down", "mlp.down_proj", &square),
    ]
}

/// A GGUF file under construction.
#[derive(Default)]
struct Writer {
    keys: Vec<Vec<u8>>,
    tensors: Vec<(String, Vec<usize>, u32, Vec<u8>)>,
}

fn text(text: &str) -> Vec<u8> {
    [&u64::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat()
}

impl Writer {
    fn key(&mut self, name: &str, kind: u32, value: &[u8]) {
        self.keys.push([&text(name), kind.to_le_bytes().as_slice(), value].concat());
    }

    fn number(&mut self, name: &str, value: u32) {
        self.key(name, 4, &value.to_le_bytes());
    }

    fn list(&mut self, name: &str, kind: u32, values: &[Vec<u8>]) {
        let count = u64::try_from(values.len()).unwrap().to_le_bytes();
        self.key(name, 9, &[&kind.to_le_bytes(), count.as_slice(), &values.concat()].concat());
    }

    fn write(&self, path: &Path) {
        let count = |count: usize| u64::try_from(count).unwrap().to_le_bytes();
        let mut bytes = [b"GGUF".as_slice(), &3_u32.to_le_bytes()].concat();
        bytes.extend([count(self.tensors.len()), count(self.keys.len())].concat());
        bytes.extend(self.keys.concat());
        let mut offset = 0_usize;
        for (name, shape, kind, data) in &self.tensors {
            bytes.extend(text(name));
            bytes.extend(u32::try_from(shape.len()).unwrap().to_le_bytes());
            shape.iter().rev().for_each(|size| bytes.extend(count(*size)));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count(offset));
            offset = (offset + data.len()).next_multiple_of(32);
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        for (_, _, _, data) in &self.tensors {
            bytes.extend(data);
            bytes.resize(bytes.len().next_multiple_of(32), 0);
        }
        std::fs::write(path, bytes).unwrap();
    }
}

/// Writes the same random Qwen 3 twice: as GGUF in `format`, and widened by candle for Hugging
/// Face. `None` for a file of F32, written as it is.
fn write_pair(parent: &Path, format: GgmlDType, number: u32) -> (PathBuf, PathBuf) {
    let mut writer = Writer::default();
    writer.key("general.architecture", 8, &text("qwen3"));
    for (key, value) in [
        ("embedding_length", 256),
        ("feed_forward_length", 256),
        ("block_count", 1),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("context_length", 128),
        ("attention.key_length", 64),
    ] {
        writer.number(&format!("qwen3.{key}"), value);
    }
    writer.key("qwen3.attention.layer_norm_rms_epsilon", 6, &1e-5_f32.to_le_bytes());
    writer.key("qwen3.rope.freq_base", 6, &10_000_f32.to_le_bytes());
    add_tokenizer(&mut writer);
    let mut widened = HashMap::new();
    for (index, (gguf, face, shape)) in shapes().into_iter().enumerate() {
        let values = random(shape.iter().product(), u32::try_from(index).unwrap());
        let tensor = Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).unwrap();
        let (format, number) =
            if shape.len() == 1 { (GgmlDType::F32, 0) } else { (format, number) };
        let packed = QTensor::quantize(&tensor, format).unwrap();
        writer.tensors.push((gguf, shape, number, packed.data().unwrap().to_vec()));
        widened
            .insert(face, packed.dequantize(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap());
    }
    let (file, directory) = (parent.join("model.gguf"), parent.join("widened"));
    writer.write(&file);
    std::fs::create_dir_all(&directory).unwrap();
    candle_core::safetensors::save(&widened, directory.join("model.safetensors")).unwrap();
    let config = json!({
        "model_type": "qwen3", "vocab_size": VOCABULARY, "hidden_size": HIDDEN,
        "intermediate_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": HEAD, "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "rope_theta": 10000.0,
        "eos_token_id": 1,
    });
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        std::fs::copy(fixture("llama3").join(file), directory.join(file)).unwrap();
    }
    (file, directory)
}

fn random(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(977).wrapping_add(1);
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0) * 0.3
    };
    (0..count).map(next).collect()
}

/// The vocabulary, merges and template of the `llama3` fixture, as GGUF has them.
fn add_tokenizer(writer: &mut Writer) {
    let read = |file: &str| std::fs::read(fixture("llama3").join(file)).unwrap();
    let tokenizer: Value = serde_json::from_slice(&read("tokenizer.json")).unwrap();
    let mut tokens: Vec<_> = (0..VOCABULARY).map(|id| text(&format!("<unused {id}>"))).collect();
    for (token, id) in tokenizer["model"]["vocab"].as_object().unwrap() {
        tokens[usize::try_from(id.as_u64().unwrap()).unwrap()] = text(token);
    }
    let merges = tokenizer["model"]["merges"].as_array().unwrap().iter().map(|merge| {
        let parts: Vec<&str> =
            merge.as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
        text(&parts.join(" "))
    });
    let kinds: Vec<Vec<u8>> =
        (0..VOCABULARY).map(|id| if id < 5 { 3_i32 } else { 1 }.to_le_bytes().to_vec()).collect();
    let template = String::from_utf8(read("chat_template.jinja")).unwrap();
    writer.key("tokenizer.ggml.model", 8, &text("gpt2"));
    writer.list("tokenizer.ggml.tokens", 8, &tokens);
    writer.list("tokenizer.ggml.merges", 8, &merges.collect::<Vec<_>>());
    writer.list("tokenizer.ggml.token_type", 5, &kinds);
    writer.number("tokenizer.ggml.bos_token_id", 0);
    writer.number("tokenizer.ggml.eos_token_id", 1);
    writer.key("tokenizer.chat_template", 8, &text(&template));
}

#[test]
fn every_format_has_the_bits_of_its_weights_widened_beforehand() {
    let tokens: Vec<u32> = (0..21).map(|index| index * 37 % 288).collect();
    for (format, number) in [
        (GgmlDType::F32, 0),
        (GgmlDType::F16, 1),
        (GgmlDType::Q4_0, 2),
        (GgmlDType::Q5_0, 6),
        (GgmlDType::Q8_0, 8),
        (GgmlDType::Q4K, 12),
        (GgmlDType::Q5K, 13),
        (GgmlDType::Q6K, 14),
        (GgmlDType::BF16, 30),
    ] {
        let parent = tempfile::tempdir().unwrap();
        let (file, directory) = write_pair(parent.path(), format, number);
        let (mut packed, mut widened) = (engine(&file).unwrap(), engine(&directory).unwrap());
        assert_eq!(packed.card().parameters, widened.card().parameters);
        assert_eq!(
            packed.card().dtype.to_string().replace('_', ""),
            format!("{format:?}").to_lowercase().replace('_', "")
        );
        let (packed, widened) = (prefill(&mut packed, &tokens), prefill(&mut widened, &tokens));
        let bits = |matrix: &Matrix| matrix.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&packed), bits(&widened), "{format:?}");
    }
}

#[tokio::test]
async fn a_lone_gguf_file_talks_like_the_directory_it_was_made_of() {
    let parent = tempfile::tempdir().unwrap();
    let (file, directory) = write_pair(parent.path(), GgmlDType::Q8_0, 8);
    assert_eq!(kind(&file).unwrap(), ModelKind::Chat);
    let mut answers = Vec::new();
    for path in [&file, &directory] {
        let options = LoadOptions { threads: Some(1), ..LoadOptions::new(path) };
        let model = Model::load(options).unwrap();
        let content = "Grüße, the cactus and 12345 suns?".to_owned();
        let message = ChatMessage { role: "user".to_owned(), content };
        let request = GenerateRequest {
            sampling: Sampling::greedy(),
            max_tokens: 30,
            ..GenerateRequest::new(Prompt::Chat(vec![message]))
        };
        let completion = model.complete(request, CancellationToken::new()).await.unwrap();
        answers.push((completion.prompt_tokens, completion.token_ids, completion.text));
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn a_directory_with_one_gguf_file_is_that_model_and_with_two_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("tiny-qwen");
    std::fs::create_dir(&directory).unwrap();
    std::fs::copy(fixture("gguf/qwen2/model.gguf"), directory.join("a.gguf")).unwrap();
    let engine_in = |path: &Path| engine(path).map(|engine| engine.card().id.clone());
    assert_eq!(engine_in(&directory).unwrap(), "tiny-qwen");
    assert_eq!(engine_in(&directory.join("a.gguf")).unwrap(), "a");
    std::fs::copy(fixture("gguf/qwen2/model.gguf"), directory.join("b.gguf")).unwrap();
    let error = engine_in(&directory).unwrap_err();
    assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
}

#[test]
fn files_of_other_families_other_shapes_or_without_tensors_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("model.gguf");
    let good = std::fs::read(fixture("gguf/qwen2/model.gguf")).unwrap();
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = good.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&file, bytes).unwrap();
        engine(&file).err().expect("loaded")
    };
    let error = replaced("qwen2", "mamba");
    assert!(matches!(error, LoadError::Unsupported(_)), "{error}");
    let error = replaced("blk.0.ffn_up.weight", "blk.0.ffn_xx.weight");
    assert!(matches!(error, LoadError::WrongTensor { .. }), "{error}");
    let error = replaced("qwen2.context_length", "qwen2.context_lengty");
    assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
    for length in (0..good.len()).step_by(997) {
        std::fs::write(&file, &good[..length]).unwrap();
        let error = engine(&file).err().expect("loaded");
        assert!(matches!(error, LoadError::Malformed { .. }), "{length}: {error}");
    }
}
