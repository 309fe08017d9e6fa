//! Money. All arithmetic is checked; nothing here rounds in favour of whoever is paid.

use serde::{Deserialize, Serialize};
use std::{fmt, iter, str::FromStr};

/// Octas in one APT.
pub const OCTAS_PER_APT: u64 = 100_000_000;

/// An amount of APT in octas (10⁻⁸ APT).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Octas(pub u64);

impl Octas {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// `self + other`, or `None` when it does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// `self - other`, or `None` when `other` is more.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// `self - other`, or nothing when `other` is more.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The sum, or `None` when it does not fit.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().chain(iter::once(Self::ZERO)).try_fold(Self::ZERO, Self::checked_add)
    }
}

impl fmt::Display for Octas {
    /// In APT, with as many decimals as it takes: `1.5 APT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / OCTAS_PER_APT, self.0 % OCTAS_PER_APT);
        if part == 0 {
            return write!(f, "{whole} APT");
        }
        let decimals = format!("{part:08}");
        write!(f, "{whole}.{} APT", decimals.trim_end_matches('0'))
    }
}

/// The text was not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an amount such as `1.5`, `1.5apt` or `150000000octas`, got {0:?}")]
pub struct BadAmount(String);

impl FromStr for Octas {
    type Err = BadAmount;

    /// Reads APT with up to eight decimals (`1.5`, `1.5 APT`) or octas (`150 octas`).
    fn from_str(text: &str) -> Result<Self, BadAmount> {
        let bad = || BadAmount(text.chars().take(80).collect());
        let lower = text.trim().to_ascii_lowercase();
        let digits = |s: &str| {
            (!s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()))
                .then(|| s.parse::<u64>().ok())
                .flatten()
        };
        if let Some(octas) = lower.strip_suffix("octas") {
            return digits(octas.trim()).map(Self).ok_or_else(bad);
        }
        let apt = lower.strip_suffix("apt").unwrap_or(&lower).trim();
        let (whole, part) = apt.split_once('.').unwrap_or((apt, "0"));
        if part.len() > 8 {
            return Err(bad());
        }
        let whole = digits(whole).and_then(|w| w.checked_mul(OCTAS_PER_APT));
        let part = digits(part).and(digits(&format!("{part:0<8}")));
        whole.zip(part).and_then(|(w, p)| w.checked_add(p)).map(Self).ok_or_else(bad)
    }
}

/// What an orchestrator asks for a model, in octas per 1,000 tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Price {
    /// Octas per 1,000 prompt tokens.
    pub prompt: Octas,
    /// Octas per 1,000 output tokens.
    pub output: Octas,
}

impl Price {
    /// The most that a task of this size can cost, rounded up, so that a lock of this amount
    /// always covers the contract's charge (which rounds down). `None` when it does not fit.
    pub fn ceiling(&self, prompt_tokens: u32, output_tokens: u32) -> Option<Octas> {
        let prompt = u128::from(self.prompt.0) * u128::from(prompt_tokens);
        let output = u128::from(self.output.0) * u128::from(output_tokens);
        let octas = prompt.checked_add(output)?.div_ceil(1000);
        u64::try_from(octas).ok().map(Octas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        for (text, octas) in [
            ("1", 100_000_000),
            ("1.5 APT", 150_000_000),
            ("0.00000001", 1),
            ("42octas", 42),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Octas(octas)), "{text}");
        }
        for text in ["", "-1", "1.123456789", "1e5", "apt", ".", "1.", "+1", "184467440738"] {
            assert!(text.parse::<Octas>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(octas: u64) {
            prop_assert_eq!(Octas(octas).to_string().parse(), Ok(Octas(octas)));
        }

        #[test]
        fn a_ceiling_covers_the_floor(p: u32, o: u32, a in 0u64..1 << 40, b in 0u64..1 << 40) {
            let price = Price { prompt: Octas(a), output: Octas(b) };
            if let Some(ceiling) = price.ceiling(p, o) {
                let floor = (u128::from(a) * u128::from(p) + u128::from(b) * u128::from(o)) / 1000;
                prop_assert!(u128::from(ceiling.0) >= floor);
            }
        }
    }
}
