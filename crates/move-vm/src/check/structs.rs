//! Structs and enums: no type contains itself, fields have the abilities that the whole promises,
//! phantom parameters are phantom. Never looks at another module.

use super::abilities;
use crate::format::{StructDef, Token};
use crate::{AbilitySet, CompiledModule, VmError};

pub(super) fn check(module: &CompiledModule) -> Result<(), VmError> {
    for def in &module.struct_defs {
        fields(module, def)?;
    }
    recursion(module)
}

fn error(module: &CompiledModule, code: &'static str, def: &StructDef) -> VmError {
    let name = module.name(module.struct_handle(def.handle).name);
    VmError::new(code, format!("{}::{name}", module.id()))
}

fn fields(module: &CompiledModule, def: &StructDef) -> Result<(), VmError> {
    let handle = module.struct_handle(def.handle);
    let mut needed = handle.abilities.0 & !AbilitySet::KEY;
    if handle.abilities.has(AbilitySet::KEY) {
        needed |= AbilitySet::STORE;
    }
    // What a type argument lacks, the instantiated struct lacks too: see `limited_by`.
    let all = vec![AbilitySet(15); handle.type_params.len()];
    let constraints: Vec<AbilitySet> =
        handle.type_params.iter().map(|parameter| parameter.constraints).collect();
    for field in def.all_fields() {
        if !abilities::of(module, &field.token, &all).has(needed) {
            return Err(error(module, "FIELD_MISSING_TYPE_ABILITY", def));
        }
        abilities::well_formed(module, &field.token, &constraints)?;
        if names_phantom(module, &field.token, def) {
            return Err(error(module, "INVALID_PHANTOM_TYPE_PARAM_POSITION", def));
        }
    }
    Ok(())
}

/// Whether the type uses a phantom parameter of `def` where it matters.
fn names_phantom(module: &CompiledModule, token: &Token, def: &StructDef) -> bool {
    match token {
        Token::Parameter(index) => {
            let parameters = &module.struct_handle(def.handle).type_params;
            parameters.get(usize::from(*index)).is_some_and(|parameter| parameter.is_phantom)
        }
        Token::Vector(inner) | Token::Reference(inner) | Token::MutReference(inner) => {
            names_phantom(module, inner, def)
        }
        Token::Struct(handle, arguments) => {
            let parameters = &module.struct_handle(*handle).type_params;
            let mut pairs = parameters.iter().zip(arguments);
            pairs.any(|(parameter, argument)| {
                !parameter.is_phantom && names_phantom(module, argument, def)
            })
        }
        _ => false,
    }
}

/// Own structs named anywhere in a type.
fn named(module: &CompiledModule, token: &Token, found: &mut Vec<usize>) {
    match token {
        Token::Vector(inner) | Token::Reference(inner) | Token::MutReference(inner) => {
            named(module, inner, found);
        }
        Token::Struct(handle, arguments) => {
            found.extend(module.struct_defs.iter().position(|def| def.handle == *handle));
            arguments.iter().for_each(|argument| named(module, argument, found));
        }
        _ => {}
    }
}

/// No struct may contain itself: removes structs that contain no remaining ones until none is left.
fn recursion(module: &CompiledModule) -> Result<(), VmError> {
    let count = module.struct_defs.len();
    let mut contained_in: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut contains = vec![0usize; count];
    for (index, def) in module.struct_defs.iter().enumerate() {
        let mut found = Vec::new();
        def.all_fields().for_each(|field| named(module, &field.token, &mut found));
        found.sort_unstable();
        found.dedup();
        contains[index] = found.len();
        found.into_iter().for_each(|inner| contained_in[inner].push(index));
    }
    let mut ready: Vec<usize> = (0..count).filter(|index| contains[*index] == 0).collect();
    let mut done = 0;
    while let Some(inner) = ready.pop() {
        done += 1;
        for outer in &contained_in[inner] {
            contains[*outer] -= 1;
            if contains[*outer] == 0 {
                ready.push(*outer);
            }
        }
    }
    match contains.iter().position(|count| *count > 0) {
        Some(index) if done < count => {
            Err(error(module, "RECURSIVE_STRUCT_DEFINITION", &module.struct_defs[index]))
        }
        _ => Ok(()),
    }
}
