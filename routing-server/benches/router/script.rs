//! What a mock engine is to do, as the prompt of a request says it: `frames=200 cadence_ms=20`.
//! The same words reach an engine behind a link and one behind HTTP.

use crate::clock;
use std::time::Duration;

/// An answer to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// Frames of one token each.
    pub frames: u32,
    /// Between two of them.
    pub cadence: Duration,
}

impl Script {
    /// The prompt that asks for it.
    pub fn prompt(self, filler: &str) -> String {
        format!("frames={} cadence_ms={} {filler}", self.frames, self.cadence.as_millis())
    }

    /// Reads the prompt, or a JSON body that contains it.
    pub fn parse(text: &str) -> Self {
        let number = |name: &str| -> u64 {
            let (_, rest) = text.split_once(name).unwrap_or_default();
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest[..end].parse().unwrap_or(0)
        };
        let frames = u32::try_from(number("frames=")).unwrap_or(1).max(1);
        Self { frames, cadence: Duration::from_millis(number("cadence_ms=")) }
    }
}

/// The text of a frame made now; the load generator reads the stamp in it.
pub fn stamped_text() -> String {
    format!("t{} ", clock::now())
}
