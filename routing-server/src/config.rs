//! The checked configuration: everything that `run` needs, read before any socket opens and never
//! again after.

use crate::args::{Args, File, Limits};
use anyhow::{Context, Result, ensure};
use cactus_database as database;
use cactus_dispatch::Weights;
use cactus_ledger::{LOCALNET_CONTRACT, LOCALNET_URL, key_file};
use cactus_protocol::{Address, Hash, SecretKey};
use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, path::PathBuf};

const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8787);
/// The longest address that the contract takes, in bytes.
const MAX_URL_BYTES: usize = 256;

/// What a routing server runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the binary listens; `run` takes a listener instead.
    pub listen: SocketAddr,
    /// The directory of the key, and of the database unless another one is named.
    pub data_dir: PathBuf,
    /// The database; `None` stands for a file in the data directory.
    pub database: Option<database::Address>,
    /// Signs this server's transactions; its account is the server's address.
    pub key: SecretKey,
    /// The chain's REST API.
    pub chain_url: String,
    /// The account that holds the contracts.
    pub contract: Address,
    /// Where others reach the server; `None` stands for where it listens.
    pub public_url: Option<String>,
    /// Funds the server's account when it is short.
    pub faucet_url: Option<String>,
    /// How much each term of the score counts.
    pub weights: Weights,
    /// Bounds on what is accepted and awaited.
    pub limits: Limits,
    /// Revisions that models are pinned to, by id.
    pub models: BTreeMap<String, Hash>,
}

impl Config {
    /// With the defaults for everything else.
    pub fn new(key: SecretKey, chain_url: String, contract: Address, data_dir: PathBuf) -> Self {
        Self {
            listen: DEFAULT_LISTEN,
            data_dir,
            database: None,
            key,
            chain_url,
            contract,
            public_url: None,
            faucet_url: None,
            weights: Weights::default(),
            limits: Limits::default(),
            models: BTreeMap::new(),
        }
    }

    /// Completes what was typed: defaults < file < environment < flags. Makes a key when there is
    /// none.
    ///
    /// # Errors
    /// A value that is missing or out of range, with what to do about it.
    pub fn resolve(args: Args) -> Result<Self> {
        let file = args.config.as_deref().map(read_file).transpose()?;
        let file = file.unwrap_or_default();
        let data_dir = match args.data_dir.or(file.data_dir) {
            Some(folder) => folder,
            None => default_data_dir()?,
        };
        let key_file = args.key_file.or(file.key_file);
        let key_file = key_file.unwrap_or_else(|| data_dir.join("server.key"));
        let contract = args.contract.or(file.contract).unwrap_or(LOCALNET_CONTRACT);
        let chain_url = args.chain_url.or(file.chain_url);
        let chain_url = chain_url.unwrap_or_else(|| LOCALNET_URL.to_owned());
        let key = key_file::load_or_create(&key_file)?;
        let config = Self {
            listen: args.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN),
            public_url: args.public_url.or(file.public_url),
            faucet_url: args.faucet_url.or(file.faucet_url),
            database: args
                .database
                .or(file.database)
                .map(|text| parse_database(&text.0))
                .transpose()?,
            weights: file.weights,
            limits: file.limits,
            models: file.models,
            ..Self::new(key, chain_url, contract, data_dir)
        };
        config.check()?;
        Ok(config)
    }

    /// Refuses values that cannot work together.
    pub(crate) fn check(&self) -> Result<()> {
        let limits = &self.limits;
        match &self.public_url {
            Some(url) => check_public_url(url)?,
            None => ensure!(
                !self.listen.ip().is_unspecified(),
                "--public-url: say where others reach this server, which listens everywhere"
            ),
        }
        ensure!(self.weights.are_valid(), "weights must be at least 0 and not all 0");
        ensure!((1..=1000).contains(&limits.exposure_milli), "exposure_milli must be 1 to 1000");
        let counts = [
            limits.body_bytes,
            limits.streams,
            limits.streams_per_payer,
            limits.links,
            limits.attempts,
            limits.batch_lines,
            usize::try_from(limits.database_connections)?,
        ];
        ensure!(
            counts.iter().all(|c| *c > 0)
                && limits.default_max_tokens > 0
                && limits.reconcile_ms > 0,
            "no limit may be 0"
        );
        // The whole request travels to the node in one frame.
        ensure!(
            limits.body_bytes <= cactus_protocol::frame::MAX_FRAME_BYTES,
            "body_bytes must be at most {}",
            cactus_protocol::frame::MAX_FRAME_BYTES
        );
        ensure!(
            limits.lock_seconds > u64::from(limits.task_ms) / 1000,
            "lock_seconds must be longer than task_ms"
        );
        Ok(())
    }
}

