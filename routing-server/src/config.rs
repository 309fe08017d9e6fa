//! The checked configuration: everything that `run` needs, read before any socket opens and never
//! again after.

use crate::{
    args::{Args, File, Limits},
    dispatch::Weights,
};
use anyhow::{Context, Result, ensure};
use cactus_ledger::key_file;
use cactus_protocol::{Address, Hash, SecretKey};
use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, path::PathBuf};

const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8787);
const DEFAULT_CHAIN_URL: &str = "http://127.0.0.1:8788/v1";

/// What a routing server runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the binary listens; `run` takes a listener instead.
    pub listen: SocketAddr,
    /// The directory of the database.
    pub data_dir: PathBuf,
    /// Signs this server's transactions; its account is the server's address.
    pub key: SecretKey,
    /// The chain's REST API.
    pub chain_url: String,
    /// The account that holds the contracts.
    pub contract: Address,
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
            key,
            chain_url,
            contract,
            weights: Weights::default(),
            limits: Limits::default(),
            models: BTreeMap::new(),
        }
    }

    /// Completes what was typed: defaults < file < environment < flags.
    ///
    /// # Errors
    /// A value that is missing or out of range, with what to do about it.
    pub fn resolve(args: Args) -> Result<Self> {
        let file = args.config.as_deref().map(read_file).transpose()?;
        let file = file.unwrap_or_default();
        let key_file = args.key_file.or(file.key_file);
        let key_file = key_file.context("no key file: pass --key-file")?;
        let contract = args.contract.or(file.contract);
        let contract = contract.context("no contract: pass --contract 0x…")?;
        let data_dir = args.data_dir.or(file.data_dir);
        let chain_url = args.chain_url.or(file.chain_url);
        let config = Self {
            listen: args.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN),
            weights: file.weights,
            limits: file.limits,
            models: file.models,
            ..Self::new(
                key_file::load(&key_file)?,
                chain_url.unwrap_or_else(|| DEFAULT_CHAIN_URL.to_owned()),
                contract.parse().context("--contract")?,
                data_dir.context("no data directory: pass --data-dir")?,
            )
        };
        config.check()?;
        Ok(config)
    }

    /// Refuses values that cannot work together.
    pub(crate) fn check(&self) -> Result<()> {
        let limits = &self.limits;
        ensure!(self.weights.are_valid(), "weights must be at least 0 and not all 0");
        ensure!((1..=1000).contains(&limits.exposure_milli), "exposure_milli must be 1 to 1000");
        let counts = [
            limits.body_bytes,
            limits.streams,
            limits.streams_per_payer,
            limits.links,
            limits.attempts,
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
            contract: Some("0xca".into()),
            data_dir: Some(dir.into()),
            ..Args::default()
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("router.toml");
        let text = "contract = '0x1'\nchain_url = 'http://c/v1'\n[weights]\nprice = 1.0\n";
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
    fn what_is_missing_is_named() {
        let refused = Config::resolve(Args::default()).unwrap_err().to_string();
        assert!(refused.contains("--key-file"));
    }
}
