//! What a GGUF file says, in the words of a Hugging Face directory: `config.json`,
//! `tokenizer.json` and `tokenizer_config.json` made from its metadata, so that the rest of the
//! loader knows one spelling. It never reads a weight but the factors of a rotation.

use serde_json::{Map, Value as Json, json};

use super::{Gguf, Value, tokenizer};

/// The content of a file that the directory would have; `None` if the metadata says nothing of it.
pub(crate) fn as_file(gguf: &Gguf, name: &str) -> Result<Option<Vec<u8>>, String> {
    let made = match name {
        "config.json" => Some(config(gguf)?),
        "tokenizer.json" => tokenizer::tokenizer(gguf)?,
        "tokenizer_config.json" => Some(tokenizer_config(gguf)),
        _ => None,
    };
    made.map(|made| serde_json::to_vec(&made).map_err(|error| error.to_string())).transpose()
}

fn config(gguf: &Gguf) -> Result<Json, String> {
    let family = gguf.architecture().ok_or("general.architecture is missing")?.to_owned();
    let get = |key: &str| gguf.value(&format!("{family}.{key}")).map_or(Json::Null, json_of);
    let mut config = Map::new();
    for (name, key) in [
        ("hidden_size", "embedding_length"),
        ("intermediate_size", "feed_forward_length"),
        ("num_hidden_layers", "block_count"),
        ("num_attention_heads", "attention.head_count"),
        ("num_key_value_heads", "attention.head_count_kv"),
        ("head_dim", "attention.key_length"),
        ("max_position_embeddings", "context_length"),
        ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ] {
        config.insert(name.to_owned(), get(key));
    }
    let vocabulary = gguf.tensor("token_embd.weight").and_then(|table| table.shape.first());
    config.insert("vocab_size".to_owned(), json!(vocabulary));
    config.insert("tie_word_embeddings".to_owned(), json!(gguf.tensor("output.weight").is_none()));
    config.insert("eos_token_id".to_owned(), special(gguf, "eos"));
    config.insert("rope_parameters".to_owned(), rope(gguf, &family)?);
    // Converters change the weights of other families, so that those would need code of their own;
    // as families of their own they are refused.
    let model_type = match family.as_str() {
        "llama" | "qwen2" | "qwen3" => family,
        other => format!("{other} in GGUF"),
    };
    config.insert("model_type".to_owned(), json!(model_type));
    Ok(Json::Object(config))
}

fn rope(gguf: &Gguf, family: &str) -> Result<Json, String> {
    let get = |key: &str| gguf.value(&format!("{family}.{key}"));
    let number = |key: &str| get(key).and_then(as_number);
    let mut rope = Map::new();
    rope.insert("rope_theta".to_owned(), json!(number("rope.freq_base").unwrap_or(10_000.0)));
    let heads = number("attention.head_count").zip(number("embedding_length"));
    let usual = heads.map(|(heads, hidden)| hidden / heads);
    let head = number("attention.key_length").or(usual);
    if let Some((rotated, head)) = number("rope.dimension_count").zip(head) {
        rope.insert("partial_rotary_factor".to_owned(), json!(rotated / head));
    }
    if let Some(factors) = gguf.tensor("rope_freqs.weight") {
        let factors: Vec<f32> = gguf
            .bytes(factors)
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        rope.insert("rope_type".to_owned(), json!("longrope"));
        rope.insert("attention_factor".to_owned(), json!(1.0));
        rope.insert("short_factor".to_owned(), json!(factors));
        rope.insert("long_factor".to_owned(), json!(factors));
        return Ok(Json::Object(rope));
    }
    let kind = match get("rope.scaling.type") {
        None => "default",
        Some(Value::Text(kind)) if kind == "none" => "default",
        Some(Value::Text(kind)) => kind,
        Some(_) => return Err("rope.scaling.type should be text".to_owned()),
    };
    rope.insert("rope_type".to_owned(), json!(kind));
    for (name, key) in [
        ("factor", "rope.scaling.factor"),
        ("original_max_position_embeddings", "rope.scaling.original_context_length"),
    ] {
        rope.insert(name.to_owned(), get(key).map_or(Json::Null, json_of));
    }
    Ok(Json::Object(rope))
}

fn tokenizer_config(gguf: &Gguf) -> Json {
    let text = |name: &str| {
        let id = special(gguf, name).as_u64().and_then(|id| usize::try_from(id).ok());
        match (gguf.value("tokenizer.ggml.tokens"), id) {
            (Some(Value::List(tokens)), Some(id)) => tokens.get(id).map_or(Json::Null, json_of),
            _ => Json::Null,
        }
    };
    let template = gguf.value("tokenizer.chat_template").map_or(Json::Null, json_of);
    json!({"bos_token": text("bos"), "eos_token": text("eos"), "chat_template": template})
}

/// The id of a special token.
fn special(gguf: &Gguf, name: &str) -> Json {
    gguf.value(&format!("tokenizer.ggml.{name}_token_id")).map_or(Json::Null, json_of)
}

fn as_number(value: &Value) -> Option<f64> {
    match value {
        // Widths and counts are far below 2⁵³; hostile ones fail the checks of the configuration.
        Value::Integer(value) => i32::try_from(*value).ok().map(f64::from),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

/// Numbers, truth and text as they are; lists are not needed anywhere and become null.
fn json_of(value: &Value) -> Json {
    match value {
        Value::Integer(value) => i64::try_from(*value).map_or(Json::Null, |value| json!(value)),
        Value::Float(value) => json!(value),
        Value::Bool(value) => json!(value),
        Value::Text(value) => json!(value),
        Value::List(_) => Json::Null,
    }
}
