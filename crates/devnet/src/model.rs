//! The model that ships with the program: `models/sprout`, carried inside the binary and written
//! to the data directory when first needed.

use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../../models/sprout/", $name)).as_slice())),*]
    };
}

const FILES: [(&str, &[u8]); 6] = files![
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// Conversations that show what sprout can do: one JSON object a line, with OpenAI's `messages`
/// and the answer that is right.
pub const DEMONSTRATION: &str = include_str!("../../../models/sprout/demo.jsonl");

/// Writes the model below `data_dir` unless it is there already, and returns its directory.
///
/// # Errors
/// When the directory cannot be written.
pub fn sprout(data_dir: &Path) -> Result<PathBuf> {
    let dir = data_dir.join("models").join("sprout");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    for (name, bytes) in FILES {
        let path = dir.join(name);
        if !fs::read(&path).is_ok_and(|present| present == bytes) {
            fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(dir)
}
