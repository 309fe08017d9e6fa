//! The `cactus-orchestrator` command. It only reads arguments and signals and sets the exit code.

use cactus_orchestrator::{Args, Command, Config, RunArgs, generate, run, start_logging};
use clap::Parser;
use std::{io, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const INTERRUPTED: u8 = 130;
const WRONG_USAGE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.command.unwrap_or(Command::Run(Box::new(args.run))) {
        Command::Run(args) => serve(*args).await,
        Command::Check(args) => Config::resolve(*args)
            .map(|config| {
                println!("{:#}", config.summary());
                ExitCode::SUCCESS
            })
            .map_err(Into::into),
        Command::Generate(args) => answer(args).await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        let usage = error.is::<cactus_orchestrator::ConfigError>();
        ExitCode::from(if usage { WRONG_USAGE } else { 1 })
    })
}

async fn serve(args: RunArgs) -> anyhow::Result<ExitCode> {
    let traces = start_logging(&args)?;
    let config = Config::resolve(args)?;
    let ended = run(config, stop_signal()?).await;
    traces.close().await;
    ended.map(|()| ExitCode::SUCCESS)
}

async fn answer(args: cactus_orchestrator::GenerateArgs) -> anyhow::Result<ExitCode> {
    let complete = generate(args, stop_signal()?, &mut io::stdout(), &mut io::stderr()).await?;
    let code = if complete { 0 } else { INTERRUPTED };
    Ok(ExitCode::from(code))
}

/// Cancelled at the first SIGINT or SIGTERM; the second ends the process at once.
fn stop_signal() -> anyhow::Result<CancellationToken> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                stopped.cancel();
            }
        }
        std::process::exit(i32::from(INTERRUPTED));
    });
    Ok(stop)
}
