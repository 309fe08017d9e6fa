//! The candle engine: decoders on a CPU or an NVIDIA device, from a Hugging Face directory.
//! It never samples and never waits.

mod activation;
mod architecture;
mod attention;
pub(crate) mod bert;
mod blocks;
mod config;
mod decoder;
mod forward;
mod gguf_weights;
mod kernel;
mod linear;
mod pages;
mod panels;
mod rope;
mod rows;
mod tensor_decoder;
mod weights;
mod widen;

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Tensor};

use self::architecture::Architecture;
use self::blocks::Blocks;
use self::decoder::{Decoder, Passed};
use self::forward::Forward;
use self::rows::{BLOCK, Rows};
use self::weights::{Expected, Weights};
use crate::batch::{self, Appended};
use crate::card::ModelCard;
use crate::engine::{
    Capacity, Decode, Engine, EngineError, Matrix, Prefill, SequenceId, SequenceOutput, Step, Tap,
};
use crate::load::error::LoadError;
use crate::load::files::ModelFiles;
use crate::memory::{Needs, USUAL_CACHE_BYTES, available};
use crate::options::EngineOptions;

const THREAD_LIMIT: usize = 512;
/// Rows of a step that estimates assume, besides one per slot.
const STEP_ROWS: usize = 256;

/// A model computed by candle.
pub struct CandleEngine {
    card: ModelCard,
    model: Forward,
    blocks: Blocks,
    threads: rayon::ThreadPool,
}

impl CandleEngine {
    /// Loads the model in `directory`.
    ///
    /// # Errors
    /// [`LoadError`] by what the operator can do.
    pub fn load(directory: &Path, options: EngineOptions) -> Result<Self, LoadError> {
        Self::load_files(&mut ModelFiles::open(directory)?, options)
    }

    /// The revision covers what was already read through `files` and what is read here.
    pub(crate) fn load_files(
        files: &mut ModelFiles,
        options: EngineOptions,
    ) -> Result<Self, LoadError> {
        let threads = thread_pool(options.threads)?;
        let architecture = Architecture::load(files)?;
        let expected = Decoder::expected(&architecture);
        let needs = needs(&architecture, &expected, files, &options);
        let free = options.device.free_memory().unwrap_or_else(available);
        let mut memory = needs.plan(options.kv_cache_bytes, free)?;
        let blocks = usize::try_from(memory.kv_cache / needs.least_cache).unwrap_or(usize::MAX);
        if blocks == 0 {
            return Err(LoadError::InvalidOption(format!(
                "a KV cache of {} bytes and {} slots holds no block of {} bytes",
                memory.kv_cache, options.slots, needs.least_cache
            )));
        }
        memory.kv_cache -= memory.kv_cache % needs.least_cache;
        let held = u32::try_from(blocks.saturating_mul(BLOCK)).ok();
        let weights = match files.gguf() {
            Some(gguf) => threads
                .install(|| gguf_weights::load(gguf, &expected, architecture.head_dimension))?,
            None => threads.install(|| Weights::load(files, &expected))?,
        };
        let card = ModelCard {
            id: files.model_id()?,
            revision: files.revision(),
            dtype: weights.stored(),
            // A sequence that the cache cannot hold alone could never run.
            context_length: held
                .map_or(architecture.context_length, |held| held.min(architecture.context_length)),
            parameters: weights.parameters(),
            memory,
        };
        let model = Forward::new(architecture, weights, blocks, &options.device)?;
        Ok(Self { card, model, blocks: Blocks::new(blocks), threads })
    }

    /// Checks a batch of appended tokens and lays it out as rows.
    fn rows(&self, batch: &Appended<'_>) -> Result<Rows, EngineError> {
        let held = |sequence| self.blocks.get(sequence);
        batch::check(batch, self.vocabulary(), |sequence| {
            held(sequence).map(|held| held.limit - held.length)
        })?;
        let mut rows = Rows::with_capacity(batch.iter().map(|(_, tokens)| tokens.len()).sum());
        for (sequence, tokens) in batch {
            let Some(held) = held(*sequence) else { continue };
            let used = (held.length + tokens.len()).div_ceil(BLOCK);
            rows.push(self.model.architecture(), held.table[..used].to_vec(), held.length, tokens);
        }
        Ok(rows)
    }

    fn append(&mut self, batch: &Appended<'_>, tap: Tap) -> Result<Step, EngineError> {
        if batch.is_empty() {
            return Ok(Step::default());
        }
        let rows = Arc::new(self.rows(batch)?);
        let last = last_rows(batch)?;
        let chosen = (tap == Tap::Last).then_some(last.as_slice());
        let passed = self.threads.install(|| self.model.forward(rows, chosen));
        let passed = passed.map_err(|error| EngineError::Compute(error.to_string()))?;
        for (sequence, tokens) in batch {
            self.blocks.append(*sequence, tokens);
        }
        split(batch, &passed, tap).map_err(|error| EngineError::Compute(error.to_string()))
    }
}

impl Engine for CandleEngine {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn vocabulary(&self) -> usize {
        self.model.architecture().vocabulary
    }

    fn capacity(&self) -> Capacity {
        Capacity {
            total_positions: self.blocks.total_positions(),
            free_positions: self.blocks.free_positions(),
        }
    }

    fn reserve(&mut self, sequence: SequenceId, positions: usize) -> Result<(), EngineError> {
        batch::check_positions(positions, self.card.context_length)?;
        self.blocks.reserve(sequence, positions)
    }

    fn adopt(&mut self, sequence: SequenceId, salt: u64, tokens: &[u32]) -> usize {
        self.blocks.adopt(sequence, salt, tokens)
    }

