//! The `cactus` command: chat, wallets, deposits, and whole networks on one machine.

use cactus_cli::{
    args::{Args, Command},
    helpful,
};
use clap::Parser;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    log_to_standard_error(&args.command);
    match cactus_cli::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            helpful::report(&error);
            ExitCode::FAILURE
        }
    }
}

/// A daemon tells what it does; commands, and networks whose parts all start and stop together,
/// only what goes wrong. RUST_LOG overrides both.
fn log_to_standard_error(command: &Command) {
    let level = if matches!(command, Command::Localnet(_)) { "info" } else { "error" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
