//! What was typed, what the environment says and what the file says, still separate. It never
//! checks whether values make sense together; that is `config`.

use crate::router_url::RouterUrl;
use cactus_inference::DeviceChoice;
use cactus_protocol::{Address, Octas};
use cactus_telemetry::TraceArgs;
use clap::{Parser, Subcommand, ValueEnum, builder::BoolishValueParser};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{fmt::Display, path::PathBuf, str::FromStr};

const EXAMPLES: &str = "\
Examples:
  Earn with one model on a local network:
    cactus-orchestrator --model models/sprout --router http://127.0.0.1:8787

  Sell a vLLM server that runs on this machine:
    cactus-orchestrator --engine-url http://127.0.0.1:8000/v1 --model Qwen/Qwen3-8B \
      --router wss://router.example

  See the configuration and the account to fund, and start nothing:
    cactus-orchestrator check --config orchestrator.toml

  Ask a model once, without any network:
    cactus-orchestrator generate --model models/sprout \"What is 2 + 2?\"

A value is taken from the flag, else from the environment, else from the file, else the default.
The file is TOML with the flags' names: router = [\"wss://router.example\"], stake = \"10 APT\".

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted.";

/// Sells inference on this machine's models through routing servers.
#[derive(Debug, Parser)]
#[command(name = "cactus-orchestrator", version, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What to do; without it: run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// For `run`, when no command is given.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Join the network and take tasks until stopped (the default).
    Run(Box<RunArgs>),
    /// Print the configuration and the account to fund; start nothing.
    Check(Box<RunArgs>),
    /// Ask a model once and print its answer.
    #[command(
        after_help = "Example:\n  cactus-orchestrator generate --model models/sprout --temperature 0 \"What is 2 + 2?\""
    )]
    Generate(GenerateArgs),
}

/// For `run` and `check`.
#[derive(Debug, Default, clap::Args)]
pub struct RunArgs {
    /// A TOML file with any of the settings below
    #[arg(long, value_name = "FILE", env = "CACTUS_ORCHESTRATOR_CONFIG")]
    pub config: Option<PathBuf>,
    /// How to print logs (to standard error)
    #[arg(long, value_enum, default_value_t, env = "CACTUS_ORCHESTRATOR_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Which logs to print, for example info or cactus_orchestrator=debug
    #[arg(long, default_value = "info", value_name = "FILTER", env = "CACTUS_ORCHESTRATOR_LOG")]
    pub log: String,
    /// Where traces go.
    #[command(flatten)]
    pub traces: TraceArgs,
    /// Everything that a file may say too.
    #[command(flatten)]
    pub settings: Settings,
}

