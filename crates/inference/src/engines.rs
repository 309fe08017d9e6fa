//! Which engine computes a model: the one for the kind of file that holds its weights.
//! It never computes anything itself.

use crate::candle_engine::CandleEngine;
use crate::engine::Engine;
use crate::load::error::LoadError;
use crate::load::files::ModelFiles;
use crate::options::EngineOptions;

/// Loads a model with the engine that fits.
pub(crate) fn load(
    files: &mut ModelFiles,
    options: EngineOptions,
) -> Result<Box<dyn Engine>, LoadError> {
    match files.torchscript().map(str::to_owned) {
        None => Ok(Box::new(CandleEngine::load_files(files, options)?)),
        Some(module) => torchscript(files, &module, options),
    }
}

#[cfg(feature = "tch")]
fn torchscript(
    files: &mut ModelFiles,
    module: &str,
    options: EngineOptions,
) -> Result<Box<dyn Engine>, LoadError> {
    Ok(Box::new(crate::tch_engine::TchEngine::load_files(files, module, options)?))
}

#[cfg(not(feature = "tch"))]
fn torchscript(
    _files: &mut ModelFiles,
    module: &str,
    _options: EngineOptions,
) -> Result<Box<dyn Engine>, LoadError> {
    Err(LoadError::Unsupported(format!(
        "{module} is a TorchScript module, and this program was built without the feature `tch`"
    )))
}
