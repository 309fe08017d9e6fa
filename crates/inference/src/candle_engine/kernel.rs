//! The arithmetic that dominates a CPU step, vectorised for the machine at run time by `pulp`.
//! The bits of a result never depend on how many rows or threads share the work, nor on how wide
//! the machine's vectors are: every sum is a chain of fused multiply-adds in the order of the inner
//! dimension.

use std::borrow::Cow;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::panels::{PANEL, Panels};

/// Multiply-adds below which waking another thread costs more than it saves.
const PARALLEL_WORK: usize = 1 << 18;
/// Input rows per register tile: with four vectors of weights, 24 sums of 32 registers.
const TILE: usize = 6;
/// Weights of each output that are widened at a time: with [`PANEL`] outputs, a third of the
/// first-level cache of recent processors.
const DEPTH: usize = 64;
/// Input rows per thread from which threads share the rows instead of the weights.
const MANY_ROWS: usize = 48;

/// `output[row][o] = Σₖ input[row][k] · weights[o][k]`; `input` is whole rows.
pub(crate) fn multiply_transposed(input: &[f32], weights: Panels<'_>) -> Vec<f32> {
    let (outputs, width) = (weights.outputs, weights.inputs);
    let rows = input.len().checked_div(width).unwrap_or(0);
    let mut output = vec![0.0; rows * outputs];
    if output.is_empty() {
        return output;
    }
    let tiles = tiles(input, rows, width);
    let run = |rows: Range<usize>, panels: Range<usize>, output: &mut [f32], strides| {
        let tiles = &tiles[rows.start * width..rows.end * width];
        let rows = rows.len();
        Arch::new().dispatch(Product { tiles, rows, weights, panels, output, strides });
    };
    let (threads, panels) = (rayon::current_num_threads(), outputs.div_ceil(PANEL));
    if threads == 1 || rows * outputs * width < PARALLEL_WORK {
        run(0..rows, 0..panels, &mut output, (outputs, PANEL));
    } else if rows >= threads * MANY_ROWS {
        let share = rows.div_ceil(threads * 2).next_multiple_of(TILE);
        output.par_chunks_mut(share * outputs).enumerate().for_each(|(index, output)| {
            let rows = index * share..(index * share + output.len() / outputs);
            run(rows, 0..panels, output, (outputs, PANEL));
        });
    } else {
        let share = panels.div_ceil(threads * 4);
        let mut by_panel = vec![0.0; panels * rows * PANEL];
        by_panel.par_chunks_mut(share * rows * PANEL).enumerate().for_each(|(index, output)| {
            let panels = index * share..(index * share + output.len() / (rows * PANEL));
            run(0..rows, panels, output, (PANEL, rows * PANEL));
        });
        for (panel, sums) in by_panel.chunks_exact(rows * PANEL).enumerate() {
            for (row, sums) in sums.chunks_exact(PANEL).enumerate() {
                let target = &mut output[row * outputs..(row + 1) * outputs][panel * PANEL..];
                let count = target.len().min(PANEL);
                target[..count].copy_from_slice(&sums[..count]);
            }
        }
    }
    output
}

/// Rows by tiles of [`TILE`], the last one smaller: of each tile first all values of the first
/// column, then all of the second, and so on.
fn tiles(input: &[f32], rows: usize, width: usize) -> Cow<'_, [f32]> {
    if rows == 1 {
        return Cow::Borrowed(input);
    }
    let mut tiles = vec![0.0; input.len()];
    for (rows, tile) in input.chunks(TILE * width).zip(tiles.chunks_mut(TILE * width)) {
        let count = rows.len() / width;
        for (row, values) in rows.chunks_exact(width).enumerate() {
            let places = tile.iter_mut().skip(row).step_by(count);
            places.zip(values).for_each(|(place, value)| *place = *value);
        }
    }
    Cow::Owned(tiles)
}

