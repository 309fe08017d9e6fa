//! Whether a directory holds a model that writes or one that embeds.
//! It never loads weights.

use std::path::Path;

use serde::Deserialize;

use super::error::LoadError;
use super::files::{ModelFiles, gguf_file};
use super::torchscript::torchscript_file;

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// Load it with [`crate::Model`].
    Chat,
    /// Load it with [`crate::EmbeddingModel`].
    Embedding,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    architectures: Vec<String>,
    model_type: Option<String>,
}

/// Reads the `architectures` of `config.json`: encoders of the BERT type embed, all else writes, as
/// do every GGUF file and every TorchScript module that are served.
///
/// # Errors
/// [`LoadError`] if there is no readable `config.json`.
pub fn kind(directory: &Path) -> Result<ModelKind, LoadError> {
    if torchscript_file(directory).is_some() || gguf_file(directory)?.is_some() {
        return Ok(ModelKind::Chat);
    }
    let config: Config = ModelFiles::open(directory)?.json("config.json")?;
    let encoder = |name: &str| name.to_ascii_lowercase().starts_with("bert");
    let named = config.architectures.first().map(String::as_str).or(config.model_type.as_deref());
    Ok(if named.is_some_and(encoder) { ModelKind::Embedding } else { ModelKind::Chat })
}
