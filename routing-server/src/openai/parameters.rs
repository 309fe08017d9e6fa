//! The parameters that chat and plain completions share, each with its bounds. Fractions become
//! thousandths here and nowhere else.

use crate::error::Invalid;
use cactus_protocol::{
    Sampling,
    chat::{MAX_BIASED_TOKENS, MAX_TOP_LOGPROBS, TokenBias},
};
use serde::Deserialize;
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

const MAX_STOPS: usize = 4;
const MAX_STOP_BYTES: usize = 1024;
/// Choices of one request at most; the payer's limit of answers under way bounds them too.
pub const MAX_CHOICES: usize = 128;

/// One text or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl From<OneOrMany> for Vec<String> {
    fn from(texts: OneOrMany) -> Self {
        match texts {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        }
    }
}

/// `stream_options`.
#[derive(Debug, Deserialize)]
pub struct StreamOptions {
    /// A last event with the usage.
    #[serde(default)]
    pub include_usage: bool,
}

/// How tokens are chosen, as it was typed.
#[derive(Debug)]
pub struct RawSampling {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub min_p: Option<f64>,
    pub top_k: Option<i64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub seed: Option<i64>,
}

/// Checks how tokens are chosen. Without a seed one is drawn.
pub fn sampling(raw: &RawSampling) -> Result<Sampling, Invalid> {
    let unsigned = |param, value: Option<f64>, range, default| {
        milli(param, value, range).map(|m| m.map_or(default, i32::unsigned_abs))
    };
    let signed = |param, value| milli(param, value, (-2.0, 2.0)).map(|m| m.unwrap_or(0));
    Ok(Sampling {
        temperature_milli: unsigned("temperature", raw.temperature, (0.0, 2.0), 1000)?,
        top_p_milli: unsigned("top_p", raw.top_p, (0.0, 1.0), 1000)?,
        min_p_milli: unsigned("min_p", raw.min_p, (0.0, 1.0), 0)?,
        top_k: top_k(raw.top_k)?,
        frequency_penalty_milli: signed("frequency_penalty", raw.frequency_penalty)?,
        presence_penalty_milli: signed("presence_penalty", raw.presence_penalty)?,
        seed: raw.seed.map_or_else(rand::random, i64::cast_unsigned),
    })
}

/// Token ids and what is added to their logits.
pub fn logit_bias(raw: Option<Map<String, Value>>) -> Result<Vec<TokenBias>, Invalid> {
    let raw = raw.unwrap_or_default();
    if raw.len() > MAX_BIASED_TOKENS {
        let text = format!("must have at most {MAX_BIASED_TOKENS} tokens");
        return Err(Invalid::value("logit_bias", text));
    }
    let mut biases = BTreeMap::new();
    for (token, bias) in raw {
        let token = token.parse().ok().filter(|id: &u32| id.to_string() == token);
        let bias = milli("logit_bias", bias.as_f64(), (-100.0, 100.0))?;
        let (Some(token), Some(bias_milli)) = (token, bias) else {
            let text = "must be an object of token ids with numbers from -100 to 100";
            return Err(Invalid::value("logit_bias", text.to_owned()));
        };
        biases.insert(token, bias_milli);
    }
    Ok(biases.into_iter().map(|(token, bias_milli)| TokenBias { token, bias_milli }).collect())
}

/// 0 and, as other servers have it, −1 stand for all tokens.
fn top_k(value: Option<i64>) -> Result<u32, Invalid> {
    match value {
        None | Some(-1) => Ok(0),
        Some(k) => u32::try_from(k)
            .map_err(|_| Invalid::value("top_k", format!("must be from -1 to {}", u32::MAX))),
    }
}

/// Thousandths of a parameter within its range.
fn milli(
    param: &'static str,
    value: Option<f64>,
    (least, most): (f64, f64),
) -> Result<Option<i32>, Invalid> {
    let Some(value) = value else { return Ok(None) };
    if !(least..=most).contains(&value) {
        return Err(Invalid::value(param, format!("must be from {least} to {most}")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 100,000 either way")]
    Ok(Some((value * 1000.0).round() as i32))
}

/// The seed of a choice: the first has the request's own, so that `n` changes nothing about it.
pub fn seed_of_choice(seed: u64, choice: usize) -> u64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    if choice == 0 {
        return seed;
    }
    // SplitMix64 (Steele, Lea and Flood 2014): neighbours get unrelated values.
    let choice = u64::try_from(choice).unwrap_or(u64::MAX);
    let mut z = seed.wrapping_add(choice.wrapping_mul(GOLDEN));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The stop texts.
pub fn stops(stop: Option<OneOrMany>) -> Result<Vec<String>, Invalid> {
    let stops: Vec<String> = stop.map(Vec::from).unwrap_or_default();
    let fits = |stop: &String| (1..=MAX_STOP_BYTES).contains(&stop.len());
    if stops.len() > MAX_STOPS || !stops.iter().all(fits) {
        let text = format!("must be up to {MAX_STOPS} texts of 1 to {MAX_STOP_BYTES} bytes");
        return Err(Invalid::value("stop", text));
    }
    Ok(stops)
}

/// A limit of output tokens.
pub fn max_tokens(param: &'static str, given: &Number) -> Result<u32, Invalid> {
    let tokens = given.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n >= 1);
    tokens.ok_or_else(|| {
        Invalid::value(param, format!("must be a whole number from 1 to {}", u32::MAX))
    })
}

/// How many answers to the same prompt.
pub fn choices(n: Option<&Number>) -> Result<usize, Invalid> {
    let Some(n) = n else { return Ok(1) };
    let n = n.as_u64().and_then(|n| usize::try_from(n).ok());
    n.filter(|n| (1..=MAX_CHOICES).contains(n)).ok_or_else(|| {
        Invalid::value("n", format!("must be a whole number from 1 to {MAX_CHOICES}"))
    })
}

/// How many alternatives per token.
pub fn alternatives(param: &'static str, given: &Number) -> Result<u8, Invalid> {
    let count = given.as_u64().and_then(|n| u8::try_from(n).ok());
    count.filter(|n| *n <= MAX_TOP_LOGPROBS).ok_or_else(|| {
        Invalid::value(param, format!("must be a whole number from 0 to {MAX_TOP_LOGPROBS}"))
    })
}
