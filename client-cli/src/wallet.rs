//! The user's key file: one line of hex, readable by its owner alone. A wallet is never
//! overwritten.

use crate::helpful::Helpful;
use anyhow::{Context, Result};
use cactus_protocol::SecretKey;
use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::Path,
};

/// Reads the key.
pub fn load(path: &Path) -> Result<SecretKey> {
    let text = match fs::read_to_string(path) {
        Ok(text) => zeroize::Zeroizing::new(text),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(Helpful::error(
                format!("you have no wallet at {}", path.display()),
                "make one with `cactus wallet create`, or start a network with `cactus up`",
            ));
        }
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    text.parse().with_context(|| format!("{} holds no key", path.display()))
}

/// Writes a key to a file that must not exist yet.
pub fn store(path: &Path, key: &SecretKey) -> Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            return Err(Helpful::error(
                format!("there is a wallet at {} already", path.display()),
                "move it away first, or choose another place with --home",
            ));
        }
        Err(e) => return Err(e).with_context(|| format!("cannot write {}", path.display())),
    };
    writeln!(file, "{}", *key.to_hex())?;
    file.sync_all().with_context(|| format!("cannot write {}", path.display()))
}

/// Reads the key, or makes one when there is none.
pub fn load_or_create(path: &Path) -> Result<SecretKey> {
    if !path.exists() {
        store(path, &SecretKey::random())?;
    }
    load(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_key_is_private_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/wallet.key");
        let key = SecretKey::random();
        store(&path, &key).unwrap();
        assert_eq!(load(&path).unwrap().address(), key.address());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(store(&path, &SecretKey::random()).is_err());
        assert_eq!(load_or_create(&path).unwrap().address(), key.address());
    }
}
