//! Abilities of types as signatures write them, and whether type arguments have those demanded.
//! Never looks at another module: imported handles carry abilities, which linking compares.

use crate::format::Token;
use crate::{AbilitySet, CompiledModule, VmError};

const VALUE: u8 = AbilitySet::COPY | AbilitySet::DROP | AbilitySet::STORE;

/// The abilities of a type whose parameters have the abilities `parameters`.
pub(super) fn of(module: &CompiledModule, token: &Token, parameters: &[AbilitySet]) -> AbilitySet {
    match token {
        Token::Signer => AbilitySet(AbilitySet::DROP),
        Token::Reference(_) | Token::MutReference(_) => {
            AbilitySet(AbilitySet::COPY | AbilitySet::DROP)
        }
        Token::Vector(element) => AbilitySet(of(module, element, parameters).0 & VALUE),
        Token::Parameter(index) => parameters.get(usize::from(*index)).copied().unwrap_or_default(),
        Token::Struct(index, arguments) => {
            let handle = module.struct_handle(*index);
            let inner = handle.type_params.iter().zip(arguments);
            inner
                .filter(|(parameter, _)| !parameter.is_phantom)
                .fold(handle.abilities, |abilities, (_, argument)| {
                    abilities.limited_by(of(module, argument, parameters))
                })
        }
        _ => AbilitySet(VALUE),
    }
}

/// Every type argument within the type has the abilities demanded of it.
pub(super) fn well_formed(
    module: &CompiledModule,
    token: &Token,
    parameters: &[AbilitySet],
) -> Result<(), VmError> {
    match token {
        Token::Vector(inner) | Token::Reference(inner) | Token::MutReference(inner) => {
            well_formed(module, inner, parameters)
        }
        Token::Struct(index, arguments) => {
            let constraints = module.struct_handle(*index).type_params.iter();
            let constraints = constraints.map(|parameter| parameter.constraints);
            satisfied(module, constraints, arguments, parameters)
        }
        _ => Ok(()),
    }
}

/// The arguments are well formed and have the abilities demanded.
pub(super) fn satisfied(
    module: &CompiledModule,
    constraints: impl Iterator<Item = AbilitySet>,
    arguments: &[Token],
    parameters: &[AbilitySet],
) -> Result<(), VmError> {
    for (constraint, argument) in constraints.zip(arguments) {
        well_formed(module, argument, parameters)?;
        if !of(module, argument, parameters).has(constraint.0) {
            return Err(VmError::new("CONSTRAINT_NOT_SATISFIED", module.id().to_string()));
        }
    }
    Ok(())
}
