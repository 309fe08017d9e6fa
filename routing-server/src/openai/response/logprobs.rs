//! Log probabilities in the shape of either endpoint.

use cactus_protocol::frame::TokenLogprob;
use serde::Serialize;
use std::collections::BTreeMap;

/// `logprobs` of a chat choice.
#[derive(Debug, Serialize)]
pub struct ChatLogprobs {
    content: Vec<Token>,
    refusal: Option<()>,
}

/// `logprobs` of a plain choice.
#[derive(Debug, Default, Serialize)]
pub struct PlainLogprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<f64>,
    top_logprobs: Vec<BTreeMap<String, f64>>,
    text_offset: Vec<usize>,
}

#[derive(Debug, Serialize)]
struct Token {
    #[serde(flatten)]
    chosen: Likely,
    top_logprobs: Vec<Likely>,
}

#[derive(Debug, Serialize)]
struct Likely {
    token: String,
    logprob: f64,
    bytes: Vec<u8>,
}

impl Likely {
    fn new(bytes: &[u8], logprob_micro: i32) -> Self {
        let token = String::from_utf8_lossy(bytes).into_owned();
        Self { token, logprob: natural(logprob_micro), bytes: bytes.to_vec() }
    }
}

fn natural(micro: i32) -> f64 {
    f64::from(micro) / 1e6
}

/// Of the tokens of a chat choice; `None` when none were asked for.
pub fn chat(logprobs: &[TokenLogprob]) -> Option<ChatLogprobs> {
    let token = |chosen: &TokenLogprob| Token {
        chosen: Likely::new(&chosen.bytes, chosen.logprob_micro),
        top_logprobs: chosen.top.iter().map(|t| Likely::new(&t.bytes, t.logprob_micro)).collect(),
    };
    let content: Vec<_> = logprobs.iter().map(token).collect();
    (!content.is_empty()).then_some(ChatLogprobs { content, refusal: None })
}

/// Of the tokens of a plain choice, whose text begins `offset` characters into the answer; `None`
/// when none were asked for.
pub fn plain(logprobs: &[TokenLogprob], mut offset: usize) -> Option<PlainLogprobs> {
    let mut all = PlainLogprobs::default();
    for chosen in logprobs {
        let text = String::from_utf8_lossy(&chosen.bytes).into_owned();
        all.text_offset.push(offset);
        offset += text.chars().count();
        all.tokens.push(text);
        all.token_logprobs.push(natural(chosen.logprob_micro));
        let top = chosen.top.iter().map(|other| {
            let text = String::from_utf8_lossy(&other.bytes).into_owned();
            (text, natural(other.logprob_micro))
        });
        all.top_logprobs.push(top.collect());
    }
    (!logprobs.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cactus_protocol::frame::Alternative;
    use serde_json::json;

    fn logprob(bytes: &[u8]) -> TokenLogprob {
        let other = Alternative { token_id: 7, bytes: b"no".to_vec(), logprob_micro: -2_500_000 };
        TokenLogprob { bytes: bytes.to_vec(), logprob_micro: -1_000, top: vec![other] }
    }

    #[test]
    fn a_token_that_is_half_a_character_keeps_its_bytes() {
        let json = serde_json::to_value(chat(&[logprob(&[0xc3])])).unwrap();
        let token = &json["content"][0];
        assert_eq!(token["token"], "\u{fffd}");
        assert_eq!(token["bytes"], json!([0xc3]));
        assert_eq!(token["logprob"], -0.001);
        assert_eq!(token["top_logprobs"][0]["logprob"], -2.5);
        assert!(chat(&[]).is_none());
    }

    #[test]
    fn plain_logprobs_say_where_each_token_begins() {
        let json = plain(&[logprob("né".as_bytes()), logprob(b"x")], 10);
        let json = serde_json::to_value(json).unwrap();
        assert_eq!(json["text_offset"], json!([10, 12]));
        assert_eq!(json["tokens"], json!(["né", "x"]));
        assert_eq!(json["top_logprobs"][1]["no"], -2.5);
        assert!(plain(&[], 0).is_none());
    }
}
