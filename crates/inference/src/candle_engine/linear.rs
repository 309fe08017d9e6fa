//! A matrix times rows, with the weights as files store them: one row per output.
//! It never transposes or copies the weights.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, InplaceOp1, Layout, Result, Shape, Tensor, bail};

use super::kernel;
use super::packed::Packed;

/// A matrix of weights, `outputs × inputs`.
#[derive(Clone)]
pub(crate) enum Weight {
    /// Widened to F32.
    Dense(Tensor),
    /// As stored.
    Packed(Packed),
}

/// `x · Wᵀ + b`.
pub(crate) struct Linear {
    /// Matrices whose rows together are all outputs; dense ones have been made one.
    weights: Vec<Weight>,
    bias: Option<Arc<[f32]>>,
}

impl Weight {
    /// The given rows, as F32.
    pub(crate) fn select(&self, rows: &[u32]) -> Result<Tensor> {
        match self {
            Self::Dense(table) => table.index_select(&Tensor::new(rows, table.device())?, 0),
            Self::Packed(table) => table.select(rows),
        }
    }

    fn multiply(&self, input: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(weights) => input.apply_op2_no_bwd(weights, &MultiplyTransposed),
            Self::Packed(weights) => weights.multiply(input),
        }
    }
}

impl Linear {
    /// The rows of all `weights`, in order; the bias has one value per output.
    pub(crate) fn new(weights: Vec<Weight>, bias: Option<Arc<[f32]>>) -> Result<Self> {
        let dense = weights.iter().map(|weight| match weight {
            Weight::Dense(tensor) => Some(tensor),
            Weight::Packed(_) => None,
        });
        let weights = match dense.collect::<Option<Vec<_>>>() {
            Some(dense) if dense.len() > 1 => vec![Weight::Dense(Tensor::cat(&dense, 0)?)],
            _ => weights,
        };
        Ok(Self { weights, bias })
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

struct MultiplyTransposed;

impl CustomOp2 for MultiplyTransposed {
    fn name(&self) -> &'static str {
        "multiply-transposed"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((rows, width), (outputs, inner)) = (l1.shape().dims2()?, l2.shape().dims2()?);
        if width != inner {
            bail!("{rows}×{width} does not multiply {outputs}×{inner}");
        }
        let (input, weights) = (values(s1, l1)?, values(s2, l2)?);
        let product = kernel::multiply_transposed(input, weights, outputs, width);
        Ok((CpuStorage::F32(product), (rows, outputs).into()))
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
