//! Vectors as `/v1/embeddings` answers them.

use super::{Output, Usage};
use crate::openai::Encoding;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;

/// Vectors, a list.
#[derive(Debug, Serialize)]
pub struct Embeddings<'a, C> {
    object: &'static str,
    data: Vec<Embedding>,
    model: &'a str,
    usage: EmbeddingUsage,
    cactus: C,
}

#[derive(Debug, Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Debug, Serialize)]
struct EmbeddingUsage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// The vectors of so many inputs.
pub fn embeddings<'a, C: Serialize>(
    (model, inputs, encoding): (&'a str, usize, Encoding),
    output: &Output,
    (usage, cactus): (Usage, C),
) -> Embeddings<'a, C> {
    let dimensions = (output.values.len() / inputs.max(1)).max(1);
    let vectors = output.values.chunks(dimensions).enumerate();
    let data = vectors.map(|(index, bits)| Embedding {
        object: "embedding",
        index,
        embedding: encode(bits, encoding),
    });
    let Usage { prompt_tokens, total_tokens, .. } = usage;
    let usage = EmbeddingUsage { prompt_tokens, total_tokens };
    Embeddings { object: "list", data: data.collect(), model, usage, cactus }
}

fn encode(bits: &[u32], encoding: Encoding) -> Vector {
    match encoding {
        Encoding::Float => Vector::Float(bits.iter().map(|bits| f32::from_bits(*bits)).collect()),
        Encoding::Base64 => {
            let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            Vector::Base64(BASE64_STANDARD.encode(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_encodings_hold_the_same_numbers() {
        let values = [0.5f32, -2.0, 1.0, 0.25].map(f32::to_bits).to_vec();
        let output = Output { values, ..Output::default() };
        let write = |encoding| {
            let answer = embeddings(("m", 2, encoding), &output, (Usage::new(3, 0), ()));
            serde_json::to_value(answer).unwrap()
        };
        let float = write(Encoding::Float);
        assert_eq!(float["data"][1]["embedding"], json!([1.0, 0.25]));
        assert_eq!(float["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
        let text = write(Encoding::Base64);
        let bytes = BASE64_STANDARD.decode(text["data"][0]["embedding"].as_str().unwrap());
        assert_eq!(bytes.unwrap(), [0, 0, 0, 0x3f, 0, 0, 0, 0xc0]);
    }
}
