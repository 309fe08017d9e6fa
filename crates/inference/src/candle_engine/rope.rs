//! Rotary position embedding (Su et al., 2021) with the scalings that Llama models use.
//! It never holds a table over the context: angles are computed per step and shared by all layers.

/// How the rotation frequencies are stretched beyond the trained context.
#[derive(Clone, Copy, Debug, PartialEq)]
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
}

/// The rotation frequencies of one half of a head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rope {
    frequencies: Vec<f32>,
}

impl Rope {
    /// Frequencies for heads of `head_dimension` values, in the F32 arithmetic of the reference
    /// implementation.
    pub(crate) fn new(theta: f32, head_dimension: u16, scaling: Scaling) -> Self {
        let width = f32::from(head_dimension);
        let frequency = |pair: u16| theta.powf(f32::from(pair * 2) / width).recip();
        let frequencies =
            (0..head_dimension / 2).map(|pair| scale(frequency(pair), scaling)).collect();
        Self { frequencies }
    }

    /// Appends cosine and sine of the angles at `position`.
    pub(crate) fn append(&self, position: usize, cos: &mut Vec<f32>, sin: &mut Vec<f32>) {
        // Positions are below 2²⁴ (checked with the configuration), so the conversion is exact.
        let position = position as f32;
        for frequency in &self.frequencies {
            let (s, c) = (position * frequency).sin_cos();
            cos.push(c);
            sin.push(s);
        }
    }
}

fn scale(frequency: f32, scaling: Scaling) -> f32 {
    match scaling {
        Scaling::None => frequency,
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
    }
}

/// Rotates one head in place: value `i` and value `i + half` are a pair.
#[inline(always)]
pub(crate) fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(cos.len());
    for (((a, b), c), s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
    }
}
