//! The resources that a function says it acquires are those that it or what it calls in its
//! module reaches for: calls are checked against the list, so it must be true.
//! Never looks at another module: no module can reach back into one that it does not import.

use std::collections::{BTreeSet, HashMap};

use crate::format::{Bytecode, FunctionDef, Use};
use crate::{AbilitySet, CompiledModule, VmError};

pub(super) fn check(module: &CompiledModule) -> Result<(), VmError> {
    let own: HashMap<u16, &FunctionDef> =
        module.function_defs.iter().map(|def| (def.handle, def)).collect();
    module.function_defs.iter().try_for_each(|def| function(module, def, &own))
}

fn function(
    module: &CompiledModule,
    def: &FunctionDef,
    own: &HashMap<u16, &FunctionDef>,
) -> Result<(), VmError> {
    let error = |code| {
        let name = module.name(module.handle_of(def).name);
        Err(VmError::new(code, format!("{}::{name}", module.id())))
    };
    let listed: BTreeSet<u16> = def.acquires.iter().copied().collect();
    if listed.len() != def.acquires.len() {
        return error("DUPLICATE_ACQUIRES_ANNOTATION");
    }
    let is_resource = |index: &u16| {
        module.struct_handle(module.struct_def(*index).handle).abilities.has(AbilitySet::KEY)
    };
    if !listed.iter().all(is_resource) {
        return error("INVALID_ACQUIRES_ANNOTATION");
    }
    let Some(code) = &def.code else { return Ok(()) };
    let mut reached = BTreeSet::new();
    for op in &code.code {
        match op {
            Bytecode::BorrowGlobal(_, used) | Bytecode::MoveFrom(used) => {
                reached.insert(match used {
                    Use::Plain(index) => *index,
                    Use::Generic(inst) => module.struct_insts[usize::from(*inst)].of,
                });
            }
            Bytecode::Call(used) => {
                let callee = match used {
                    Use::Plain(index) => *index,
                    Use::Generic(inst) => module.function_insts[usize::from(*inst)].of,
                };
                reached.extend(own.get(&callee).into_iter().flat_map(|def| &def.acquires));
            }
            _ => {}
        }
    }
    if reached.difference(&listed).next().is_some() {
        return error("MISSING_ACQUIRES_ANNOTATION");
    }
    if listed.difference(&reached).next().is_some() {
        return error("EXTRANEOUS_ACQUIRES_ANNOTATION");
    }
    Ok(())
}
