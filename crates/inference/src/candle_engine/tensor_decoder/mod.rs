//! The forward pass of every family in candle's own tensor operations, for devices on which the
//! kernels of this crate do not run. It never computes on a CPU what a device can, and has the same
//! paged cache as [`Decoder`], laid out alike.

mod attention;
mod layout;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::{rms_norm, silu};

use self::attention::{Attention, HeadNorms};
use self::layout::{COPIED, Layout, SCORED, Windows};
use super::architecture::{Activation, Architecture};
use super::decoder::{Decoder, Passed};
use super::linear::Weight;
use super::rows::{BLOCK, Rows};
use super::weights::Weights;
use crate::load::error::LoadError;

/// Where tensors live and in what format.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) device: Device,
    pub(crate) dtype: DType,
}

/// A decoder on a device.
pub(crate) struct TensorDecoder {
    architecture: Architecture,
    place: Place,
    windows: Windows,
    embeddings: Tensor,
    layers: Vec<Layer>,
    final_norm: Tensor,
    head: Linear,
}

struct Layer {
    attention: Attention,
    /// Norms around attention, and around the MLP.
    norms: [Norms; 2],
    /// Queries, keys and values in one matrix.
    project: Linear,
    output: Linear,
    /// Gates and ups in one matrix.
    gate_up: Linear,
    down: Linear,
    /// `slots × 2 × key_heads × head_dimension`: the keys and then the values of a position.
    cache: Tensor,
}

struct Norms {
    before: Tensor,
    after: Option<Tensor>,
}

/// `x · Wᵀ + b`.
struct Linear {
    weights: Tensor,
    bias: Option<Tensor>,
}

impl TensorDecoder {
    /// Moves the weights to their place, one after another, and makes room for `blocks` blocks.
    pub(crate) fn new(
        architecture: Architecture,
        mut weights: Weights,
        blocks: usize,
        place: Place,
    ) -> std::result::Result<Self, LoadError> {
        let windows = Windows::new(&architecture);
        let mut parts = Parts { architecture: &architecture, weights: &mut weights, place: &place };
        let layers = (0..architecture.layers.len())
            .map(|layer| parts.layer(layer, blocks, &windows))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let embeddings = parts.tensor(Decoder::EMBEDDINGS)?;
        let head = match architecture.tied_embeddings {
            true => Linear { weights: embeddings.clone(), bias: None },
            false => Linear { weights: parts.tensor(Decoder::HEAD)?, bias: None },
        };
        let final_norm = parts.norm(Decoder::FINAL_NORM)?;
        Ok(Self { windows, embeddings, layers, final_norm, head, place, architecture })
    }

    pub(crate) fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// As [`Decoder::forward`]; the logits are in the machine's memory afterwards, as F32.
    pub(crate) fn forward(&self, rows: &Rows, chosen: Option<&[u32]>) -> Result<Passed> {
        let architecture = &self.architecture;
        let layout = Layout::new(rows, architecture, &self.windows, &self.place)?;
        let mut states = self.embeddings.index_select(&layout.tokens, 0)?;
        if architecture.embedding_scale != 1.0 {
            states = states.affine(f64::from(architecture.embedding_scale), 0.0)?;
        }
        for layer in &self.layers {
            states = layer.forward(&states, architecture, &layout)?;
        }
        if let Some(chosen) = chosen {
            states = states.index_select(&Tensor::new(chosen, &self.place.device)?, 0)?;
        }
        let hidden = rms_norm(&states, &self.final_norm, architecture.norms.epsilon)?;
        let mut logits = self.head.forward(&hidden)?.to_dtype(DType::F32)?;
        if let Some(cap) = architecture.logit_softcap {
            logits = soft_cap(&logits, cap)?;
        }
        Ok(Passed { hidden, logits: logits.to_device(&Device::Cpu)? })
    }
}

impl Layer {
    fn forward(
        &self,
        states: &Tensor,
        architecture: &Architecture,
        layout: &Layout,
    ) -> Result<Tensor> {
        let epsilon = architecture.norms.epsilon;
        let [attention, mlp] = &self.norms;
        let projected = self.project.forward(&rms_norm(states, &attention.before, epsilon)?)?;
        let attended = self.attention.forward(&self.cache, &projected, layout)?;
        let states = attention.add(states, self.output.forward(&attended)?, epsilon)?;
        let gate_up = self.gate_up.forward(&rms_norm(&states, &mlp.before, epsilon)?)?;
        let width = architecture.intermediate;
        let gate = gate_up.narrow(1, 0, width)?.contiguous()?;
        let gate = match architecture.activation {
            Activation::Silu => silu(&gate)?,
            Activation::GeluTanh => gate.gelu()?,
        };
        let gated = (gate * gate_up.narrow(1, width, width)?)?;
        mlp.add(&states, self.down.forward(&gated)?, epsilon)
    }
}

