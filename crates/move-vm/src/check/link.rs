//! Modules against what they import: it exists, is visible and has the promised signature;
//! no cycle of imports; no type nested too deep. Never looks at code.

use std::collections::HashMap;
use std::sync::Arc;

use crate::failure::{Failure, Outcome};
use crate::format::{FunctionHandle, StructHandle, Token};
use crate::source::Source;
use crate::value::VALUE_DEPTH_MAX;
use crate::{CompiledModule, ModuleId, Visibility, VmError};

/// Checks the modules of a bundle, which `source` already holds.
pub(crate) fn link(modules: &[&CompiledModule], source: &Source) -> Outcome<()> {
    let mut depths = Depths { source, known: HashMap::new() };
    for module in modules {
        imports(module, source)?;
    }
    cycles(modules, source)?;
    for module in modules {
        for def in 0..module.struct_defs.len() {
            let def = u16::try_from(def).map_err(|_| Failure::Other("MALFORMED"))?;
            depths.of(module, def, 0)?;
        }
    }
    Ok(())
}

fn refuse<T>(code: &'static str, module: &CompiledModule, name: &str) -> Outcome<T> {
    Err(VmError::new(code, format!("{} imports {name}", module.id())).into())
}

/// Foreign modules by handle; own handles are `None`.
fn foreign(module: &CompiledModule, source: &Source) -> Outcome<Vec<Option<Arc<CompiledModule>>>> {
    let mut found = Vec::new();
    for handle in &module.module_handles {
        let id = module.module_id(*handle);
        if id == *module.id() {
            found.push(None);
            continue;
        }
        match source.module(&id)? {
            Some(target) => found.push(Some(target)),
            None => return refuse("LINKER_ERROR", module, &id.to_string()),
        }
    }
    Ok(found)
}

fn imports(module: &CompiledModule, source: &Source) -> Outcome<()> {
    let modules = foreign(module, source)?;
    for handle in &module.struct_handles {
        let Some(target) = &modules[usize::from(handle.module)] else { continue };
        let name = module.name(handle.name);
        let def = target.struct_index(name);
        let found = def.map(|def| target.struct_handle(target.struct_def(def).handle));
        if !found.is_some_and(|found| same_struct(handle, found)) {
            return refuse("TYPE_MISMATCH", module, &format!("{}::{name}", target.id()));
        }
    }
    for handle in &module.function_handles {
        let Some(target) = &modules[usize::from(handle.module)] else { continue };
        function(module, handle, target)?;
    }
    Ok(())
}

fn same_struct(handle: &StructHandle, found: &StructHandle) -> bool {
    let parameters = handle.type_params.iter().zip(&found.type_params).all(|(ours, theirs)| {
        ours.constraints.has(theirs.constraints.0) && (!ours.is_phantom || theirs.is_phantom)
    });
    found.abilities.has(handle.abilities.0)
        && handle.type_params.len() == found.type_params.len()
        && parameters
}

fn function(
    module: &CompiledModule,
    handle: &FunctionHandle,
    target: &CompiledModule,
) -> Outcome<()> {
    let name = module.name(handle.name);
    let full = format!("{}::{name}", target.id());
    let Some(index) = target.function_index(name) else {
        return refuse("LOOKUP_FAILED", module, &full);
    };
    let def = &target.function_defs[usize::from(index)];
    let visible = match def.visibility {
        Visibility::Public => true,
        Visibility::Private => false,
        Visibility::Friend => {
            let same_address = target.id().address == module.id().address;
            same_address && target.friends().contains(module.id())
        }
    };
    if !visible {
        return refuse("FUNCTION_NOT_VISIBLE", module, &full);
    }
    let found = target.handle_of(def);
    let same = |ours: u16, theirs: u16| {
        let (ours, theirs) = (module.signature(ours), target.signature(theirs));
        ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(|(ours, theirs)| same_type(module, ours, target, theirs))
    };
    let constraints = handle.type_params.len() == found.type_params.len()
        && handle
            .type_params
            .iter()
            .zip(&found.type_params)
            .all(|(ours, theirs)| ours.has(theirs.0));
    if constraints
        && same(handle.parameters, found.parameters)
        && same(handle.returns, found.returns)
    {
        return Ok(());
    }
    refuse("TYPE_MISMATCH", module, &full)
}