/// One thread's share of [`multiply_transposed`].
struct Product<'a> {
    /// As [`tiles`] makes them.
    tiles: &'a [f32],
    rows: usize,
    weights: Panels<'a>,
    panels: Range<usize>,
    output: &'a mut [f32],
    /// Values of `output` from row to row, and from panel to panel.
    strides: (usize, usize),
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { tiles, rows, weights, panels, output, strides } = self;
        let width = weights.inputs;
        let mut widened = [[0.0; PANEL]; DEPTH];
        let mut sums = vec![[0.0; PANEL]; rows];
        for (index, panel) in panels.enumerate() {
            sums.fill([0.0; PANEL]);
            for start in (0..width).step_by(DEPTH) {
                let widened = &mut widened[..DEPTH.min(width - start)];
                weights.widen(panel, start, widened);
                if let [sums] = sums.as_mut_slice() {
                    let next = weights.upcoming(panel, start + widened.len(), widened.len());
                    multiply_row(simd, widened, &tiles[start..], next, sums);
                    continue;
                }
                let tiles = tiles.chunks(TILE * width);
                for (tile, sums) in tiles.zip(sums.chunks_mut(TILE)) {
                    let count = sums.len();
                    let tile = &tile[start * count..][..widened.len() * count];
                    multiply_tile(simd, widened, tile, sums);
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                let place = &mut output[row * strides.0 + index * strides.1..];
                let count = place.len().min(weights.outputs_of(panel));
                place[..count].copy_from_slice(&sums[..count]);
            }
        }
    }
}

/// Adds the products of a single row. Profiles show it waiting for weights more than computing, so
/// each step also reads a byte of what comes `next`, which fetches it early.
#[inline(always)]
fn multiply_row<S: Simd>(
    simd: S,
    weights: &[[f32; PANEL]],
    inputs: &[f32],
    next: &[u8],
    sums: &mut [f32; PANEL],
) {
    match S::F32_LANES {
        16 => multiply_fetching::<S, 4>(simd, weights, inputs, next, sums),
        8 => multiply_fetching::<S, 8>(simd, weights, inputs, next, sums),
        _ => multiply_vectors::<S, 1, 4>(
            simd,
            weights,
            inputs.as_chunks().0,
            std::array::from_mut(sums),
        ),
    }
}

/// [`multiply_row`] where a panel is `V` vectors.
#[inline(always)]
fn multiply_fetching<S: Simd, const V: usize>(
    simd: S,
    weights: &[[f32; PANEL]],
    inputs: &[f32],
    next: &[u8],
    sums: &mut [f32; PANEL],
) {
    let mut held = [simd.splat_f32s(0.0); V];
    held.copy_from_slice(S::as_simd_f32s(sums.as_slice()).0);
    let step = next.len() / weights.len().max(1);
    let mut read = 0;
    for (index, (weights, input)) in weights.iter().zip(inputs).enumerate() {
        read |= next.get(index * step).copied().unwrap_or_default();
        let input = simd.splat_f32s(*input);
        for (held, weights) in held.iter_mut().zip(S::as_simd_f32s(weights).0) {
            *held = simd.mul_add_e_f32s(*weights, input, *held);
        }
    }
    std::hint::black_box(read);
    S::as_mut_simd_f32s(sums.as_mut_slice()).0.copy_from_slice(&held);
}

/// Adds the products of a tile of any number of rows.
#[inline(always)]
fn multiply_tile<S: Simd>(
    simd: S,
    weights: &[[f32; PANEL]],
    tile: &[f32],
    sums: &mut [[f32; PANEL]],
) {
    match sums.len() {
        1 => multiply_rows::<S, 1>(simd, weights, tile, sums),
        2 => multiply_rows::<S, 2>(simd, weights, tile, sums),
        3 => multiply_rows::<S, 3>(simd, weights, tile, sums),
        4 => multiply_rows::<S, 4>(simd, weights, tile, sums),
        5 => multiply_rows::<S, 5>(simd, weights, tile, sums),
        _ => multiply_rows::<S, TILE>(simd, weights, tile, sums),
    }
}

#[inline(always)]
fn multiply_rows<S: Simd, const R: usize>(
    simd: S,
    weights: &[[f32; PANEL]],
    tile: &[f32],
    sums: &mut [[f32; PANEL]],
) {
    let Some(sums) = sums.first_chunk_mut::<R>() else { return };
    let tile = tile.as_chunks::<R>().0;
    // Sixteen registers hold the sums of two vectors of outputs; thirty-two those of four.
    match S::F32_LANES {
        8 => multiply_vectors::<S, R, 2>(simd, weights, tile, sums),
        _ => multiply_vectors::<S, R, 4>(simd, weights, tile, sums),
    }
}

