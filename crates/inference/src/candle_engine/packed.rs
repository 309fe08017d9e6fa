//! Weights that stay as they are stored: 16 bits or quantised blocks, widened a few rows at a time
//! into a buffer that stays in the processor's cache. A product has the bits of the product with
//! the same weights widened beforehand. It never quantises anything.
//!
//! Block layouts: ggml, `ggml-common.h` and `dequantize_row_*` of `ggml-quants.c`.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};

use super::kernel::{self, WeightRows};
use super::linear::values;
use crate::load::format::Format;

/// A matrix of packed rows, within the bytes of a file.
#[derive(Clone)]
pub(crate) struct Packed {
    format: Format,
    content: Arc<Vec<u8>>,
    bytes: Range<usize>,
    outputs: usize,
    inputs: usize,
}

impl Packed {
    /// `bytes` are exactly the rows of an `outputs × inputs` matrix within `content`.
    pub(crate) fn new(
        format: Format,
        content: Arc<Vec<u8>>,
        bytes: Range<usize>,
        (outputs, inputs): (usize, usize),
    ) -> Self {
        Self { format, content, bytes, outputs, inputs }
    }

    /// Number of weights.
    pub(crate) fn count(&self) -> usize {
        self.outputs * self.inputs
    }

    fn rows(&self) -> PackedRows<'_> {
        PackedRows { format: self.format, bytes: &self.content[self.bytes.clone()] }
    }

    /// All of it as F32.
    pub(crate) fn widened(&self) -> Result<Tensor> {
        let mut values = vec![0.0; self.count()];
        widen(self.format, self.rows().bytes, &mut values);
        Tensor::from_vec(values, (self.outputs, self.inputs), &Device::Cpu)
    }

    /// All of it on a device; what is stored so already is moved as it is.
    pub(crate) fn tensor(&self, dtype: DType, device: &Device) -> Result<Tensor> {
        if (self.format, dtype) != (Format::Bf16, DType::BF16) {
            return self.widened()?.to_dtype(dtype)?.to_device(device);
        }
        let shape = [self.outputs, self.inputs];
        Tensor::from_raw_buffer(self.rows().bytes, dtype, &shape, device)
    }

    /// The given rows, widened.
    pub(crate) fn select(&self, rows: &[u32]) -> Result<Tensor> {
        let mut values = Vec::with_capacity(rows.len() * self.inputs);
        let mut row_values = Vec::new();
        for row in rows {
            let row = usize::try_from(*row).ok().filter(|row| *row < self.outputs);
            let Some(row) = row else { bail!("a row is outside the table") };
            values.extend_from_slice(self.rows().widen(row, 1, self.inputs, &mut row_values));
        }
        Tensor::from_vec(values, (rows.len(), self.inputs), &Device::Cpu)
    }

    /// `x · Wᵀ`.
    pub(crate) fn multiply(&self, input: &Tensor) -> Result<Tensor> {
        input.apply_op1_no_bwd(self)
    }
}

impl CustomOp1 for Packed {
    fn name(&self) -> &'static str {
        "multiply-packed"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        if width != self.inputs {
            bail!("{rows}×{width} does not multiply {}×{}", self.outputs, self.inputs);
        }
        let input = values(storage, layout)?;
        let product = kernel::multiply_transposed(input, self.rows(), self.outputs, width);
        Ok((CpuStorage::F32(product), (rows, self.outputs).into()))
    }
}

/// Consecutive rows.
#[derive(Clone, Copy)]
struct PackedRows<'a> {
    format: Format,
    bytes: &'a [u8],
}

impl PackedRows<'_> {
    fn row_bytes(&self, width: usize) -> usize {
        let (weights, bytes) = self.format.block();
        width / weights * bytes
    }
}

impl WeightRows for PackedRows<'_> {
    fn starting_at(self, row: usize, width: usize) -> Self {
        Self { bytes: &self.bytes[row * self.row_bytes(width)..], ..self }
    }

    #[inline(always)]
    fn widen<'a>(
        &'a self,
        row: usize,
        count: usize,
        width: usize,
        buffer: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        let size = self.row_bytes(width);
        buffer.resize(count * width, 0.0);
        widen(self.format, &self.bytes[row * size..(row + count) * size], buffer);
        buffer
    }
}

/// Widens whole blocks.
#[inline(always)]
pub(crate) fn widen(format: Format, bytes: &[u8], output: &mut [f32]) {
    match format {
        Format::F32 => each(bytes, output, |[a, b, c, d], output: &mut [f32; 1]| {
            *output = [f32::from_le_bytes([*a, *b, *c, *d])];
        }),
        Format::F16 => each(bytes, output, |bytes, output: &mut [f32; 1]| *output = [half(*bytes)]),
        Format::Bf16 => each(bytes, output, |bytes, output: &mut [f32; 1]| {
            *output = [f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16)];
        }),
        Format::Q4_0 => each(bytes, output, q4_0),
        Format::Q5_0 => each(bytes, output, q5_0),
        Format::Q8_0 => each(bytes, output, q8_0),
        Format::Q4K => each(bytes, output, q4_k),
        Format::Q5K => each(bytes, output, q5_k),
        Format::Q6K => each(bytes, output, q6_k),
    }
}

/// Block by block.
#[inline(always)]
fn each<const BYTES: usize, const WEIGHTS: usize>(
    bytes: &[u8],
    output: &mut [f32],
    widen: impl Fn(&[u8; BYTES], &mut [f32; WEIGHTS]),
) {
    let (blocks, outputs) = (bytes.as_chunks::<BYTES>().0, output.as_chunks_mut::<WEIGHTS>().0);
    for (block, output) in blocks.iter().zip(outputs) {
        widen(block, output);
    }
}

