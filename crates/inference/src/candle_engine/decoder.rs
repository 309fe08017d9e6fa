//! The forward pass of every decoder over a ragged batch and a paged KV cache.
//! It holds weights and cache tensors and knows nothing of sequences beyond a batch's rows.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::rms_norm;

use super::activation::{Gated, soft_cap};
use super::architecture::{Architecture, LayerKind};
use super::attention::{Attention, HeadNorms};
use super::linear::Linear;
use super::panels::Matrix;
use super::rows::{BLOCK, Rows};
use super::weights::{Expected, Weights};
use crate::load::error::LoadError;

/// A decoder on one device.
pub(crate) struct Decoder {
    architecture: Architecture,
    embeddings: Matrix,
    layers: Vec<Layer>,
    final_norm: Tensor,
    head: Linear,
}

struct Layer {
    kind: LayerKind,
    attention: Sublayer,
    head_norms: Option<HeadNorms>,
    /// Queries, keys and values in one matrix.
    project: Linear,
    output: Linear,
    mlp: Sublayer,
    /// Gates and ups in one matrix.
    gate_up: Linear,
    down: Linear,
    /// `slots × 2 × key_heads × head_dimension`; see [`Attention`].
    cache: Tensor,
}

/// The norms around attention or MLP.
struct Sublayer {
    before: Tensor,
    after: Option<Tensor>,
}

/// What a pass computed.
pub(crate) struct Passed {
    /// Final-norm hidden states, `chosen rows × hidden`.
    pub(crate) hidden: Tensor,
    /// `chosen rows × vocabulary`.
    pub(crate) logits: Tensor,
}

impl Decoder {
    pub(crate) const EMBEDDINGS: &str = "model.embed_tokens.weight";
    pub(crate) const FINAL_NORM: &str = "model.norm.weight";
    pub(crate) const HEAD: &str = "lm_head.weight";

    /// The tensors that `architecture` promises.
    pub(crate) fn expected(architecture: &Architecture) -> Expected {
        let (vocabulary, hidden) = (architecture.vocabulary, architecture.hidden);
        let mut expected = Expected::new();
        expected.insert(Self::EMBEDDINGS.to_owned(), vec![vocabulary, hidden]);
        expected.insert(Self::FINAL_NORM.to_owned(), vec![hidden]);
        if !architecture.tied_embeddings {
            expected.insert(Self::HEAD.to_owned(), vec![vocabulary, hidden]);
        }
        for layer in 0..architecture.layers.len() {
            for (name, shape) in architecture.layer_tensors() {
                expected.insert(format!("model.layers.{layer}.{name}"), shape);
            }
        }
        expected
    }

    /// Assembles the model and a cache of `blocks` blocks per layer.
    pub(crate) fn new(
        architecture: Architecture,
        mut weights: Weights,
        blocks: usize,
    ) -> std::result::Result<Self, LoadError> {
        let kinds = architecture.layers.iter().enumerate();
        let layers = kinds.map(|(index, kind)| {
            let prefix = format!("model.layers.{index}.");
            let mut parts = Parts { architecture: &architecture, weights: &mut weights, prefix };
            Layer::new(*kind, &mut parts, blocks)
        });
        let layers = layers.collect::<std::result::Result<Vec<_>, _>>()?;
        let embeddings = weights.take_matrix(Self::EMBEDDINGS)?;
        let head = match architecture.tied_embeddings {
            true => embeddings.clone(),
            false => weights.take_matrix(Self::HEAD)?,
        };
        let head = Linear::new(vec![head], None)?;
        let prefix = String::new();
        let mut parts = Parts { architecture: &architecture, weights: &mut weights, prefix };
        let final_norm = parts.norm(Self::FINAL_NORM)?;
        Ok(Self { embeddings, layers, final_norm, head, architecture })
    }

    pub(crate) fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Runs all rows through the layers, extends the cache, and returns the logits of `chosen`
    /// rows, or of every row.
    pub(crate) fn forward(&self, rows: Arc<Rows>, chosen: Option<&[u32]>) -> Result<Passed> {
        let architecture = &self.architecture;
        let mut states = self.embeddings.select(&rows.tokens)?;
        if architecture.embedding_scale != 1.0 {
            states = states.affine(f64::from(architecture.embedding_scale), 0.0)?;
        }
        for layer in &self.layers {
            states = layer.forward(&states, architecture, &rows)?;
        }
        if let Some(chosen) = chosen {
            states = states.index_select(&Tensor::new(chosen, &Device::Cpu)?, 0)?;
        }
        let hidden = rms_norm(&states, &self.final_norm, architecture.norms.epsilon)?;
        let mut logits = self.head.forward(&hidden)?;
        if let Some(cap) = architecture.logit_softcap {
            let shape = logits.shape().clone();
            let mut values: Vec<f32> = logits.flatten_all()?.to_vec1()?;
            soft_cap(&mut values, cap);
            logits = Tensor::from_vec(values, shape, &Device::Cpu)?;
        }
        Ok(Passed { hidden, logits })
    }
}

