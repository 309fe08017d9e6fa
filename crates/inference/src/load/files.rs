//! Bounded reading of the files of one model directory. Files are read once, so that what is
//! hashed is what is used. It never follows a name out of the directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::error::LoadError;
use super::revision::{self, Hash};

/// The largest JSON or template file besides the tokenizer.
pub(crate) const TEXT_LIMIT: u64 = 4 << 20;
/// The largest tokenizer.
pub(crate) const TOKENIZER_LIMIT: u64 = 128 << 20;
/// The largest weights file.
pub(crate) const WEIGHTS_LIMIT: u64 = 64 << 30;

/// A model directory and the hashes of what was read from it.
pub(crate) struct ModelFiles {
    directory: PathBuf,
    entries: BTreeMap<String, Hash>,
}

impl ModelFiles {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_path_buf(), entries: BTreeMap::new() }
    }

    /// The name under which the model is served.
    pub(crate) fn model_id(&self) -> Result<String, LoadError> {
        let unreadable = |source| LoadError::Unreadable { path: self.directory.clone(), source };
        let directory = self.directory.canonicalize().map_err(unreadable)?;
        let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if name.is_empty() || name.len() > 128 || !name.chars().all(plain) {
            return Err(LoadError::InvalidOption(format!(
                "the directory's name is the model's id and should be letters, digits, `-`, `_` or `.`: {name:?}"
            )));
        }
        Ok(name.to_owned())
    }

    /// The whole of a file that must exist.
    pub(crate) fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, LoadError> {
        let path = self.path(name);
        let unreadable = |source| LoadError::Unreadable { path: path.clone(), source };
        let file = File::open(&path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(self.malformed(name, "it is not a regular file"));
        }
        let bytes = metadata.len();
        if bytes > limit {
            return Err(LoadError::TooLarge { path: path.clone(), bytes, limit });
        }
        let mut content = Vec::new();
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        content
            .try_reserve_exact(size)
            .map_err(|_| LoadError::OutOfMemory(format!("{} has {bytes} bytes", path.display())))?;
        file.take(limit.saturating_add(1)).read_to_end(&mut content).map_err(unreadable)?;
        if content.len() != size {
            return Err(self.malformed(name, "it changed while it was read"));
        }
        let entry = revision::entry(name, &content);
        match self.entries.insert(name.to_owned(), entry) {
            Some(earlier) if earlier != entry => {
                Err(self.malformed(name, "it changed while it was read"))
            }
            _ => Ok(content),
        }
    }

    /// The whole of a file, or nothing if there is none.
    pub(crate) fn read_optional(
        &mut self,
        name: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, LoadError> {
        match self.read(name, limit) {
            Ok(content) => Ok(Some(content)),
            Err(LoadError::Unreadable { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A JSON file that must exist.
    pub(crate) fn json<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, LoadError> {
        let content = self.read(name, TEXT_LIMIT)?;
        serde_json::from_slice(&content).map_err(|error| self.malformed(name, &error.to_string()))
    }

    /// A JSON file, or nothing if there is none.
    pub(crate) fn optional_json<T: DeserializeOwned>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, LoadError> {
        let Some(content) = self.read_optional(name, TEXT_LIMIT)? else { return Ok(None) };
        let parsed = serde_json::from_slice(&content);
        parsed.map(Some).map_err(|error| self.malformed(name, &error.to_string()))
    }

    /// The error of a file whose content cannot be used.
    pub(crate) fn malformed(&self, name: &str, reason: &str) -> LoadError {
        LoadError::Malformed { path: self.path(name), reason: reason.to_owned() }
    }

    /// The Merkle root over every file read so far.
    pub(crate) fn revision(&self) -> Hash {
        revision::root(self.entries.values().copied().collect())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}
