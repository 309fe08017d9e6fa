//! A whole network in one process: chain, contracts, one routing server and several
//! orchestrators, each the very code that its own daemon runs. `cactus up`, `cactus demo`, tests
//! and benches start it. It holds no logic of a network: only what it takes to start one.
#![warn(missing_docs)]

mod admission;
mod balances;
mod model;
mod network;
mod plan;

pub use balances::{Balance, Balances, Role};
pub use model::{DEMONSTRATION, sprout};
pub use network::{Network, Operator};
pub use plan::{NetworkPlan, OrchestratorPlan};
