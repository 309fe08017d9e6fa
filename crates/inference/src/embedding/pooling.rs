//! How the states of a text's tokens become one vector, as the files of sentence-transformers say.
//! It never computes an encoder.

use serde::Deserialize;

use crate::load::error::LoadError;
use crate::load::files::ModelFiles;

const MODULES: &str = "modules.json";

/// From token states to a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pooling {
    mode: Mode,
    /// Whether the vector is scaled to length 1.
    normalise: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The state of the first token.
    First,
    /// The mean over all tokens.
    Mean,
    /// The greatest of each value over all tokens.
    Greatest,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// One `1_Pooling/config.json`, in the spellings of several years.
#[derive(Default, Deserialize)]
struct Raw {
    embedding_dimension: Option<usize>,
    word_embedding_dimension: Option<usize>,
    pooling_mode: Option<String>,
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

impl Pooling {
    /// Reads `modules.json` and what it names. Without it, the mean and no normalisation, as
    /// sentence-transformers does.
    pub(super) fn load(files: &mut ModelFiles, hidden: usize) -> Result<Self, LoadError> {
        let mut pooling = Self { mode: Mode::Mean, normalise: false };
        for module in files.optional_json::<Vec<Module>>(MODULES)?.unwrap_or_default() {
            match module.kind.rsplit('.').next() {
                Some("Transformer") if module.path.is_empty() => {}
                Some("Pooling") => pooling.mode = Self::mode(files, &module.path, hidden)?,
                Some("Normalize") => pooling.normalise = true,
                _ => {
                    let (kind, path) = (module.kind, module.path);
                    return Err(LoadError::Unsupported(format!("module `{kind}` at {path:?}")));
                }
            }
        }
        Ok(pooling)
    }

    fn mode(files: &mut ModelFiles, path: &str, hidden: usize) -> Result<Mode, LoadError> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        if path.is_empty() || !path.chars().all(plain) {
            return Err(files.malformed(MODULES, &format!("`{path}` is not a module's directory")));
        }
        let file = format!("{path}/config.json");
        let raw: Raw = files.json(&file)?;
        if raw
            .embedding_dimension
            .or(raw.word_embedding_dimension)
            .is_some_and(|width| width != hidden)
        {
            return Err(files.malformed(&file, &format!("the encoder's width is {hidden}")));
        }
        raw.mode().ok_or_else(|| {
            LoadError::Unsupported("a pooling other than cls, mean or max, or several".to_owned())
        })
    }

    /// One vector from whole rows of `width` values, at least one.
    pub(super) fn pool(self, rows: &[f32], width: usize) -> Vec<f32> {
        let mut vector = rows[..width].to_vec();
        for row in rows[width..].chunks_exact(width) {
            let pairs = vector.iter_mut().zip(row);
            match self.mode {
                Mode::First => break,
                Mode::Mean => pairs.for_each(|(sum, value)| *sum += value),
                Mode::Greatest => pairs.for_each(|(most, value)| *most = most.max(*value)),
            }
        }
        // Texts have at most 2²⁰ tokens, so the conversion is exact.
        let count = (rows.len() / width) as f32;
        if self.mode == Mode::Mean {
            vector.iter_mut().for_each(|value| *value /= count);
        }
        if self.normalise {
            let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
            vector.iter_mut().for_each(|value| *value /= length);
        }
        vector
    }
}

impl Raw {
    fn mode(&self) -> Option<Mode> {
        if let Some(mode) = &self.pooling_mode {
            return match mode.as_str() {
                "cls" => Some(Mode::First),
                "mean" => Some(Mode::Mean),
                "max" => Some(Mode::Greatest),
                _ => None,
            };
        }
        let others = self.pooling_mode_mean_sqrt_len_tokens
            || self.pooling_mode_weightedmean_tokens
            || self.pooling_mode_lasttoken;
        let chosen = (
            self.pooling_mode_cls_token,
            self.pooling_mode_mean_tokens,
            self.pooling_mode_max_tokens,
            others,
        );
        match chosen {
            (true, false, false, false) => Some(Mode::First),
            (false, true, false, false) => Some(Mode::Mean),
            (false, false, true, false) => Some(Mode::Greatest),
            _ => None,
        }
    }
}
