//! Stored weights to F32, for the 64 outputs of a panel at a time and written so that the compiler
//! vectorises over them. It never rounds: the values are those of the reference implementations,
//! bit for bit.
//!
//! Block layouts: ggml, `ggml-common.h` and `dequantize_row_*` of `ggml-quants.c`.

use super::panels::PANEL;
use crate::load::format::Format;

/// One byte of each output.
type Bytes = [u8; PANEL];
/// One number of each output.
type Column = [f32; PANEL];

/// Weights per group: those that have a scale in common, or a part of them.
const GROUP: usize = 32;

/// The weights of a panel for the inputs from `first` on, which is a multiple of [`GROUP`]; a panel
/// of blocks is asked for whole groups.
#[inline(always)]
pub(crate) fn widen(format: Format, panel: &[u8], first: usize, columns: &mut [Column]) {
    match format {
        Format::F32 => each(panel, first, columns, f32::from_le_bytes),
        Format::F16 => each_half(panel, first, columns),
        Format::Bf16 => each(panel, first, columns, |bytes| {
            f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
        }),
        Format::Q4_0 => {
            for (block, group, columns) in groups::<18, 1>(panel, first, columns) {
                q4_0(block, group, columns);
            }
        }
        Format::Q5_0 => {
            for (block, group, columns) in groups::<22, 1>(panel, first, columns) {
                q5_0(block, group, columns);
            }
        }
        Format::Q8_0 => {
            for (block, group, columns) in groups::<34, 1>(panel, first, columns) {
                q8_0(block, group, columns);
            }
        }
        Format::Q4K => {
            for (block, group, columns) in groups::<144, 8>(panel, first, columns) {
                q4_k(block, group, columns);
            }
        }
        Format::Q5K => {
            for (block, group, columns) in groups::<176, 8>(panel, first, columns) {
                q5_k(block, group, columns);
            }
        }
        Format::Q6K => {
            for (block, group, columns) in groups::<210, 8>(panel, first, columns) {
                q6_k(block, group, columns);
            }
        }
    }
}

/// Number by number.
#[inline(always)]
fn each<const BYTES: usize>(
    panel: &[u8],
    first: usize,
    columns: &mut [Column],
    widen: impl Fn([u8; BYTES]) -> f32,
) {
    let stored = panel.as_chunks::<BYTES>().0.as_chunks::<PANEL>().0;
    for (column, stored) in columns.iter_mut().zip(&stored[first..]) {
        for (value, bytes) in column.iter_mut().zip(stored) {
            *value = widen(*bytes);
        }
    }
}

/// Half precision, with the machine's own instruction where `pulp` has it.
#[inline(always)]
fn each_half(panel: &[u8], first: usize, columns: &mut [Column]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(machine) = pulp::x86::V4::try_new() {
        let stored = panel.as_chunks::<32>().0.as_chunks::<{ PANEL / 16 }>().0;
        for (column, stored) in columns.iter_mut().zip(&stored[first..]) {
            for (values, stored) in column.as_chunks_mut::<16>().0.iter_mut().zip(stored) {
                *values = pulp::cast(machine.avx512f._mm512_cvtph_ps(pulp::cast(*stored)));
            }
        }
        return;
    }
    each(panel, first, columns, |bytes| half(u16::from_le_bytes(bytes)));
}

/// Group by group, of which a block has `GROUPS`: the block, the number of the group in it, and
/// where its weights go. An iterator, because a function that is passed to a function is not sure to
/// be compiled for the machine's vectors.
#[inline(always)]
fn groups<'a, const BYTES: usize, const GROUPS: usize>(
    panel: &'a [u8],
    first: usize,
    columns: &'a mut [Column],
) -> impl Iterator<Item = (&'a [Bytes; BYTES], usize, &'a mut [Column; GROUP])> {
    let blocks = panel.as_chunks::<PANEL>().0.as_chunks::<BYTES>().0;
    let columns = (first / GROUP..).zip(columns.as_chunks_mut::<GROUP>().0);
    columns.map(|(index, columns)| (&blocks[index / GROUPS], index % GROUPS, columns))
}

/// A half-precision number, without branches.
#[inline(always)]
fn half(bits: u16) -> f32 {
    const EXPONENT: u32 = 0x0f80_0000;
    /// The difference of the two formats' biases.
    const BIAS: u32 = 112 << 23;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let normal = magnitude + BIAS;
    // A number without the leading one: with one, less that one.
    let small = f32::from_bits(normal + (1 << 23)) - f32::from_bits(BIAS + (1 << 23));
    let value = match magnitude & EXPONENT {
        0 => small.to_bits(),
        EXPONENT => normal + BIAS,
        _ => normal,
    };
    f32::from_bits(value | u32::from(bits & 0x8000) << 16)
}

#[inline(always)]
fn halves(low: &Bytes, high: &Bytes) -> Column {
    let mut column = [0.0; PANEL];
    for ((value, low), high) in column.iter_mut().zip(low).zip(high) {
        *value = half(u16::from_le_bytes([*low, *high]));
    }
    column
}

/// A byte of each output. Made as a whole before it is widened: many bytes fit a vector.
#[inline(always)]
fn bytes(byte: impl Fn(usize) -> u8) -> Bytes {
    let mut bytes = [0; PANEL];
    for (output, place) in bytes.iter_mut().enumerate() {
        *place = byte(output);
    }
    bytes
}

/// The low or the high halves of bytes.
#[inline(always)]
fn nibbles(stored: &Bytes, high: bool) -> Bytes {
    // Shifts by constants stay within vectors of bytes.
    if high { bytes(|output| stored[output] >> 4) } else { bytes(|output| stored[output] & 15) }
}

