//! Reading a model directory that may be damaged or hostile: every size is bounded before it is
//! read and every byte read is part of the model's revision. It never maps a file into memory.

pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod format;
pub(crate) mod gguf;
mod kind;
pub(crate) mod revision;
pub(crate) mod torchscript;

pub use self::kind::{ModelKind, kind};
