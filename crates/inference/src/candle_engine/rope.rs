//! Rotary position embedding (Su et al., 2021) with the scalings that published models use.
//! It never holds a table over the context: angles are computed per step and shared by all layers.

/// How the rotation frequencies are stretched beyond the trained context.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scaling {
    /// As trained.
    None,
    /// Every frequency divided by the factor.
    Linear {
        /// How many times longer the context is.
        factor: f32,
    },
    /// The scaling of Llama 3.1: slow rotations are divided by `factor`, fast ones are kept, those
    /// between are interpolated.
    Llama3 {
        /// How many times longer the context is.
        factor: f32,
        /// Wavelengths above `original_context / low_frequency_factor` are scaled.
        low_frequency_factor: f32,
        /// Wavelengths below `original_context / high_frequency_factor` are kept.
        high_frequency_factor: f32,
        /// The context of pre-training.
        original_context: f32,
    },
    /// YaRN (Peng et al., 2023).
    Yarn(Yarn),
    /// Each frequency divided by a factor of its own (LongRoPE, Ding et al., 2024).
    PerPair {
        /// One per pair of rotated values.
        factors: Vec<f32>,
        /// What cosines and sines are multiplied by.
        magnitude: f32,
    },
}

/// The settings of YaRN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Yarn {
    /// How many times longer the context is.
    pub(crate) factor: f32,
    /// Pairs that turn more often than this over the original context are kept.
    pub(crate) fast: f32,
    /// Pairs that turn less often than this are divided by `factor`.
    pub(crate) slow: f32,
    /// The context of pre-training.
    pub(crate) original_context: f32,
    /// Whether the borders between kept and divided are rounded to whole pairs.
    pub(crate) whole: bool,
    /// What cosines and sines are multiplied by.
    pub(crate) magnitude: f32,
}

/// The rotation frequencies of one half of the rotated part of a head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rope {
    frequencies: Vec<f32>,
    magnitude: f32,
}

impl Rope {
    /// Frequencies for `width` rotated values, in the F32 arithmetic of the reference
    /// implementation.
    pub(crate) fn new(theta: f32, width: u16, scaling: &Scaling) -> Self {
        let base = |pair: u16| theta.powf(f32::from(pair * 2) / f32::from(width));
        let pairs = 0..width / 2;
        let frequencies: Vec<f32> = match scaling {
            Scaling::Yarn(yarn) => {
                let (low, high) = yarn.borders(theta, width);
                pairs.map(|pair| yarn.frequency(base(pair), f32::from(pair), low, high)).collect()
            }
            Scaling::PerPair { factors, .. } => {
                pairs.zip(factors).map(|(pair, factor)| (factor * base(pair)).recip()).collect()
            }
            other => pairs.map(|pair| scale(base(pair).recip(), other)).collect(),
        };
        let magnitude = match scaling {
            Scaling::Yarn(Yarn { magnitude, .. }) | Scaling::PerPair { magnitude, .. } => {
                *magnitude
            }
            _ => 1.0,
        };
        Self { frequencies, magnitude }
    }

    /// Pairs of values that are rotated.
    pub(crate) fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Appends cosine and sine of the angles at `position`.
    pub(crate) fn append(&self, position: usize, cos: &mut Vec<f32>, sin: &mut Vec<f32>) {
        // Positions are below 2²⁴ (checked with the configuration), so the conversion is exact.
        let position = position as f32;
        for frequency in &self.frequencies {
            let (s, c) = (position * frequency).sin_cos();
            cos.push(c * self.magnitude);
            sin.push(s * self.magnitude);
        }
    }
}

impl Yarn {
    /// The pairs between which frequencies are interpolated.
    fn borders(&self, theta: f32, width: u16) -> (f32, f32) {
        let (theta, width) = (f64::from(theta), f64::from(width));
        let context = f64::from(self.original_context);
        let pair = |turns: f32| {
            let turns = f64::from(turns) * 2.0 * std::f64::consts::PI;
            width * (context / turns).ln() / (2.0 * theta.ln())
        };
        let (low, high) = (pair(self.fast), pair(self.slow));
        let (low, high) = if self.whole { (low.floor(), high.ceil()) } else { (low, high) };
        let (low, mut high) = (low.max(0.0), high.min(width - 1.0));
        if low == high {
            high += 0.001;
        }
        // Pairs are at most 2⁹; what rounding there is the reference has as well.
        #[allow(clippy::cast_possible_truncation)]
        (low as f32, high as f32)
    }

    fn frequency(&self, base: f32, pair: f32, low: f32, high: f32) -> f32 {
        let kept = 1.0 - ((pair - low) / (high - low)).clamp(0.0, 1.0);
        (self.factor * base).recip() * (1.0 - kept) + base.recip() * kept
    }
}

fn scale(frequency: f32, scaling: &Scaling) -> f32 {
    match scaling {
        Scaling::Linear { factor } => frequency / factor,
        Scaling::Llama3 {
            factor,
            low_frequency_factor,
            high_frequency_factor,
            original_context,
        } => {
            let wavelength = 2.0 * std::f32::consts::PI / frequency;
            if wavelength > original_context / low_frequency_factor {
                frequency / factor
            } else if wavelength < original_context / high_frequency_factor {
                frequency
            } else {
                let smooth = (original_context / wavelength - low_frequency_factor)
                    / (high_frequency_factor - low_frequency_factor);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }
        Scaling::None | Scaling::Yarn(_) | Scaling::PerPair { .. } => frequency,
    }
}

/// Rotates the beginning of a head in place: value `i` and value `i + half` are a pair.
#[inline(always)]
pub(crate) fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(cos.len());
    for (((a, b), c), s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
    }
}
