//! One chunk of a streamed answer, as the various servers write it. It trusts no number and no
//! length: what is out of bounds is an error.

use cactus_inference::{TokenLogprob, TokenLogprobs};
use cactus_protocol::{UNKNOWN_TOKEN, answer::MAX_TOKEN_BYTES, chat::MAX_TOP_LOGPROBS};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Characters of a server's message that are kept.
const MESSAGE_CHARS: usize = 300;
/// Less likely than this is told as this, for a server that writes no number for zero.
const LEAST_LOGPROB: f32 = -2000.0;

/// A chunk that says something.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// The ids of its tokens, from an engine that tells them.
    pub(super) token_ids: Option<Vec<u32>>,
    /// One per token, when they were asked for.
    pub(super) logprobs: Option<Vec<TokenLogprobs>>,
    pub(super) finish: Option<String>,
    pub(super) prompt_tokens: Option<u32>,
    pub(super) completion_tokens: Option<u32>,
}

/// What came is no chunk of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadChunk {
    #[error("not a chunk of an answer: {0}")]
    Malformed(String),
    #[error("the engine reports: {0}")]
    Reported(String),
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    choices: Vec<RawChoice>,
    usage: Option<RawUsage>,
    error: Option<Value>,
    prompt_token_ids: Option<Vec<u32>>,
}

#[derive(Deserialize)]
struct RawChoice {
    index: Option<u32>,
    delta: Option<RawDelta>,
    text: Option<String>,
    logprobs: Option<RawLogprobs>,
    finish_reason: Option<String>,
    token_ids: Option<Vec<u32>>,
    prompt_token_ids: Option<Vec<u32>>,
}

/// Reasoning is part of what was produced and is paid for, whatever a server calls it.
#[derive(Deserialize)]
struct RawDelta {
    content: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
}

#[derive(Deserialize)]
struct RawUsage {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
}

/// Of chats (`content`) and of completions (three lists).
#[derive(Deserialize)]
struct RawLogprobs {
    content: Option<Vec<RawToken>>,
    tokens: Option<Vec<String>>,
    token_logprobs: Option<Vec<Option<f32>>>,
    top_logprobs: Option<Vec<Option<BTreeMap<String, f32>>>>,
}

#[derive(Deserialize)]
struct RawToken {
    id: Option<u32>,
    #[serde(default)]
    token: String,
    bytes: Option<Vec<u8>>,
    logprob: Option<f32>,
    #[serde(default)]
    top_logprobs: Vec<RawToken>,
}

/// Reads the data of one event.
pub(super) fn parse(data: &str) -> Result<Piece, BadChunk> {
    let raw: Raw =
        serde_json::from_str(data).map_err(|error| BadChunk::Malformed(error.to_string()))?;
    if let Some(error) = raw.error {
        return Err(BadChunk::Reported(message_of(&error)));
    }
    let usage = raw.usage.as_ref();
    let prompt_tokens = usage.and_then(|usage| usage.prompt_tokens);
    let completion_tokens = usage.and_then(|usage| usage.completion_tokens);
    let told = raw.prompt_token_ids.as_ref().and_then(|ids| u32::try_from(ids.len()).ok());
    let mut piece =
        Piece { prompt_tokens: prompt_tokens.or(told), completion_tokens, ..Piece::default() };
    let choice = raw.choices.into_iter().find(|choice| choice.index.unwrap_or(0) == 0);
    let Some(choice) = choice else { return Ok(piece) };
    let told = choice.prompt_token_ids.as_ref().and_then(|ids| u32::try_from(ids.len()).ok());
    piece.prompt_tokens = piece.prompt_tokens.or(told);
    if let Some(delta) = choice.delta {
        let reasoning = delta.reasoning_content.or(delta.reasoning);
        piece.text = [reasoning, delta.content].into_iter().flatten().collect();
    }
    piece.text.push_str(choice.text.as_deref().unwrap_or_default());
    piece.finish = choice.finish_reason;
    piece.logprobs = choice.logprobs.map(logprobs).transpose()?;
    piece.token_ids = choice.token_ids.or_else(|| ids_of(piece.logprobs.as_deref()?));
    Ok(piece)
}

/// The text of an error object of whatever form.
pub(super) fn message_of(error: &Value) -> String {
    let error = error.get("error").unwrap_or(error);
    let text = error.get("message").or(error.get("detail")).unwrap_or(error);
    let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS).collect()
}

fn ids_of(logprobs: &[TokenLogprobs]) -> Option<Vec<u32>> {
    let ids = logprobs.iter().map(|token| token.chosen.token_id);
    let ids: Vec<u32> = ids.collect();
    (!ids.contains(&UNKNOWN_TOKEN)).then_some(ids)
}

