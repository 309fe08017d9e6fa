//! Secret keys in files that only their owner may read. It never overwrites a file and never
//! prints a key.

use cactus_protocol::SecretKey;
use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

/// No file of one key is longer, in bytes.
const MAX_KEY_FILE_BYTES: u64 = 512;

/// A key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Check the path and its permissions.
    #[error("cannot use the key file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could read it.
    #[error("the key file {path} may be read by others (mode {mode:o}); run: chmod 600 {path}", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The contents are no key.
    #[error("{} holds no key: expected one line of 0x and 64 hex digits", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// Choose another place: a key is never overwritten.
    #[error("there is a key at {} already", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the key in `path`, or makes a new one there with mode 0600.
///
/// # Errors
/// [`KeyFileError`] by what the operator can do.
pub fn load_or_create(path: &Path) -> Result<SecretKey, KeyFileError> {
    match load(path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let key = SecretKey::random();
            match store(path, &key) {
                Ok(()) => Ok(key),
                Err(KeyFileError::Taken { .. }) => load(path),
                Err(error) => Err(error),
            }
        }
        other => other,
    }
}

/// Reads the key in `path`.
///
/// # Errors
/// [`KeyFileError`] by what the operator can do.
pub fn load(path: &Path) -> Result<SecretKey, KeyFileError> {
    let metadata = fs::metadata(path).map_err(|source| io_error(path, source))?;
    check_permissions(path, &metadata)?;
    let malformed = || KeyFileError::Malformed { path: path.into() };
    if !metadata.is_file() || metadata.len() > MAX_KEY_FILE_BYTES {
        return Err(malformed());
    }
    let text = zeroize::Zeroizing::new(fs::read(path).map_err(|source| io_error(path, source))?);
    let text = std::str::from_utf8(&text).map_err(|_| malformed())?;
    text.parse().map_err(|_| malformed())
}

#[cfg(unix)]
fn check_permissions(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(KeyFileError::Exposed { path: path.into(), mode })
}

#[cfg(not(unix))]
fn check_permissions(_: &Path, _: &fs::Metadata) -> Result<(), KeyFileError> {
    Ok(())
}

/// Writes a key to a file that does not exist yet, with mode 0600.
///
/// # Errors
/// [`KeyFileError::Taken`] when there is a file already; it stays as it is.
pub fn store(path: &Path, key: &SecretKey) -> Result<(), KeyFileError> {
    write_beside_and_link(path, key).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Taken { path: path.into() },
        _ => io_error(path, source),
    })
}

/// Writes a whole file beside `path` and then links it there: a crash leaves no half a key, and a
/// key that appeared meanwhile is kept.
fn write_beside_and_link(path: &Path, key: &SecretKey) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let draft = folder.join(format!(".new-key-{:016x}", rand::random::<u64>()));
    let written = write_private(&draft, key).and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    written
}

fn write_private(path: &Path, key: &SecretKey) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(key.to_hex().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn io_error(path: &Path, source: io::Error) -> KeyFileError {
    KeyFileError::Io { path: path.into(), source }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_missing_key_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/operator.key");
        let first = load_or_create(&path).unwrap();
        assert_eq!(
            load_or_create(&path).unwrap().address(),
            first.address(),
            "the second start finds the same account"
        );
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "no draft is left behind");
    }

    #[test]
    fn a_stored_key_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wallet.key");
        let key = SecretKey::random();
        store(&path, &key).unwrap();
        let again = store(&path, &SecretKey::random()).unwrap_err();
        assert!(matches!(again, KeyFileError::Taken { .. }), "{again}");
        assert_eq!(load(&path).unwrap().address(), key.address());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_that_helps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("operator.key");
        load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_damaged_key_is_reported_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("operator.key");
        for content in ["", "0x12", &"f".repeat(10_000)] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = load_or_create(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Malformed { .. }), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }
}
