//! `tokenizer.json` from the metadata of a GGUF file, for SentencePiece vocabularies (Llama 2,
//! Mistral): pieces with scores, and single bytes for what no piece spells. It never guesses scores.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::tokenizer::{added, beginning, texts};
use super::{Gguf, Value};

/// The kinds of pieces that are put together from others.
const NORMAL: i128 = 1;
/// Pieces that stand for something else than their text.
const SPECIAL: [i128; 3] = [2, 3, 4];
/// No published vocabulary has longer pieces that are not special; bounds the search for their
/// parts.
const LONGEST: usize = 64;

/// The file's content; `None` without scores or merges.
pub(super) fn tokenizer(gguf: &Gguf) -> Result<Option<Json>, String> {
    let tokens = texts(gguf, "tokenizer.ggml.tokens")?;
    let merges = match (gguf.value("tokenizer.ggml.merges"), scores(gguf, tokens.len())?) {
        (Some(_), _) => json!(texts(gguf, "tokenizer.ggml.merges")?),
        (None, Some(scores)) => json!(merges(gguf, &tokens, &scores)?),
        (None, None) => return Ok(None),
    };
    let mut vocabulary = Map::new();
    for (id, token) in tokens.iter().enumerate() {
        vocabulary.entry((*token).to_owned()).or_insert_with(|| json!(id));
    }
    let prefixed = gguf.value("tokenizer.ggml.add_space_prefix") != Some(&Value::Bool(false));
    let model = json!({
        "type": "BPE", "vocab": vocabulary, "merges": merges, "unk_token": unknown(gguf, &tokens),
        "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
    });
    let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let normal = match prefixed {
        true => vec![json!({"type": "Prepend", "prepend": "▁"}), spaces],
        false => vec![spaces],
    };
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefixed {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    Ok(Some(json!({
        "version": "1.0",
        "added_tokens": added(gguf, &tokens, &SPECIAL)?,
        "normalizer": {"type": "Sequence", "normalizers": normal},
        "pre_tokenizer": null,
        "post_processor": beginning(gguf, &tokens, true),
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": model,
    })))
}

fn unknown(gguf: &Gguf, tokens: &[&str]) -> Json {
    let id = match gguf.value("tokenizer.ggml.unknown_token_id") {
        Some(Value::Integer(id)) => usize::try_from(*id).ok(),
        _ => Some(0),
    };
    id.and_then(|id| tokens.get(id)).map_or(Json::Null, |token| json!(token))
}

fn scores(gguf: &Gguf, count: usize) -> Result<Option<Vec<f64>>, String> {
    let number = |value: &Value| match value {
        Value::Float(score) => Some(*score),
        _ => None,
    };
    let scores: Option<Vec<f64>> = match gguf.value("tokenizer.ggml.scores") {
        None => return Ok(None),
        Some(Value::List(values)) if values.len() == count => values.iter().map(number).collect(),
        Some(_) => None,
    };
    scores.map(Some).ok_or_else(|| "tokenizer.ggml.scores should have one number per token".into())
}

/// SentencePiece joins the two neighbours whose piece has the highest score. As a list of merges:
/// all ways to cut each piece in two, best pieces first.
fn merges<'a>(
    gguf: &Gguf,
    tokens: &[&'a str],
    scores: &[f64],
) -> Result<Vec<[&'a str; 2]>, String> {
    let is_normal: Vec<bool> = match gguf.value("tokenizer.ggml.token_type") {
        None => vec![true; tokens.len()],
        Some(Value::List(kinds)) if kinds.len() == tokens.len() => {
            kinds.iter().map(|kind| *kind == Value::Integer(NORMAL)).collect()
        }
        Some(_) => return Err("tokenizer.ggml.token_type should have one entry per token".into()),
    };
    let normal = (0..tokens.len()).filter(|id| is_normal[*id]);
    let ids: HashMap<&str, usize> = normal.clone().rev().map(|id| (tokens[id], id)).collect();
    let mut found = Vec::new();
    for id in normal.filter(|id| tokens[*id].len() <= LONGEST) {
        let piece = tokens[id];
        let cuts = piece.char_indices().skip(1).map(|(at, _)| piece.split_at(at));
        let parts = cuts.filter_map(|(left, right)| Some((ids.get(left)?, ids.get(right)?)));
        let mut parts: Vec<_> = parts.collect();
        parts.sort_unstable();
        found.extend(parts.into_iter().map(|(left, right)| (scores[id], [*left, *right])));
    }
    let length = |id: usize| tokens[id].chars().count();
    let lengths = |pair: &[usize; 2]| pair.map(length);
    // Stable: what is alike in all of these stays in the order of the vocabulary.
    found.sort_by(|(left, a), (right, b)| {
        right.total_cmp(left).then_with(|| lengths(b).cmp(&lengths(a)))
    });
    Ok(found.into_iter().map(|(_, pair)| pair.map(|id| tokens[id])).collect())
}
