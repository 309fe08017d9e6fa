//! `config.json` of the Llama family, checked. It never trusts a number that sizes memory.

use serde::Deserialize;

use super::rope::{Rope, Scaling};
use crate::load::error::LoadError;
use crate::load::files::ModelFiles;

const FILE: &str = "config.json";
/// Widths beyond any published dense model; they keep products of two within 64 bits.
const WIDTH_LIMIT: u32 = 1 << 20;
const LAYER_LIMIT: u32 = 1024;
const HEAD_LIMIT: u32 = 1024;
/// Positions up to here convert to F32 exactly.
const CONTEXT_LIMIT: u32 = 1 << 24;

/// The shape of a Llama model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) key_heads: usize,
    pub(crate) head_dimension: usize,
    pub(crate) context_length: u32,
    pub(crate) norm_epsilon: f32,
    pub(crate) tied_embeddings: bool,
    pub(crate) rope: Rope,
}

/// As Hugging Face writes it, old and new; unknown fields are other families' business.
#[derive(Deserialize)]
struct Raw {
    model_type: String,
    vocab_size: u32,
    hidden_size: u32,
    intermediate_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    max_position_embeddings: u32,
    rms_norm_eps: f32,
    hidden_act: Option<String>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    rope_theta: Option<f32>,
    rope_scaling: Option<RawRope>,
    /// What transformers 5 writes instead of the two above.
    rope_parameters: Option<RawRope>,
}

#[derive(Default, Deserialize)]
struct RawRope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<u32>,
}

impl Config {
    /// Reads and checks `config.json`.
    pub(crate) fn load(files: &mut ModelFiles) -> Result<Self, LoadError> {
        let raw: Raw = files.json(FILE)?;
        raw.check_family()?;
        raw.resolve().map_err(|reason| files.malformed(FILE, &reason))?
    }
}

impl Raw {
    fn check_family(&self) -> Result<(), LoadError> {
        let unsupported = |what: String| Err(LoadError::Unsupported(what));
        if self.model_type != "llama" {
            return unsupported(format!("family `{}`; `llama` is served", self.model_type));
        }
        if self.attention_bias || self.mlp_bias {
            return unsupported("biases in attention or MLP".to_owned());
        }
        match self.hidden_act.as_deref() {
            None | Some("silu") => Ok(()),
            Some(other) => unsupported(format!("activation `{other}`")),
        }
    }

    /// The outer error is a malformed file, the inner one a model that is not served.
    fn resolve(&self) -> Result<Result<Config, LoadError>, String> {
        let hidden = within("hidden_size", self.hidden_size, WIDTH_LIMIT)?;
        let heads = within("num_attention_heads", self.num_attention_heads, HEAD_LIMIT)?;
        let key_heads = within(
            "num_key_value_heads",
            self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            HEAD_LIMIT,
        )?;
        let head_dimension = match self.head_dim {
            Some(dimension) => dimension,
            None if hidden % heads == 0 => self.hidden_size / self.num_attention_heads,
            None => return Err("hidden_size is not a multiple of num_attention_heads".to_owned()),
        };
        let narrow =
            u16::try_from(head_dimension).ok().filter(|width| *width <= 1024 && width % 2 == 0);
        let Some(narrow) = narrow.filter(|width| *width > 0) else {
            return Err(format!("head_dim must be even and at most 1024, not {head_dimension}"));
        };
        if heads % key_heads != 0 {
            return Err("num_attention_heads is not a multiple of num_key_value_heads".to_owned());
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            return Err(format!("rms_norm_eps is {}", self.rms_norm_eps));
        }
        within("max_position_embeddings", self.max_position_embeddings, CONTEXT_LIMIT)?;
        let rope = match self.rope(narrow)? {
            Ok(rope) => rope,
            Err(unsupported) => return Ok(Err(unsupported)),
        };
        Ok(Ok(Config {
            vocabulary: within("vocab_size", self.vocab_size, WIDTH_LIMIT)?,
            hidden,
            intermediate: within("intermediate_size", self.intermediate_size, WIDTH_LIMIT)?,
            layers: within("num_hidden_layers", self.num_hidden_layers, LAYER_LIMIT)?,
            heads,
            key_heads,
            head_dimension: usize::from(narrow),
            context_length: self.max_position_embeddings,
            norm_epsilon: self.rms_norm_eps,
            tied_embeddings: self.tie_word_embeddings,
            rope,
        }))
    }

    fn rope(&self, head_dimension: u16) -> Result<Result<Rope, LoadError>, String> {
        let absent = RawRope::default();
        let raw = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref()).unwrap_or(&absent);
        let theta = positive("rope_theta", raw.rope_theta.or(self.rope_theta).or(Some(10_000.0)))?;
        let scaling = match raw.rope_type.as_deref() {
            None | Some("default") => Scaling::None,
            Some("linear") => Scaling::Linear { factor: positive("factor", raw.factor)? },
            Some("llama3") => {
                let original =
                    raw.original_max_position_embeddings.unwrap_or(self.max_position_embeddings);
                within("original_max_position_embeddings", original, CONTEXT_LIMIT)?;
                let low_frequency_factor = positive("low_freq_factor", raw.low_freq_factor)?;
                let high_frequency_factor = positive("high_freq_factor", raw.high_freq_factor)?;
                if high_frequency_factor <= low_frequency_factor {
                    return Err("high_freq_factor must be above low_freq_factor".to_owned());
                }
                Scaling::Llama3 {
                    factor: positive("factor", raw.factor)?,
                    low_frequency_factor,
                    high_frequency_factor,
                    // At most 2²⁴, so the conversion is exact.
                    original_context: original as f32,
                }
            }
            Some(other) => {
                return Ok(Err(LoadError::Unsupported(format!("rope scaling `{other}`"))));
            }
        };
        Ok(Ok(Rope::new(theta, head_dimension, scaling)))
    }
}

fn within(name: &str, value: u32, limit: u32) -> Result<usize, String> {
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
