//! How far a download is, on a terminal or in the log. It never slows a download down.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// Between two looks on a terminal.
const ON_TERMINAL: Duration = Duration::from_millis(200);
/// Between two lines of a log.
const IN_LOG: Duration = Duration::from_secs(10);

/// The progress of one model.
pub(super) struct Progress {
    model: String,
    total: u64,
    /// Of the files before this one.
    before: u64,
    file: String,
    last: Option<Instant>,
    terminal: bool,
}

impl Progress {
    pub(super) fn new(model: String, total: u64) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { model, total, before: 0, file: String::new(), last: None, terminal }
    }

    pub(super) fn start_file(&mut self, name: &str) {
        name.clone_into(&mut self.file);
    }

    /// So many bytes of the file are there.
    pub(super) fn at(&mut self, bytes: u64) {
        let pause = if self.terminal { ON_TERMINAL } else { IN_LOG };
        if self.last.is_none_or(|last| last.elapsed() >= pause) {
            self.last = Some(Instant::now());
            self.show(self.before.saturating_add(bytes));
        }
    }

    pub(super) fn end_file(&mut self, bytes: u64) {
        self.before = self.before.saturating_add(bytes);
    }

    /// Leaves the terminal's line.
    pub(super) fn end(self) {
        if self.terminal && self.last.is_some() {
            eprintln!();
        }
    }

    fn show(&self, bytes: u64) {
        let percent = bytes.saturating_mul(100).checked_div(self.total).unwrap_or(100);
        let megabytes = |bytes: u64| bytes / 1_000_000;
        let (there, all) = (megabytes(bytes), megabytes(self.total));
        if self.terminal {
            let line = format!("{} {percent:3} %  {there} of {all} MB  {}", self.model, self.file);
            let _ = write!(io::stderr(), "\r\x1b[K{line}");
        } else {
            tracing::info!(
                model = self.model,
                percent,
                megabytes = there,
                file = self.file,
                "downloading"
            );
        }
    }
}