/// How logs look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What flags, environment and file may set.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// A routing server, for example wss://router.example; may be repeated
    #[arg(long, value_name = "URL", value_delimiter = ',', env = "CACTUS_ORCHESTRATOR_ROUTER")]
    pub router: Option<Vec<RouterUrl>>,
    /// A model directory (its name is the model's id), a GGUF file, a TorchScript module (.pt, see
    /// scripts/export-torchscript; needs a build with the feature tch), an id on a Hugging Face hub
    /// (owner/name or owner/name@revision), a short name (minilm, qwen3-0.6b, qwen2.5-7b,
    /// llama3.1-8b, mistral-7b) or, with --engine-url, the model's id there; may be repeated
    #[arg(long, value_name = "MODEL", value_delimiter = ',', env = "CACTUS_ORCHESTRATOR_MODEL")]
    pub model: Option<Vec<String>>,
    /// Sell an engine with the OpenAI API (vLLM, SGLang, TGI, llama.cpp) instead of computing
    /// here, for example http://127.0.0.1:8000/v1
    #[arg(long, value_name = "URL", env = "CACTUS_ORCHESTRATOR_ENGINE_URL")]
    pub engine_url: Option<String>,
    /// The engine's API key, on one line
    #[arg(long, value_name = "FILE", env = "CACTUS_ORCHESTRATOR_ENGINE_KEY_FILE")]
    pub engine_key_file: Option<PathBuf>,
    /// Prompt and output together in tokens, when the engine does not say or is to serve less
    #[arg(long, value_name = "TOKENS", env = "CACTUS_ORCHESTRATOR_ENGINE_CONTEXT")]
    pub engine_context: Option<u32>,
    /// The hub of models; without one, only what is in its cache is served
    #[arg(long, value_name = "URL", env = "HF_ENDPOINT")]
    pub hub_url: Option<String>,
    /// Where models of the hub are kept, in hub/ [default: ~/.cache/huggingface]
    #[arg(long, value_name = "DIR", env = "HF_HOME")]
    pub hub_home: Option<PathBuf>,
    /// The hub's token, on one line [default: token in the hub's home, if it is there]
    #[arg(long, value_name = "FILE", env = "HF_TOKEN_PATH")]
    pub hub_token_file: Option<PathBuf>,
    /// Ask no hub: serve what is in the cache
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[arg(value_parser = BoolishValueParser::new(), env = "HF_HUB_OFFLINE")]
    pub offline: Option<bool>,
    /// Take the newest revision of models that name no commit, and hold that from now on; usually
    /// they stay at what cactus-models.lock in the hub's home holds since the first download
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[arg(value_parser = BoolishValueParser::new(), env = "CACTUS_ORCHESTRATOR_UPDATE")]
    pub update: Option<bool>,
    /// The chain's REST API [default: http://127.0.0.1:8788/v1]
    #[arg(long, value_name = "URL", env = "CACTUS_ORCHESTRATOR_CHAIN_URL")]
    pub chain_url: Option<String>,
    /// Fund the account from this faucet when it is short (test networks only)
    #[arg(long, value_name = "URL", env = "CACTUS_ORCHESTRATOR_FAUCET_URL")]
    pub faucet_url: Option<String>,
    /// The account of the contracts [default: the one of local networks]
    #[arg(long, value_name = "ADDRESS", env = "CACTUS_ORCHESTRATOR_CONTRACT")]
    pub contract: Option<Address>,
    /// Price per 1,000 prompt tokens, for example "1000 octas" or "0.00001 APT" [default: 1000 octas]
    #[arg(long, value_name = "AMOUNT", env = "CACTUS_ORCHESTRATOR_PRICE_PROMPT")]
    #[serde(deserialize_with = "from_text")]
    pub price_prompt: Option<Octas>,
    /// Price per 1,000 output tokens [default: 2000 octas]
    #[arg(long, value_name = "AMOUNT", env = "CACTUS_ORCHESTRATOR_PRICE_OUTPUT")]
    #[serde(deserialize_with = "from_text")]
    pub price_output: Option<Octas>,
    /// Bond up to this much in all; never unbonds [default: 10 APT]
    #[arg(long, value_name = "AMOUNT", env = "CACTUS_ORCHESTRATOR_STAKE")]
    #[serde(deserialize_with = "from_text")]
    pub stake: Option<Octas>,
    /// Tasks that run at once [default: 4]
    #[arg(long, value_name = "N", env = "CACTUS_ORCHESTRATOR_SLOTS")]
    pub slots: Option<u16>,
    /// Tasks that may wait for a slot [default: 16]
    #[arg(long, value_name = "N", env = "CACTUS_ORCHESTRATOR_QUEUE")]
    pub queue: Option<u16>,
    /// Where this machine is, for example eu-west
    #[arg(long, value_name = "TEXT", env = "CACTUS_ORCHESTRATOR_REGION")]
    pub region: Option<String>,
    /// A public description of this operator
    #[arg(long, value_name = "URL", env = "CACTUS_ORCHESTRATOR_METADATA_URI")]
    pub metadata_uri: Option<String>,
    /// Power cap: no task decodes faster than this
    #[arg(
        long,
        allow_negative_numbers = true,
        value_name = "N",
        env = "CACTUS_ORCHESTRATOR_TOKENS_PER_SECOND"
    )]
    pub tokens_per_second: Option<f64>,
    /// What computes: auto, cpu, cuda or cuda:N; with several, such as cuda:0,cuda:1, every model is
    /// loaded once on each [default: auto, an NVIDIA device if it can be used]
    #[arg(long, value_name = "DEVICE", value_delimiter = ',', env = "CACTUS_ORCHESTRATOR_DEVICE")]
    pub device: Option<Vec<DeviceChoice>>,
    /// Compute threads [default: all cores]
    #[arg(long, value_name = "N", env = "CACTUS_ORCHESTRATOR_THREADS")]
    pub threads: Option<usize>,
    /// Where keys are kept [default: ~/.cactus/orchestrator]
    #[arg(long, value_name = "DIR", env = "CACTUS_ORCHESTRATOR_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The operator's key, made when absent [default: operator.key in the data directory]
    #[arg(long, value_name = "FILE", env = "CACTUS_ORCHESTRATOR_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// The node's key, made when absent [default: node.key in the data directory]
    #[arg(long, value_name = "FILE", env = "CACTUS_ORCHESTRATOR_NODE_KEY_FILE")]
    pub node_key_file: Option<PathBuf>,
    /// Seconds between heartbeats, at most [default: 5]
    #[arg(long, value_name = "SECONDS", env = "CACTUS_ORCHESTRATOR_HEARTBEAT")]
    pub heartbeat: Option<u64>,
    /// Seconds that running tasks get after a stop signal [default: 30]
    #[arg(long, value_name = "SECONDS", env = "CACTUS_ORCHESTRATOR_DRAIN")]
    pub drain: Option<u64>,
    /// Seconds between lines about earnings [default: 60]
    #[arg(long, value_name = "SECONDS", env = "CACTUS_ORCHESTRATOR_EARNINGS_EVERY")]
    pub earnings_every: Option<u64>,
}

