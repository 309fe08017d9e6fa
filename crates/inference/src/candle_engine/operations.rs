//! The operations of a ragged, paged forward pass as candle custom operations with CPU kernels.
//! They hold no state; a CUDA kernel for each belongs beside its `cpu_fwd`.

use std::sync::Arc;

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, InplaceOp2, Layout, Result, Shape, Tensor, bail,
};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::kernel;
use super::rope::rotate;
use super::rows::{Place, Rows};

/// Multiply-adds below which attention stays on one thread.
const PARALLEL_WORK: usize = 1 << 17;

/// `x · Wᵀ` with the weights as Hugging Face stores them, one row per output.
pub(crate) struct Linear {
    weights: Tensor,
}

impl Linear {
    /// `weights` is `outputs × inputs`.
    pub(crate) fn new(weights: Tensor) -> Self {
        Self { weights }
    }

    /// `rows × inputs` to `rows × outputs`.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.apply_op2_no_bwd(&self.weights, &MultiplyTransposed)
    }
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("the tensor should be contiguous"),
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
        let product = kernel::multiply_transposed(values(s1, l1)?, values(s2, l2)?, width);
        Ok((CpuStorage::F32(product), (rows, outputs).into()))
    }
}

/// `silu(gate) · up` of `rows × (gates, ups)`.
pub(crate) struct GatedSilu;

impl CustomOp1 for GatedSilu {
    fn name(&self) -> &'static str {
        "gated-silu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let output = kernel::gated_silu(values(storage, layout)?, width / 2);
        Ok((CpuStorage::F32(output), (rows, width / 2).into()))
    }
}

/// Causal attention of a batch over the paged cache, for one layer.
///
/// Queries, keys and values come as `rows × (heads + 2 × key_heads) × head_dimension`; a cache slot
/// holds the rotated keys and then the values of one position.
#[derive(Clone)]
pub(crate) struct Attention {
    pub(crate) heads: usize,
    pub(crate) key_heads: usize,
    pub(crate) head_dimension: usize,
    pub(crate) rows: Arc<Rows>,
}

impl Attention {
    fn slot_width(&self) -> usize {
        2 * self.key_heads * self.head_dimension
    }

    fn row_width(&self) -> usize {
        (self.heads + 2 * self.key_heads) * self.head_dimension
    }

    fn angles(&self, row: usize) -> (&[f32], &[f32]) {
        let half = self.head_dimension / 2;
        let range = row * half..(row + 1) * half;
        (&self.rows.cos[range.clone()], &self.rows.sin[range])
    }

    /// Writes the keys and values of every row into the cache.
    pub(crate) fn write(&self, cache: &Tensor, projected: &Tensor) -> Result<()> {
        cache.inplace_op2(projected, &WriteCache(self.clone()))
    }

    /// `rows × heads × head_dimension`: what every row's queries find up to their own position.
    pub(crate) fn read(&self, cache: &Tensor, projected: &Tensor) -> Result<Tensor> {
        projected.apply_op2_no_bwd(cache, self)
    }
}

struct WriteCache(Attention);

impl InplaceOp2 for WriteCache {
    fn name(&self) -> &'static str {
        "write-kv-cache"
    }

    fn cpu_fwd(
        &self,
        s1: &mut CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<()> {
        let projected = values(s2, l2)?;
        let (Some((start, end)), CpuStorage::F32(cache)) = (l1.contiguous_offsets(), s1) else {
            bail!("the KV cache should be contiguous F32");
        };
        let cache = &mut cache[start..end];
        let shape = &self.0;
        let (width, keys) = (shape.slot_width(), shape.key_heads * shape.head_dimension);
        for (row, place) in shape.rows.places.iter().enumerate() {
            let start = (row + 1) * shape.row_width() - width;
            let slot = shape.rows.slot(*place, place.position);
            let target = &mut cache[slot * width..(slot + 1) * width];
            target.copy_from_slice(&projected[start..start + width]);
            let (cos, sin) = shape.angles(row);
            for head in target[..keys].chunks_exact_mut(shape.head_dimension) {
                rotate(head, cos, sin);
            }
        }
        Ok(())
    }
}

impl CustomOp2 for Attention {
    fn name(&self) -> &'static str {
        "paged-attention"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (projected, cache) = (values(s1, l1)?, values(s2, l2)?);
        let (rows, width) = (self.rows.len(), self.heads * self.head_dimension);
        let group = width / self.key_heads;
        let mut output = vec![0.0; rows * width];
        let attend = |index: usize, output: &mut [f32]| {
            let (row, key_head) = (index / self.key_heads, index % self.key_heads);
            let queries = &projected[row * self.row_width() + key_head * group..][..group];
            let place = self.rows.places[row];
            Arch::new().dispatch(Attend {
                shape: self,
                cache,
                queries,
                row,
                key_head,
                place,
                output,
            });
        };
        let work: usize =
            self.rows.places.iter().map(|place| (place.position + 1) * width * 2).sum();
        if rayon::current_num_threads() == 1 || work < PARALLEL_WORK {
            output
                .chunks_exact_mut(group)
                .enumerate()
                .for_each(|(index, output)| attend(index, output));
        } else {
            output
                .par_chunks_exact_mut(group)
                .enumerate()
                .for_each(|(index, output)| attend(index, output));
        }
        Ok((CpuStorage::F32(output), (rows, width).into()))
    }
}

/// One row's queries that share a key head.
struct Attend<'a> {
    shape: &'a Attention,
    cache: &'a [f32],
    queries: &'a [f32],
    row: usize,
    key_head: usize,
    place: Place,
    output: &'a mut [f32],
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { shape, cache, queries, row, key_head, place, output } = self;
        let (dimension, width) = (shape.head_dimension, shape.slot_width());
        let positions = place.position + 1;
        let mut queries = queries.to_vec();
        let (cos, sin) = shape.angles(row);
        // Widths are at most 2¹⁶, so the conversion is exact.
        let scale = (dimension as f32).sqrt().recip();
        for query in queries.chunks_exact_mut(dimension) {
            rotate(query, cos, sin);
            query.iter_mut().for_each(|value| *value *= scale);
        }
        let mut scores = vec![0.0_f32; positions * (queries.len() / dimension)];
        for position in 0..positions {
            let start = shape.rows.slot(place, position) * width + key_head * dimension;
            let key = &cache[start..start + dimension];
            for (head, query) in queries.chunks_exact(dimension).enumerate() {
                scores[head * positions + position] = kernel::dot(simd, query, key);
            }
        }
        for head in scores.chunks_exact_mut(positions) {
            softmax(head);
        }
        for position in 0..positions {
            let start =
                shape.rows.slot(place, position) * width + (shape.key_heads + key_head) * dimension;
            let value = &cache[start..start + dimension];
            for (head, output) in output.chunks_exact_mut(dimension).enumerate() {
                kernel::add_scaled(simd, output, scores[head * positions + position], value);
            }
        }
    }
}

/// Turns scores into probabilities in place. A NaN score makes every probability NaN.
#[inline(always)]
fn softmax(scores: &mut [f32]) {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = kernel::exp(*score - highest);
        sum += *score;
    }
    let factor = 1.0 / sum;
    scores.iter_mut().for_each(|score| *score *= factor);
}
