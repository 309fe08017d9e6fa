//! What an operator chooses when loading a model, and the limits that follow from it.
//! It never looks at the machine.

use std::path::PathBuf;
use std::time::Duration;

use crate::device::Device;
use crate::load::error::LoadError;
use crate::scheduler::Limits;

const SLOT_LIMIT: usize = 1024;
const QUEUE_LIMIT: usize = 1 << 16;

/// How much of the machine an engine gets.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// What computes.
    pub device: Device,
    /// Compute threads; `None` takes what the machine has.
    pub threads: Option<usize>,
    /// Sequences to hold at full context, if memory allows.
    pub slots: usize,
    /// Memory for the KV cache in bytes; `None` holds `slots` full contexts, up to what the device
    /// has left and, on a processor, to 4 GiB.
    pub kv_cache_bytes: Option<u64>,
}

impl EngineOptions {
    /// The processor with all its threads, for so many sequences.
    pub fn new(slots: usize) -> Self {
        Self { device: Device::default(), threads: None, slots, kv_cache_bytes: None }
    }
}

/// What to load and how much of the machine to give it.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// A Hugging Face model directory, a GGUF file, or a TorchScript module (`.pt`) beside its
    /// tokenizer.
    pub dir: PathBuf,
    /// The name under which it is served; `None` takes that of the directory or of the GGUF file.
    pub id: Option<String>,
    /// What computes.
    pub device: Device,
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
    /// On the processor: four slots, a queue of 32, all threads, no power cap.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            id: None,
            device: Device::default(),
            threads: None,
            slots: 4,
            queue: 32,
            kv_cache_bytes: None,
            tokens_per_second_limit: None,
        }
    }

    /// What the engine has to know of this.
    pub(crate) fn engine(&self) -> EngineOptions {
        EngineOptions {
            device: self.device.clone(),
            threads: self.threads,
            slots: self.slots,
            kv_cache_bytes: self.kv_cache_bytes,
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
