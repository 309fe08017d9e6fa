//! The flags of `cactus batch`, `cactus embed` and `cactus quote`.

use cactus_protocol::Octas;
use clap::{Args as Flags, Subcommand};
use std::path::PathBuf;

const BATCH_EXAMPLES: &str = "\
Each line of the file is one request, as OpenAI's batches have them:
  {\"custom_id\": \"1\", \"method\": \"POST\", \"url\": \"/v1/chat/completions\", \"body\": {…}}

Examples:
  cactus batch submit requests.jsonl --budget 2 --wait
  cactus batch download batch_…";

#[derive(Debug, Subcommand)]
#[command(after_help = BATCH_EXAMPLES)]
pub enum BatchCommand {
    /// Upload a file of requests and start on it.
    Submit {
        /// One request per line, in JSON.
        file: PathBuf,
        /// What the requests are for.
        #[arg(long, value_enum, default_value_t = BatchEndpoint::Chat)]
        endpoint: BatchEndpoint,
        /// After so many hours what is left is given up.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u8).range(1..=168))]
        hours: u8,
        /// The most that all lines together may spend.
        #[arg(long, default_value = "1", value_name = "APT")]
        budget: Octas,
        /// The most that one line may lock.
        #[arg(long, default_value = "0.1", value_name = "APT")]
        max_per_line: Octas,
        /// Stay until the end.
        #[arg(long)]
        wait: bool,
    },
    /// Show how far a batch is.
    Status {
        /// As `submit` printed it.
        id: String,
    },
    /// Stay until a batch has ended; exit code 1 unless it was completed.
    Wait {
        /// As `submit` printed it.
        id: String,
    },
    /// Begin no more lines; those under way end.
    Cancel {
        /// As `submit` printed it.
        id: String,
    },
    /// Write the answers and the errors of a batch that has ended.
    Download {
        /// As `submit` printed it.
        id: String,
        /// For the answers; by default a file here with the batch's id.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// For the errors, if there are any.
        #[arg(long, value_name = "FILE")]
        errors: Option<PathBuf>,
    },
}

/// What the lines of a batch are sent to.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum BatchEndpoint {
    /// Conversations.
    Chat,
    /// Texts to go on from.
    Completions,
    /// Texts to turn into vectors.
    Embeddings,
}

impl BatchEndpoint {
    /// Its path at a routing server.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }
}

#[derive(Debug, Clone, Flags)]
pub struct EmbedArgs {
    /// The texts; one vector is printed for each.
    #[arg(required = true)]
    pub texts: Vec<String>,
    /// By default the first model on offer that makes vectors.
    #[arg(short, long)]
    pub model: Option<String>,
    /// The most that it may cost; what is not used stays yours.
    #[arg(long, default_value = "0.1", value_name = "APT")]
    pub max_cost: Octas,
}

#[derive(Debug, Clone, Flags)]
pub struct QuoteArgs {
    /// The question.
    pub prompt: String,
    /// By default the first model on offer.
    #[arg(short, long)]
    pub model: Option<String>,
    /// The most tokens of the answer.
    #[arg(long, default_value_t = 128)]
    pub max_tokens: u32,
}