/// A half-precision number.
#[inline(always)]
fn half(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}

/// Low and high half of a byte.
#[inline(always)]
fn nibbles(byte: u8) -> (f32, f32) {
    (f32::from(byte & 15), f32::from(byte >> 4))
}

#[inline(always)]
fn q4_0([low, high, nibbles_of @ ..]: &[u8; 18], output: &mut [f32; 32]) {
    let scale = half([*low, *high]);
    let (first, second) = output.split_at_mut(16);
    for ((byte, first), second) in nibbles_of.iter().zip(first).zip(second) {
        let (a, b) = nibbles(*byte);
        (*first, *second) = ((a - 8.0) * scale, (b - 8.0) * scale);
    }
}

#[inline(always)]
fn q5_0([low, high, a, b, c, d, nibbles_of @ ..]: &[u8; 22], output: &mut [f32; 32]) {
    let (scale, fifth) = (half([*low, *high]), u32::from_le_bytes([*a, *b, *c, *d]));
    let (first, second) = output.split_at_mut(16);
    for (index, ((byte, first), second)) in nibbles_of.iter().zip(first).zip(second).enumerate() {
        let (a, b) = nibbles(*byte);
        let bit = |index: usize| if fifth >> index & 1 == 1 { 0.0 } else { 16.0 };
        (*first, *second) = ((a - bit(index)) * scale, (b - bit(index + 16)) * scale);
    }
}

#[inline(always)]
fn q8_0([low, high, weights @ ..]: &[u8; 34], output: &mut [f32; 32]) {
    let scale = half([*low, *high]);
    for (byte, output) in weights.iter().zip(output) {
        *output = f32::from(byte.cast_signed()) * scale;
    }
}

/// Scale and minimum of each group of 32 weights: six bits each, in twelve bytes.
#[inline(always)]
fn group(scales: &[u8], index: usize) -> (f32, f32) {
    let (scale, minimum) = match index < 4 {
        true => (scales[index] & 63, scales[index + 4] & 63),
        false => (
            scales[index + 4] & 15 | scales[index - 4] >> 6 << 4,
            scales[index + 4] >> 4 | scales[index] >> 6 << 4,
        ),
    };
    (f32::from(scale), f32::from(minimum))
}

#[inline(always)]
fn q4_k(block: &[u8; 144], output: &mut [f32; 256]) {
    let (scale, minimum) = (half([block[0], block[1]]), half([block[2], block[3]]));
    let (scales, weights) = block[4..].split_at(12);
    for (pair, (bytes, output)) in
        weights.as_chunks::<32>().0.iter().zip(output.as_chunks_mut::<64>().0).enumerate()
    {
        let ((a, a_minimum), (b, b_minimum)) =
            (group(scales, 2 * pair), group(scales, 2 * pair + 1));
        let (a, a_minimum, b, b_minimum) =
            (scale * a, minimum * a_minimum, scale * b, minimum * b_minimum);
        let (first, second) = output.split_at_mut(32);
        for ((byte, first), second) in bytes.iter().zip(first).zip(second) {
            let (low, high) = nibbles(*byte);
            (*first, *second) = (a * low - a_minimum, b * high - b_minimum);
        }
    }
}

#[inline(always)]
fn q5_k(block: &[u8; 176], output: &mut [f32; 256]) {
    let (scale, minimum) = (half([block[0], block[1]]), half([block[2], block[3]]));
    let (scales, rest) = block[4..].split_at(12);
    let (fifth, weights) = rest.split_at(32);
    for (pair, (bytes, output)) in
        weights.as_chunks::<32>().0.iter().zip(output.as_chunks_mut::<64>().0).enumerate()
    {
        let ((a, a_minimum), (b, b_minimum)) =
            (group(scales, 2 * pair), group(scales, 2 * pair + 1));
        let (a, a_minimum, b, b_minimum) =
            (scale * a, minimum * a_minimum, scale * b, minimum * b_minimum);
        let (first, second) = output.split_at_mut(32);
        for (((byte, fifth), first), second) in bytes.iter().zip(fifth).zip(first).zip(second) {
            let (low, high) = nibbles(*byte);
            let bits = fifth >> (2 * pair);
            let (low, high) =
                (low + 16.0 * f32::from(bits & 1), high + 16.0 * f32::from(bits >> 1 & 1));
            (*first, *second) = (a * low - a_minimum, b * high - b_minimum);
        }
    }
}

#[inline(always)]
fn q6_k(block: &[u8; 210], output: &mut [f32; 256]) {
    let scale = half([block[208], block[209]]);
    let (low, rest) = block.split_at(128);
    let (high, scales) = rest.split_at(64);
    for (part, output) in output.as_chunks_mut::<128>().0.iter_mut().enumerate() {
        let (low, high) = (&low[part * 64..][..64], &high[part * 32..][..32]);
        // Quarters of 32 weights: two have their low four bits in low nibbles, two in high ones.
        for (quarter, output) in output.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = &low[quarter % 2 * 32..][..32];
            let (low_shift, high_shift) = (quarter / 2 * 4, quarter * 2);
            for (half, output) in output.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let factor = scale * f32::from(scales[part * 8 + quarter * 2 + half].cast_signed());
                let (low, high) = (&low[half * 16..][..16], &high[half * 16..][..16]);
                for ((low, high), output) in low.iter().zip(high).zip(output) {
                    let bits = low >> low_shift & 15 | (high >> high_shift & 3) << 4;
                    *output = factor * (f32::from(bits) - 32.0);
                }
            }
        }
    }
}
