//! The complete, checked configuration. It is resolved once at start-up: flags over environment
//! over file over defaults; nothing reads them later.

use crate::{
    args::{RunArgs, Settings},
    link::Timing,
    router_url::RouterUrl,
    source::Source,
};
use cactus_inference::DeviceChoice;
use cactus_ledger::{
    LOCALNET_CONTRACT, LOCALNET_URL, LedgerConfig,
    key_file::{self, KeyFileError},
};
use cactus_protocol::{Octas, Price, SecretKey};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// No configuration file is longer, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The longest region or metadata text, in bytes.
const MAX_TEXT_BYTES: usize = 256;
/// What stands on the chain when the operator tells nothing; the contract wants some text.
const NO_METADATA: &str = "urn:cactus:orchestrator";
/// The highest price that the contract takes, per 1,000 tokens.
const MAX_PRICE: Octas = Octas(1_000_000_000_000);
/// The most tasks of one kind (running, waiting).
const MAX_TASKS: u16 = 4096;

/// Everything that a node needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The routing servers to serve.
    pub routers: Vec<RouterUrl>,
    /// The chain; with a faucet, the account is funded from it when it is short.
    pub ledger: LedgerConfig,
    /// Owns the stake and is paid.
    pub operator_key: SecretKey,
    /// Signs receipts.
    pub node_key: SecretKey,
    /// What [`crate::run`] serves.
    pub source: Source,
    /// Octas per 1,000 tokens.
    pub price: Price,
    /// Bond up to this much.
    pub stake: Octas,
    /// Tasks that run at once, per model.
    pub slots: u16,
    /// Tasks that may wait.
    pub queue: u16,
    /// Where the machine is.
    pub region: String,
    /// A public description of the operator.
    pub metadata_uri: String,
    /// The operator's power cap for each task.
    pub tokens_per_second_limit: Option<f64>,
    /// What computes models here; each model is loaded once on each.
    pub devices: Vec<DeviceChoice>,
    /// Compute threads.
    pub threads: Option<usize>,
    /// Between lines about earnings.
    pub earnings_every: Duration,
    /// Limits of each link.
    pub timing: Timing,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Check the path.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Fix the file.
    #[error("the configuration {} is wrong: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// Change this value.
    #[error("{setting}: {reason}")]
    Value {
        /// The flag.
        setting: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
}

fn wrong(setting: &'static str, reason: impl Into<String>) -> ConfigError {
    ConfigError::value(setting, reason)
}

impl ConfigError {
    pub(crate) fn value(setting: &'static str, reason: impl Into<String>) -> Self {
        Self::Value { setting, reason: reason.into() }
    }
}

impl Config {
    /// Defaults for everything but the chain and the keys; without routing servers and models.
    pub fn new(ledger: LedgerConfig, operator_key: SecretKey, node_key: SecretKey) -> Self {
        Self {
            routers: Vec::new(),
            ledger,
            operator_key,
            node_key,
            source: Source::Local(Vec::new()),
            price: Price { prompt: Octas(1000), output: Octas(2000) },
            stake: Octas(1_000_000_000),
            slots: 4,
            queue: 16,
            region: String::new(),
            metadata_uri: NO_METADATA.to_owned(),
            tokens_per_second_limit: None,
            devices: vec![DeviceChoice::Auto],
            threads: None,
            earnings_every: Duration::from_secs(60),
            timing: Timing::default(),
        }
    }

    /// Reads the file, applies what was typed, makes missing keys, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`] naming the file or the flag to change.
    pub fn resolve(args: RunArgs) -> Result<Self, ConfigError> {
        let file = args.config.as_deref().map(read_file).transpose()?;
        let settings = args.settings.over(file.unwrap_or_default());
        let config = Self::of_settings(settings)?;
        config.check()?;
        if config.routers.is_empty() {
            return Err(wrong("--router", "name at least one routing server"));
        }
        if config.source.is_empty() {
            return Err(wrong("--model", "name at least one model"));
        }
        Ok(config)
    }

    fn of_settings(settings: Settings) -> Result<Self, ConfigError> {
        let (operator_key, node_key) = keys(&settings)?;
        let source = Source::of_settings(&settings)?;
        let ledger = LedgerConfig {
            url: settings.chain_url.unwrap_or_else(|| LOCALNET_URL.to_owned()),
            faucet_url: settings.faucet_url,
            contract: settings.contract.unwrap_or(LOCALNET_CONTRACT),
        };
        let default = Self::new(ledger, operator_key, node_key);
        let seconds = |value: Option<u64>, default| value.map_or(default, Duration::from_secs);
        Ok(Self {
            routers: settings.router.unwrap_or_default(),
            source,
            price: Price {
                prompt: settings.price_prompt.unwrap_or(default.price.prompt),
                output: settings.price_output.unwrap_or(default.price.output),
            },
            stake: settings.stake.unwrap_or(default.stake),
            slots: settings.slots.unwrap_or(default.slots),
            queue: settings.queue.unwrap_or(default.queue),
            region: settings.region.unwrap_or_default(),
            metadata_uri: settings.metadata_uri.unwrap_or_else(|| default.metadata_uri.clone()),
            tokens_per_second_limit: settings.tokens_per_second,
            devices: settings.device.unwrap_or_else(|| default.devices.clone()),
            threads: settings.threads,
            earnings_every: seconds(settings.earnings_every, default.earnings_every),
            timing: Timing {
                heartbeat: seconds(settings.heartbeat, default.timing.heartbeat),
                drain: seconds(settings.drain, default.timing.drain),
                ..default.timing.clone()
            },
            ..default
        })
    }