fn logprobs(raw: RawLogprobs) -> Result<Vec<TokenLogprobs>, BadChunk> {
    if let Some(content) = raw.content {
        return content.into_iter().map(of_chat).collect();
    }
    let tokens = raw.tokens.unwrap_or_default();
    let chosen = raw.token_logprobs.unwrap_or_default();
    let mut top = raw.top_logprobs.unwrap_or_default();
    top.resize(tokens.len(), None);
    if chosen.len() != tokens.len() {
        return Err(BadChunk::Malformed("log probabilities of other tokens came".to_owned()));
    }
    let all = tokens.into_iter().zip(chosen).zip(top);
    all.map(|((token, logprob), top)| of_completion(token, logprob, top)).collect()
}

fn of_chat(raw: RawToken) -> Result<TokenLogprobs, BadChunk> {
    let mut top = Vec::new();
    let mut chosen = raw;
    for other in std::mem::take(&mut chosen.top_logprobs) {
        top.push(token(other)?);
    }
    top.truncate(usize::from(MAX_TOP_LOGPROBS));
    Ok(TokenLogprobs { chosen: token(chosen)?, top })
}

fn of_completion(
    text: String,
    logprob: Option<f32>,
    top: Option<BTreeMap<String, f32>>,
) -> Result<TokenLogprobs, BadChunk> {
    let plain = |text: String, logprob| {
        let (id, bytes, top_logprobs) = (None, None, Vec::new());
        token(RawToken { id, token: text, bytes, logprob, top_logprobs })
    };
    let top: Result<Vec<_>, _> =
        top.unwrap_or_default().into_iter().map(|(text, l)| plain(text, Some(l))).collect();
    let mut top = top?;
    top.sort_by(|a, b| b.logprob.total_cmp(&a.logprob));
    top.truncate(usize::from(MAX_TOP_LOGPROBS));
    Ok(TokenLogprobs { chosen: plain(text, logprob)?, top })
}

fn token(raw: RawToken) -> Result<TokenLogprob, BadChunk> {
    let bytes = raw.bytes.unwrap_or_else(|| raw.token.into_bytes());
    if bytes.len() > MAX_TOKEN_BYTES {
        return Err(BadChunk::Malformed(format!("a token of {} bytes came", bytes.len())));
    }
    let logprob = raw.logprob.filter(|logprob| !logprob.is_nan()).unwrap_or(LEAST_LOGPROB);
    let logprob = logprob.clamp(LEAST_LOGPROB, 0.0);
    Ok(TokenLogprob { token_id: raw.id.unwrap_or(UNKNOWN_TOKEN), bytes, logprob })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(chunk: &Value) -> Piece {
        parse(&chunk.to_string()).unwrap()
    }

    #[test]
    fn vllm_tells_token_ids_and_llama_cpp_hides_them_in_log_probabilities() {
        let vllm = json!({"prompt_token_ids": [1, 2, 3], "choices": [
            {"index": 0, "delta": {"content": "ab"}, "token_ids": [7, 8], "finish_reason": null}]});
        let piece = read(&vllm);
        assert_eq!((piece.text.as_str(), piece.token_ids), ("ab", Some(vec![7, 8])));
        assert_eq!(piece.prompt_tokens, Some(3));
        let entry = json!({"id": 9, "token": "a", "bytes": [97], "logprob": -0.5,
            "top_logprobs": [{"id": 9, "token": "a", "bytes": [97], "logprob": -0.5}]});
        let llama =
            json!({"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [entry]}}]});
        let piece = read(&llama);
        assert_eq!(piece.token_ids, Some(vec![9]));
        assert_eq!(piece.logprobs.unwrap()[0].top.len(), 1);
    }

    #[test]
    fn completions_have_their_own_form_of_log_probabilities() {
        let piece = read(&json!({"choices": [{"text": "ab", "logprobs": {
            "tokens": ["a", "b"], "token_logprobs": [-1.0, null],
            "top_logprobs": [{"x": -2.0, "a": -1.0}, null]}}]}));
        let logprobs = piece.logprobs.unwrap();
        assert_eq!((logprobs.len(), piece.token_ids), (2, None));
        assert_eq!(logprobs[0].top[0].bytes, b"a");
        assert!((logprobs[1].chosen.logprob - LEAST_LOGPROB).abs() < f32::EPSILON);
    }

    #[test]
    fn the_end_brings_the_usage_and_errors_are_told_apart() {
        let end = json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}});
        let piece = read(&end);
        assert_eq!((piece.prompt_tokens, piece.completion_tokens), (Some(5), Some(6)));
        let error = json!({"error": {"message": "out of\u{1b} luck", "code": 500}}).to_string();
        assert_eq!(parse(&error), Err(BadChunk::Reported("out of luck".into())));
        assert!(matches!(parse("{\"choices\": 3}"), Err(BadChunk::Malformed(_))));
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_and_no_panic(text in ".{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_damaged_chunk_is_read_or_refused(
            place in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let chunk = json!({"choices": [{"index": 0, "delta": {"content": "é"},
                "logprobs": {"content": [{"token": "x", "logprob": -1, "top_logprobs": []}]},
                "token_ids": [1]}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}});
            let mut bytes = chunk.to_string().into_bytes();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let _ = parse(&String::from_utf8_lossy(&bytes));
        }
    }
}
