//! Where logs go: standard error, as text or JSON. Standard output is for answers only. Traces go to
//! a collector, if one is named.

use crate::args::{LogFormat, RunArgs};
use anyhow::Context;
use cactus_telemetry::Traces;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// Starts printing logs and sending traces; once per process, on its runtime.
///
/// # Errors
/// When a value is malformed or logs are printed already.
pub fn start_logging(args: &RunArgs) -> anyhow::Result<Traces> {
    let filter = EnvFilter::try_new(&args.log).context("--log")?;
    let traces = args.traces.resolve("cactus-orchestrator")?;
    let lines =
        tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    Ok(match args.log_format {
        LogFormat::Text => cactus_telemetry::start(lines, filter, traces)?,
        LogFormat::Json => {
            cactus_telemetry::start(lines.json().flatten_event(true), filter, traces)?
        }
    })
}

/// A peer's words for the log: one line of bounded length that steers no terminal.
pub(crate) fn one_line(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    text.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_words_are_one_short_line() {
        let words = format!("no\n2026 INFO linked\u{1b}[2J{}", "x".repeat(1 << 20));
        let line = one_line(&words);
        assert!(line.starts_with("no2026 INFO linked[2Jxx") && line.len() == 300, "{line}");
    }
}