/// `factor · (bits − offset)` for one weight of each output.
#[inline(always)]
fn scaled(column: &mut Column, factors: &Column, offset: f32, bits: &Bytes) {
    for ((value, factor), bits) in column.iter_mut().zip(factors).zip(bits) {
        *value = (f32::from(*bits) - offset) * factor;
    }
}

/// The half of the byte that belongs to a weight: blocks of 32 have the first 16 weights in the low
/// halves of 16 bytes and the others in the high ones.
const fn nibble_of(weight: usize) -> (usize, bool) {
    (weight % 16, weight >= 16)
}

#[inline(always)]
fn q4_0(block: &[Bytes; 18], _group: usize, columns: &mut [Column; GROUP]) {
    let scales = halves(&block[0], &block[1]);
    for (weight, column) in columns.iter_mut().enumerate() {
        let (byte, high) = nibble_of(weight);
        scaled(column, &scales, 8.0, &nibbles(&block[2 + byte], high));
    }
}

#[inline(always)]
fn q5_0(block: &[Bytes; 22], _group: usize, columns: &mut [Column; GROUP]) {
    let scales = halves(&block[0], &block[1]);
    for (weight, column) in columns.iter_mut().enumerate() {
        let (byte, high) = nibble_of(weight);
        let (low, fifths, place) =
            (nibbles(&block[6 + byte], high), &block[2 + weight / 8], weight % 8);
        let bits = bytes(|output| low[output] | (fifths[output] >> place & 1) << 4);
        scaled(column, &scales, 16.0, &bits);
    }
}

#[inline(always)]
fn q8_0(block: &[Bytes; 34], _group: usize, columns: &mut [Column; GROUP]) {
    let scales = halves(&block[0], &block[1]);
    for (column, bytes) in columns.iter_mut().zip(&block[2..]) {
        for ((value, byte), scale) in column.iter_mut().zip(bytes).zip(&scales) {
            *value = f32::from(byte.cast_signed()) * scale;
        }
    }
}

/// Scale and minimum of a group: six bits each, in twelve bytes from the fourth on, times those of
/// the block, in the bytes before.
#[inline(always)]
fn scale_and_minimum(block: &[Bytes], group: usize) -> (Column, Column) {
    let mut scales = halves(&block[0], &block[1]);
    let mut minima = halves(&block[2], &block[3]);
    let packed = &block[4..16];
    for (output, (scale, minimum)) in scales.iter_mut().zip(&mut minima).enumerate() {
        let byte = |index: usize| packed[index][output];
        let (s, m) = match group < 4 {
            true => (byte(group) & 63, byte(group + 4) & 63),
            false => (
                byte(group + 4) & 15 | byte(group - 4) >> 6 << 4,
                byte(group + 4) >> 4 | byte(group) >> 6 << 4,
            ),
        };
        *scale *= f32::from(s);
        *minimum *= f32::from(m);
    }
    (scales, minima)
}

/// `scale · bits − minimum` for one weight of each output.
#[inline(always)]
fn lowered(column: &mut Column, (scales, minima): &(Column, Column), bits: &Bytes) {
    let both = scales.iter().zip(minima);
    for ((value, (scale, minimum)), bits) in column.iter_mut().zip(both).zip(bits) {
        *value = scale * f32::from(*bits) - minimum;
    }
}

#[inline(always)]
fn q4_k(block: &[Bytes; 144], group: usize, columns: &mut [Column; GROUP]) {
    let factors = scale_and_minimum(block, group);
    let (stored, high) = (&block[16 + group / 2 * 32..][..32], group % 2 == 1);
    for (column, stored) in columns.iter_mut().zip(stored) {
        lowered(column, &factors, &nibbles(stored, high));
    }
}

#[inline(always)]
fn q5_k(block: &[Bytes; 176], group: usize, columns: &mut [Column; GROUP]) {
    let factors = scale_and_minimum(block, group);
    let (stored, high) = (&block[48 + group / 2 * 32..][..32], group % 2 == 1);
    for ((column, stored), fifths) in columns.iter_mut().zip(stored).zip(&block[16..48]) {
        let low = nibbles(stored, high);
        let bits = bytes(|output| low[output] | (fifths[output] >> group & 1) << 4);
        lowered(column, &factors, &bits);
    }
}

/// A half of 128 weights has four groups: two have their low four bits in the low halves of bytes,
/// two in the high ones; all four share the bytes of the high two bits.
#[inline(always)]
fn q6_k(block: &[Bytes; 210], group: usize, columns: &mut [Column; GROUP]) {
    let scale = halves(&block[208], &block[209]);
    let (part, quarter) = (group / 4, group % 4);
    let low = &block[part * 64 + quarter % 2 * 32..][..32];
    let high = &block[128 + part * 32..][..32];
    let shift = quarter * 2;
    let scales = &block[192 + group * 2..][..2];
    let halves = columns.as_chunks_mut::<16>().0.iter_mut().zip(scales);
    for (half, (columns, scales)) in halves.enumerate() {
        let mut factors = scale;
        for (factor, byte) in factors.iter_mut().zip(scales) {
            *factor *= f32::from(byte.cast_signed());
        }
        let (low, high) = (&low[half * 16..][..16], &high[half * 16..][..16]);
        for ((column, low), high) in columns.iter_mut().zip(low).zip(high) {
            let low = nibbles(low, quarter >= 2);
            let bits = bytes(|output| low[output] | (high[output] >> shift & 3) << 4);
            scaled(column, &factors, 32.0, &bits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_precision_number_widens_as_the_library_of_that_type_does() {
        for bits in 0..=u16::MAX {
            let expected = ::half::f16::from_bits(bits).to_f32();
            assert!(
                half(bits).to_bits() == expected.to_bits()
                    || expected.is_nan() && half(bits).is_nan(),
                "{bits:#06x}"
            );
        }
    }
}
