//! `config.json` of a decoder, checked and turned into an [`Architecture`].
//! It never trusts a number that sizes memory.

mod families;
mod rope;

use serde::Deserialize;

use self::families::Family;
use self::rope::RawRopes;
use super::architecture::{Activation, Architecture};
use crate::load::error::LoadError;
use crate::load::files::ModelFiles;

const FILE: &str = "config.json";
/// Widths beyond any published dense model; they keep products of two within 64 bits.
const WIDTH_LIMIT: u32 = 1 << 20;
const LAYER_LIMIT: u32 = 1024;
const HEAD_LIMIT: u32 = 1024;
/// Positions up to here convert to F32 exactly.
const CONTEXT_LIMIT: u32 = 1 << 24;

/// As Hugging Face writes it, old and new; unknown fields are other families' business.
#[derive(Clone, Debug, Default, Deserialize)]
struct Raw {
    #[serde(default)]
    model_type: String,
    dtype: Option<String>,
    torch_dtype: Option<String>,
    vocab_size: Option<u32>,
    hidden_size: Option<u32>,
    intermediate_size: Option<u32>,
    num_hidden_layers: Option<u32>,
    num_attention_heads: Option<u32>,
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    max_position_embeddings: Option<u32>,
    original_max_position_embeddings: Option<u32>,
    rms_norm_eps: Option<f32>,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    sliding_window: Option<u32>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<u32>,
    layer_types: Option<Vec<String>>,
    sliding_window_pattern: Option<u32>,
    query_pre_attn_scalar: Option<f32>,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
    use_bidirectional_attention: Option<bool>,
    partial_rotary_factor: Option<f32>,
    rope_theta: Option<f32>,
    rope_local_base_freq: Option<f32>,
    rope_scaling: Option<RawRopes>,
    /// What transformers 5 writes instead of the three above.
    rope_parameters: Option<RawRopes>,
    /// The language part of a model that also sees.
    text_config: Option<Box<Raw>>,
}

/// Why a configuration was refused.
#[derive(Debug)]
enum Refusal {
    /// The file contradicts itself or holds impossible numbers.
    Malformed(String),
    /// An honest file of a model that is not served.
    Unsupported(String),
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Malformed(reason)
    }
}

impl Architecture {
    /// Reads and checks `config.json`.
    pub(crate) fn load(files: &mut ModelFiles) -> Result<Self, LoadError> {
        let raw: Raw = files.json(FILE)?;
        raw.resolve().map_err(|refusal| match refusal {
            Refusal::Malformed(reason) => files.malformed(FILE, &reason),
            Refusal::Unsupported(what) => LoadError::Unsupported(what),
        })
    }
}

impl Raw {
    fn resolve(self) -> Result<Architecture, Refusal> {
        let family = Family::parse(&self.model_type)?;
        let mut raw = match self.text_config {
            // Older files leave out what the language part is.
            Some(text) if text.model_type.is_empty() => *text,
            Some(text) if Family::parse(&text.model_type)? == family => *text,
            Some(text) => {
                let (whole, part) = (self.model_type, text.model_type);
                return Err(Refusal::Unsupported(format!("a {whole} around a {part}")));
            }
            None => self,
        };
        family.complete(&mut raw);
        let hidden = within("hidden_size", raw.hidden_size, WIDTH_LIMIT)?;
        let heads = within("num_attention_heads", raw.num_attention_heads, HEAD_LIMIT)?;
        let key_heads = raw.num_key_value_heads.or(raw.num_attention_heads);
        let key_heads = within("num_key_value_heads", key_heads, HEAD_LIMIT)?;
        if heads % key_heads != 0 {
            return Err("num_attention_heads is not a multiple of num_key_value_heads"
                .to_owned()
                .into());
        }
        let head_dimension = raw.head_dimension(hidden, heads)?;
        let layers = within("num_hidden_layers", raw.num_hidden_layers, LAYER_LIMIT)?;
        let (layers, rope_count) = family.layers(&raw, layers)?;
        let ropes = (0..rope_count).map(|index| raw.rope(family, head_dimension, index));
        let context_length = raw.max_position_embeddings.unwrap_or_default();
        within("max_position_embeddings", raw.max_position_embeddings, CONTEXT_LIMIT)?;
        Ok(Architecture {
            vocabulary: within("vocab_size", raw.vocab_size, WIDTH_LIMIT)?,
            hidden,
            intermediate: within("intermediate_size", raw.intermediate_size, WIDTH_LIMIT)?,
            heads,
            key_heads,
            head_dimension: usize::from(head_dimension),
            context_length,
            ropes: ropes.collect::<Result<_, _>>()?,
            layers,
            tied_embeddings: raw.tie_word_embeddings.unwrap_or(family.ties_embeddings()),
            embedding_scale: family.embedding_scale(hidden),
            stored_in_half: raw
                .dtype
                .as_ref()
                .or(raw.torch_dtype.as_ref())
                .is_some_and(|dtype| dtype == "bfloat16" || dtype == "float16"),
            layout: family.layout(),
            biases: family.biases(&raw),
            norms: family.norms(raw.norm_epsilon()?),
            activation: raw.activation(family)?,
            attention_scale: family.attention_scale(&raw, head_dimension)?,
            attention_softcap: family.softcap(&raw, raw.attn_logit_softcapping)?,
            logit_softcap: family.softcap(&raw, raw.final_logit_softcapping)?,
        })
    }

    fn head_dimension(&self, hidden: usize, heads: usize) -> Result<u16, String> {
        let dimension = match self.head_dim {
            Some(dimension) => usize::try_from(dimension).unwrap_or(usize::MAX),
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => return Err("hidden_size is not a multiple of num_attention_heads".to_owned()),
        };
        let even = |width: &u16| (2..=1024).contains(width) && width.is_multiple_of(2);
        u16::try_from(dimension)
            .ok()
            .filter(even)
            .ok_or_else(|| format!("head_dim must be even and at most 1024, not {dimension}"))
    }

    fn norm_epsilon(&self) -> Result<f32, String> {
        match self.rms_norm_eps {
            Some(epsilon) if epsilon > 0.0 && epsilon < 1.0 => Ok(epsilon),
            Some(epsilon) => Err(format!("rms_norm_eps is {epsilon}")),
            None => Err("rms_norm_eps is missing".to_owned()),
        }
    }

    fn activation(&self, family: Family) -> Result<Activation, Refusal> {
        // Files may have both; then the longer name counts.
        match self.hidden_activation.as_deref().or(self.hidden_act.as_deref()) {
            None => Ok(family.activation()),
            Some("silu") => Ok(Activation::Silu),
            Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
            Some(other) => Err(Refusal::Unsupported(format!("activation `{other}`"))),
        }
    }
}

fn within(name: &str, value: Option<u32>, limit: u32) -> Result<usize, String> {
    let value = value.ok_or_else(|| format!("{name} is missing"))?;
    match usize::try_from(value) {
        Ok(size) if value > 0 && value <= limit => Ok(size),
        _ => Err(format!("{name} must be 1 to {limit}, not {value}")),
    }
}

fn positive(name: &str, value: Option<f32>) -> Result<f32, String> {
    match value {
        Some(value) if value.is_finite() && value > 0.0 => Ok(value),
        Some(value) => Err(format!("{name} must be a positive number, not {value}")),
        None => Err(format!("{name} is missing")),
    }
}
