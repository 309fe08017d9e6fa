//! Attention of a ragged batch over a paged KV cache, as candle custom operations with CPU kernels.
//! They hold no state; a CUDA kernel for each belongs beside its `cpu_fwd`.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, InplaceOp1, InplaceOp2, Layout, Result, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::activation;
use super::architecture::{Architecture, LayerKind};
use super::kernel;
use super::linear::{values, values_mut};
use super::rope::rotate;
use super::rows::{Place, Rows};

/// Multiply-adds below which attention stays on one thread.
const PARALLEL_WORK: usize = 1 << 17;

/// Causal attention of a batch over the paged cache, for one layer.
///
/// Queries, keys and values come as `rows × (heads + 2 × key_heads) × head_dimension`; a cache slot
/// holds the rotated keys and then the values of one position.
#[derive(Clone)]
pub(crate) struct Attention {
    heads: usize,
    key_heads: usize,
    head_dimension: usize,
    scale: f32,
    softcap: Option<f32>,
    kind: LayerKind,
    norms: Option<HeadNorms>,
    rows: Arc<Rows>,
}

/// The RMS norms of single heads.
#[derive(Clone)]
pub(crate) struct HeadNorms {
    /// One weight per value of a query head.
    pub(crate) query: Arc<[f32]>,
    /// One weight per value of a key head.
    pub(crate) key: Arc<[f32]>,
    pub(crate) epsilon: f32,
}

impl Attention {
    /// The attention of a layer over `rows`.
    pub(crate) fn new(
        architecture: &Architecture,
        kind: LayerKind,
        norms: Option<HeadNorms>,
        rows: Arc<Rows>,
    ) -> Self {
        Self {
            heads: architecture.heads,
            key_heads: architecture.key_heads,
            head_dimension: architecture.head_dimension,
            scale: architecture.attention_scale,
            softcap: architecture.attention_softcap,
            kind,
            norms,
            rows,
        }
    }

    /// `rows × heads × head_dimension`: what every row's queries find up to their own position.
    /// Keys and values of the rows are in the cache afterwards.
    pub(crate) fn forward(&self, cache: &Tensor, projected: &Tensor) -> Result<Tensor> {
        projected.inplace_op1(&Rotate(self.clone()))?;
        cache.inplace_op2(projected, &WriteCache(self.clone()))?;
        projected.apply_op2_no_bwd(cache, self)
    }

    fn slot_width(&self) -> usize {
        2 * self.key_heads * self.head_dimension
    }

    fn row_width(&self) -> usize {
        (self.heads + 2 * self.key_heads) * self.head_dimension
    }

    /// Norms and rotates the queries and keys of a row; queries are scaled as well.
    fn rotate(&self, row: usize, values: &mut [f32]) {
        let (queries, rest) = values.split_at_mut(self.heads * self.head_dimension);
        let keys = &mut rest[..self.key_heads * self.head_dimension];
        let (cos, sin) = self.rows.angles(row, self.kind.rope);
        for head in queries.chunks_exact_mut(self.head_dimension) {
            if let Some(norms) = &self.norms {
                norm(head, &norms.query, norms.epsilon);
            }
            rotate(head, cos, sin);
            head.iter_mut().for_each(|value| *value *= self.scale);
        }
        for head in keys.chunks_exact_mut(self.head_dimension) {
            if let Some(norms) = &self.norms {
                norm(head, &norms.key, norms.epsilon);
            }
            rotate(head, cos, sin);
        }
    }

    /// The positions that a row at `position` sees.
    fn visible(&self, position: usize) -> std::ops::Range<usize> {
        let end = position + 1;
        self.kind.window.map_or(0, |window| end.saturating_sub(window))..end
    }
}

/// Divides a head by its root mean square, in place.
fn norm(head: &mut [f32], weights: &[f32], epsilon: f32) {
    let squares: f32 = head.iter().map(|value| value * value).sum();
    // Heads have at most 2¹⁰ values, so the conversion is exact.
    let factor = (squares / head.len() as f32 + epsilon).sqrt().recip();
    head.iter_mut().zip(weights).for_each(|(value, weight)| *value *= factor * weight);
}

struct Rotate(Attention);

impl InplaceOp1 for Rotate {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let projected = values_mut(storage, layout)?;
        for (row, values) in projected.chunks_exact_mut(self.0.row_width()).enumerate() {
            self.0.rotate(row, values);
        }
        Ok(())
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
        let cache = values_mut(s1, l1)?;
        let shape = &self.0;
        let width = shape.slot_width();
        for (row, place) in shape.rows.places.iter().enumerate() {
            let start = (row + 1) * shape.row_width() - width;
            let slot = shape.rows.slot(*place, place.position);
            let target = &mut cache[slot * width..(slot + 1) * width];
            target.copy_from_slice(&projected[start..start + width]);
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
            Arch::new().dispatch(Attend { shape: self, cache, queries, key_head, place, output });
        };
        let work: usize = self
            .rows
            .places
            .iter()
            .map(|place| self.visible(place.position).len() * width * 2)
            .sum();
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
    key_head: usize,
    place: Place,
    output: &'a mut [f32],
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { shape, cache, queries, key_head, place, output } = self;
        let (dimension, width) = (shape.head_dimension, shape.slot_width());
        let visible = shape.visible(place.position);
        let count = visible.len();
        let mut scores = vec![0.0_f32; count * (queries.len() / dimension)];
        for (index, position) in visible.clone().enumerate() {
            let start = shape.rows.slot(place, position) * width + key_head * dimension;
            let key = &cache[start..start + dimension];
            for (head, query) in queries.chunks_exact(dimension).enumerate() {
                scores[head * count + index] = kernel::dot(simd, query, key);
            }
        }
        if let Some(cap) = shape.softcap {
            scores.iter_mut().for_each(|score| *score = cap * activation::tanh(*score / cap));
        }
        for head in scores.chunks_exact_mut(count) {
            softmax(head);
        }
        for (index, position) in visible.enumerate() {
            let start =
                shape.rows.slot(place, position) * width + (shape.key_heads + key_head) * dimension;
            let value = &cache[start..start + dimension];
            for (head, output) in output.chunks_exact_mut(dimension).enumerate() {
                kernel::add_scaled(simd, output, scores[head * count + index], value);
            }
        }
    }
}

/// Turns scores into probabilities in place. A NaN score makes every probability NaN.
#[inline(always)]
pub(crate) fn softmax(scores: &mut [f32]) {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = activation::exp(*score - highest);
        sum += *score;
    }
    let factor = 1.0 / sum;
    scores.iter_mut().for_each(|score| *score *= factor);
}
