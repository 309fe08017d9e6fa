//! What was typed. Nothing here is checked beyond its form; `Session` resolves the rest.

mod batch;

pub use batch::{BatchCommand, BatchEndpoint, EmbedArgs, QuoteArgs};

use cactus_ledger::LOCALNET_URL;
use cactus_protocol::{Address, Hash, Octas, TaskId};
use clap::{Args as Flags, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::{convert::Infallible, path::PathBuf, str::FromStr};

/// Buy and sell AI inference without trusting the other side.
#[derive(Debug, Parser)]
#[command(name = "cactus", version, propagate_version = true, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub network: NetworkArgs,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cactus demo                          a whole network, ten answers, every payment shown
  cactus up                            the same network, and it stays
  cactus chat \"what is 17 + 25?\"       one answer (from another terminal)
  cactus chat                          a conversation
  cactus balance --json                for programs

Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// Where the network is and who you are there.
#[derive(Debug, Clone, Flags)]
pub struct NetworkArgs {
    /// Routing server to ask.
    #[arg(long, global = true, value_name = "URL", env = "CACTUS_ROUTER_URL")]
    #[arg(default_value = "http://127.0.0.1:8787")]
    pub router: String,
    /// Node of the chain that you trust, with its path /v1.
    #[arg(long, global = true, value_name = "URL", env = "CACTUS_CHAIN_URL")]
    #[arg(default_value = LOCALNET_URL)]
    pub chain: String,
    /// Account of the Cactus contracts; by default the one on every localnet.
    #[arg(long, global = true, value_name = "ADDRESS", env = "CACTUS_CONTRACT")]
    pub contract: Option<Address>,
    /// Directory of your wallet and of `cactus up`.
    #[arg(long, global = true, value_name = "DIR", env = "CACTUS_HOME")]
    pub home: Option<PathBuf>,
    /// Print one JSON document on standard output and nothing else.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a network, ask it questions, and show who answered and who was paid.
    Demo(DemoArgs),
    /// Start a network on this machine and keep it until Ctrl-C.
    Up(UpArgs),
    /// Run only the local chain.
    Localnet(LocalnetArgs),
    /// Ask once, or talk when no prompt is given.
    Chat(ChatArgs),
    /// Answer many requests of one file when there is room.
    #[command(subcommand)]
    Batch(BatchCommand),
    /// Turn texts into vectors.
    Embed(EmbedArgs),
    /// Show what a question would cost at most, without asking it.
    Quote(QuoteArgs),
    /// List the models on offer.
    Models,
    /// List the orchestrators and what they offer.
    Nodes,
    /// Show one task: who was eligible, who answered, what was paid.
    Task {
        /// As printed by `chat`, and in the header X-Cactus-Task.
        id: TaskId,
    },
    /// Show what you have: coins, deposit and what is locked in running tasks.
    Balance,
    /// Get coins from the faucet of a test network.
    Faucet {
        /// In APT.
        #[arg(default_value = "10")]
        amount: Octas,
    },
    /// Move coins into the payment contract, to be spent on tasks.
    Deposit {
        /// In APT, such as 1.5.
        amount: Octas,
    },
    /// Take back what is deposited: ask for it, and claim it when the contract's delay is over.
    Withdraw(WithdrawArgs),
    /// Create, import or show your wallet.
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// Create or revoke an API key for OpenAI clients.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Govern the contracts: let servers and operators in, look.
    Admin(AdminArgs),
    /// Accuse an operator, answer, vote, appeal: what takes a stake, and what gives it back.
    Case(CaseArgs),
    /// Print a completion script.
    Completions {
        /// For which shell.
        shell: Shell,
    },
}

#[derive(Debug, Clone, Flags)]
pub struct NetworkShape {
    /// How many orchestrators, each with its own stake, price and speed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub orchestrators: u8,
    /// Directory of a model in Hugging Face's format; by default the one that is built in.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
}

#[derive(Debug, Clone, Flags)]
pub struct DemoArgs {
    #[command(flatten)]
    pub shape: NetworkShape,
}

#[derive(Debug, Clone, Flags)]
pub struct UpArgs {
    #[command(flatten)]
    pub shape: NetworkShape,
    /// Where the chain, the database and the keys live; by default `network` in the home directory.
    #[arg(long, value_name = "DIR", env = "CACTUS_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Port of the routing server; 0 takes a free one.
    #[arg(long, default_value_t = 8787)]
    pub router_port: u16,
    /// Port of the chain; 0 takes a free one.
    #[arg(long, default_value_t = 8788)]
    pub chain_port: u16,
}

#[derive(Debug, Clone, Flags)]
pub struct LocalnetArgs {
    /// Where the chain lives; in memory when not given.
    #[arg(long, value_name = "DIR", env = "CACTUS_LOCALNET_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Port of REST API and faucet; 0 takes a free one.
    #[arg(long, default_value_t = 8788, env = "CACTUS_LOCALNET_PORT")]
    pub port: u16,
}

#[derive(Debug, Clone, Flags)]
pub struct ChatArgs {
    /// The question. Without it a conversation starts.
    pub prompt: Option<String>,
    /// By default the first model on offer.
    #[arg(short, long)]
    pub model: Option<String>,
    /// Instructions before the conversation.
    #[arg(short, long)]
    pub system: Option<String>,
    /// The most tokens of one answer.
    #[arg(long, default_value_t = 128)]
    pub max_tokens: u32,
    /// 0 always takes the likeliest token.
    #[arg(short, long, default_value_t = 0.0)]
    pub temperature: f32,
    /// Makes sampled answers repeatable.
    #[arg(long)]
    pub seed: Option<u64>,
    /// The most that one answer may cost; what is not used stays yours.
    #[arg(long, default_value = "0.1", value_name = "APT")]
    pub max_cost: Octas,
}

#[derive(Debug, Clone, Flags)]
#[command(
    override_usage = "cactus withdraw <AMOUNT> [--wait]\n       cactus withdraw --claim | --cancel"
)]
#[command(after_help = "\
Examples:
  cactus withdraw 1.5           ask for 1.5 APT; says when to come back
  cactus withdraw --claim       take what was asked for, as far as no running task locks it
  cactus withdraw 1.5 --wait    both, waiting in between
  cactus withdraw --cancel      keep it in the contract")]
