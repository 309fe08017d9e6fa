//! Attention of a ragged batch over a paged KV cache, in candle's tensor operations. Scores are F32
//! whatever the weights are. It never copies a cache beyond the sequences of the batch.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops::{rms_norm, softmax_last_dim};
use candle_nn::rotary_emb::rope_thd;

use super::layout::{Group, Layout, Windows};
use super::soft_cap;
use crate::candle_engine::architecture::Architecture;

/// The attention of one layer.
pub(super) struct Attention {
    heads: usize,
    key_heads: usize,
    head_dimension: usize,
    scale: f32,
    softcap: Option<f32>,
    /// Which of the layout's rotations.
    rope: usize,
    /// Which of a group's masks.
    mask: usize,
    norms: Option<HeadNorms>,
    epsilon: f32,
}

/// The RMS norms of single heads.
pub(super) struct HeadNorms {
    pub(super) query: Tensor,
    pub(super) key: Tensor,
}

impl Attention {
    pub(super) fn new(
        architecture: &Architecture,
        layer: usize,
        norms: Option<HeadNorms>,
        windows: &Windows,
    ) -> Self {
        let kind = architecture.layers[layer];
        Self {
            heads: architecture.heads,
            key_heads: architecture.key_heads,
            head_dimension: architecture.head_dimension,
            scale: architecture.attention_scale,
            softcap: architecture.attention_softcap,
            rope: kind.rope,
            mask: windows.place(kind.window),
            norms,
            epsilon: architecture.norms.epsilon,
        }
    }

    /// `rows × (heads × head_dimension)`: what every row's queries find up to their own position.
    /// Keys and values of the rows are in the cache afterwards.
    pub(super) fn forward(
        &self,
        cache: &Tensor,
        projected: &Tensor,
        layout: &Layout,
    ) -> Result<Tensor> {
        let (rows, heads, key_heads) = (projected.dim(0)?, self.heads, self.key_heads);
        let projected = projected.reshape((rows, heads + 2 * key_heads, self.head_dimension))?;
        let mut queries = projected.narrow(1, 0, heads)?.contiguous()?;
        let mut keys = projected.narrow(1, heads, key_heads)?.contiguous()?;
        if let Some(norms) = &self.norms {
            queries = rms_norm(&queries, &norms.query, self.epsilon)?;
            keys = rms_norm(&keys, &norms.key, self.epsilon)?;
        }
        let (cos, sin) = &layout.angles[self.rope];
        let (queries, keys) = (rotate(&queries, cos, sin)?, rotate(&keys, cos, sin)?);
        let values = projected.narrow(1, heads + key_heads, key_heads)?;
        let new = Tensor::cat(&[&keys, &values.contiguous()?], 1)?;
        cache.scatter_set(&layout.slots, &new.flatten_from(1)?, 0)?;
        let found = layout.groups.iter().map(|group| self.attend(cache, &queries, group));
        let found = found.collect::<Result<Vec<_>>>()?;
        let found = match found.as_slice() {
            [only] => only.clone(),
            several => Tensor::cat(several, 0)?,
        };
        match &layout.order {
            None => Ok(found),
            Some(order) => found.index_select(order, 0),
        }
    }

    /// The rows of a group; query heads that share a key head are rows of one product.
    fn attend(&self, cache: &Tensor, queries: &Tensor, group: &Group) -> Result<Tensor> {
        let (sequences, each, positions) = (group.sequences, group.each, group.positions);
        let (key_heads, dimension) = (self.key_heads, self.head_dimension);
        let sharing = self.heads / key_heads;
        let queries = queries.index_select(&group.rows, 0)?;
        let queries = queries.reshape((sequences, each, key_heads, sharing, dimension))?;
        let queries = queries.permute((0, 2, 3, 1, 4))?.contiguous()?;
        let queries = queries.reshape((sequences, key_heads, sharing * each, dimension))?;
        let held = cache.index_select(&group.slots, 0)?;
        let held = held.reshape((sequences, positions, 2, key_heads, dimension))?;
        let keys = held.narrow(2, 0, 1)?.squeeze(2)?.permute((0, 2, 3, 1))?.contiguous()?;
        let values = held.narrow(2, 1, 1)?.squeeze(2)?.permute((0, 2, 1, 3))?.contiguous()?;
        let scores = queries.matmul(&keys)?.to_dtype(DType::F32)?;
        let mut scores = scores.affine(f64::from(self.scale), 0.0)?;
        if let Some(cap) = self.softcap {
            scores = soft_cap(&scores, cap)?;
        }
        let scores = scores.reshape((sequences, key_heads, sharing, each, positions))?;
        let scores = scores.broadcast_add(&group.masks[self.mask])?;
        let shares = softmax_last_dim(&scores)?.to_dtype(values.dtype())?;
        let shares = shares.reshape((sequences, key_heads, sharing * each, positions))?;
        let found = shares.matmul(&values)?;
        let found = found.reshape((sequences, key_heads, sharing, each, dimension))?;
        let found = found.permute((0, 3, 1, 2, 4))?.contiguous()?;
        found.reshape((sequences * each, self.heads * dimension))
    }
}

/// Rotates the beginning of every head, `rows × heads × head_dimension`: value `i` and value
/// `i + pairs` are a pair.
fn rotate(heads: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (width, rotated) = (heads.dim(D::Minus1)?, 2 * cos.dim(1)?);
    let turned = |part: Tensor| rope_thd(&part.contiguous()?.unsqueeze(0)?, cos, sin)?.squeeze(0);
    if rotated == width {
        return turned(heads.clone());
    }
    let turned = turned(heads.narrow(2, 0, rotated)?)?;
    Tensor::cat(&[turned, heads.narrow(2, rotated, width - rotated)?.contiguous()?], 2)
}