fn same_type(left: &CompiledModule, one: &Token, right: &CompiledModule, other: &Token) -> bool {
    match (one, other) {
        (Token::Vector(one), Token::Vector(other))
        | (Token::Reference(one), Token::Reference(other))
        | (Token::MutReference(one), Token::MutReference(other)) => {
            same_type(left, one, right, other)
        }
        (Token::Struct(one, ones), Token::Struct(other, others)) => {
            let (one, other) = (left.struct_handle(*one), right.struct_handle(*other));
            left.name(one.name) == right.name(other.name)
                && left.module_of(one.module) == right.module_of(other.module)
                && ones.len() == others.len()
                && ones.iter().zip(others).all(|(one, other)| same_type(left, one, right, other))
        }
        (one, other) => one == other,
    }
}

/// Imports form no cycle: walks them depth first without recursion.
fn cycles(modules: &[&CompiledModule], source: &Source) -> Outcome<()> {
    /// Whether a module is still on the walk's path.
    #[derive(PartialEq)]
    enum Visit {
        Open,
        Done,
    }
    let mut visits: HashMap<ModuleId, Visit> = HashMap::new();
    for module in modules {
        let mut path = vec![(module.id().clone(), module.dependencies())];
        if visits.contains_key(module.id()) {
            continue;
        }
        visits.insert(module.id().clone(), Visit::Open);
        while let Some((id, rest)) = path.last_mut() {
            let Some(next) = rest.pop() else {
                visits.insert(id.clone(), Visit::Done);
                path.pop();
                continue;
            };
            match visits.get(&next) {
                Some(Visit::Open) => {
                    return refuse("CYCLIC_MODULE_DEPENDENCY", module, &next.to_string());
                }
                Some(Visit::Done) => {}
                None => {
                    let found = source.module(&next)?.ok_or(Failure::Other("LINKER_ERROR"))?;
                    visits.insert(next.clone(), Visit::Open);
                    path.push((next, found.dependencies()));
                }
            }
        }
    }
    Ok(())
}

/// How deep values of each struct nest, with type parameters counting as one.
struct Depths<'a, 's> {
    source: &'a Source<'s>,
    known: HashMap<(ModuleId, u16), usize>,
}

impl Depths<'_, '_> {
    /// `above` is how deep the walk already is; it bounds the recursion.
    fn of(&mut self, module: &CompiledModule, def: u16, above: usize) -> Outcome<usize> {
        let key = (module.id().clone(), def);
        if let Some(depth) = self.known.get(&key) {
            return Ok(*depth);
        }
        let too_deep = || refuse("VM_MAX_TYPE_DEPTH_REACHED", module, "itself");
        if above > VALUE_DEPTH_MAX {
            return too_deep();
        }
        let mut depth = 1;
        for field in module.struct_def(def).all_fields() {
            depth = depth.max(1 + self.token(module, &field.token, above + 1)?);
        }
        if depth > VALUE_DEPTH_MAX {
            return too_deep();
        }
        self.known.insert(key, depth);
        Ok(depth)
    }

    fn token(&mut self, module: &CompiledModule, token: &Token, above: usize) -> Outcome<usize> {
        match token {
            Token::Vector(inner) | Token::Reference(inner) | Token::MutReference(inner) => {
                Ok(1 + self.token(module, inner, above + 1)?)
            }
            Token::Struct(handle, arguments) => {
                let mut inner = 0;
                for argument in arguments {
                    inner = inner.max(self.token(module, argument, above + 1)?);
                }
                let handle = module.struct_handle(*handle);
                let name = module.name(handle.name);
                let id = module.module_of(handle.module);
                if id == *module.id() {
                    let def = module.struct_index(name).ok_or(Failure::Other("LOOKUP_FAILED"))?;
                    return Ok(inner + self.of(module, def, above + 1)?);
                }
                let target = self.source.module(&id)?.ok_or(Failure::Other("LINKER_ERROR"))?;
                let def = target.struct_index(name).ok_or(Failure::Other("LOOKUP_FAILED"))?;
                Ok(inner + self.of(&target, def, above + 1)?)
            }
            _ => Ok(1),
        }
    }
}