pub struct WithdrawArgs {
    /// In APT, such as 1.5. Replaces what was asked for before, and the delay starts anew.
    #[arg(required_unless_present_any = ["claim", "cancel"])]
    pub amount: Option<Octas>,
    /// Wait until it can be taken, and take it.
    #[arg(long)]
    pub wait: bool,
    /// Take what was asked for before.
    #[arg(long, conflicts_with_all = ["amount", "wait", "cancel"])]
    pub claim: bool,
    /// Forget what was asked for before.
    #[arg(long, conflicts_with_all = ["amount", "wait"])]
    pub cancel: bool,
}

#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Make a new key.
    Create,
    /// Take over a key, read from standard input as hex.
    Import,
    /// Print the address, and with --secret the key.
    Show {
        /// Whoever sees it can spend your coins.
        #[arg(long)]
        secret: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Sign a spending mandate and get an API key for it, shown once.
    Create {
        /// The most that the key may ever spend.
        #[arg(long, default_value = "1", value_name = "APT")]
        budget: Octas,
        /// The most that one task may lock.
        #[arg(long, default_value = "0.1", value_name = "APT")]
        max_per_task: Octas,
        /// After how many days it ends.
        #[arg(long, default_value_t = 30)]
        days: u32,
    },
    /// End an API key.
    Revoke {
        /// The id that `create` printed, not the key itself.
        id: String,
    },
}

const ADMIN_EXAMPLES: &str = "\
Examples:
  cactus admin show                          who governs, the parameters, the treasury
  cactus admin show 0x…                      an account's standing: server, orchestrator, stake
  cactus admin authorize-server 0x…          let a routing server lock and release money
  cactus admin admit-operator 0x… --wait 60  once it has registered: whitelist it, validate nodes

On a local network the well-known admin key is used. Elsewhere name yours:
  cactus admin --admin-key-file admin.key --chain https://…/v1 --contract 0x… show";

#[derive(Debug, Flags)]
#[command(after_help = ADMIN_EXAMPLES)]
pub struct AdminArgs {
    /// Key of the admin or of a validator; by default the well-known one, on local networks only.
    #[arg(long, global = true, value_name = "FILE", env = "CACTUS_ADMIN_KEY_FILE")]
    pub admin_key_file: Option<PathBuf>,
    #[command(subcommand)]
    pub command: AdminCommand,
}

