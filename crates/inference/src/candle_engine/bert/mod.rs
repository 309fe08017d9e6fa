//! The forward pass of BERT over several texts at once, one after the other in one matrix, so that
//! no padding is computed. It never pools and never sees text.

mod attention;
mod config;

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

use self::attention::{Attention, LayerNorm};
use self::config::Activation;
pub(crate) use self::config::Config;
use super::linear::Linear;
use super::weights::{Expected, Weights};
use crate::card::{MemoryEstimate, WeightType};
use crate::load::error::LoadError;
use crate::load::files::ModelFiles;
use crate::memory::{Needs, available};

/// The weights of a linear map or of a norm.
const BOTH: [&str; 2] = ["weight", "bias"];

/// A BERT encoder without its pooler.
pub(crate) struct Bert {
    config: Config,
    words: Tensor,
    positions: Tensor,
    /// Every token is of the first type: the texts are single.
    token_type: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    /// The format of the weights on disk.
    pub(crate) stored: WeightType,
    /// Number of weights.
    pub(crate) parameters: u64,
    pub(crate) memory: MemoryEstimate,
}

/// Tokens of one pass that estimates assume.
const PASS_TOKENS: usize = 2048;

struct Layer {
    /// Queries, keys and values in one matrix.
    project: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    mlp_norm: LayerNorm,
}

impl Bert {
    /// Reads configuration and weights.
    pub(crate) fn load(files: &mut ModelFiles) -> std::result::Result<Self, LoadError> {
        let config = Config::load(files)?;
        let expected = expected(&config);
        let memory = needs(&config, &expected, files).plan(Some(0), available())?;
        let mut weights = Weights::load(files, &expected)?;
        let (stored, parameters) = (weights.stored(), weights.parameters());
        let layers = (0..config.layers).map(|layer| Layer::new(&config, &mut weights, layer));
        let layers = layers.collect::<std::result::Result<Vec<_>, _>>()?;
        let norm = layer_norm(&config, &mut weights, "embeddings.LayerNorm")?;
        let mut table =
            |name: &str| weights.take_dense(&format!("embeddings.{name}_embeddings.weight"));
        let (words, positions, types) = (table("word")?, table("position")?, table("token_type")?);
        let token_type = types.narrow(0, 0, 1).map_err(too_large)?;
        Ok(Self { config, words, positions, token_type, norm, layers, stored, parameters, memory })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The last layer's states, `hidden` values per token, of texts of at least one token and at
    /// most as many as there are positions, every token within the vocabulary.
    pub(crate) fn forward(&self, texts: &[Vec<u32>]) -> Result<Vec<f32>> {
        let tokens: Vec<u32> = texts.concat();
        let positions: Vec<u32> =
            texts.iter().flat_map(|text| (0..).zip(text).map(|(position, _)| position)).collect();
        let spans = Arc::new(spans(texts));
        let select = |table: &Tensor, rows: Vec<u32>| {
            table.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)
        };
        let mut states = select(&self.words, tokens)?.broadcast_add(&self.token_type)?;
        states = (states + select(&self.positions, positions)?)?;
        states = states.apply_op1_no_bwd(&self.norm)?;
        for layer in &self.layers {
            states = layer.forward(&states, &self.config, &spans)?;
        }
        states.flatten_all()?.to_vec1()
    }
}

/// The rows of each text.
pub(crate) fn spans(texts: &[Vec<u32>]) -> Vec<Range<usize>> {
    let ends = texts.iter().scan(0, |end, text| {
        let start = *end;
        *end += text.len();
        Some(start..*end)
    });
    ends.collect()
}

