//! A matrix times rows, with the weights as files store them: one row per output.
//! It never widens the weights as a whole.

use std::sync::Arc;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, bail};

use super::panels::Matrix;
use crate::load::error::LoadError;

/// What a model learned, as it is stored.
#[derive(Clone)]
pub(crate) enum Weight {
    /// One number per place, widened to F32: norms and biases.
    Vector(Tensor),
    /// Rows of numbers.
    Matrix(Matrix),
}

/// `x · Wᵀ + b`.
pub(crate) struct Linear {
    /// Matrices whose rows together are all outputs; those that can be one are one.
    weights: Vec<Matrix>,
    bias: Option<Arc<[f32]>>,
}

impl Linear {
    /// The rows of all `weights`, in order; the bias has one value per output.
    pub(crate) fn new(
        weights: Vec<Matrix>,
        bias: Option<Arc<[f32]>>,
    ) -> std::result::Result<Self, LoadError> {
        let mut joined: Vec<Matrix> = Vec::new();
        for next in weights {
            match joined.last().map(|last| last.followed_by(&next)).transpose()?.flatten() {
                Some(both) => {
                    joined.pop();
                    joined.push(both);
                }
                None => joined.push(next),
            }
        }
        Ok(Self { weights: joined, bias })
    }

    /// `rows × inputs` to `rows × outputs`.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let product = match self.weights.as_slice() {
            [only] => only.multiply(input)?,
            parts => {
                let parts = parts.iter().map(|part| part.multiply(input));
                Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 1)?
            }
        };
        if let Some(bias) = &self.bias {
            product.inplace_op1(&AddBias(bias.clone()))?;
        }
        Ok(product)
    }
}

/// The values of a contiguous F32 tensor.
pub(crate) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("the tensor should be contiguous"),
    }
}

/// The values of a contiguous F32 tensor, to be changed in place.
pub(crate) fn values_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> Result<&'a mut [f32]> {
    match (layout.contiguous_offsets(), storage) {
        (Some((start, end)), CpuStorage::F32(values)) => Ok(&mut values[start..end]),
        _ => bail!("the tensor should be contiguous F32"),
    }
}

/// Adds one value per column, in place.
struct AddBias(Arc<[f32]>);

impl InplaceOp1 for AddBias {
    fn name(&self) -> &'static str {
        "add-bias"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        for row in values_mut(storage, layout)?.chunks_exact_mut(self.0.len()) {
            row.iter_mut().zip(&*self.0).for_each(|(value, bias)| *value += bias);
        }
        Ok(())
    }
}
