//! Which revision each model is held at, and the hashes of its files: the first download writes them
//! down, later ones keep to them until they are told to move on. It never asks a hub.

use super::{HubError, ModelReference, listing::is_hex, write};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// In the folder of all models.
const FILE: &str = "cactus-models.lock";
/// No lock file is longer, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The lock file: models as they were asked for, such as `owner/name@main`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    models: BTreeMap<String, Held>,
}

/// What a model is held at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Held {
    pub(super) commit: String,
    /// The SHA-256 of each file, in lower-case hex.
    pub(super) files: BTreeMap<String, String>,
}

impl Lock {
    /// Reads the file; without one, nothing is held.
    pub(super) fn read(cache: &Path) -> Result<Self, HubError> {
        let path = path(cache);
        let bad = |reason: String| HubError::BadLock { path: path.clone(), reason };
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Ok(metadata) if metadata.len() > MAX_BYTES => return Err(bad("it is too long".into())),
            _ => {}
        }
        let text = fs::read(&path).map_err(|error| bad(error.to_string()))?;
        let lock: Self = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        match lock.models.values().find(|held| !is_hex(&held.commit, 40)) {
            Some(held) => Err(bad(format!("{:?} is no commit", held.commit))),
            None => Ok(lock),
        }
    }

    pub(super) fn held(&self, model: &ModelReference) -> Option<&Held> {
        self.models.get(&model.to_string())
    }
}

impl Held {
    /// Whether it says something else of a file.
    pub(super) fn contradicts(&self, file: &str, sha256: &str) -> bool {
        self.files.get(file).is_some_and(|held| held != sha256)
    }
}

/// Holds `model` from now on. Of two programs that write at once, one may have to write again.
pub(super) fn hold(cache: &Path, model: &ModelReference, held: Held) -> Result<(), HubError> {
    let mut lock = Lock::read(cache)?;
    if lock.held(model) == Some(&held) {
        return Ok(());
    }
    lock.models.insert(model.to_string(), held);
    let text =
        serde_json::to_vec_pretty(&lock).map_err(|error| HubError::Odd(error.to_string()))?;
    write(&path(cache), &text)
}

fn path(cache: &Path) -> PathBuf {
    cache.join(FILE)
}