impl Layer {
    fn new(
        kind: LayerKind,
        parts: &mut Parts<'_>,
        blocks: usize,
    ) -> std::result::Result<Self, LoadError> {
        let architecture = parts.architecture;
        let (norms, names) = (architecture.norms, architecture.layer_norms());
        let mut sublayer = |before: usize| {
            let after = names.get(before + 2).map(|name| parts.norm(&format!("{name}.weight")));
            let before = parts.norm(&format!("{}.weight", names[before]))?;
            Ok::<_, LoadError>(Sublayer { before, after: after.transpose()? })
        };
        let (attention, mlp) = (sublayer(0)?, sublayer(1)?);
        let head_norms = match norms.heads {
            false => None,
            true => Some(HeadNorms {
                query: values(&parts.norm("self_attn.q_norm.weight")?)?,
                key: values(&parts.norm("self_attn.k_norm.weight")?)?,
                epsilon: norms.epsilon,
            }),
        };
        let biases = architecture.biases;
        let slots = (blocks * BLOCK, architecture.slot_width());
        Ok(Self {
            kind,
            attention,
            head_norms,
            project: parts.linear(architecture.attention_parts(), biases.query_key_value)?,
            output: parts.linear(&["self_attn.o_proj"], biases.output)?,
            mlp,
            gate_up: parts.linear(architecture.gate_parts(), biases.mlp)?,
            down: parts.linear(&["mlp.down_proj"], biases.mlp)?,
            cache: Tensor::zeros(slots, DType::F32, &Device::Cpu).map_err(memory)?,
        })
    }

    fn forward(
        &self,
        states: &Tensor,
        architecture: &Architecture,
        rows: &Arc<Rows>,
    ) -> Result<Tensor> {
        let epsilon = architecture.norms.epsilon;
        let norms = self.head_norms.clone();
        let attention = Attention::new(architecture, self.kind, norms, rows.clone());
        let projected =
            self.project.forward(&rms_norm(states, &self.attention.before, epsilon)?)?;
        let attended = attention.forward(&self.cache, &projected)?;
        let states = self.attention.add(states, self.output.forward(&attended)?, epsilon)?;
        let gate_up = self.gate_up.forward(&rms_norm(&states, &self.mlp.before, epsilon)?)?;
        let gated = gate_up.apply_op1_no_bwd(&Gated(architecture.activation))?;
        self.mlp.add(&states, self.down.forward(&gated)?, epsilon)
    }
}

impl Sublayer {
    /// Adds what the sublayer made, normed if it has such a norm.
    fn add(&self, states: &Tensor, made: Tensor, epsilon: f32) -> Result<Tensor> {
        match &self.after {
            None => states + made,
            Some(norm) => states + rms_norm(&made, norm, epsilon)?,
        }
    }
}

/// The weights below one prefix.
struct Parts<'a> {
    architecture: &'a Architecture,
    weights: &'a mut Weights,
    prefix: String,
}

impl Parts<'_> {
    fn dense(&mut self, name: &str) -> std::result::Result<Tensor, LoadError> {
        self.weights.take_dense(&format!("{}{name}", self.prefix))
    }

    /// The weights of a norm, with the offset of the family added.
    fn norm(&mut self, name: &str) -> std::result::Result<Tensor, LoadError> {
        let offset = f64::from(self.architecture.norms.offset);
        self.dense(name)?.affine(1.0, offset).map_err(memory)
    }

    /// One matrix of the rows of all `names`.
    fn linear(&mut self, names: &[&str], bias: bool) -> std::result::Result<Linear, LoadError> {
        let prefix = &self.prefix;
        let weights = names.iter();
        let weights =
            weights.map(|name| self.weights.take_matrix(&format!("{prefix}{name}.weight")));
        let weights = weights.collect::<std::result::Result<Vec<_>, _>>()?;
        let mut biases = Vec::new();
        for name in names.iter().filter(|_| bias) {
            biases.extend_from_slice(&values(&self.dense(&format!("{name}.bias"))?)?);
        }
        let bias = if bias { Some(Arc::from(biases)) } else { None };
        Linear::new(weights, bias)
    }
}

fn values(tensor: &Tensor) -> std::result::Result<Arc<[f32]>, LoadError> {
    tensor.to_vec1::<f32>().map(Arc::from).map_err(memory)
}

fn memory(error: candle_core::Error) -> LoadError {
    LoadError::OutOfMemory(error.to_string())
}
