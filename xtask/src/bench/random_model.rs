//! A Llama of 88 million random parameters in Hugging Face's format: too large for any cache, so
//! that decoding is bound by memory. It answers nothing sensible.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::{fs, path::Path};

const HIDDEN: u64 = 768;
const INTERMEDIATE: u64 = 2048;
const LAYERS: u64 = 14;
const KEY_VALUE: u64 = 256;

/// Writes the model to `dir` unless it is there, with the tokenizer of `small`.
pub fn write(dir: &Path, small: &Path) -> Result<()> {
    if dir.join("model.safetensors").exists() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        fs::copy(small.join(name), dir.join(name)).with_context(|| name.to_owned())?;
    }
    let mut config: Value = serde_json::from_slice(&fs::read(small.join("config.json"))?)?;
    let sizes = [
        ("hidden_size", HIDDEN),
        ("intermediate_size", INTERMEDIATE),
        ("num_hidden_layers", LAYERS),
        ("num_attention_heads", 12),
        ("num_key_value_heads", 4),
        ("head_dim", 64),
        ("max_position_embeddings", 2048),
    ];
    for (name, size) in sizes {
        config[name] = size.into();
    }
    fs::write(dir.join("config.json"), serde_json::to_vec(&config)?)?;
    let vocabulary = config["vocab_size"].as_u64().context("vocab_size")?;
    Ok(fs::write(dir.join("model.safetensors"), safetensors(&tensors(vocabulary)))?)
}

fn tensors(vocabulary: u64) -> Vec<(String, Vec<u64>)> {
    let mut all = vec![
        ("model.embed_tokens.weight".to_owned(), vec![vocabulary, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        let parts = [
            ("input_layernorm", vec![HIDDEN]),
            ("self_attn.q_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.k_proj", vec![KEY_VALUE, HIDDEN]),
            ("self_attn.v_proj", vec![KEY_VALUE, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
            ("mlp.gate_proj", vec![INTERMEDIATE, HIDDEN]),
            ("mlp.up_proj", vec![INTERMEDIATE, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, INTERMEDIATE]),
        ];
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        all.extend(parts.map(|(part, shape)| (name(part), shape)));
    }
    all
}

/// The safetensors format: the header's length, the header in JSON, the data. Weights are bf16
/// from 1/128 to 1/32 in size, from a linear congruential generator.
fn safetensors(tensors: &[(String, Vec<u64>)]) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    let mut state = 1_u64;
    for (name, shape) in tensors {
        let start = data.len();
        for _ in 0..shape.iter().product::<u64>() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // The sign, an exponent for 1/128 to 1/32, and random fraction bits.
            let [.., fraction, sign] = state.to_le_bytes();
            data.extend([fraction, 0x3c | (sign & 0x80)]);
        }
        let entry = json!({ "dtype": "BF16", "shape": shape, "data_offsets": [start, data.len()] });
        header.insert(name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let length = u64::try_from(header.len()).unwrap_or(u64::MAX).to_le_bytes();
    [length.as_slice(), header.as_bytes(), &data].concat()
}
