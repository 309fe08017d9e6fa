//! The two ways to compute a decoder: with this crate's kernels on a processor, with candle's
//! operations elsewhere. It never looks at sequences.

use std::sync::Arc;

use candle_core::Result;

use super::architecture::Architecture;
use super::decoder::{Decoder, Passed};
use super::rows::Rows;
use super::tensor_decoder::{Place, TensorDecoder};
use super::weights::Weights;
use crate::device::Device;
use crate::load::error::LoadError;

/// A decoder and its cache, where they compute.
pub(crate) enum Forward {
    /// On the processor.
    Kernels(Decoder),
    /// On a device.
    Tensors(TensorDecoder),
}

impl Forward {
    pub(crate) fn new(
        architecture: Architecture,
        weights: Weights,
        blocks: usize,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        if device.is_cpu() {
            return Ok(Self::Kernels(Decoder::new(architecture, weights, blocks)?));
        }
        let place = Place { device: device.tensors.clone(), dtype: device.dtype };
        Ok(Self::Tensors(TensorDecoder::new(architecture, weights, blocks, place)?))
    }

    pub(crate) fn architecture(&self) -> &Architecture {
        match self {
            Self::Kernels(decoder) => decoder.architecture(),
            Self::Tensors(decoder) => decoder.architecture(),
        }
    }

    /// Runs all rows through the layers, extends the cache, and returns the logits of `chosen`
    /// rows, or of every row.
    pub(crate) fn forward(&self, rows: Arc<Rows>, chosen: Option<&[u32]>) -> Result<Passed> {
        match self {
            Self::Kernels(decoder) => decoder.forward(rows, chosen),
            Self::Tensors(decoder) => decoder.forward(&rows, chosen),
        }
    }
}
