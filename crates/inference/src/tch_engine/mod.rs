//! The tch engine: TorchScript modules with explicit keys and values, computed by libtorch on this
//! machine's CPU. It never samples and never waits.
//!
//! Sequences are computed one by one, so none can change another's bits. Unlike the candle engine,
//! how a prompt is cut into chunks may change the last bits: torch picks its kernels by shape.

mod module;
mod store;

use std::path::Path;

use tch::{CModule, Device};

use self::module::{Module, Output};
use self::store::Store;
use crate::batch::{self, Appended};
use crate::card::ModelCard;
use crate::engine::{
    Capacity, Decode, Engine, EngineError, Matrix, Prefill, SequenceId, SequenceOutput, Step, Tap,
};
use crate::load::error::LoadError;
use crate::load::files::{ModelFiles, WEIGHTS_LIMIT};
use crate::memory::{Needs, USUAL_CACHE_BYTES, available};
use crate::options::EngineOptions;

const THREAD_LIMIT: usize = 512;
/// Rows of a step that estimates assume.
const STEP_ROWS: u64 = 256;
/// Values per row that estimates assume for each one of the hidden states: projections, gates and
/// scores, which a module does not describe.
const ROW_WIDTHS: u64 = 16;

/// A TorchScript module computed by libtorch.
pub struct TchEngine {
    card: ModelCard,
    module: Module,
    store: Store,
}

impl TchEngine {
    /// Loads the module in `path`, or beside the tokenizer in the directory `path`.
    ///
    /// # Errors
    /// [`LoadError`] by what the operator can do.
    pub fn load(path: &Path, options: EngineOptions) -> Result<Self, LoadError> {
        let mut files = ModelFiles::open(path)?;
        let Some(module) = files.torchscript().map(str::to_owned) else {
            let reason = format!("{} is no TorchScript module", path.display());
            return Err(LoadError::Unsupported(reason));
        };
        Self::load_files(&mut files, &module, options)
    }

    /// Loads the module in the file `name`. A module is a program: who loads it trusts its author
    /// as much as the author of any other program.
    pub(crate) fn load_files(
        files: &mut ModelFiles,
        name: &str,
        options: EngineOptions,
    ) -> Result<Self, LoadError> {
        if !options.device.is_cpu() {
            let reason = "the tch engine computes on a processor; choose the device cpu";
            return Err(LoadError::InvalidOption(reason.to_owned()));
        }
        set_threads(options.threads)?;
        let content = files.read(name, WEIGHTS_LIMIT)?;
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        // Nothing is learned from profiling the first passes: shapes change with every token.
        let module = tch::jit::f_set_profiling_mode(false)
            .and_then(|()| CModule::load_data_on_device(&mut content.as_slice(), Device::Cpu))
            .map_err(|error| files.malformed(name, &first_line(&error)))?;
        drop(content);
        let module = Module::new(module).map_err(|reason| files.malformed(name, &reason))?;
        let shape = module.shape();
        let needs = needs(&module, size, options.slots);
        let mut memory = needs.plan(options.kv_cache_bytes, available())?;
        let positions = memory.kv_cache / shape.position_bytes();
        let Some(positions) = usize::try_from(positions).ok().filter(|positions| *positions > 0)
        else {
            return Err(LoadError::InvalidOption(format!(
                "a KV cache of {} bytes holds no position of {} bytes",
                memory.kv_cache,
                shape.position_bytes()
            )));
        };
        memory.kv_cache -= memory.kv_cache % shape.position_bytes();
        let held = u32::try_from(positions).unwrap_or(u32::MAX);
        let card = ModelCard {
            id: files.model_id()?,
            revision: files.revision(),
            dtype: module.dtype(),
            context_length: module.context_length().min(held),
            parameters: module.parameters(),
            memory,
        };
        let store = Store::new(shape, positions, card.context_length);
        Ok(Self { card, module, store })
    }

