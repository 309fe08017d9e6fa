//! Vectors as `/v1/embeddings` answers them.

use super::{Output, Usage};
use crate::openai::Encoding;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

/// The vectors of so many inputs.
pub fn embeddings(
    (model, inputs, encoding): (&str, usize, Encoding),
    output: &Output,
    (usage, cactus): (Usage, &Value),
) -> Value {
    let dimensions = (output.values.len() / inputs.max(1)).max(1);
    let vectors = output.values.chunks(dimensions).enumerate();
    let data = vectors.map(|(index, bits)| {
        json!({"object": "embedding", "index": index, "embedding": encode(bits, encoding)})
    });
    json!({
        "object": "list",
        "data": data.collect::<Value>(),
        "model": model,
        "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total_tokens},
        "cactus": cactus,
    })
}

fn encode(bits: &[u32], encoding: Encoding) -> Value {
    match encoding {
        Encoding::Float => bits.iter().map(|bits| f32::from_bits(*bits)).collect(),
        Encoding::Base64 => {
            let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            BASE64_STANDARD.encode(bytes).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_hold_the_same_numbers() {
        let values = [0.5f32, -2.0, 1.0, 0.25].map(f32::to_bits).to_vec();
        let output = Output { values, ..Output::default() };
        let write =
            |encoding| embeddings(("m", 2, encoding), &output, (Usage::new(3, 0), &Value::Null));
        let float = write(Encoding::Float);
        assert_eq!(float["data"][1]["embedding"], json!([1.0, 0.25]));
        assert_eq!(float["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
        let text = write(Encoding::Base64);
        let bytes = BASE64_STANDARD.decode(text["data"][0]["embedding"].as_str().unwrap());
        assert_eq!(bytes.unwrap(), [0, 0, 0, 0x3f, 0, 0, 0, 0xc0]);
    }
}
