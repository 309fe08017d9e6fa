//! The `cactus-router` daemon. It only reads the configuration, listens and waits for a signal.

use anyhow::{Context, Result};
use cactus_routing_server::{Args, Config, run};
use cactus_telemetry::{TraceArgs, Traces};
use clap::Parser;
use std::{net::TcpListener, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Answers are made of many short texts; this takes a tenth less of the processor for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const STOPPED_TWICE: i32 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let traces = match start_log(args.log_json, &args.traces) {
        Ok(traces) => traces,
        Err(error) => return report(&error, WRONG_USAGE),
    };
    let config = match Config::resolve(args) {
        Ok(config) => config,
        Err(error) => return report(&error, WRONG_USAGE),
    };
    let served = serve(config).await;
    traces.close().await;
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error, FAILED),
    }
}

fn report(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(code)
}

async fn serve(config: Config) -> Result<()> {
    let listener =
        TcpListener::bind(config.listen).with_context(|| format!("listen on {}", config.listen))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    run(config, listener, stop_signal()?).await
}

/// Cancelled at the first SIGINT or SIGTERM; the second ends the process at once.
fn stop_signal() -> Result<CancellationToken> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stopped.is_cancelled() {
                std::process::exit(STOPPED_TWICE);
            }
            stopped.cancel();
        }
    });
    Ok(stop)
}

fn start_log(json: bool, traces: &TraceArgs) -> Result<Traces> {
    let traces = traces.resolve("cactus-router")?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    Ok(if json {
        cactus_telemetry::start(lines.json(), filter, traces)?
    } else {
        cactus_telemetry::start(lines, filter, traces)?
    })
}
