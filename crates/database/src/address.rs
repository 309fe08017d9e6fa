//! Where a database is. Its text may hold a password, which is shown to nobody.

use sqlx::{ConnectOptions, any::AnyConnectOptions, sqlite::SqliteConnectOptions};
use std::{fmt, path::Path, str::FromStr};

/// The address of a database: `sqlite:path` or `postgres://user@host/name`.
#[derive(Clone)]
pub struct Address(AnyConnectOptions);

/// The text names no database that is served here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a database is postgres://user@host/name, or sqlite:path")]
pub struct BadAddress;

impl Address {
    /// An SQLite file, made when it is absent.
    ///
    /// # Errors
    /// [`BadAddress`] when the path cannot be written as text.
    pub fn file(path: &Path) -> Result<Self, BadAddress> {
        // Only an absolute path has one reading as a URL.
        let path = std::path::absolute(path).map_err(|_| BadAddress)?;
        // The driver escapes all but the sign of escaping.
        let path = path.to_str().ok_or(BadAddress)?.replace('%', "%25");
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let options = AnyConnectOptions::from_url(&options.to_url_lossy());
        options.map(Self).map_err(|_| BadAddress)
    }

    /// The same database with one more parameter of its connections.
    #[must_use]
    pub fn with_parameter(mut self, name: &str, value: &str) -> Self {
        self.0.database_url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// Whether it is a file of one process.
    pub fn is_file(&self) -> bool {
        self.0.database_url.scheme() == "sqlite"
    }

    /// What the driver takes.
    pub(crate) fn options(&self) -> AnyConnectOptions {
        self.0.clone()
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(BadAddress) } else { Self::file(Path::new(path)) };
        }
        let options = AnyConnectOptions::from_str(text).map_err(|_| BadAddress)?;
        let is_known = matches!(options.database_url.scheme(), "postgres" | "postgresql");
        is_known.then_some(Self(options)).ok_or(BadAddress)
    }
}

/// Without the password, which may also stand among the parameters.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.0.database_url;
        write!(f, "{}:", url.scheme())?;
        if !self.is_file() {
            f.write_str("//")?;
            if !url.username().is_empty() {
                write!(f, "{}@", url.username())?;
            }
            f.write_str(url.host_str().unwrap_or_default())?;
            if let Some(port) = url.port() {
                write!(f, ":{port}")?;
            }
        }
        f.write_str(url.path())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_to_nobody() {
        for text in [
            "postgres://cactus:hunter2@db.example:5433/router",
            "postgres://cactus@db.example:5433/router?password=hunter2",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), "postgres://cactus@db.example:5433/router");
            assert!(!format!("{address:?}").contains("hunter2"));
        }
    }

    #[test]
    fn only_databases_that_are_served_have_an_address() {
        for text in ["", "sqlite:", "mysql://a/b", "router.sqlite", "postgres", "http://x"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert!("sqlite:router.sqlite".parse::<Address>().unwrap().is_file());
        assert!(!"postgresql://a/b".parse::<Address>().unwrap().is_file());
    }
}
