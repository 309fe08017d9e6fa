//! The tokenizer of an encoder, with the truncation of sentence-transformers.
//! It never pads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Deserialize;
use tokenizers::{Tokenizer, TruncationParams};

use super::EmbedError;
use crate::candle_engine::bert::Config;
use crate::load::error::LoadError;
use crate::load::files::{ModelFiles, TOKENIZER_LIMIT};
use crate::text::codec::parse_tokenizer;

const TOKENIZER: &str = "tokenizer.json";
const SENTENCES: &str = "sentence_bert_config.json";

/// Turns text into tokens that the encoder accepts.
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    limit: usize,
    lower: bool,
}

#[derive(Default, Deserialize)]
struct Sentences {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

#[derive(Default, Deserialize)]
struct TokenizerConfig {
    /// Some files say 10³⁰ for "none".
    model_max_length: Option<f64>,
}

impl Tokens {
    /// Reads the tokenizer and how long texts may be.
    pub(super) fn load(files: &mut ModelFiles, config: &Config) -> Result<Self, LoadError> {
        let content = files.read(TOKENIZER, TOKENIZER_LIMIT)?;
        let mut tokenizer =
            parse_tokenizer(&content).map_err(|reason| files.malformed(TOKENIZER, &reason))?;
        let highest = tokenizer.get_vocab(true).into_values().max();
        if highest.is_some_and(|id| usize::try_from(id).is_ok_and(|id| id >= config.vocabulary)) {
            let reason = format!("it has token ids beyond the vocabulary of {}", config.vocabulary);
            return Err(files.malformed(TOKENIZER, &reason));
        }
        let sentences = files.optional_json::<Sentences>(SENTENCES)?.unwrap_or_default();
        let settings: TokenizerConfig =
            files.optional_json("tokenizer_config.json")?.unwrap_or_default();
        // Positions are at most 2²⁰, so the conversion is exact.
        let fits = |length: &f64| (1.0..config.positions as f64).contains(length);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let usual = settings.model_max_length.filter(fits).map(|length| length as usize);
        let limit = sentences.max_seq_length.or(usual).unwrap_or(config.positions);
        if limit == 0 || limit > config.positions {
            let reason = format!("max_seq_length must be 1 to {}, not {limit}", config.positions);
            return Err(files.malformed(SENTENCES, &reason));
        }
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length: limit, ..TruncationParams::default() };
        let truncated = catch_unwind(AssertUnwindSafe(|| {
            tokenizer
                .with_truncation(Some(truncation))
                .map(|_| ())
                .map_err(|error| error.to_string())
        }));
        match truncated {
            Ok(Ok(())) => Ok(Self { tokenizer, limit, lower: sentences.do_lower_case }),
            Ok(Err(reason)) => Err(files.malformed(TOKENIZER, &reason)),
            Err(_) => Err(files.malformed(TOKENIZER, "the tokenizer library panicked on it")),
        }
    }

    /// The longest text in tokens.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The tokens of a text with those that mark its beginning and end.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, EmbedError> {
        let text = if self.lower { text.trim().to_lowercase() } else { text.trim().to_owned() };
        // A hostile vocabulary may make the tokenizer library panic; the node should live on.
        let encoded = catch_unwind(AssertUnwindSafe(|| self.tokenizer.encode_fast(text, true)));
        let tokens = match encoded {
            Ok(Ok(encoding)) => encoding.get_ids().to_vec(),
            Ok(Err(error)) => return Err(EmbedError::Internal(error.to_string())),
            Err(_) => return Err(EmbedError::Internal("the tokenizer panicked".to_owned())),
        };
        match tokens.len() {
            0 => Err(EmbedError::BadRequest("a text has no tokens".to_owned())),
            length if length > self.limit => {
                Err(EmbedError::Internal("the tokenizer did not cut a text off".to_owned()))
            }
            _ => Ok(tokens),
        }
    }
}