impl Norms {
    /// Adds what attention or MLP made, normed if there is such a norm.
    fn add(&self, states: &Tensor, made: Tensor, epsilon: f32) -> Result<Tensor> {
        match &self.after {
            None => states + made,
            Some(norm) => states + rms_norm(&made, norm, epsilon)?,
        }
    }
}

impl Linear {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let product = input.matmul(&self.weights.t()?)?;
        match &self.bias {
            None => Ok(product),
            Some(bias) => product.broadcast_add(bias),
        }
    }
}

/// Bytes that attention takes beside states and projections: the keys and values copied out of the
/// cache and turned, with `width` bytes each, and scores, shares and their sum with the mask in F32.
pub(crate) fn copied(architecture: &Architecture, width: u64) -> u64 {
    let wide = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    let context = wide(usize::try_from(architecture.context_length).unwrap_or(usize::MAX));
    let kept = wide(COPIED).max(context).saturating_mul(wide(architecture.slot_width()));
    let scores = wide(SCORED).max(context).saturating_mul(wide(architecture.heads));
    kept.saturating_mul(3 * width).saturating_add(scores.saturating_mul(12))
}

/// Bends values smoothly so that they stay within ± `cap`.
fn soft_cap(values: &Tensor, cap: f32) -> Result<Tensor> {
    let cap = f64::from(cap);
    values.affine(cap.recip(), 0.0)?.tanh()?.affine(cap, 0.0)
}

/// Takes weights to their place.
struct Parts<'a> {
    architecture: &'a Architecture,
    weights: &'a mut Weights,
    place: &'a Place,
}

impl Parts<'_> {
    fn layer(
        &mut self,
        index: usize,
        blocks: usize,
        windows: &Windows,
    ) -> std::result::Result<Layer, LoadError> {
        let architecture = self.architecture;
        let prefix = format!("model.layers.{index}.");
        let names = architecture.layer_norms();
        let mut norms = |before: usize| {
            let after = names.get(before + 2);
            let after = after.map(|name| self.norm(&format!("{prefix}{name}.weight")));
            let before = self.norm(&format!("{prefix}{}.weight", names[before]))?;
            Ok::<_, LoadError>(Norms { before, after: after.transpose()? })
        };
        let norms = [norms(0)?, norms(1)?];
        let head_norms = match architecture.norms.heads {
            false => None,
            true => Some(HeadNorms {
                query: self.norm(&format!("{prefix}self_attn.q_norm.weight"))?,
                key: self.norm(&format!("{prefix}self_attn.k_norm.weight"))?,
            }),
        };
        let biases = architecture.biases;
        let slots = (blocks * BLOCK, architecture.slot_width());
        let Place { device, dtype } = self.place;
        let attention = architecture.attention_parts();
        Ok(Layer {
            attention: Attention::new(architecture, index, head_norms, windows),
            norms,
            project: self.linear(&prefix, attention, biases.query_key_value)?,
            output: self.linear(&prefix, &["self_attn.o_proj"], biases.output)?,
            gate_up: self.linear(&prefix, architecture.gate_parts(), biases.mlp)?,
            down: self.linear(&prefix, &["mlp.down_proj"], biases.mlp)?,
            cache: Tensor::zeros(slots, *dtype, device).map_err(memory)?,
        })
    }

    fn tensor(&mut self, name: &str) -> std::result::Result<Tensor, LoadError> {
        let Place { device, dtype } = self.place;
        let moved = match self.weights.take(name)? {
            Weight::Vector(tensor) => tensor.to_dtype(*dtype).and_then(|t| t.to_device(device)),
            Weight::Matrix(matrix) => matrix.tensor(*dtype, device),
        };
        moved.map_err(memory)
    }

    /// The weights of a norm, with the offset of the family added before they are narrowed.
    fn norm(&mut self, name: &str) -> std::result::Result<Tensor, LoadError> {
        let offset = f64::from(self.architecture.norms.offset);
        let weights = self.weights.take_dense(name)?.affine(1.0, offset).map_err(memory)?;
        let Place { device, dtype } = self.place;
        weights.to_dtype(*dtype).and_then(|weights| weights.to_device(device)).map_err(memory)
    }

    /// One matrix of the rows of all `names`.
    fn linear(
        &mut self,
        prefix: &str,
        names: &[&str],
        bias: bool,
    ) -> std::result::Result<Linear, LoadError> {
        let mut joined = |kind: &str| {
            let parts = names.iter().map(|name| self.tensor(&format!("{prefix}{name}.{kind}")));
            let parts = parts.collect::<std::result::Result<Vec<_>, _>>()?;
            match parts.as_slice() {
                [only] => Ok(only.clone()),
                parts => Tensor::cat(parts, 0).map_err(memory),
            }
        };
        let weights = joined("weight")?;
        Ok(Linear { weights, bias: bias.then(|| joined("bias")).transpose()? })
    }
}

fn memory(error: candle_core::Error) -> LoadError {
    LoadError::OutOfMemory(error.to_string())
}

#[cfg(test)]
mod tests;
