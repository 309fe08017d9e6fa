//! The operations of BERT that candle does not have for texts laid end to end.
//! They hold no state and never let one text see another.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::attention::softmax;
use super::super::kernel;
use super::super::linear::values;

/// Attention of every token to all tokens of its text, over `rows × (queries, keys, values)`.
pub(super) struct Attention {
    heads: usize,
    spans: Arc<Vec<Range<usize>>>,
}

impl Attention {
    /// `spans` are the rows of each text; together they are all rows in order.
    pub(super) fn new(heads: usize, spans: Arc<Vec<Range<usize>>>) -> Self {
        Self { heads, spans }
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention-within-texts"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let (projected, hidden) = (values(storage, layout)?, width / 3);
        let mut output = vec![0.0; rows * hidden];
        let span_of_row: Vec<&Range<usize>> =
            self.spans.iter().flat_map(|span| span.clone().map(move |_| span)).collect();
        output.par_chunks_exact_mut(hidden).zip(span_of_row).enumerate().for_each(
            |(row, (output, span))| {
                let heads = self.heads;
                Arch::new().dispatch(Attend { projected, hidden, heads, row, span, output });
            },
        );
        Ok((CpuStorage::F32(output), (rows, hidden).into()))
    }
}

/// All heads of one row.
struct Attend<'a> {
    projected: &'a [f32],
    hidden: usize,
    heads: usize,
    row: usize,
    span: &'a Range<usize>,
    output: &'a mut [f32],
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { projected, hidden, heads, row, span, output } = self;
        let dimension = hidden / heads;
        // Widths are at most 2²⁰, so the conversion is exact.
        let scale = (dimension as f32).sqrt().recip();
        let part = |row: usize, third: usize, head: usize| {
            let start = row * 3 * hidden + third * hidden + head * dimension;
            &projected[start..start + dimension]
        };
        let mut scores = vec![0.0; span.len()];
        for (head, output) in output.chunks_exact_mut(dimension).enumerate() {
            let query = part(row, 0, head);
            for (score, other) in scores.iter_mut().zip(span.clone()) {
                *score = kernel::dot(simd, query, part(other, 1, head)) * scale;
            }
            softmax(&mut scores);
            for (score, other) in scores.iter().zip(span.clone()) {
                kernel::add_scaled(simd, output, *score, part(other, 2, head));
            }
        }
    }
}

/// Layer normalisation in two passes: candle's takes the variance as a difference of large sums.
pub(super) struct LayerNorm {
    pub(super) weights: Arc<[f32]>,
    pub(super) bias: Arc<[f32]>,
    pub(super) epsilon: f32,
}

impl CustomOp1 for LayerNorm {
    fn name(&self) -> &'static str {
        "two-pass-layer-norm"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let mut output = values(storage, layout)?.to_vec();
        // Widths are at most 2²⁰, so the conversion is exact.
        let count = width as f32;
        for row in output.chunks_exact_mut(width) {
            let mean = row.iter().sum::<f32>() / count;
            row.iter_mut().for_each(|value| *value -= mean);
            let variance = row.iter().map(|value| value * value).sum::<f32>() / count;
            let factor = (variance + self.epsilon).sqrt().recip();
            for ((value, weight), bias) in row.iter_mut().zip(&*self.weights).zip(&*self.bias) {
                *value = *value * factor * weight + bias;
            }
        }
        Ok((CpuStorage::F32(output), (rows, width).into()))
    }
}
