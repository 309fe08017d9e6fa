//! The forward pass of the Llama family over a ragged batch and a paged KV cache.
//! It holds weights and cache tensors and knows nothing of sequences beyond a batch's rows.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::rms_norm;

use super::config::Config;
use super::operations::{Attention, GatedSilu, Linear};
use super::rows::{BLOCK, Rows};
use super::weights::{Expected, Weights};
use crate::load::error::LoadError;

/// A Llama model on one device.
pub(crate) struct Llama {
    config: Config,
    embeddings: Tensor,
    layers: Vec<Layer>,
    final_norm: Tensor,
    head: Linear,
}

struct Layer {
    input_norm: Tensor,
    /// Queries, keys and values in one matrix.
    project: Linear,
    output: Linear,
    mlp_norm: Tensor,
    /// Gates and ups in one matrix.
    gate_up: Linear,
    down: Linear,
    /// `slots × 2 × key_heads × head_dimension`; see [`Attention`].
    cache: Tensor,
}

/// What a pass computed.
pub(crate) struct Passed {
    /// Final-norm hidden states, `chosen rows × hidden`.
    pub(crate) hidden: Tensor,
    /// `chosen rows × vocabulary`.
    pub(crate) logits: Tensor,
}

impl Llama {
    /// The tensors that `config` promises.
    pub(crate) fn expected(config: &Config) -> Expected {
        let (hidden, heads) = (config.hidden, config.heads * config.head_dimension);
        let keys = config.key_heads * config.head_dimension;
        let mut expected = Expected::new();
        expected.insert("model.embed_tokens.weight".to_owned(), vec![config.vocabulary, hidden]);
        expected.insert("model.norm.weight".to_owned(), vec![hidden]);
        if !config.tied_embeddings {
            expected.insert("lm_head.weight".to_owned(), vec![config.vocabulary, hidden]);
        }
        for layer in 0..config.layers {
            for (name, shape) in [
                ("input_layernorm", vec![hidden]),
                ("self_attn.q_proj", vec![heads, hidden]),
                ("self_attn.k_proj", vec![keys, hidden]),
                ("self_attn.v_proj", vec![keys, hidden]),
                ("self_attn.o_proj", vec![hidden, heads]),
                ("post_attention_layernorm", vec![hidden]),
                ("mlp.gate_proj", vec![config.intermediate, hidden]),
                ("mlp.up_proj", vec![config.intermediate, hidden]),
                ("mlp.down_proj", vec![hidden, config.intermediate]),
            ] {
                expected.insert(format!("model.layers.{layer}.{name}.weight"), shape);
            }
        }
        expected
    }

    /// Assembles the model and a cache of `blocks` blocks per layer.
    pub(crate) fn new(
        config: Config,
        mut weights: Weights,
        blocks: usize,
    ) -> std::result::Result<Self, LoadError> {
        let layers =
            (0..config.layers).map(|layer| Layer::new(&config, &mut weights, layer, blocks));
        let layers = layers.collect::<std::result::Result<Vec<_>, _>>()?;
        let embeddings = weights.take("model.embed_tokens.weight")?;
        let head = if config.tied_embeddings {
            embeddings.clone()
        } else {
            weights.take("lm_head.weight")?
        };
        let final_norm = weights.take("model.norm.weight")?;
        Ok(Self { embeddings, layers, final_norm, head: Linear::new(head), config })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Runs all rows through the layers, extends the cache, and returns the logits of `chosen`
    /// rows, or of every row.
    pub(crate) fn forward(&self, rows: Arc<Rows>, chosen: Option<&[u32]>) -> Result<Passed> {
        let attention = Attention {
            heads: self.config.heads,
            key_heads: self.config.key_heads,
            head_dimension: self.config.head_dimension,
            rows: rows.clone(),
        };
        let tokens = Tensor::new(rows.tokens.as_slice(), &Device::Cpu)?;
        let mut states = self.embeddings.index_select(&tokens, 0)?;
        for layer in &self.layers {
            states = layer.forward(&states, &attention, self.config.norm_epsilon)?;
        }
        if let Some(chosen) = chosen {
            states = states.index_select(&Tensor::new(chosen, &Device::Cpu)?, 0)?;
        }
        let hidden = rms_norm(&states, &self.final_norm, self.config.norm_epsilon)?;
        let logits = self.head.forward(&hidden)?;
        Ok(Passed { hidden, logits })
    }
}

impl Layer {
    fn new(
        config: &Config,
        weights: &mut Weights,
        layer: usize,
        blocks: usize,
    ) -> std::result::Result<Self, LoadError> {
        let mut take = |name: &str| weights.take(&format!("model.layers.{layer}.{name}.weight"));
        let memory = |error: candle_core::Error| LoadError::OutOfMemory(error.to_string());
        let (queries, keys) = (take("self_attn.q_proj")?, take("self_attn.k_proj")?);
        let project =
            Tensor::cat(&[queries, keys, take("self_attn.v_proj")?], 0).map_err(memory)?;
        let gate_up =
            Tensor::cat(&[take("mlp.gate_proj")?, take("mlp.up_proj")?], 0).map_err(memory)?;
        let slot = 2 * config.key_heads * config.head_dimension;
        Ok(Self {
            input_norm: take("input_layernorm")?,
            project: Linear::new(project),
            output: Linear::new(take("self_attn.o_proj")?),
            mlp_norm: take("post_attention_layernorm")?,
            gate_up: Linear::new(gate_up),
            down: Linear::new(take("mlp.down_proj")?),
            cache: Tensor::zeros((blocks * BLOCK, slot), DType::F32, &Device::Cpu)
                .map_err(memory)?,
        })
    }

    fn forward(&self, states: &Tensor, attention: &Attention, epsilon: f32) -> Result<Tensor> {
        let normed = rms_norm(states, &self.input_norm, epsilon)?;
        let projected = self.project.forward(&normed)?;
        attention.write(&self.cache, &projected)?;
        let attended = attention.read(&self.cache, &projected)?;
        let states = (states + self.output.forward(&attended)?)?;
        let normed = rms_norm(&states, &self.mlp_norm, epsilon)?;
        let gated = self.gate_up.forward(&normed)?.apply_op1_no_bwd(&GatedSilu)?;
        states + self.down.forward(&gated)?
    }
}
