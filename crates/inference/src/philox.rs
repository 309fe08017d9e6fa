//! Philox4x32-10, a counter-based generator (Salmon et al., SC 2011): the number at a place is a
//! function of key and counter alone. It keeps no state.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// The block of 128 bits at `counter` under `key`.
pub(crate) fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let (low0, high0) = counter[0].carrying_mul(MULTIPLIERS[0], 0);
        let (low1, high1) = counter[2].carrying_mul(MULTIPLIERS[1], 0);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// A number in `0.0..1.0` for the output token at `position` under `seed`.
pub(crate) fn uniform(seed: u64, position: u32) -> f64 {
    let [a, b, c, d, e, f, g, h] = seed.to_le_bytes();
    let key = [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])];
    let [first, second, ..] = philox([position, 0, 0, 0], key);
    // 53 bits: 32 from one word, 21 from another.
    (f64::from(first) * 2_097_152.0 + f64::from(second >> 11)) / 9_007_199_254_740_992.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `kat_vectors` of the authors' Random123 library.
    #[test]
    fn blocks_equal_the_published_known_answers() {
        let all = u32::MAX;
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([all; 4], [all; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, block) in cases {
            assert_eq!(philox(counter, key), block);
        }
    }

    #[test]
    fn uniform_numbers_stay_below_one_and_average_a_half() {
        let numbers: Vec<f64> = (0..10_000).map(|position| uniform(42, position)).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        let mean = numbers.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
