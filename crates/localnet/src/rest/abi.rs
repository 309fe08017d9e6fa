//! Interfaces of modules: the ABI as the API prints it, and types of functions' parameters.
//! Never executes bytecode.

use std::sync::Arc;

use cactus_move_vm::{
    AbilitySet, AptosMetadata, CompiledModule, FieldInfo, FunctionInfo, ModuleId, MoveType,
    Storage, StructInfo, TypeTag, Visibility,
};
use serde_json::{Value, json};

use crate::chain::Chain;
use crate::transaction::EntryFunction;

/// The compiled module, when it is on chain and parses.
pub fn module(chain: &Chain, state: &dyn Storage, id: &ModuleId) -> Option<Arc<CompiledModule>> {
    let bytes = state.module(id).ok()??;
    chain.interfaces.get(id, &bytes)
}

/// Types of a call's arguments, without the leading signers; `None` when there is no such
/// function.
pub fn argument_types(
    chain: &Chain,
    state: &dyn Storage,
    call: &EntryFunction,
) -> Option<Vec<TypeTag>> {
    let module = module(chain, state, &call.module)?;
    let function = module.function(&call.function)?;
    let types = function.params.iter().skip_while(|one| is_signer(one));
    types.map(|one| one.to_tag(&call.type_args)).collect()
}

fn is_signer(parameter: &MoveType) -> bool {
    match parameter {
        MoveType::Signer => true,
        MoveType::Reference { to, .. } => **to == MoveType::Signer,
        _ => false,
    }
}

/// The ABI of a module.
pub fn print(module: &CompiledModule) -> Value {
    let metadata = module.aptos_metadata();
    let functions = module.functions();
    let exposed = functions
        .iter()
        .filter(|one| one.visibility != Visibility::Private || one.is_entry)
        .map(|one| function(one, &metadata));
    let structs = module.structs();
    json!({
        "address": module.id().address.to_string(),
        "name": module.id().name,
        "friends": module.friends().iter().map(module_name).collect::<Vec<_>>(),
        "exposed_functions": exposed.collect::<Vec<_>>(),
        "structs": structs.iter().map(|one| structure(one, &metadata)).collect::<Vec<_>>(),
    })
}

fn module_name(id: &ModuleId) -> String {
    format!("{}::{}", id.address, id.name)
}

fn function(function: &FunctionInfo, metadata: &AptosMetadata) -> Value {
    let visibility = match function.visibility {
        Visibility::Private => "private",
        Visibility::Public => "public",
        Visibility::Friend => "friend",
    };
    let type_params = function.type_params.iter().map(|one| json!({ "constraints": one.names() }));
    json!({
        "name": function.name,
        "visibility": visibility,
        "is_entry": function.is_entry,
        "is_view": metadata.is_view(&function.name),
        "generic_type_params": type_params.collect::<Vec<_>>(),
        "params": texts(&function.params),
        "return": texts(&function.returns),
    })
}

fn texts(types: &[MoveType]) -> Vec<String> {
    types.iter().map(MoveType::to_string).collect()
}

fn structure(structure: &StructInfo, metadata: &AptosMetadata) -> Value {
    let type_params = structure
        .type_params
        .iter()
        .map(|one| json!({ "constraints": AbilitySet::names(one.constraints) }));
    let fields = |fields: &[FieldInfo]| -> Vec<Value> {
        let field =
            |one: &FieldInfo| json!({ "name": one.name, "type": one.field_type.to_string() });
        fields.iter().map(field).collect()
    };
    let mut printed = json!({
        "name": structure.name,
        "is_native": structure.is_native,
        "is_event": metadata.is_event(&structure.name),
        "is_enum": !structure.variants.is_empty(),
        "abilities": structure.abilities.names(),
        "generic_type_params": type_params.collect::<Vec<_>>(),
        "fields": fields(&structure.fields),
    });
    if !structure.variants.is_empty() {
        let variants = structure
            .variants
            .iter()
            .map(|one| json!({ "name": one.name, "fields": fields(&one.fields) }));
        printed["variants"] = variants.collect();
    }
    printed
}