    fn append(&mut self, batch: &Appended<'_>, tap: Tap) -> Result<Step, EngineError> {
        batch::check(batch, self.vocabulary(), |sequence| self.store.room(sequence))?;
        let _guard = tch::no_grad_guard();
        let mut outputs = Vec::with_capacity(batch.len());
        for (sequence, tokens) in batch {
            let output = self.extend(*sequence, tokens, tap).map_err(|error| {
                EngineError::Compute(format!("sequence {}: {}", sequence.0, first_line(&error)))
            })?;
            outputs.push(output);
        }
        Ok(Step { outputs })
    }

    fn extend(
        &mut self,
        sequence: SequenceId,
        tokens: &[u32],
        tap: Tap,
    ) -> Result<SequenceOutput, tch::TchError> {
        let (start, past) = self.store.past(sequence)?;
        let Output { logits, hidden, keys, values } =
            self.module.run(tokens, start, past, tap != Tap::Last)?;
        self.store.append(sequence, &keys, &values)?;
        let hidden = match tap {
            Tap::AllLogitsAndHidden => matrix(&hidden)?,
            Tap::Last | Tap::AllLogits => Matrix::default(),
        };
        Ok(SequenceOutput { sequence, logits: matrix(&logits)?, hidden })
    }
}

impl Engine for TchEngine {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn vocabulary(&self) -> usize {
        self.module.vocabulary()
    }

    fn capacity(&self) -> Capacity {
        self.store.capacity()
    }

    fn reserve(&mut self, sequence: SequenceId, positions: usize) -> Result<(), EngineError> {
        batch::check_positions(positions, self.card.context_length)?;
        self.store.reserve(sequence, positions)
    }

    fn prefill(&mut self, batch: &Prefill, tap: Tap) -> Result<Step, EngineError> {
        self.append(&batch::of_prefill(batch), tap)
    }

    fn decode(&mut self, batch: &Decode, tap: Tap) -> Result<Step, EngineError> {
        self.append(&batch::of_decode(batch), tap)
    }

    fn free(&mut self, sequence: SequenceId) {
        self.store.free(sequence);
    }
}

/// libtorch's threads are shared by everything in the process.
fn set_threads(threads: Option<usize>) -> Result<(), LoadError> {
    let Some(threads) = threads else { return Ok(()) };
    let limited = Some(threads).filter(|threads| (1..=THREAD_LIMIT).contains(threads));
    let Some(limited) = limited.and_then(|threads| i32::try_from(threads).ok()) else {
        return Err(LoadError::InvalidOption(format!(
            "threads must be 1 to {THREAD_LIMIT}, not {threads}"
        )));
    };
    tch::set_num_threads(limited);
    Ok(())
}

/// What the module needs of the machine. Its file is in memory already; loading takes a copy of it,
/// and the weights made from that.
fn needs(module: &Module, size: u64, slots: usize) -> Needs {
    let wide = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    let position = module.shape().position_bytes();
    let full = wide(slots).saturating_mul(u64::from(module.context_length()));
    let row = wide(module.hidden()).saturating_mul(ROW_WIDTHS);
    let row = row.saturating_add(wide(module.vocabulary()));
    Needs {
        weights: size,
        loading: size,
        activations: STEP_ROWS.saturating_mul(row).saturating_mul(4),
        full_cache: full.saturating_mul(position),
        usual_cache: USUAL_CACHE_BYTES,
        least_cache: position,
    }
}

/// A tensor of one batch as rows of F32.
fn matrix(tensor: &tch::Tensor) -> Result<Matrix, tch::TchError> {
    let columns = tensor.size().last().and_then(|columns| usize::try_from(*columns).ok());
    let values = Vec::<f32>::try_from(&tensor.f_reshape([-1])?)?;
    Ok(Matrix { columns: columns.unwrap_or(0), values })
}

/// What went wrong, without the stack that libtorch appends.
fn first_line(error: &tch::TchError) -> String {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.next().unwrap_or("libtorch failed").to_owned()
}
