//! What an operator chooses when loading a model, and the limits that follow from it.
//! It never looks at the machine.

use std::path::PathBuf;
use std::time::Duration;

use crate::load::error::LoadError;
use crate::scheduler::Limits;

const SLOT_LIMIT: usize = 1024;
const QUEUE_LIMIT: usize = 1 << 16;

/// What to load and how much of the machine to give it.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// A Hugging Face model directory.
    pub dir: PathBuf,
    /// The name under which it is served; `None` takes that of the directory or of the GGUF file.
    pub id: Option<String>,
    /// Compute threads; `None` takes what the machine has.
    pub threads: Option<usize>,
    /// Sequences decoded together.
    pub slots: usize,
    /// Requests that may wait for a slot before [`crate::Overloaded`] is answered.
    pub queue: usize,
    /// Memory for the KV cache in bytes; `None` holds `slots` full contexts, up to 4 GiB.
    pub kv_cache_bytes: Option<u64>,
    /// The operator's power cap: no sequence decodes faster than this.
    pub tokens_per_second_limit: Option<f64>,
}

impl LoadOptions {
    /// Four slots, a queue of 32, all threads, no power cap.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            id: None,
            threads: None,
            slots: 4,
            queue: 32,
            kv_cache_bytes: None,
            tokens_per_second_limit: None,
        }
    }

    pub(crate) fn limits(&self) -> Result<Limits, LoadError> {
        let refuse = |reason: String| Err(LoadError::InvalidOption(reason));
        if self.slots == 0 || self.slots > SLOT_LIMIT {
            return refuse(format!("slots must be 1 to {SLOT_LIMIT}, not {}", self.slots));
        }
        if self.queue == 0 || self.queue > QUEUE_LIMIT {
            return refuse(format!("queue must be 1 to {QUEUE_LIMIT}, not {}", self.queue));
        }
        let token_interval = match self.tokens_per_second_limit {
            None => Duration::ZERO,
            Some(limit) if (0.01..=1e9).contains(&limit) => Duration::from_secs_f64(limit.recip()),
            Some(limit) => {
                return refuse(format!("tokens per second must be 0.01 to 1e9, not {limit}"));
            }
        };
        Ok(Limits { slots: self.slots, token_interval })
    }
}
