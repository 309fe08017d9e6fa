//! Bytecode checks before anything is published. Each check is a file of its own, so that more
//! can be added: structs, constants, types and the operand stack, locals, links, compatibility.
//! References are typed but their lifetimes are not checked yet.
//! Never executes anything.

mod abilities;
mod acquires;
mod blocks;
mod borrows;
mod compatibility;
mod constants;
mod instantiation;
mod link;
mod locals;
mod operands;
mod references;
mod structs;
mod types;

pub(crate) use compatibility::compatible;
pub(crate) use link::link;

use crate::format::{Code, FunctionDef, FunctionHandle, Token};
use crate::{AbilitySet, CompiledModule, VmError};

/// Most borrows looked at for one module; bounds time and memory. Our own need under a thousand.
const BORROWS_MAX: u64 = 200_000;

/// Checks a module by itself.
pub(crate) fn module(module: &CompiledModule) -> Result<(), VmError> {
    structs::check(module)?;
    constants::check(module)?;
    acquires::check(module)?;
    instantiation::check(module)?;
    let mut budget = borrows::Budget(BORROWS_MAX);
    module.function_defs.iter().try_for_each(|def| function(module, def, &mut budget))
}

/// A function body with what the checks need to know of it.
struct Body<'a> {
    module: &'a CompiledModule,
    handle: &'a FunctionHandle,
    code: &'a Code,
    /// Types of parameters and locals.
    locals: Vec<&'a Token>,
}

impl Body<'_> {
    /// An error at an instruction.
    fn error(&self, code: &'static str, at: usize) -> VmError {
        let name = self.module.name(self.handle.name);
        VmError::new(code, format!("{}::{name} at {at}", self.module.id()))
    }

    fn abilities(&self, token: &Token) -> AbilitySet {
        abilities::of(self.module, token, &self.handle.type_params)
    }
}

fn function(
    module: &CompiledModule,
    def: &FunctionDef,
    budget: &mut borrows::Budget,
) -> Result<(), VmError> {
    let handle = module.handle_of(def);
    let parameters = module.signature(handle.parameters);
    let returns = module.signature(handle.returns);
    let well_formed = |token: &Token| abilities::well_formed(module, token, &handle.type_params);
    parameters.iter().chain(returns).try_for_each(well_formed)?;
    let Some(code) = &def.code else { return Ok(()) };
    let own = module.signature(code.locals);
    own.iter().try_for_each(well_formed)?;
    let locals = parameters.iter().chain(own).collect();
    let body = Body { module, handle, code, locals };
    let blocks = blocks::find(&body)?;
    types::check(&body, &blocks)?;
    locals::check(&body, &blocks, parameters.len())?;
    references::check(&body, &blocks, parameters.len(), budget)
}
