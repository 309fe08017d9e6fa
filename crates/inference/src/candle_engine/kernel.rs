//! The arithmetic that dominates a CPU step, vectorised for the machine at run time by `pulp`.
//! The bits of a result never depend on how many rows or threads share the work: each dot product
//! has one accumulator vector, filled in the order of the inner dimension, and one tail.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Multiply-adds below which waking another thread costs more than it saves.
const PARALLEL_WORK: usize = 1 << 18;
/// Weight rows per register tile.
const TILE: usize = 4;
/// Weight rows per register tile when there is a single input row: enough independent sums to
/// hide the latency of a fused multiply-add.
const WIDE_TILE: usize = 8;

/// Rows of weights, stored in one way or another.
pub(crate) trait WeightRows: Copy + Sync {
    /// What is left from `row` on.
    fn starting_at(self, row: usize, width: usize) -> Self;

    /// `count` rows from `row` on, as F32: themselves, or widened into `buffer`.
    fn widen<'a>(
        &'a self,
        row: usize,
        count: usize,
        width: usize,
        buffer: &'a mut Vec<f32>,
    ) -> &'a [f32];
}

impl WeightRows for &[f32] {
    fn starting_at(self, row: usize, width: usize) -> Self {
        &self[row * width..]
    }

    #[inline(always)]
    fn widen<'a>(
        &'a self,
        row: usize,
        count: usize,
        width: usize,
        _buffer: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        &self[row * width..(row + count) * width]
    }
}

/// `output[row][o] = Σₖ input[row][k] · weights[o][k]`, with `width` values of `k`.
/// `input` is whole rows and `weights` holds `outputs`; the result has `input rows × outputs`.
pub(crate) fn multiply_transposed<W: WeightRows>(
    input: &[f32],
    weights: W,
    outputs: usize,
    width: usize,
) -> Vec<f32> {
    let rows = input.len().checked_div(width).unwrap_or(0);
    let mut by_output = vec![0.0; rows * outputs];
    if by_output.is_empty() {
        return by_output;
    }
    let threads = rayon::current_num_threads();
    if threads == 1 || rows * outputs * width < PARALLEL_WORK {
        Arch::new().dispatch(Product { input, weights, width, rows, output: &mut by_output });
    } else {
        let block = outputs.div_ceil(threads * 4).next_multiple_of(WIDE_TILE);
        by_output.par_chunks_mut(block * rows).enumerate().for_each(|(index, output)| {
            let weights = weights.starting_at(index * block, width);
            Arch::new().dispatch(Product { input, weights, width, rows, output });
        });
    }
    if rows == 1 { by_output } else { transpose(&by_output, rows) }
}

/// Turns rows of `columns` values into columns.
fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    let mut transposed = vec![0.0; values.len()];
    for (column, target) in transposed.chunks_exact_mut(rows).enumerate() {
        for (value, source) in target.iter_mut().zip(values.iter().skip(column).step_by(columns)) {
            *value = *source;
        }
    }
    transposed
}

/// One thread's share of [`multiply_transposed`]; `output` has one row of `rows` per weight row.
struct Product<'a, W> {
    input: &'a [f32],
    weights: W,
    width: usize,
    rows: usize,
    output: &'a mut [f32],
}

impl<W: WeightRows> WithSimd for Product<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { input, weights, width, rows, output } = self;
        let mut buffer = Vec::new();
        let tile = if rows == 1 { WIDE_TILE } else { TILE };
        let whole = output.len() / rows / tile * tile;
        let (tiles, remaining) = output.split_at_mut(whole * rows);
        for (index, output) in tiles.chunks_exact_mut(tile * rows).enumerate() {
            let weights = weights.widen(index * tile, tile, width, &mut buffer);
            if rows == 1 {
                multiply_tile::<S, WIDE_TILE, 1>(simd, (weights, input), (width, rows), output);
            } else {
                multiply_rows::<S, TILE>(simd, (weights, input), (width, rows), output);
            }
        }
        for (index, output) in remaining.chunks_exact_mut(rows).enumerate() {
            let weights = weights.widen(whole + index, 1, width, &mut buffer);
            multiply_rows::<S, 1>(simd, (weights, input), (width, rows), output);
        }
    }
}

