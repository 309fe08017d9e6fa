//! The rotary settings of `config.json`, in the spellings of several years, checked.
//! It never computes a frequency.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use super::super::rope::{Rope, Scaling, Yarn};
use super::families::Family;
use super::{CONTEXT_LIMIT, Raw, Refusal, positive, within};

/// One setting for all layers, or one per kind of layer.
#[derive(Clone, Debug)]
pub(super) enum RawRopes {
    PerKind { full_attention: Box<RawRope>, sliding_attention: Box<RawRope> },
    One(Box<RawRope>),
}

impl<'de> Deserialize<'de> for RawRopes {
    // Not an untagged enum: those lose numbers where some crate of the build has serde_json keep
    // them as text (`arbitrary_precision`).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let mut kind = |name| value.get_mut(name).map(Value::take);
        let read = if let (Some(full), Some(sliding)) =
            (kind("full_attention"), kind("sliding_attention"))
        {
            serde_json::from_value(full).and_then(|full_attention| {
                let sliding_attention = serde_json::from_value(sliding)?;
                Ok(Self::PerKind { full_attention, sliding_attention })
            })
        } else {
            serde_json::from_value(value).map(Self::One)
        };
        read.map_err(D::Error::custom)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct RawRope {
    rope_type: Option<String>,
    /// What older files say instead, or besides.
    r#type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<u32>,
    attention_factor: Option<f32>,
    beta_fast: Option<f32>,
    beta_slow: Option<f32>,
    mscale: Option<f32>,
    mscale_all_dim: Option<f32>,
    truncate: Option<bool>,
    long_factor: Option<Vec<f32>>,
    short_factor: Option<Vec<f32>>,
    partial_rotary_factor: Option<f32>,
}

impl Raw {
    /// The rotation of full layers (`index` 0) or of sliding layers with one of their own (1).
    pub(super) fn rope(
        &self,
        family: Family,
        head_dimension: u16,
        index: usize,
    ) -> Result<Rope, Refusal> {
        let absent = RawRope::default();
        let raw =
            match (&self.rope_parameters, &self.rope_scaling) {
                (Some(RawRopes::PerKind { full_attention, sliding_attention }), _) => {
                    if index == 0 { full_attention } else { sliding_attention }
                }
                // Before transformers 5 only full layers were scaled.
                (Some(RawRopes::One(one)), _) | (None, Some(RawRopes::One(one))) if index == 0 => {
                    one
                }
                _ => &absent,
            };
        let usual = match (family, index) {
            (Family::Gemma3, 0) => self.rope_theta.or(Some(1_000_000.0)),
            (_, 0) => self.rope_theta.or(Some(10_000.0)),
            _ => self.rope_local_base_freq.or(Some(10_000.0)),
        };
        let theta = positive("rope_theta", raw.rope_theta.or(usual))?;
        let width = self.rotated(raw, head_dimension)?;
        Ok(Rope::new(theta, width, &self.scaling(family, raw, width)?))
    }

    /// How many values of a head are rotated.
    fn rotated(&self, raw: &RawRope, head_dimension: u16) -> Result<u16, String> {
        let share = raw.partial_rotary_factor.or(self.partial_rotary_factor).unwrap_or(1.0);
        let wanted = f32::from(head_dimension) * share;
        let fits = |width: &u16| f32::from(*width) <= wanted && wanted < f32::from(*width) + 2.0;
        (2..=head_dimension)
            .step_by(2)
            .find(fits)
            .ok_or_else(|| format!("partial_rotary_factor is {share}"))
    }

