//! The `cactus` command as a library, so that tests speak to networks the way it does. It never
//! decides about money: it signs what its user asked for and shows what the chain did.

pub mod account;
pub mod args;
mod commands;
pub mod helpful;
pub mod router;
pub mod session;
mod signals;
pub mod wallet;

pub use commands::chat::{Answer, ask};
pub use commands::task::{TaskView, wait_until_final};

use anyhow::Result;
use args::{Args, Command};
use clap::CommandFactory;
use session::Session;
use std::io::stdout;

/// Carries out what was typed.
pub async fn run(args: Args) -> Result<()> {
    let session = Session::new(args.network)?;
    let json = session.network.json;
    match args.command {
        Command::Demo(args) => commands::demo::run(args, json).await,
        Command::Up(args) => commands::up::run(&session, args).await,
        Command::Localnet(args) => commands::localnet::run(args, json).await,
        Command::Chat(args) => commands::chat::run(&session, args).await,
        Command::Batch(command) => commands::batch::run(&session, command).await,
        Command::Embed(args) => commands::embed::run(&session, args).await,
        Command::Quote(args) => commands::quote::run(&session, args).await,
        Command::Models => commands::models::run(&session).await,
        Command::Nodes => commands::nodes::run(&session).await,
        Command::Task { id } => commands::task::run(&session, id).await,
        Command::Balance => commands::balance::run(&session).await,
        Command::Faucet { amount } => commands::coins::faucet(&session, amount).await,
        Command::Deposit { amount } => commands::coins::deposit(&session, amount).await,
        Command::Withdraw(args) => commands::withdraw::run(&session, args.into()).await,
        Command::Wallet(command) => commands::wallet::run(&session, command),
        Command::Key(command) => commands::key::run(&session, command).await,
        Command::Admin(args) => commands::admin::run(&session, args).await,
        Command::Case(args) => commands::case::run(&session, args).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "cactus", &mut stdout());
            Ok(())
        }
    }
}