    fn prefill(&mut self, batch: &Prefill, tap: Tap) -> Result<Step, EngineError> {
        self.append(&batch::of_prefill(batch), tap)
    }

    fn decode(&mut self, batch: &Decode, tap: Tap) -> Result<Step, EngineError> {
        self.append(&batch::of_decode(batch), tap)
    }

    fn free(&mut self, sequence: SequenceId) {
        self.blocks.free(sequence);
    }
}

/// Configuration and weights of a directory, as far as a fuzzer can have them in a moment.
#[cfg(fuzzing)]
pub(crate) fn parse_directory(files: &mut ModelFiles) {
    let Ok(architecture) = Architecture::load(files) else { return };
    let expected = Decoder::expected(&architecture);
    let sizes = expected.values().map(|shape| shape.iter().product::<usize>());
    let _ = needs(&architecture, &expected, files, &EngineOptions::new(1)).plan(None, 1 << 30);
    if sizes.fold(0, usize::saturating_add) < 1 << 20 {
        let weights = match files.gguf() {
            Some(gguf) => gguf_weights::load(gguf, &expected, architecture.head_dimension),
            None => Weights::load(files, &expected),
        };
        let _ = weights.and_then(|weights| Decoder::new(architecture, weights, 1));
    }
}

/// The row of the last token of each sequence.
fn last_rows(batch: &Appended<'_>) -> Result<Vec<u32>, EngineError> {
    let ends = batch.iter().scan(0_usize, |end, (_, tokens)| {
        *end += tokens.len();
        Some(u32::try_from(*end - 1))
    });
    ends.collect::<Result<_, _>>()
        .map_err(|_| EngineError::InvalidBatch("too many rows".to_owned()))
}

/// Deals the rows of a pass out to the sequences.
fn split(batch: &Appended<'_>, passed: &Passed, tap: Tap) -> candle_core::Result<Step> {
    let mut start = 0;
    let mut outputs = Vec::with_capacity(batch.len());
    for (sequence, tokens) in batch {
        let count = if tap == Tap::Last { 1 } else { tokens.len() };
        let hidden = match tap {
            Tap::AllLogitsAndHidden => matrix(&passed.hidden, start, count)?,
            Tap::Last | Tap::AllLogits => Matrix::default(),
        };
        outputs.push(SequenceOutput {
            sequence: *sequence,
            logits: matrix(&passed.logits, start, count)?,
            hidden,
        });
        start += count;
    }
    Ok(Step { outputs })
}

fn matrix(tensor: &Tensor, start: usize, count: usize) -> candle_core::Result<Matrix> {
    let rows = tensor.narrow(0, start, count)?;
    Ok(Matrix {
        columns: rows.dim(1)?,
        values: rows.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?,
    })
}

/// Compute threads of its own for a model; `None` takes what the machine has.
pub(crate) fn thread_pool(threads: Option<usize>) -> Result<rayon::ThreadPool, LoadError> {
    let threads = match threads {
        Some(threads) => threads,
        None => {
            std::thread::available_parallelism().map_or(1, |count| count.get().min(THREAD_LIMIT))
        }
    };
    if threads == 0 || threads > THREAD_LIMIT {
        return Err(LoadError::InvalidOption(format!(
            "threads must be 1 to {THREAD_LIMIT}, not {threads}"
        )));
    }
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
    let built = builder.thread_name(|index| format!("compute-{index}")).build();
    built.map_err(|error| LoadError::Thread(error.to_string()))
}

/// What a decoder needs of the machine.
fn needs(
    architecture: &Architecture,
    expected: &Expected,
    files: &ModelFiles,
    options: &EngineOptions,
) -> Needs {
    let product = |factors: &[usize]| {
        let wide = factors.iter().map(|factor| u64::try_from(*factor).unwrap_or(u64::MAX));
        wide.fold(1, u64::saturating_mul)
    };
    let device = &options.device;
    let width = device.width();
    let bytes = |values: &[usize]| product(values).saturating_mul(width);
    let wide = expected.values().map(|shape| bytes(shape)).fold(0, u64::saturating_add);
    // A file stays until all of it is in place.
    let (weights, loading) = match files.gguf() {
        // A device holds every weight in its own format, and files are read beside it.
        _ if !device.is_cpu() => (wide, 0),
        Some(gguf) => (gguf_weights::held(gguf, expected), gguf_weights::file(gguf)),
        None if architecture.stored_in_half => (wide / 2, files.largest_weights()),
        None => (wide, files.largest_weights()),
    };
    let context = usize::try_from(architecture.context_length).unwrap_or(usize::MAX);
    let block = bytes(&[BLOCK, architecture.layers.len(), architecture.slot_width()]);
    let slots = product(&[options.slots, context.div_ceil(BLOCK)]);
    // The states, their projections and the gates of the longest step, some of them twice.
    let row = 4 * architecture.hidden
        + 3 * architecture.heads * architecture.head_dimension
        + architecture.slot_width()
        + 3 * architecture.intermediate;
    let rows = STEP_ROWS.saturating_add(options.slots);
    let logits = bytes(&[options.slots, 2, architecture.vocabulary]);
    let copied = if device.is_cpu() { 0 } else { tensor_decoder::copied(architecture, width) };
    Needs {
        weights,
        loading,
        activations: bytes(&[rows, row]).saturating_add(logits).saturating_add(copied),
        full_cache: slots.saturating_mul(block),
        usual_cache: if device.is_cpu() { USUAL_CACHE_BYTES } else { u64::MAX },
        least_cache: block,
    }
}
