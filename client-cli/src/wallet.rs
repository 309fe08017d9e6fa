//! The user's key file, with errors that say how to get one.

use crate::helpful::Helpful;
use anyhow::Result;
use cactus_ledger::key_file::{self, KeyFileError};
use cactus_protocol::SecretKey;
use std::{io::ErrorKind, path::Path};

/// Reads the key.
pub fn load(path: &Path) -> Result<SecretKey> {
    key_file::load(path).map_err(|error| match error {
        KeyFileError::Io { source, .. } if source.kind() == ErrorKind::NotFound => Helpful::error(
            format!("you have no wallet at {}", path.display()),
            "make one with `cactus wallet create`, or start a network with `cactus up`",
        ),
        other => other.into(),
    })
}

/// Writes a key to a file that must not exist yet.
pub fn store(path: &Path, key: &SecretKey) -> Result<()> {
    key_file::store(path, key).map_err(|error| match error {
        KeyFileError::Taken { .. } => Helpful::error(
            error.to_string(),
            "move it away first, or choose another place with --home",
        ),
        other => other.into(),
    })
}

/// Reads the key, or makes one when there is none.
pub fn load_or_create(path: &Path) -> Result<SecretKey> {
    Ok(key_file::load_or_create(path)?)
}
