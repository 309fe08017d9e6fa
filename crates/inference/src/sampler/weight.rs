//! The weight of a token from its logit. The bits are the same on every machine, which those of a
//! system's own `exp` are not: a token that one machine drew must be derived again on another.

/// The exponent of e below which a weight is nothing: 10⁻²² of the likeliest token's. All of a
/// vocabulary together could not change a draw.
pub(super) const NEGLIGIBLE: f64 = -50.0;

/// e to the power of `exponent`, which is not above 0, within 2 units in the last place; 0 below
/// [`NEGLIGIBLE`]. Written without branches so that loops over it vectorise, and without fused
/// operations, so that all machines round alike.
#[inline(always)]
pub(super) fn weight(exponent: f64) -> f64 {
    /// Adding 1.5 × 2⁵² rounds to an integer that then stands in the lowest bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    /// ln 2 in two parts; products of the first with small integers are exact.
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    /// 1 / n! from 13 down to 0: the next term is below 10⁻¹⁷ where |rest| ≤ ln 2 / 2.
    const TERMS: [f64; 14] = [
        1.605_904_383_682_161_5e-10,
        2.087_675_698_786_81e-9,
        2.505_210_838_544_172e-8,
        2.755_731_922_398_589e-7,
        2.755_731_922_398_589_3e-6,
        2.480_158_730_158_73e-5,
        1.984_126_984_126_984e-4,
        1.388_888_888_888_889e-3,
        8.333_333_333_333_333e-3,
        4.166_666_666_666_666_4e-2,
        1.666_666_666_666_666_6e-1,
        0.5,
        1.0,
        1.0,
    ];
    let x = if exponent > NEGLIGIBLE { exponent } else { NEGLIGIBLE };
    let rounded = x * std::f64::consts::LOG2_E + ROUND;
    let halvings = rounded - ROUND;
    let rest = x - halvings * LN2_HIGH - halvings * LN2_LOW;
    let mut sum = TERMS[0];
    for term in &TERMS[1..] {
        sum = sum * rest + term;
    }
    let power = f64::from_bits((rounded.to_bits() << 52).wrapping_add(1.0_f64.to_bits()));
    if exponent >= NEGLIGIBLE { sum * power } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_the_exponential_function() {
        for step in 0..=500_000 {
            let exponent = f64::from(step) * -1e-4;
            let (found, expected) = (weight(exponent), exponent.exp());
            let error = (found - expected).abs() / expected;
            assert!(error < 5e-16, "{exponent}: {found} for {expected}");
        }
        assert!((weight(0.0) - 1.0).abs() < f64::EPSILON);
        for nothing in [-50.001, -1e9, f64::NEG_INFINITY] {
            assert_eq!(weight(nothing).to_bits(), 0, "{nothing}");
        }
    }
}
