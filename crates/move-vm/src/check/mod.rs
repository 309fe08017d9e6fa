//! Bytecode checks before anything is published. Each check is a file of its own, so that more
//! can be added: structs, types and the operand stack, locals, links, compatibility.
//! Never executes anything.

use crate::failure::Outcome;
use crate::loader::Source;
use crate::{CompiledModule, VmError};

/// Checks a module by itself.
pub(crate) fn module(_module: &CompiledModule) -> Result<(), VmError> {
    Ok(())
}

/// Whether `new` may replace `old`.
pub(crate) fn compatible(_old: &CompiledModule, _new: &CompiledModule) -> Result<(), VmError> {
    Ok(())
}

/// Checks modules against what they import.
pub(crate) fn link(_modules: &[&CompiledModule], _source: &Source) -> Outcome<()> {
    Ok(())
}
