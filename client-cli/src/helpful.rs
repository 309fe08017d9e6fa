//! Errors that say what to do next. Everything that a user can mend ends as one of these.

use std::{error::Error, fmt};

/// A failure and the way out of it.
#[derive(Debug)]
pub struct Helpful {
    message: String,
    help: String,
}

impl Helpful {
    /// An error for `anyhow` chains; `main` prints the help on a line of its own.
    pub fn error(message: impl Into<String>, help: impl Into<String>) -> anyhow::Error {
        Self { message: message.into(), help: help.into() }.into()
    }
}

impl fmt::Display for Helpful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Helpful {}

/// Prints an error chain, and the help of whichever link has one, to standard error.
pub fn report(error: &anyhow::Error) {
    eprintln!("{} {error:#}", console::style("error:").red().bold().for_stderr());
    if let Some(help) = error.chain().find_map(|e| e.downcast_ref::<Helpful>()) {
        eprintln!("{} {}", console::style(" help:").cyan().bold().for_stderr(), help.help);
    }
}