    fn scaling(&self, family: Family, raw: &RawRope, width: u16) -> Result<Scaling, Refusal> {
        match (raw.rope_type.as_deref().or(raw.r#type.as_deref()), family) {
            (None | Some("default"), _) => Ok(Scaling::None),
            (Some("linear"), _) => Ok(Scaling::Linear { factor: positive("factor", raw.factor)? }),
            (Some("llama3"), _) => Ok(self.llama3(raw)?),
            (Some("longrope" | "su"), _) | (Some("yarn"), Family::Phi3) => {
                Ok(self.long(raw, width)?)
            }
            (Some("yarn"), _) => Ok(self.yarn(raw)?),
            (Some(other), _) => Err(Refusal::Unsupported(format!("rope scaling `{other}`"))),
        }
    }

    fn llama3(&self, raw: &RawRope) -> Result<Scaling, String> {
        let low_frequency_factor = positive("low_freq_factor", raw.low_freq_factor)?;
        let high_frequency_factor = positive("high_freq_factor", raw.high_freq_factor)?;
        if high_frequency_factor <= low_frequency_factor {
            return Err("high_freq_factor must be above low_freq_factor".to_owned());
        }
        Ok(Scaling::Llama3 {
            factor: positive("factor", raw.factor)?,
            low_frequency_factor,
            high_frequency_factor,
            original_context: self.original_context(raw)?,
        })
    }

    fn yarn(&self, raw: &RawRope) -> Result<Scaling, String> {
        let original_context = self.original_context(raw)?;
        let factor = self.stretch(raw, original_context)?;
        let magnitude = |weight: f32| match factor > 1.0 {
            true => 0.1 * weight * factor.ln() + 1.0,
            false => 1.0,
        };
        let usual = match (raw.mscale, raw.mscale_all_dim) {
            (Some(some), Some(all)) if some != 0.0 && all != 0.0 => {
                magnitude(some) / magnitude(all)
            }
            _ => magnitude(1.0),
        };
        Ok(Scaling::Yarn(Yarn {
            factor,
            fast: positive("beta_fast", raw.beta_fast.or(Some(32.0)))?,
            slow: positive("beta_slow", raw.beta_slow.or(Some(1.0)))?,
            original_context,
            whole: raw.truncate.unwrap_or(true),
            magnitude: positive("attention_factor", raw.attention_factor.or(Some(usual)))?,
        }))
    }

    /// LongRoPE. Which factors apply depends on the model's context and not on the length of a
    /// sequence, so that a token has the same key however its sequence goes on.
    fn long(&self, raw: &RawRope, width: u16) -> Result<Scaling, String> {
        let original = self.original_context(raw)?;
        let stretch = self.stretch(raw, original)?;
        let usual = match stretch > 1.0 {
            true => (1.0 + stretch.ln() / original.ln()).sqrt(),
            false => 1.0,
        };
        let stretched =
            self.max_position_embeddings.is_some_and(|context| context as f32 > original);
        let (name, factors) = match stretched {
            true => ("long_factor", &raw.long_factor),
            false => ("short_factor", &raw.short_factor),
        };
        let factors = factors.clone().unwrap_or_default();
        if factors.len() != usize::from(width / 2) {
            return Err(format!("{name} should have {} values", width / 2));
        }
        for factor in &factors {
            positive(name, Some(*factor))?;
        }
        let magnitude = positive("attention_factor", raw.attention_factor.or(Some(usual)))?;
        Ok(Scaling::PerPair { factors, magnitude })
    }

    /// How many times longer the context is than at first.
    fn stretch(&self, raw: &RawRope, original: f32) -> Result<f32, String> {
        // At most 2²⁴ (checked with the context), so the conversion is exact.
        let implied = self.max_position_embeddings.map(|context| context as f32 / original);
        positive("factor", raw.factor.or(implied))
    }

    fn original_context(&self, raw: &RawRope) -> Result<f32, String> {
        let original = raw
            .original_max_position_embeddings
            .or(self.original_max_position_embeddings)
            .or(self.max_position_embeddings);
        within("original_max_position_embeddings", original, CONTEXT_LIMIT)?;
        // At most 2²⁴, so the conversion is exact.
        Ok(original.unwrap_or_default() as f32)
    }
}
