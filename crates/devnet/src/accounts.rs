//! The keys of a local network, one file each, so that a restarted network is the same network.

use anyhow::{Context, Result};
use cactus_protocol::SecretKey;
use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::PathBuf,
};

/// A directory of secret keys, readable by their owner alone.
pub struct KeyStore {
    dir: PathBuf,
}

impl KeyStore {
    /// Keys below `dir`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Where a key is or will be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.key"))
    }

    /// The key of that name; made when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no key.
    pub fn load_or_create(&self, name: &str) -> Result<SecretKey> {
        let path = self.path(name);
        if !path.exists() {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let file = options.open(&path);
            let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
            writeln!(file, "{}", *SecretKey::random().to_hex())?;
            file.sync_all()?;
        }
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        text.parse().with_context(|| format!("{} holds no key", path.display()))
    }
}