/// Says what is wrong without repeating the text, which may hold a password.
fn parse_database(text: &str) -> Result<database::Address> {
    text.parse().context("--database, CACTUS_DATABASE_URL or `database` in the file")
}

/// The chain keeps it for everyone: it must be an address that others can use.
fn check_public_url(url: &str) -> Result<()> {
    let has_scheme = url.starts_with("http://") || url.starts_with("https://");
    let is_one_word = !url.chars().any(|c| c.is_whitespace() || c.is_control());
    ensure!(
        has_scheme && is_one_word && url.len() <= MAX_URL_BYTES,
        "--public-url must be http://… or https://… of at most {MAX_URL_BYTES} bytes, got {url:?}"
    );
    Ok(())
}

fn default_data_dir() -> Result<PathBuf> {
    let home = std::env::home_dir();
    let home = home.context("this account has no home directory: pass --data-dir")?;
    Ok(home.join(".cactus/router"))
}

fn read_file(path: &Path) -> Result<File> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("parse {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn key_file(dir: &Path, mode: u32) -> PathBuf {
        let path = dir.join("key");
        fs::write(&path, SecretKey::random().to_hex().as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn args(dir: &Path) -> Args {
        Args {
            key_file: Some(key_file(dir, 0o600)),
            contract: Some("0xca".parse().unwrap()),
            data_dir: Some(dir.into()),
            ..Args::default()
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("router.toml");
        let text = "contract = '0x1'\nchain-url = 'http://c/v1'\n[weights]\nprice = 1.0\n";
        fs::write(&path, text).unwrap();
        let args = Args { config: Some(path), ..args(dir.path()) };
        let config = Config::resolve(args).unwrap();
        assert_eq!(config.contract, "0xca".parse().unwrap());
        assert_eq!(config.chain_url, "http://c/v1");
        assert!((config.weights.price - 1.0).abs() < f64::EPSILON);
        assert_eq!(config.listen, DEFAULT_LISTEN);
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let args = Args { key_file: Some(key_file(dir.path(), 0o640)), ..args(dir.path()) };
        // `args` wrote the file with 0600 after; set it back.
        key_file(dir.path(), 0o640);
        let refused = Config::resolve(args).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn a_misspelt_value_in_the_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("router.toml");
        fs::write(&path, "[limits]\nstreems = 5\n").unwrap();
        let args = Args { config: Some(path), ..args(dir.path()) };
        assert!(Config::resolve(args).is_err());
    }

    #[test]
    fn what_nobody_says_is_the_local_networks_and_the_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let resolve = || {
            let data_dir = Some(dir.path().join("new"));
            Config::resolve(Args { data_dir, ..Args::default() }).unwrap()
        };
        let (first, again) = (resolve(), resolve());
        assert_eq!(first.contract, LOCALNET_CONTRACT);
        assert_eq!(first.chain_url, LOCALNET_URL);
        assert_eq!((first.public_url, first.faucet_url), (None, None));
        assert_eq!(first.key.address(), again.key.address());
        assert!(dir.path().join("new/server.key").exists());
    }

    #[test]
    fn a_database_that_is_not_served_is_refused_without_repeating_its_password() {
        let dir = tempfile::tempdir().unwrap();
        let database = Some("mysql://cactus:hunter2@db/router".into());
        let refused = Config::resolve(Args { database, ..args(dir.path()) }).unwrap_err();
        let refused = format!("{refused:#}");
        assert!(refused.contains("postgres://") && !refused.contains("hunter2"), "{refused}");
        let database = Some("postgres://cactus:hunter2@db/router".into());
        let config = Config::resolve(Args { database, ..args(dir.path()) }).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn an_address_that_others_cannot_use_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let long = format!("https://{}", "a".repeat(MAX_URL_BYTES));
        for url in ["router.example", "", "https://a b", "ftp://a", &long] {
            let args = Args { public_url: Some(url.into()), ..args(dir.path()) };
            let refused = Config::resolve(args).unwrap_err().to_string();
            assert!(refused.contains("--public-url"), "{refused}");
        }
        let listen = Some("0.0.0.0:8787".parse().unwrap());
        let everywhere = Args { listen, ..args(dir.path()) };
        let refused = Config::resolve(everywhere.clone()).unwrap_err().to_string();
        assert!(refused.contains("--public-url"), "{refused}");
        let public_url = Some("https://router.example".to_owned());
        assert!(Config::resolve(Args { public_url, ..everywhere }).is_ok());
    }
}