/// The sums of `V` vectors of outputs stay in registers.
#[inline(always)]
fn multiply_vectors<S: Simd, const R: usize, const V: usize>(
    simd: S,
    weights: &[[f32; PANEL]],
    tile: &[[f32; R]],
    sums: &mut [[f32; PANEL]; R],
) {
    for first in (0..PANEL / S::F32_LANES).step_by(V) {
        let mut held = [[simd.splat_f32s(0.0); V]; R];
        for (held, sums) in held.iter_mut().zip(sums.iter()) {
            held.copy_from_slice(&S::as_simd_f32s(sums).0[first..first + V]);
        }
        for (weights, inputs) in weights.iter().zip(tile) {
            let weights = &S::as_simd_f32s(weights).0[first..first + V];
            for (held, input) in held.iter_mut().zip(inputs) {
                let input = simd.splat_f32s(*input);
                for (held, weights) in held.iter_mut().zip(weights) {
                    *held = simd.mul_add_e_f32s(*weights, input, *held);
                }
            }
        }
        for (held, sums) in held.iter().zip(sums.iter_mut()) {
            S::as_mut_simd_f32s(sums).0[first..first + V].copy_from_slice(held);
        }
    }
}

/// `Σ left·right`, with the same order of sums wherever it is used.
#[inline(always)]
pub(crate) fn dot<S: Simd>(simd: S, left: &[f32], right: &[f32]) -> f32 {
    let (left_head, left_tail) = S::as_simd_f32s(left);
    let (right_head, right_tail) = S::as_simd_f32s(right);
    let mut sum = simd.splat_f32s(0.0);
    for (left, right) in left_head.iter().zip(right_head) {
        sum = simd.mul_add_e_f32s(*left, *right, sum);
    }
    if !left_tail.is_empty() {
        sum = simd.mul_add_e_f32s(
            simd.partial_load_f32s(left_tail),
            simd.partial_load_f32s(right_tail),
            sum,
        );
    }
    simd.reduce_sum_f32s(sum)
}

/// `target += factor · values`.
#[inline(always)]
pub(crate) fn add_scaled<S: Simd>(simd: S, target: &mut [f32], factor: f32, values: &[f32]) {
    let factors = simd.splat_f32s(factor);
    let (target_head, target_tail) = S::as_mut_simd_f32s(target);
    let (head, tail) = S::as_simd_f32s(values);
    for (target, value) in target_head.iter_mut().zip(head) {
        *target = simd.mul_add_e_f32s(factors, *value, *target);
    }
    for (target, value) in target_tail.iter_mut().zip(tail) {
        *target += factor * value;
    }
}

#[cfg(test)]
mod tests {
    use super::super::panels::Matrix;
    use super::*;
    use crate::load::format::Format;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0
        };
        (0..count).map(next).collect()
    }

    fn matrix(weights: &[f32], outputs: usize, width: usize) -> Matrix {
        let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        Matrix::new(Format::F32, &bytes, (outputs, width)).unwrap()
    }

    #[test]
    fn products_agree_with_a_plain_double_precision_sum() {
        for (rows, outputs, width) in
            [(1, 8, 64), (1, 130, 37), (3, 5, 16), (7, 21, 100), (4, 64, 5), (12, 65, 200)]
        {
            let (input, weights) = (numbers(rows * width, 1), numbers(outputs * width, 2));
            let product = multiply_transposed(&input, matrix(&weights, outputs, width).panels());
            for row in 0..rows {
                for output in 0..outputs {
                    let exact: f64 = (0..width)
                        .map(|k| {
                            f64::from(input[row * width + k])
                                * f64::from(weights[output * width + k])
                        })
                        .sum();
                    let found = f64::from(product[row * outputs + output]);
                    assert!(
                        (found - exact).abs() < 1e-4,
                        "{rows}×{outputs}×{width}: {found} for {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_as_among_others_and_on_many_threads() {
        let (width, outputs) = (77, 1100);
        let weights = matrix(&numbers(outputs * width, 4), outputs, width);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for rows in [2, 11, 3 * MANY_ROWS + 5] {
            let input = numbers(rows * width, 3);
            let together = pool.install(|| multiply_transposed(&input, weights.panels()));
            for (row, expected) in together.chunks_exact(outputs).enumerate() {
                let alone =
                    multiply_transposed(&input[row * width..(row + 1) * width], weights.panels());
                assert!(
                    alone.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()),
                    "row {row} of {rows}"
                );
            }
        }
    }
}
