//! Whether a module may replace an earlier version of itself: stored values still decode, and
//! callers still link. Enums may gain variants at the end. Never looks at code.

use crate::introspection::{FieldInfo, FunctionInfo, StructInfo, Visibility};
use crate::{CompiledModule, VmError};

/// Checks that `new` may replace `old`.
pub(crate) fn compatible(old: &CompiledModule, new: &CompiledModule) -> Result<(), VmError> {
    let structs = new.structs();
    for before in old.structs() {
        let after = structs.iter().find(|after| after.name == before.name);
        if !after.is_some_and(|after| same_struct(&before, after)) {
            return Err(refused(old, &before.name));
        }
    }
    let functions = new.functions();
    for before in old.functions() {
        if before.visibility == Visibility::Private && !before.is_entry {
            continue;
        }
        let after = functions.iter().find(|after| after.name == before.name);
        // A friend function may go: friends are of the same package.
        let may_go = before.visibility == Visibility::Friend && !before.is_entry;
        if !may_go && !after.is_some_and(|after| same_function(&before, after)) {
            return Err(refused(old, &before.name));
        }
    }
    Ok(())
}

fn refused(module: &CompiledModule, name: &str) -> VmError {
    VmError::new("BACKWARD_INCOMPATIBLE_MODULE_UPDATE", format!("{}::{name}", module.id()))
}

fn same_struct(before: &StructInfo, after: &StructInfo) -> bool {
    let parameters = before.type_params.len() == after.type_params.len()
        && before.type_params.iter().zip(&after.type_params).all(|(before, after)| {
            before.constraints.has(after.constraints.0) && (!before.is_phantom || after.is_phantom)
        });
    let variants = before.variants.len() <= after.variants.len()
        && before.variants.is_empty() == after.variants.is_empty()
        && before.variants.iter().zip(&after.variants).all(|(before, after)| {
            before.name == after.name && same_fields(&before.fields, &after.fields)
        });
    parameters
        && variants
        && after.abilities.has(before.abilities.0)
        && same_fields(&before.fields, &after.fields)
}

fn same_fields(before: &[FieldInfo], after: &[FieldInfo]) -> bool {
    before == after
}

fn same_function(before: &FunctionInfo, after: &FunctionInfo) -> bool {
    let visible = match before.visibility {
        Visibility::Public => after.visibility == Visibility::Public,
        Visibility::Friend | Visibility::Private => true,
    };
    let parameters = before.type_params.len() == after.type_params.len()
        && before
            .type_params
            .iter()
            .zip(&after.type_params)
            .all(|(before, after)| before.has(after.0));
    visible
        && parameters
        && (!before.is_entry || after.is_entry)
        && before.params == after.params
        && before.returns == after.returns
}
