//! `tokenizer.json` from the metadata of a GGUF file, for byte-level BPE (Llama 3, Qwen); other kinds
//! are passed on. It never guesses: an unknown vocabulary needs a `tokenizer.json` beside the file.

use serde_json::{Map, Value as Json, json};

use super::{Gguf, Value, sentencepiece};

/// How text is cut before merging; the patterns of the original tokenizers.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Tokens that the trainer named; they have a text.
const NAMED: i128 = 4;
/// Control tokens, and those.
const SPECIAL: [i128; 2] = [3, NAMED];

/// The file's content; `None` if the kind of vocabulary is not one that can be rebuilt.
pub(super) fn tokenizer(gguf: &Gguf) -> Result<Option<Json>, String> {
    let text = |key: &str| match gguf.value(&format!("tokenizer.ggml.{key}")) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    match text("model") {
        Some("gpt2") => {}
        Some("llama") => return sentencepiece::tokenizer(gguf),
        _ => return Ok(None),
    }
    let pattern = match text("pre") {
        Some("llama-bpe" | "llama3" | "llama-v3") => Some(LLAMA3),
        Some("qwen2" | "qwen3") => Some(QWEN2),
        None | Some("default" | "gpt-2") => None,
        Some(_) => return Ok(None),
    };
    let tokens = texts(gguf, "tokenizer.ggml.tokens")?;
    let merges = texts(gguf, "tokenizer.ggml.merges")?;
    let mut vocabulary = Map::new();
    for (id, token) in tokens.iter().enumerate() {
        vocabulary.entry((*token).to_owned()).or_insert_with(|| json!(id));
    }
    let model = json!({
        "type": "BPE",
        "vocab": vocabulary,
        "merges": merges,
        "ignore_merges": pattern == Some(LLAMA3),
    });
    let split = pattern.map(|pattern| {
        json!({
            "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false,
        })
    });
    let bytes = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
        "use_regex": pattern.is_none(),
    });
    let steps: Vec<Json> = split.into_iter().chain([bytes.clone()]).collect();
    let normal = if pattern == Some(QWEN2) { json!({"type": "NFC"}) } else { Json::Null };
    Ok(Some(json!({
        "version": "1.0",
        "added_tokens": added(gguf, &tokens, &SPECIAL)?,
        "normalizer": normal,
        "post_processor": beginning(gguf, &tokens, pattern == Some(LLAMA3)),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "decoder": bytes,
        "model": model,
    })))
}

/// The token that is put before every text, if there is one; Llama 3 has it unless told otherwise.
pub(super) fn beginning(gguf: &Gguf, tokens: &[&str], usual: bool) -> Json {
    let wanted = match gguf.value("tokenizer.ggml.add_bos_token") {
        Some(Value::Bool(wanted)) => *wanted,
        _ => usual,
    };
    let id = match gguf.value("tokenizer.ggml.bos_token_id") {
        Some(Value::Integer(id)) if wanted => usize::try_from(*id).ok(),
        _ => None,
    };
    let Some((id, token)) = id.and_then(|id| Some((id, tokens.get(id)?))) else {
        return Json::Null;
    };
    let mark = json!({"SpecialToken": {"id": token, "type_id": 0}});
    let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    json!({
        "type": "TemplateProcessing",
        "single": [mark, text("A")],
        "pair": [mark, text("A"), text("B")],
        "special_tokens": {*token: {"id": token, "ids": [id], "tokens": [token]}},
    })
}

/// The tokens of these kinds, which are found in a text before it is cut.
pub(super) fn added(gguf: &Gguf, tokens: &[&str], wanted: &[i128]) -> Result<Vec<Json>, String> {
    let kinds = match gguf.value("tokenizer.ggml.token_type") {
        None => return Ok(Vec::new()),
        Some(Value::List(kinds)) if kinds.len() == tokens.len() => kinds,
        Some(_) => return Err("tokenizer.ggml.token_type should have one entry per token".into()),
    };
    let special = |kind: &Value| matches!(kind, Value::Integer(kind) if wanted.contains(kind));
    let each = tokens.iter().zip(kinds).enumerate().filter(|(_, (_, kind))| special(kind));
    let entry = |(id, (token, kind)): (usize, (&&str, &Value))| {
        json!({
            "id": id, "content": token, "special": *kind != Value::Integer(NAMED),
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    Ok(each.map(entry).collect())
}

/// A list of texts.
pub(super) fn texts<'a>(gguf: &'a Gguf, key: &str) -> Result<Vec<&'a str>, String> {
    let text = |value: &'a Value| match value {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    };
    match gguf.value(key) {
        Some(Value::List(values)) => values.iter().map(text).collect(),
        _ => None,
    }
    .ok_or_else(|| format!("{key} should be a list of texts"))
}
