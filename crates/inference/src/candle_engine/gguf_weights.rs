//! The tensors of a GGUF file under the names of Hugging Face. Matrices keep their format.
//! It never holds a second copy of more than one matrix besides the file and the result.

use std::borrow::Cow;

use super::linear::Weight;
use super::panels::Matrix;
use super::weights::{Expected, Weights, wrong};
use crate::load::error::LoadError;
use crate::load::gguf::{Gguf, TensorInfo};

/// Finds exactly the tensors of `expected`; others in the file are ignored.
pub(crate) fn load(
    gguf: &Gguf,
    expected: &Expected,
    head_dimension: usize,
) -> Result<Weights, LoadError> {
    let mut weights = Weights::default();
    for (name, shape) in expected {
        let stored = gguf.tensor(&gguf_name(name));
        let info = stored.ok_or_else(|| wrong(name, &format!("{shape:?}"), "is missing"))?;
        if info.shape != *shape {
            return Err(wrong(name, &format!("{shape:?}"), &format!("is {:?}", info.shape)));
        }
        let interleaved = gguf.architecture() == Some("llama")
            && (name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight"));
        let rows = interleaved.then_some(head_dimension);
        weights.insert(name, weight(gguf, info, rows)?, info.format);
    }
    Ok(weights)
}

/// Bytes that the weights take.
pub(crate) fn held(gguf: &Gguf, expected: &Expected) -> u64 {
    let infos = expected.keys().filter_map(|name| gguf.tensor(&gguf_name(name)));
    // Every tensor lies within the file, so that the sum of a few of them fits.
    let bytes = infos.map(|info| info.bytes.len()).fold(0, usize::saturating_add);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Bytes of the file.
pub(crate) fn file(gguf: &Gguf) -> u64 {
    u64::try_from(gguf.content.len()).unwrap_or(u64::MAX)
}

/// The name in GGUF of a tensor of a decoder.
fn gguf_name(name: &str) -> String {
    const PARTS: [(&str, &str); 14] = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers", "blk"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("mlp.down_proj", "ffn_down"),
        ("mlp.", "ffn_"),
    ];
    let renamed =
        PARTS.iter().fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs));
    renamed.replace("gate_proj", "gate").replace("up_proj", "up")
}

fn weight(gguf: &Gguf, info: &TensorInfo, head: Option<usize>) -> Result<Weight, LoadError> {
    let (rows, width) = match info.shape.as_slice() {
        [width] => (1, *width),
        [rows, width] => (*rows, *width),
        _ => return Err(wrong("a tensor", "a vector or a matrix", "is neither")),
    };
    let bytes = match head {
        None => Cow::Borrowed(gguf.bytes(info)),
        Some(head) => Cow::Owned(in_halves(gguf.bytes(info), rows, head)?),
    };
    let matrix = Matrix::new(info.format, &bytes, (rows, width))?;
    if info.shape.len() == 2 {
        return Ok(Weight::Matrix(matrix));
    }
    let vector = matrix.widened().and_then(|tensor| tensor.flatten_all());
    vector.map(Weight::Vector).map_err(|error| memory(&error.to_string()))
}

/// Rows of queries or keys, in the order in which the halves of a head are rotated against each
/// other; converters of Llama write each pair side by side.
fn in_halves(bytes: &[u8], rows: usize, head: usize) -> Result<Vec<u8>, LoadError> {
    let row = bytes.len() / rows;
    let mut ordered = Vec::new();
    ordered.try_reserve_exact(bytes.len()).map_err(|_| memory("a matrix"))?;
    for head in bytes.chunks_exact(head * row) {
        for half in [0, 1] {
            let pairs = head.chunks_exact(2 * row);
            pairs.for_each(|pair| ordered.extend_from_slice(&pair[half * row..][..row]));
        }
    }
    Ok(ordered)
}

fn memory(what: &str) -> LoadError {
    LoadError::OutOfMemory(what.to_owned())
}
