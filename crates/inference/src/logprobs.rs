//! How likely tokens are by the model's own distribution: the softmax of the logits as they came,
//! before temperature, penalties, filters and constraints, which is what the OpenAI API reports.
//! It never chooses a token.

use crate::request::{TokenLogprob, TokenLogprobs};
use crate::text::codec::Codec;

/// What stands for an impossible token, as JSON has no infinity; the OpenAI API says the same.
const LEAST: f64 = -9999.0;

/// The chosen token and as many alternatives, likeliest first, ties by the lower token id.
pub(crate) fn logprobs(
    logits: &[f32],
    chosen: u32,
    alternatives: u8,
    codec: &Codec,
) -> TokenLogprobs {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: &f32| f64::from(*logit - highest).exp();
    let total = f64::from(highest) + logits.iter().map(weight).sum::<f64>().ln();
    let entry = |token_id: u32| {
        let index = usize::try_from(token_id).unwrap_or(usize::MAX);
        let logit = logits.get(index).copied().unwrap_or(f32::NEG_INFINITY);
        TokenLogprob {
            token_id,
            bytes: codec.bytes(token_id).to_vec(),
            logprob: narrow((f64::from(logit) - total).max(LEAST)),
        }
    };
    let top = likeliest(logits, usize::from(alternatives)).into_iter().map(entry).collect();
    TokenLogprobs { chosen: entry(chosen), top }
}

/// The `count` highest logits, highest first, ties by the lower token id.
fn likeliest(logits: &[f32], count: usize) -> Vec<u32> {
    let mut top: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    for (token, logit) in (0..).zip(logits) {
        if top.len() == count && top.last().is_none_or(|(_, least)| logit <= least) {
            continue;
        }
        let place = top.partition_point(|(_, other)| other >= logit);
        top.insert(place, (token, *logit));
        top.truncate(count);
    }
    top.into_iter().map(|(token, _)| token).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the point")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_come_first_and_ties_go_to_the_lower_id() {
        let logits = [1.0, 3.0, 2.0, 3.0, f32::NEG_INFINITY];
        assert_eq!(likeliest(&logits, 3), [1, 3, 2]);
        assert_eq!(likeliest(&logits, 9), [1, 3, 2, 0, 4]);
        assert_eq!(likeliest(&logits, 0), [0; 0]);
    }
}
