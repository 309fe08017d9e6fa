//! A TorchScript module of version 1, as `scripts/export-torchscript` writes it: `forward` and
//! `last` compute, `describe` says for what shapes. It never holds state between calls.

use serde::Deserialize;
use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

use super::store::{KvShape, Past};
use crate::card::WeightType;

const FORMAT: u32 = 1;
/// The limits of what a module may say about itself; products of three stay within 64 bits.
const WIDTH_LIMIT: u32 = 1 << 20;
const LAYER_LIMIT: u32 = 1024;
const CONTEXT_LIMIT: u32 = 1 << 24;

/// What a module says about itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    dtype: Dtype,
    vocabulary: u32,
    hidden: u32,
    layers: u32,
    key_heads: u32,
    head_dimension: u32,
    context_length: u32,
    parameters: u64,
}

/// The numbers that a module computes with.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Dtype {
    Float32,
    Bfloat16,
}

/// A module and what it said.
pub(super) struct Module {
    module: CModule,
    description: Description,
}

/// What a pass over one sequence computed.
pub(super) struct Output {
    /// `1 × rows × vocabulary`.
    pub(super) logits: Tensor,
    /// `1 × rows × hidden`.
    pub(super) hidden: Tensor,
    /// The keys of the new positions; see [`KvShape`].
    pub(super) keys: Tensor,
    /// The values of the new positions.
    pub(super) values: Tensor,
}

impl Module {
    /// Asks the module what it is.
    pub(super) fn new(module: CModule) -> Result<Self, String> {
        let described = module.method_is::<IValue>("describe", &[]);
        let text = match described.map_err(|error| super::first_line(&error))? {
            IValue::String(text) => text,
            _ => return Err("its `describe` gives no text".to_owned()),
        };
        let description: Description = serde_json::from_str(&text)
            .map_err(|error| format!("its description cannot be read: {error}"))?;
        description.check()?;
        Ok(Self { module, description })
    }

    pub(super) fn vocabulary(&self) -> usize {
        size(self.description.vocabulary)
    }

    pub(super) fn hidden(&self) -> usize {
        size(self.description.hidden)
    }

    pub(super) fn context_length(&self) -> u32 {
        self.description.context_length
    }

    pub(super) fn parameters(&self) -> u64 {
        self.description.parameters
    }

    pub(super) fn dtype(&self) -> WeightType {
        match self.description.dtype {
            Dtype::Float32 => WeightType::F32,
            Dtype::Bfloat16 => WeightType::Bf16,
        }
    }

    /// What a position of a sequence keeps.
    pub(super) fn shape(&self) -> KvShape {
        KvShape {
            layers: self.description.layers,
            key_heads: self.description.key_heads,
            head_dimension: self.description.head_dimension,
            kind: match self.description.dtype {
                Dtype::Float32 => Kind::Float,
                Dtype::Bfloat16 => Kind::BFloat16,
            },
        }
    }

    /// Computes `tokens` from position `start` on. Logits and hidden states come for all of them,
    /// or for the last.
    pub(super) fn run(
        &self,
        tokens: &[u32],
        start: usize,
        past: Past,
        all: bool,
    ) -> Result<Output, TchError> {
        let ids: Vec<i64> = tokens.iter().map(|token| i64::from(*token)).collect();
        let (start, rows) = (long(start), long(ids.len()));
        let positions = Tensor::f_arange_start(start, start + rows, (Kind::Int64, Device::Cpu))?;
        let inputs = [Tensor::f_from_slice(&ids)?.f_unsqueeze(0)?, positions.f_unsqueeze(0)?];
        let inputs = inputs.into_iter().chain([past.keys, past.values]).map(IValue::Tensor);
        let method = if all { "forward" } else { "last" };
        let computed = self.module.method_is(method, &inputs.collect::<Vec<_>>())?;
        let (logits, hidden, keys, values) =
            <(Tensor, Tensor, Tensor, Tensor)>::try_from(computed)?;
        let given = if all { rows } else { 1 };
        let description = &self.description;
        let new = self.shape().of(rows);
        for (what, tensor, expected) in [
            ("logits", &logits, vec![1, given, i64::from(description.vocabulary)]),
            ("hidden states", &hidden, vec![1, given, i64::from(description.hidden)]),
            ("keys", &keys, new.to_vec()),
            ("values", &values, new.to_vec()),
        ] {
            if tensor.size() != expected {
                let found = tensor.size();
                let reason = format!("the module's {what} are {found:?} and not {expected:?}");
                return Err(TchError::Shape(reason));
            }
        }
        Ok(Output { logits, hidden, keys, values })
    }
}

impl Description {
    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("its format is {}, and {FORMAT} is served", self.format));
        }
        for (name, value, limit) in [
            ("vocabulary", self.vocabulary, WIDTH_LIMIT),
            ("hidden", self.hidden, WIDTH_LIMIT),
            ("layers", self.layers, LAYER_LIMIT),
            ("key_heads", self.key_heads, LAYER_LIMIT),
            ("head_dimension", self.head_dimension, WIDTH_LIMIT),
            ("context_length", self.context_length, CONTEXT_LIMIT),
        ] {
            if !(1..=limit).contains(&value) {
                return Err(format!("its `{name}` is {value} and should be 1 to {limit}"));
            }
        }
        Ok(())
    }
}

/// Checked limits fit every platform's sizes.
fn size(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Sizes in memory fit libtorch's.
pub(super) fn long(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
