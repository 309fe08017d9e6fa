//! Build automation: what cargo itself cannot do. Never linked into the product.

mod bench;
mod contracts;
mod simulate;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build automation for Cactus")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the measurements of docs/benchmarks.md
    Bench {
        /// Only this one
        subject: Option<bench::Subject>,
        /// How long the soak takes
        #[arg(long, default_value_t = 60)]
        minutes: u32,
    },
    /// Compare ways to choose nodes in simulated networks
    Simulate(simulate::Options),
    /// Build, test or check the Move contracts
    Contracts {
        #[command(subcommand)]
        action: contracts::Action,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Bench { subject, minutes } => bench::run(subject, minutes),
        Task::Simulate(options) => simulate::run(&options),
        Task::Contracts { action } => contracts::run(action),
    }
}
