//! Where logs go: standard error, as text or JSON. Standard output is for answers only.

use crate::args::{LogFormat, RunArgs};
use anyhow::Context;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// Starts printing logs; once per process.
///
/// # Errors
/// When the filter is malformed or logs are printed already.
pub fn start_logging(args: &RunArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log).context("--log")?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    let started = match args.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot print logs: {error}"))
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
