//! Which file, if any, is a TorchScript module. It never opens one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The module in a directory.
const MODULE: &str = "model.pt";

/// The TorchScript module that `path` means: itself, or `model.pt` in a directory that has no
/// weights of another kind.
pub(crate) fn torchscript_file(path: &Path) -> Option<PathBuf> {
    if path.extension() == Some(OsStr::new("pt")) && path.is_file() {
        return Some(path.to_path_buf());
    }
    let others = ["model.safetensors", "model.safetensors.index.json"];
    let module = path.join(MODULE);
    let alone = module.is_file() && !others.iter().any(|name| path.join(name).exists());
    alone.then_some(module)
}
