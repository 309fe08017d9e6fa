//! A matrix times rows, with the weights as Hugging Face stores them: one row per output.
//! It never transposes or copies the weights.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::kernel;

/// `x · Wᵀ + b`.
pub(crate) struct Linear {
    weights: Tensor,
    bias: Option<Arc<[f32]>>,
}

impl Linear {
    /// `weights` is `outputs × inputs`; the bias has one value per output.
    pub(crate) fn new(weights: Tensor, bias: Option<Arc<[f32]>>) -> Self {
        Self { weights, bias }
    }

    /// `rows × inputs` to `rows × outputs`.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.apply_op2_no_bwd(&self.weights, &MultiplyTransposed { bias: self.bias.clone() })
    }
}

/// The values of a contiguous F32 tensor.
pub(crate) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("the tensor should be contiguous"),
    }
}

struct MultiplyTransposed {
    bias: Option<Arc<[f32]>>,
}

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
        let mut product = kernel::multiply_transposed(values(s1, l1)?, values(s2, l2)?, width);
        if let Some(bias) = &self.bias {
            for row in product.chunks_exact_mut(outputs) {
                row.iter_mut().zip(bias.iter()).for_each(|(value, bias)| *value += bias);
            }
        }
        Ok((CpuStorage::F32(product), (rows, outputs).into()))
    }
}
