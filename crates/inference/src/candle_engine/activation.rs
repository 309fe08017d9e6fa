//! Functions of single values, written without branches so that loops over them vectorise.
//! They never look at neighbours: a value's result depends on that value alone.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};

use super::architecture::Activation;
use super::linear::values;

/// eˣ within 2 units in the last place over `-87..=88`, clamped outside; NaN stays NaN. Written
/// without branches so that the compiler vectorises loops over it.
/// Method and coefficients: Cephes `expf` (S. Moshier).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding 1.5 × 2²³ rounds to an integer that then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let exponent = rounded - ROUND;
    let rest = x - exponent * LN2_HIGH - exponent * LN2_LOW;
    let mut sum = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        sum = sum * rest + coefficient;
    }
    let mantissa = sum * rest * rest + rest + 1.0;
    mantissa * f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// tanh(x), within 2e-7.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

/// Bends values smoothly so that they stay within ± `cap`.
pub(crate) fn soft_cap(values: &mut [f32], cap: f32) {
    Arch::new().dispatch(SoftCap { values, cap });
}

struct SoftCap<'a> {
    values: &'a mut [f32],
    cap: f32,
}

impl WithSimd for SoftCap<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for value in self.values {
            *value = self.cap * tanh(*value / self.cap);
        }
    }
}

/// `activation(gate) · up` of `rows × (gates, ups)`.
pub(crate) struct Gated(pub(crate) Activation);

impl CustomOp1 for Gated {
    fn name(&self) -> &'static str {
        "gated-activation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (count, width) = layout.shape().dims2()?;
        let (rows, half) = (values(storage, layout)?, width / 2);
        let mut output = vec![0.0; count * half];
        Arch::new().dispatch(GatedRows { rows, half, activation: self.0, output: &mut output });
        Ok((CpuStorage::F32(output), (count, half).into()))
    }
}

/// Rows that hold all gates first and then all ups.
struct GatedRows<'a> {
    rows: &'a [f32],
    half: usize,
    activation: Activation,
    output: &'a mut [f32],
}

impl WithSimd for GatedRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        /// √(2 ⁄ π)
        const SCALE: f32 = 0.797_884_6;
        match self.activation {
            Activation::Silu => self.each(|gate| gate / (1.0 + exp(-gate))),
            // ½·x·(1 + tanh z) = x · sigmoid(2z)
            Activation::GeluTanh => self.each(|gate| {
                let z = SCALE * (gate + 0.044_715 * gate * gate * gate);
                gate / (1.0 + exp(-2.0 * z))
            }),
        }
    }
}

impl GatedRows<'_> {
    #[inline(always)]
    fn each(self, activation: impl Fn(f32) -> f32) {
        let rows = self.rows.chunks_exact(2 * self.half);
        for (row, output) in rows.zip(self.output.chunks_exact_mut(self.half)) {
            let (gates, ups) = row.split_at(self.half);
            for ((output, gate), up) in output.iter_mut().zip(gates).zip(ups) {
                *output = activation(*gate) * up;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_accurate_and_keeps_nan() {
        for step in -870..880_i16 {
            let x = f32::from(step) / 10.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 3e-7, "exp({x})");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn the_hyperbolic_tangent_is_accurate_and_keeps_nan() {
        for step in -300..300_i16 {
            let x = f32::from(step) / 10.0;
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 2e-7, "tanh({x})");
        }
        assert!(tanh(f32::NAN).is_nan());
    }
}