/// For `generate`.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// The model's directory, a GGUF file or a TorchScript module
    #[arg(long, value_name = "DIR", env = "CACTUS_ORCHESTRATOR_MODEL")]
    pub model: PathBuf,
    /// Instructions for the model
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// The most tokens to produce; 0 is up to the context
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_tokens: u32,
    /// 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0, allow_negative_numbers = true)]
    pub temperature: f32,
    /// Fixes every random choice
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// What computes: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value_t, env = "CACTUS_ORCHESTRATOR_DEVICE")]
    pub device: DeviceChoice,
    /// Compute threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print one JSON document instead of streaming
    #[arg(long)]
    pub json: bool,
    /// What to ask; - reads standard input
    pub prompt: String,
}

impl Settings {
    /// These settings, and where they are silent, `below`.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            router: self.router.or(below.router),
            model: self.model.or(below.model),
            engine_url: self.engine_url.or(below.engine_url),
            engine_key_file: self.engine_key_file.or(below.engine_key_file),
            engine_context: self.engine_context.or(below.engine_context),
            hub_url: self.hub_url.or(below.hub_url),
            hub_home: self.hub_home.or(below.hub_home),
            hub_token_file: self.hub_token_file.or(below.hub_token_file),
            offline: self.offline.or(below.offline),
            update: self.update.or(below.update),
            chain_url: self.chain_url.or(below.chain_url),
            faucet_url: self.faucet_url.or(below.faucet_url),
            contract: self.contract.or(below.contract),
            price_prompt: self.price_prompt.or(below.price_prompt),
            price_output: self.price_output.or(below.price_output),
            stake: self.stake.or(below.stake),
            slots: self.slots.or(below.slots),
            queue: self.queue.or(below.queue),
            region: self.region.or(below.region),
            metadata_uri: self.metadata_uri.or(below.metadata_uri),
            tokens_per_second: self.tokens_per_second.or(below.tokens_per_second),
            device: self.device.or(below.device),
            threads: self.threads.or(below.threads),
            data_dir: self.data_dir.or(below.data_dir),
            key_file: self.key_file.or(below.key_file),
            node_key_file: self.node_key_file.or(below.node_key_file),
            heartbeat: self.heartbeat.or(below.heartbeat),
            drain: self.drain.or(below.drain),
            earnings_every: self.earnings_every.or(below.earnings_every),
        }
    }
}

/// Amounts in a file are text with a unit, as on the command line.
fn from_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}