#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Show who governs, the parameters and the treasury, or one account's standing.
    Show {
        /// A routing server, an orchestrator or both.
        address: Option<Address>,
    },
    /// Let a registered routing server lock and release money.
    AuthorizeServer {
        /// As the server's log and its /v1/server say.
        address: Address,
        /// Wait so long until it has registered.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        wait: u64,
    },
    /// Stop a routing server from taking new tasks; what it has locked still ends.
    RevokeServer {
        /// As the server's log and its /v1/server say.
        address: Address,
    },
    /// Put an operator on the whitelist and vouch for all of its nodes.
    AdmitOperator {
        /// As `cactus-orchestrator check` and its log say.
        address: Address,
        /// Wait so long until it has registered a node.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        wait: u64,
    },
}

const CASE_EXAMPLES: &str = "\
Examples:
  cactus case open 0x… --evidence receipts.json      accuse an operator; costs a bond
  cactus case open 0x… --evidence 0x… --client 0x… --task 0x…
  cactus case show 0x…                               the step it has come to, and its times
  cactus case vote 0x… uphold                        a validator, first hidden
  cactus case reveal 0x… uphold                      then openly";

#[derive(Debug, Flags)]
#[command(after_help = CASE_EXAMPLES)]
pub struct CaseArgs {
    /// Key that signs; by default your wallet's.
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    #[command(subcommand)]
    pub command: CaseCommand,
}

#[derive(Debug, Subcommand)]
pub enum CaseCommand {
    /// Accuse an operator. The bond returns if the case is upheld.
    Open {
        /// Who is at fault.
        operator: Address,
        /// The document that proves it, which must be public, or its SHA3-256.
        #[arg(long, value_name = "FILE|HASH")]
        evidence: Evidence,
        /// Whose task it is about.
        #[arg(long, requires = "task", value_name = "ADDRESS")]
        client: Option<Address>,
        /// Which task it is about.
        #[arg(long, requires = "client", value_name = "ID")]
        task: Option<TaskId>,
    },
    /// Show a case.
    Show {
        /// As `open` printed it.
        case: Address,
    },
    /// Have a case hold the delivered task that it is about; for the task's client or server.
    Hold {
        /// As `open` printed it.
        case: Address,
    },
    /// Answer an accusation; for the operator.
    Answer {
        /// As `open` printed it.
        case: Address,
        /// The defence, or its SHA3-256.
        #[arg(long, value_name = "FILE|HASH")]
        defence: Evidence,
    },
    /// Commit to an opinion, hidden; for validators.
    Vote {
        /// As `open` printed it.
        case: Address,
        /// For the accuser or for the operator.
        verdict: Verdict,
    },
    /// Reveal the opinion that was committed to; for validators.
    Reveal {
        /// As `open` printed it.
        case: Address,
        /// As it was voted.
        verdict: Verdict,
    },
    /// Ask for a second vote; for whoever lost the first. Costs twice the bond.
    Appeal {
        /// As `open` printed it.
        case: Address,
    },
    /// End a case whose time is over; for anyone.
    Finalize {
        /// As `open` printed it.
        case: Address,
    },
}

impl CaseCommand {
    /// Which case it is about, if there is one yet.
    pub fn case(&self) -> Option<Address> {
        match self {
            Self::Open { .. } => None,
            Self::Show { case }
            | Self::Hold { case }
            | Self::Answer { case, .. }
            | Self::Vote { case, .. }
            | Self::Reveal { case, .. }
            | Self::Appeal { case }
            | Self::Finalize { case } => Some(*case),
        }
    }
}

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verdict {
    /// For the accuser.
    Uphold,
    /// For the operator.
    Reject,
}

/// What proves a fault or its absence. The chain keeps its hash.
#[derive(Debug, Clone)]
pub enum Evidence {
    Hash(Hash),
    Document(PathBuf),
}

impl FromStr for Evidence {
    type Err = Infallible;

    /// Only `0x` and 64 digits are a hash; all else names a file.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let is_whole = text.starts_with("0x") && text.len() == 66;
        let hash = text.parse().ok().filter(|_| is_whole);
        Ok(hash.map_or_else(|| Self::Document(text.into()), Self::Hash))
    }
}
