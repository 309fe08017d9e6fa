//! How weights are stored, and how many bytes that takes. It never touches a weight.

use crate::card::WeightType;

/// A format of stored weights that is read.
pub(crate) type Format = WeightType;

impl Format {
    /// By the number of the type in GGUF.
    pub(crate) fn from_ggml(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            6 => Self::Q5_0,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            _ => return None,
        })
    }

    /// Weights per block, and bytes per block.
    pub(crate) const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q5_0 => (32, 22),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    /// Bytes of a tensor of this shape; `None` if its rows are no whole blocks or it is too large.
    pub(crate) fn bytes_of(self, shape: &[usize]) -> Option<usize> {
        let (weights, bytes) = self.block();
        let (width, rows) = shape.split_last()?;
        let rows = rows.iter().try_fold(1_usize, |rows, size| rows.checked_mul(*size))?;
        let row = width.is_multiple_of(weights).then_some(width / weights)?.checked_mul(bytes)?;
        rows.checked_mul(row)
    }
}
