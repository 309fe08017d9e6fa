//! `config.json` of a BERT encoder, checked. It never trusts a number that sizes memory.

use serde::Deserialize;

use crate::load::error::LoadError;
use crate::load::files::ModelFiles;

const FILE: &str = "config.json";
const WIDTH_LIMIT: usize = 1 << 20;
const LAYER_LIMIT: usize = 1024;

/// The shape of a BERT encoder.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// The longest text in tokens.
    pub(crate) positions: usize,
    pub(crate) token_types: usize,
    pub(crate) norm_epsilon: f32,
    pub(crate) activation: Activation,
}

/// What is applied to the wide layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    Gelu,
    GeluTanh,
    Relu,
}

#[derive(Deserialize)]
struct Raw {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    type_vocab_size: Option<usize>,
    layer_norm_eps: Option<f32>,
    hidden_act: Option<String>,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

impl Config {
    /// Reads and checks `config.json`.
    pub(crate) fn load(files: &mut ModelFiles) -> Result<Self, LoadError> {
        let raw: Raw = files.json(FILE)?;
        let unsupported = |what: String| Err(LoadError::Unsupported(what));
        if raw.model_type != "bert" || raw.is_decoder {
            return unsupported(format!("embeddings by `{}`; `bert` is served", raw.model_type));
        }
        if raw.position_embedding_type.as_deref().is_some_and(|kind| kind != "absolute") {
            return unsupported("positions that are not absolute".to_owned());
        }
        let activation = match raw.hidden_act.as_deref() {
            None | Some("gelu") => Activation::Gelu,
            Some("gelu_new" | "gelu_pytorch_tanh") => Activation::GeluTanh,
            Some("relu") => Activation::Relu,
            Some(other) => return unsupported(format!("activation `{other}`")),
        };
        raw.resolve(activation).map_err(|reason| files.malformed(FILE, &reason))
    }
}

impl Raw {
    fn resolve(&self, activation: Activation) -> Result<Config, String> {
        let hidden = within("hidden_size", self.hidden_size, WIDTH_LIMIT)?;
        let heads = within("num_attention_heads", self.num_attention_heads, WIDTH_LIMIT)?;
        if !hidden.is_multiple_of(heads) {
            return Err("hidden_size is not a multiple of num_attention_heads".to_owned());
        }
        let norm_epsilon = self.layer_norm_eps.unwrap_or(1e-12);
        if !(norm_epsilon > 0.0 && norm_epsilon < 1.0) {
            return Err(format!("layer_norm_eps is {norm_epsilon}"));
        }
        let types = self.type_vocab_size.unwrap_or(2);
        Ok(Config {
            vocabulary: within("vocab_size", self.vocab_size, WIDTH_LIMIT)?,
            hidden,
            intermediate: within("intermediate_size", self.intermediate_size, WIDTH_LIMIT)?,
            layers: within("num_hidden_layers", self.num_hidden_layers, LAYER_LIMIT)?,
            heads,
            positions: within(
                "max_position_embeddings",
                self.max_position_embeddings,
                WIDTH_LIMIT,
            )?,
            token_types: within("type_vocab_size", types, WIDTH_LIMIT)?,
            norm_epsilon,
            activation,
        })
    }
}

fn within(name: &str, value: usize, limit: usize) -> Result<usize, String> {
    match value > 0 && value <= limit {
        true => Ok(value),
        false => Err(format!("{name} must be 1 to {limit}, not {value}")),
    }
}
