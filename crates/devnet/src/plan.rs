//! What a network is to be. Pure data.

use cactus_protocol::{Octas, Price};
use std::{net::TcpListener, path::PathBuf};

/// One routing server on one chain, and the orchestrators that sell through it.
pub struct NetworkPlan {
    /// Where the chain, the database and the keys live. A second start there goes on where the
    /// first one ended.
    pub data_dir: PathBuf,
    /// For the chain's REST API and faucet.
    pub chain_listener: TcpListener,
    /// For the routing server.
    pub router_listener: TcpListener,
    /// A model in Hugging Face's format, which every orchestrator serves.
    pub model_dir: PathBuf,
    /// Who sells.
    pub orchestrators: Vec<OrchestratorPlan>,
}

/// One orchestrator.
#[derive(Debug, Clone)]
pub struct OrchestratorPlan {
    /// For people, in lists and directories.
    pub name: String,
    /// What it puts at stake.
    pub stake: Octas,
    /// What it asks.
    pub price: Price,
    /// Tasks at once.
    pub slots: u16,
    /// How fast one answer may be written, as an operator's power cap.
    pub tokens_per_second_limit: Option<f64>,
}

impl OrchestratorPlan {
    /// `count` orchestrators that differ in stake, price and speed as people do: the first has
    /// much at stake, is fast and dear; each further one has less, is slower and cheaper.
    pub fn variety(count: u8) -> Vec<Self> {
        const NAMES: [&str; 8] =
            ["saguaro", "cholla", "agave", "opuntia", "yucca", "peyote", "nopal", "cereus"];
        let plan = |index: u8| {
            let place = usize::from(index);
            let name = NAMES[place % NAMES.len()];
            let round = place / NAMES.len();
            let rank = u64::from(index) + 1;
            Self {
                name: if round == 0 { name.to_owned() } else { format!("{name}-{}", round + 1) },
                stake: Octas(100_000_000_000 / rank),
                price: Price { prompt: Octas(60_000 / rank), output: Octas(240_000 / rank) },
                slots: 4,
                tokens_per_second_limit: (index > 0).then(|| 300.0 / f64::from(index)),
            }
        };
        (0..count).map(plan).collect()
    }
}
