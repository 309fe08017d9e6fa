//! What was typed: flags, environment and the configuration file. It checks nothing; that is
//! [`crate::config`]'s work.

use cactus_dispatch::Weights;
use cactus_protocol::{Address, Hash};
use cactus_telemetry::TraceArgs;
use clap::Parser;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf};

const EXAMPLES: &str = "\
Examples:
  On this machine, with the chain of `cactus localnet`:
    cactus-router --faucet-url http://127.0.0.1:8788
    cactus admin authorize-server 0x…        (the log says the address)

  On another network:
    cactus-router --config router.toml --public-url https://router.example

The file is TOML with the names of the flags, and the tables weights, limits and models:
  chain-url = \"https://api.testnet.aptoslabs.com/v1\"
  contract = \"0x…\"
  [limits]
  streams = 2048

Exit codes: 0 stopped and drained, 1 failed, 2 wrong usage or configuration, 130 stopped twice.";

/// The Cactus routing server: an OpenAI-compatible API in front of many untrusted GPUs.
///
/// Registers itself on the chain at its first start; then the admin of the contracts authorises it.
/// Each value comes from its flag, else its environment variable, else the configuration file,
/// else the default.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "cactus-router", version, after_help = EXAMPLES)]
pub struct Args {
    /// A TOML file with any of the values below, and the tables `weights`, `limits`, `models`.
    #[arg(long, env = "CACTUS_ROUTER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8787].
    #[arg(long, env = "CACTUS_ROUTER_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// The directory of the key, and of the database unless --database names one [default:
    /// ~/.cactus/router].
    #[arg(long, env = "CACTUS_ROUTER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The database: postgres://user@host/name, which several servers of one account share, or
    /// sqlite:path [default: router.sqlite in the data directory]. Others on this machine see
    /// flags: give a password in the environment, here or as PGPASSWORD.
    #[arg(long, env = "CACTUS_DATABASE_URL", hide_env_values = true)]
    pub database: Option<Hidden>,
    /// The file with the server's secret key, made when absent; only its owner may read it (mode
    /// 0600) [default: server.key in the data directory].
    #[arg(long, env = "CACTUS_ROUTER_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// The chain's REST API [default: http://127.0.0.1:8788/v1].
    #[arg(long, env = "CACTUS_ROUTER_CHAIN_URL")]
    pub chain_url: Option<String>,
    /// The account that holds the contracts [default: the one of local networks].
    #[arg(long, env = "CACTUS_ROUTER_CONTRACT")]
    pub contract: Option<Address>,
    /// Where clients and orchestrators reach this server, as the chain is to know it [default:
    /// where it listens].
    #[arg(long, env = "CACTUS_ROUTER_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Fund the server's account from this faucet when it is short (test networks only).
    #[arg(long, env = "CACTUS_ROUTER_FAUCET_URL")]
    pub faucet_url: Option<String>,
    /// Log as JSON lines.
    #[arg(long, env = "CACTUS_ROUTER_LOG_JSON")]
    pub log_json: bool,
    /// Where traces go.
    #[command(flatten)]
    pub traces: TraceArgs,
}

/// Text that may hold a password: no log shows it.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub(crate) String);

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The configuration file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct File {
    /// As the flag.
    pub listen: Option<SocketAddr>,
    /// As the flag.
    pub data_dir: Option<PathBuf>,
    /// As the flag.
    pub database: Option<Hidden>,
    /// As the flag.
    pub key_file: Option<PathBuf>,
    /// As the flag.
    pub chain_url: Option<String>,
    /// As the flag.
    pub contract: Option<Address>,
    /// As the flag.
    pub public_url: Option<String>,
    /// As the flag.
    pub faucet_url: Option<String>,
    /// How much each term of the score counts.
    pub weights: Weights,
    /// Bounds on what is accepted and awaited.
    pub limits: Limits,
    /// Revisions that models are pinned to, by id.
    pub models: BTreeMap<String, Hash>,
}

/// Bounds on what is accepted and awaited. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest body, in bytes.
    pub body_bytes: usize,
    /// From a request's head to the end of its body.
    pub body_ms: u64,
    /// Answers under way, in all.
    pub streams: usize,
    /// Answers under way for one payer.
    pub streams_per_payer: usize,
    /// Linked nodes.
    pub links: usize,
    /// Nodes tried for one request in a row without another token of its answer.
    pub attempts: usize,
    /// Requests that may wait for each model while all its nodes are busy.
    pub queue: usize,
    /// How long a request may wait for a node.
    pub queue_ms: u64,
    /// Output tokens of a request that names no limit; the model's context bounds it too.
    pub default_max_tokens: u32,
    /// From sending a task to its first token.
    pub first_token_ms: u64,
    /// Between two tokens.
    pub stall_ms: u64,
    /// From sending a task to its last token.
    pub task_ms: u32,
    /// From connecting to `Hello`.
    pub handshake_ms: u64,
    /// After this age a balance is asked for again, beside the requests that use it.
    pub balance_age_ms: u64,
    /// How long a node whose receipt did not stand gets no task.
    pub quarantine_ms: u64,
    /// How long a lock stands on the chain before anyone may return it, in seconds. Long, so that
    /// settlements survive an outage of the chain; the contract's `max_task_seconds` bounds it.
    pub lock_seconds: u64,
    /// How long streams may go on after the signal to stop.
    pub drain_ms: u64,
    /// How long open intents may still travel to the chain after that; the next start carries on.
    pub flush_ms: u64,
    /// Between two looks at everything that is open, for outcomes that were missed.
    pub reconcile_ms: u64,
    /// The part of a stake that may be owed in unsettled tasks, in thousandths.
    pub exposure_milli: u32,
    /// From connecting to the end of a request's head.
    pub header_ms: u64,
    /// How long a connection without a request stays open.
    pub idle_ms: u64,
    /// The longest file, in bytes.
    pub file_bytes: u64,
    /// From an upload's head to its end.
    pub file_ms: u64,
    /// Connections to PostgreSQL at most.
    pub database_connections: u32,
    /// How long files are kept, in hours.
    pub file_hours: u64,
    /// Files of one payer.
    pub files_per_payer: u64,
    /// Files of one payer together, in bytes.
    pub file_bytes_per_payer: u64,
    /// All files together, in bytes.
    pub all_file_bytes: u64,
    /// Unfinished batches of one payer.
    pub batches_per_payer: u64,
    /// Lines of all batches that are answered at once.
    pub batch_lines: usize,
    /// How long a batch's line waits for money or a model before it fails.
    pub batch_patience_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            body_ms: 30_000,
            streams: 1024,
            streams_per_payer: 64,
            links: 4096,
            attempts: 5,
            queue: 1024,
            queue_ms: 10_000,
            default_max_tokens: 1024,
            first_token_ms: 30_000,
            stall_ms: 10_000,
            task_ms: 300_000,
            handshake_ms: 10_000,
            balance_age_ms: 2_000,
            quarantine_ms: 600_000,
            lock_seconds: 3_600,
            drain_ms: 30_000,
            flush_ms: 5_000,
            reconcile_ms: 20_000,
            exposure_milli: 500,
            header_ms: 10_000,
            idle_ms: 75_000,
            file_bytes: 200 << 20,
            file_ms: 600_000,
            database_connections: 16,
            file_hours: 720,
            files_per_payer: 1_000,
            file_bytes_per_payer: 2 << 30,
            all_file_bytes: 64 << 30,
            batches_per_payer: 64,
            batch_lines: 64,
            batch_patience_ms: 60_000,
        }
    }
}
