//! Bounded reading of the files of one model: a directory, or a GGUF file and what lies beside it.
//! Files are read once, so that what is hashed is what is used. It never follows a name out of the
//! directory.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::error::LoadError;
use super::gguf::{Gguf, as_file};
use super::revision::{self, Hash};
use super::torchscript::torchscript_file;
use crate::memory::available;

/// The largest JSON or template file besides the tokenizer.
pub(crate) const TEXT_LIMIT: u64 = 4 << 20;
/// The largest tokenizer.
pub(crate) const TOKENIZER_LIMIT: u64 = 128 << 20;
/// The largest weights file.
pub(crate) const WEIGHTS_LIMIT: u64 = 64 << 30;

/// The longest name of a model, in bytes.
const ID_LIMIT: usize = 256;

/// A model directory and the hashes of what was read from it.
pub(crate) struct ModelFiles {
    directory: PathBuf,
    entries: BTreeMap<String, Hash>,
    /// What the directory or the GGUF file is called, not yet checked.
    name: Option<String>,
    /// The name under which the model is served, where another was given.
    id: Option<String>,
    gguf: Option<Gguf>,
    /// The name of the TorchScript module, if the model is one.
    torchscript: Option<String>,
}

/// The GGUF file that `path` means: itself, or the only one in a directory without `config.json`.
///
/// # Errors
/// [`LoadError`] if the directory cannot be read, or holds several.
pub(crate) fn gguf_file(path: &Path) -> Result<Option<PathBuf>, LoadError> {
    let is_gguf = |path: &Path| path.extension().is_some_and(|extension| extension == "gguf");
    if path.is_file() && is_gguf(path) {
        return Ok(Some(path.to_path_buf()));
    }
    if path.join("config.json").exists() {
        return Ok(None);
    }
    let unreadable = |source| LoadError::Unreadable { path: path.to_path_buf(), source };
    let mut found = None;
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?.path();
        if is_gguf(&entry) && found.replace(entry).is_some() {
            let reason = "it holds several GGUF files; name one of them".to_owned();
            return Err(LoadError::Malformed { path: path.to_path_buf(), reason });
        }
    }
    Ok(found)
}

/// Whether a text of letters, digits and `signs` can be the name of a model.
fn is_id(text: &str, signs: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || signs.contains(letter);
    (1..=ID_LIMIT).contains(&text.len()) && text.chars().all(plain)
}

impl ModelFiles {
    /// Finds out what `path` is; a GGUF file is read and parsed at once.
    pub(crate) fn open(path: &Path) -> Result<Self, LoadError> {
        let unreadable = |source| LoadError::Unreadable { path: path.to_path_buf(), source };
        let module = torchscript_file(path);
        // A module is named after its directory, where its tokenizer lies.
        let path = match module.as_deref().map(Path::parent) {
            Some(Some(parent)) if parent.as_os_str().is_empty() => Path::new("."),
            Some(Some(parent)) => parent,
            _ => path,
        };
        let gguf = if module.is_some() { None } else { gguf_file(path)? };
        let absolute = path.canonicalize().map_err(unreadable)?;
        let text = |name: Option<&OsStr>| name.and_then(OsStr::to_str).map(str::to_owned);
        let name = if absolute.is_file() { absolute.file_stem() } else { absolute.file_name() };
        let directory = match &gguf {
            Some(file) => file.parent().unwrap_or(Path::new("")).to_path_buf(),
            None => path.to_path_buf(),
        };
        let torchscript = module.and_then(|module| text(module.file_name()));
        let (name, entries) = (text(name), BTreeMap::new());
        let mut files = Self { directory, entries, name, id: None, gguf: None, torchscript };
        if let Some(name) = gguf.and_then(|file| text(file.file_name())) {
            let content = files.read(&name, WEIGHTS_LIMIT)?;
            let parsed = Gguf::parse(content).map_err(|reason| files.malformed(&name, &reason))?;
            files.gguf = Some(parsed);
        }
        Ok(files)
    }

    /// The size of the largest file of safetensors, in bytes.
    pub(crate) fn largest_weights(&self) -> u64 {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let weights = entries.filter(|entry| {
            entry.path().extension().is_some_and(|extension| extension == "safetensors")
        });
        let sizes = weights.filter_map(|entry| Some(entry.metadata().ok()?.len()));
        sizes.max().unwrap_or(0)
    }

    /// The GGUF file, if the model is one.
    pub(crate) fn gguf(&self) -> Option<&Gguf> {
        self.gguf.as_ref()
    }

    /// The name of the TorchScript module, if the model is one.
    pub(crate) fn torchscript(&self) -> Option<&str> {
        self.torchscript.as_deref()
    }

    /// Serves the model under `id` instead of the name of its directory or file.
    ///
    /// # Errors
    /// [`LoadError::InvalidOption`] if no request could carry it.
    pub(crate) fn serve_as(&mut self, id: Option<&str>) -> Result<(), LoadError> {
        if id.is_some_and(|id| !is_id(id, "-_.:@+/")) {
            return Err(LoadError::InvalidOption(format!(
                "a model's id is 1 to {ID_LIMIT} letters, digits and `-_.:@+/`, not {id:?}"
            )));
        }
        self.id = id.map(str::to_owned);
        Ok(())
    }

    /// The name under which the model is served: the one given, or else that of the directory or of
    /// the GGUF file.
    pub(crate) fn model_id(&self) -> Result<String, LoadError> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let name = self.name.clone().unwrap_or_default();
        if !is_id(&name, "-_.") {
            return Err(LoadError::InvalidOption(format!(
                "the directory's name is the model's id and should be letters, digits, `-`, `_` \
                 or `.`: {name:?}"
            )));
        }
        Ok(name)
    }

    /// The whole of a file that must exist, on disk or in what a GGUF file says.
    pub(crate) fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, LoadError> {
        let path = self.path(name);
        let unreadable = |source| LoadError::Unreadable { path: path.clone(), source };
        if !path.exists()
            && let Some(gguf) = &self.gguf
            && let Some(made) = as_file(gguf, name).map_err(|why| self.malformed(name, &why))?
        {
            return Ok(made);
        }
        let file = File::open(&path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(self.malformed(name, "it is not a regular file"));
        }
        let bytes = metadata.len();
        if bytes > limit {
            return Err(LoadError::TooLarge { path: path.clone(), bytes, limit });
        }
        let available = available();
        if bytes > available {
            return Err(LoadError::OutOfMemory(format!(
                "{} has {bytes} bytes and {available} are available",
                path.display()
            )));
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