/// `W` weight rows against every input row, four, then two, then one at a time.
#[inline(always)]
fn multiply_rows<S: Simd, const W: usize>(
    simd: S,
    (weights, input): (&[f32], &[f32]),
    (width, rows): (usize, usize),
    output: &mut [f32],
) {
    let mut row = 0;
    while row + 4 <= rows {
        multiply_tile::<S, W, 4>(
            simd,
            (weights, &input[row * width..]),
            (width, rows),
            &mut output[row..],
        );
        row += 4;
    }
    if row + 2 <= rows {
        multiply_tile::<S, W, 2>(
            simd,
            (weights, &input[row * width..]),
            (width, rows),
            &mut output[row..],
        );
        row += 2;
    }
    if row < rows {
        multiply_tile::<S, W, 1>(
            simd,
            (weights, &input[row * width..]),
            (width, rows),
            &mut output[row..],
        );
    }
}

/// The first `W` weight rows times the first `X` input rows, into `output[w * stride + x]`.
#[inline(always)]
fn multiply_tile<S: Simd, const W: usize, const X: usize>(
    simd: S,
    (weights, input): (&[f32], &[f32]),
    (width, stride): (usize, usize),
    output: &mut [f32],
) {
    let length = width / S::F32_LANES;
    let mut weight_rows = [(&[] as &[S::f32s], &[] as &[f32]); W];
    for (row, slot) in weight_rows.iter_mut().enumerate() {
        let (head, tail) = S::as_simd_f32s(&weights[row * width..(row + 1) * width]);
        *slot = (&head[..length], tail);
    }
    let mut input_rows = [(&[] as &[S::f32s], &[] as &[f32]); X];
    for (row, slot) in input_rows.iter_mut().enumerate() {
        let (head, tail) = S::as_simd_f32s(&input[row * width..(row + 1) * width]);
        *slot = (&head[..length], tail);
    }
    let mut sums = [[simd.splat_f32s(0.0); X]; W];
    for k in 0..length {
        for w in 0..W {
            for x in 0..X {
                sums[w][x] =
                    simd.mul_add_e_f32s(weight_rows[w].0[k], input_rows[x].0[k], sums[w][x]);
            }
        }
    }
    for w in 0..W {
        for x in 0..X {
            let mut sum = sums[w][x];
            if !weight_rows[w].1.is_empty() {
                let weight = simd.partial_load_f32s(weight_rows[w].1);
                sum = simd.mul_add_e_f32s(weight, simd.partial_load_f32s(input_rows[x].1), sum);
            }
            output[w * stride + x] = simd.reduce_sum_f32s(sum);
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
    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn products_agree_with_a_plain_double_precision_sum() {
        for (rows, outputs, width) in [(1, 8, 64), (1, 13, 37), (3, 5, 16), (7, 21, 100), (4, 4, 5)]
        {
            let (input, weights) = (numbers(rows * width, 1), numbers(outputs * width, 2));
            let product = multiply_transposed(&input, weights.as_slice(), outputs, width);
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
        let (width, outputs, rows) = (77, 4099, 11);
        let (input, weights) = (numbers(rows * width, 3), numbers(outputs * width, 4));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let together =
            pool.install(|| multiply_transposed(&input, weights.as_slice(), outputs, width));
        for (row, expected) in together.chunks_exact(outputs).enumerate() {
            let alone = multiply_transposed(
                &input[row * width..(row + 1) * width],
                weights.as_slice(),
                outputs,
                width,
            );
            assert!(
                alone.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()),
                "row {row}"
            );
        }
    }
}