    /// Whether the values make sense, wherever they came from.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_numbers()?;
        self.check_devices()?;
        self.check_texts()?;
        self.check_pauses()
    }

    fn check_numbers(&self) -> Result<(), ConfigError> {
        if !(1..=MAX_TASKS).contains(&self.slots) {
            return Err(wrong("--slots", format!("must be 1 to {MAX_TASKS}")));
        }
        if self.queue > MAX_TASKS {
            return Err(wrong("--queue", format!("must be at most {MAX_TASKS}")));
        }
        if self.threads == Some(0) {
            return Err(wrong("--threads", "must be at least 1"));
        }
        if let Some(limit) = self.tokens_per_second_limit
            && !(limit.is_finite() && limit > 0.0)
        {
            return Err(wrong("--tokens-per-second", "must be more than 0"));
        }
        let prices = [("--price-prompt", self.price.prompt), ("--price-output", self.price.output)];
        for (setting, price) in prices {
            if price > MAX_PRICE {
                return Err(wrong(setting, format!("must be at most {MAX_PRICE}")));
            }
        }
        Ok(())
    }

    fn check_devices(&self) -> Result<(), ConfigError> {
        let several = self.devices.len() > 1;
        if self.devices.is_empty() || several && self.devices.contains(&DeviceChoice::Auto) {
            return Err(wrong("--device", "must be auto, or each device to compute on"));
        }
        let again = |(index, device)| self.devices[..index].contains(device);
        match self.devices.iter().enumerate().any(again) {
            true => Err(wrong("--device", "must name a device once")),
            false => Ok(()),
        }
    }

    fn check_texts(&self) -> Result<(), ConfigError> {
        let texts = [("--region", &self.region, 0), ("--metadata-uri", &self.metadata_uri, 1)];
        for (setting, text, least) in texts {
            let fits = (least..=MAX_TEXT_BYTES).contains(&text.len());
            if !fits || text.chars().any(char::is_control) {
                let reason = format!("must be one line of {least} to {MAX_TEXT_BYTES} bytes");
                return Err(wrong(setting, reason));
            }
        }
        Ok(())
    }

    fn check_pauses(&self) -> Result<(), ConfigError> {
        let pauses =
            [("--heartbeat", self.timing.heartbeat), ("--earnings-every", self.earnings_every)];
        for (setting, pause) in pauses {
            if pause.is_zero() || pause > Duration::from_secs(24 * 3600) {
                let reason = "must be at least 1 second and at most a day";
                return Err(wrong(setting, reason));
            }
        }
        // Silence is judged by the answers to the pings that go with heartbeats.
        if self.timing.heartbeat * 2 > self.timing.idle {
            let reason = format!("must be at most {:?}", self.timing.idle / 2);
            return Err(wrong("--heartbeat", reason));
        }
        Ok(())
    }

    /// The configuration without its secrets, for people and programs.
    pub fn summary(&self) -> serde_json::Value {
        serde_json::json!({
            "operator": self.operator_key.address(),
            "node": self.node_key.public(),
            "routers": self.routers.iter().map(RouterUrl::as_str).collect::<Vec<_>>(),
            "models": self.source.names(),
            "engine_url": self.source.engine_url(),
            "chain_url": self.ledger.url,
            "faucet_url": self.ledger.faucet_url,
            "contract": self.ledger.contract,
            "price_octas_per_1000_tokens": {
                "prompt": self.price.prompt.0,
                "output": self.price.output.0,
            },
            "stake_octas": self.stake.0,
            "slots": self.slots,
            "queue": self.queue,
            "region": self.region,
            "metadata_uri": self.metadata_uri,
            "tokens_per_second_limit": self.tokens_per_second_limit,
            "devices": self.devices.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "threads": self.threads,
            "heartbeat_seconds": self.timing.heartbeat.as_secs(),
            "drain_seconds": self.timing.drain.as_secs(),
            "earnings_every_seconds": self.earnings_every.as_secs(),
        })
    }
}

fn read_file(path: &Path) -> Result<Settings, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.into(), source };
    let malformed = |reason: String| ConfigError::Malformed { path: path.into(), reason };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_FILE_BYTES {
        return Err(malformed(format!("it has {length} bytes")));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    toml::from_str(&text).map_err(|error| malformed(error.to_string()))
}

fn keys(settings: &Settings) -> Result<(SecretKey, SecretKey), ConfigError> {
    let data_dir = match &settings.data_dir {
        Some(folder) => folder.clone(),
        None => std::env::home_dir()
            .ok_or_else(|| wrong("--data-dir", "this account has no home directory; name one"))?
            .join(".cactus/orchestrator"),
    };
    let file = |chosen: &Option<PathBuf>, name: &str| {
        chosen.clone().unwrap_or_else(|| data_dir.join(name))
    };
    let operator = key_file::load_or_create(&file(&settings.key_file, "operator.key"))?;
    let node = key_file::load_or_create(&file(&settings.node_key_file, "node.key"))?;
    Ok((operator, node))
}