impl Layer {
    fn new(
        config: &Config,
        weights: &mut Weights,
        layer: usize,
    ) -> std::result::Result<Self, LoadError> {
        let prefix = format!("encoder.layer.{layer}");
        let mut linear = |names: &[&str]| {
            let (mut matrices, mut biases) = (Vec::new(), Vec::new());
            for name in names {
                matrices.push(weights.take_matrix(&format!("{prefix}.{name}.weight"))?);
                let bias = numbers(&weights.take_dense(&format!("{prefix}.{name}.bias"))?)?;
                biases.extend_from_slice(&bias);
            }
            Linear::new(matrices, Some(Arc::from(biases)))
        };
        let project =
            linear(&["attention.self.query", "attention.self.key", "attention.self.value"])?;
        let (output, up, down) = (
            linear(&["attention.output.dense"])?,
            linear(&["intermediate.dense"])?,
            linear(&["output.dense"])?,
        );
        let mut norm = |name: &str| layer_norm(config, weights, &format!("{prefix}.{name}"));
        let (attention_norm, mlp_norm) =
            (norm("attention.output.LayerNorm")?, norm("output.LayerNorm")?);
        Ok(Self { project, output, attention_norm, up, down, mlp_norm })
    }

    fn forward(
        &self,
        states: &Tensor,
        config: &Config,
        spans: &Arc<Vec<Range<usize>>>,
    ) -> Result<Tensor> {
        let attention = Attention::new(config.heads, spans.clone());
        let attended = self.project.forward(states)?.apply_op1_no_bwd(&attention)?;
        let states =
            (self.output.forward(&attended)? + states)?.apply_op1_no_bwd(&self.attention_norm)?;
        let up = self.up.forward(&states)?;
        let up = match config.activation {
            Activation::Gelu => up.gelu_erf()?,
            Activation::GeluTanh => up.gelu()?,
            Activation::Relu => up.relu()?,
        };
        (self.down.forward(&up)? + states)?.apply_op1_no_bwd(&self.mlp_norm)
    }
}

/// What an encoder needs of the machine.
fn needs(config: &Config, expected: &Expected, files: &ModelFiles) -> Needs {
    let bytes = |values: usize| u64::try_from(values.saturating_mul(4)).unwrap_or(u64::MAX);
    let product = |shape: &Vec<usize>| shape.iter().copied().fold(1, usize::saturating_mul);
    let weights = expected.values().map(product).fold(0, usize::saturating_add);
    let row = 8 * config.hidden + 2 * config.intermediate;
    Needs {
        weights: bytes(weights),
        loading: files.largest_weights(),
        activations: bytes(PASS_TOKENS.saturating_mul(row)),
        full_cache: 0,
        usual_cache: 0,
        least_cache: 0,
    }
}

/// The tensors that `config` promises.
fn expected(config: &Config) -> Expected {
    let (hidden, wide) = (config.hidden, config.intermediate);
    let mut expected = Expected::new();
    for (table, rows) in [
        ("word", config.vocabulary),
        ("position", config.positions),
        ("token_type", config.token_types),
    ] {
        expected.insert(format!("embeddings.{table}_embeddings.weight"), vec![rows, hidden]);
    }
    let mut insert = |name: &str, shape: &[usize]| {
        for (end, shape) in BOTH.iter().zip([shape, &shape[..1]]) {
            expected.insert(format!("{name}.{end}"), shape.to_vec());
        }
    };
    insert("embeddings.LayerNorm", &[hidden]);
    for layer in 0..config.layers {
        for (name, shape) in [
            ("attention.self.query", [hidden, hidden].as_slice()),
            ("attention.self.key", &[hidden, hidden]),
            ("attention.self.value", &[hidden, hidden]),
            ("attention.output.dense", &[hidden, hidden]),
            ("attention.output.LayerNorm", &[hidden]),
            ("intermediate.dense", &[wide, hidden]),
            ("output.dense", &[hidden, wide]),
            ("output.LayerNorm", &[hidden]),
        ] {
            insert(&format!("encoder.layer.{layer}.{name}"), shape);
        }
    }
    expected
}

fn layer_norm(
    config: &Config,
    weights: &mut Weights,
    name: &str,
) -> std::result::Result<LayerNorm, LoadError> {
    let mut take = |end: &str| numbers(&weights.take_dense(&format!("{name}.{end}"))?);
    Ok(LayerNorm { weights: take("weight")?, bias: take("bias")?, epsilon: config.norm_epsilon })
}

fn numbers(tensor: &Tensor) -> std::result::Result<Arc<[f32]>, LoadError> {
    tensor.to_vec1::<f32>().map(Arc::from).map_err(too_large)
}

fn too_large(error: candle_core::Error) -> LoadError {
    LoadError::OutOfMemory(error.to_string())
}
