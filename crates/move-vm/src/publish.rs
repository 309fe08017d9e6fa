//! Publishing modules: parse, check, compare with what is there, link, stage, initialise.
//! Never stages a part of a bundle.

use std::collections::HashSet;
use std::sync::Arc;

use crate::check;
use crate::failure::{Failure, Outcome, TYPE_CONFUSION};
use crate::format::{Shape, Token};
use crate::gas::cost;
use crate::interpreter::{Invocation, execute, status_without_place};
use crate::state::{PublishRequest, State};
use crate::types::TyList;
use crate::value::{Value, length};
use crate::{AccountAddress, CompiledModule, ModuleId, StateKey, Visibility, VmError, VmStatus};

/// Most modules in one bundle.
const BUNDLE_MAX: usize = 512;

/// A module of the bundle.
struct New {
    module: Arc<CompiledModule>,
    bytes: Arc<[u8]>,
    /// Whether nothing was published there before.
    first: bool,
}

/// Publishes what code asked for by `0x1::code`.
pub(crate) fn publish_requested(
    state: &mut State,
    request: PublishRequest,
) -> Result<(), VmStatus> {
    let PublishRequest { owner, expected, modules } = request;
    let parse = |bytes: &Vec<u8>| CompiledModule::deserialize(bytes);
    let parsed = modules.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let names: HashSet<&[u8]> = parsed.iter().map(|module| module.id().name.as_bytes()).collect();
    let expected: HashSet<&[u8]> = expected.iter().map(Vec::as_slice).collect();
    if names != expected {
        let detail = "the package's metadata lists other modules than its code";
        return Err(VmError::new("CONSTRAINT_NOT_SATISFIED", detail).into());
    }
    publish(state, owner, modules)
}

/// Publishes a bundle.
pub(crate) fn publish(
    state: &mut State,
    publisher: AccountAddress,
    modules: Vec<Vec<u8>>,
) -> Result<(), VmStatus> {
    let bundle = prepare(state, publisher, modules).map_err(status_without_place)?;
    let before = state.source.staged.clone();
    if let Err(failure) = stage(state, &bundle) {
        state.source.staged = before;
        state.relink(false).map_err(status_without_place)?;
        return Err(status_without_place(failure));
    }
    for new in bundle.iter().filter(|new| new.first) {
        initialise(state, publisher, &new.module)?;
    }
    Ok(())
}

/// What can be checked with the bundle alone and the versions before.
fn prepare(
    state: &mut State,
    publisher: AccountAddress,
    modules: Vec<Vec<u8>>,
) -> Outcome<Vec<New>> {
    let refuse = |code, detail: &str| Err(Failure::from(VmError::new(code, detail)));
    if modules.len() > BUNDLE_MAX {
        return refuse("CODE_DESERIALIZATION_ERROR", "too many modules");
    }
    let mut seen = HashSet::new();
    let mut bundle = Vec::new();
    for bytes in modules {
        state.meter.charge_storage(cost::MODULE_PER_BYTE.saturating_mul(length(bytes.len())))?;
        let module = Arc::new(CompiledModule::deserialize(&bytes)?);
        if module.id().address != publisher {
            return refuse("MODULE_ADDRESS_DOES_NOT_MATCH_SENDER", &module.id().to_string());
        }
        if !seen.insert(module.id().clone()) {
            return refuse("DUPLICATE_MODULE_NAME", &module.id().to_string());
        }
        let opaque = module.struct_defs.iter().any(|def| matches!(def.shape, Shape::Native));
        let native = opaque || module.function_defs.iter().any(|def| def.code.is_none());
        if native && !publisher.is_special() {
            return refuse("USER_DEFINED_NATIVE_NOT_ALLOWED", &module.id().to_string());
        }
        check::module(&module)?;
        let old = state.source.module(module.id())?;
        if let Some(old) = &old {
            check::compatible(old, &module)?;
        }
        bundle.push(New { module, bytes: bytes.into(), first: old.is_none() });
    }
    Ok(bundle)
}

/// Stages the bundle and links it.
fn stage(state: &mut State, bundle: &[New]) -> Outcome<()> {
    for new in bundle {
        state.source.staged.insert(new.module.id().clone(), Arc::clone(&new.bytes));
    }
    // Whether or not an earlier session linked one of them: what that was must not change the gas.
    state.relink(true)?;
    let modules: Vec<&CompiledModule> = bundle.iter().map(|new| new.module.as_ref()).collect();
    check::link(&modules, &state.source)?;
    for new in bundle {
        let key = StateKey::Module(new.module.id().clone());
        let bytes: &[u8] = &new.bytes;
        state.pending.insert(key, Some(bytes.to_vec()));
    }
    Ok(())
}

/// Runs a private `init_module(&signer)` if there is one.
fn initialise(
    state: &mut State,
    publisher: AccountAddress,
    module: &CompiledModule,
) -> Result<(), VmStatus> {
    let Some(index) = module.function_index("init_module") else { return Ok(()) };
    let def = &module.function_defs[usize::from(index)];
    let handle = module.handle_of(def);
    let by_reference = match module.signature(handle.parameters) {
        [Token::Signer] => false,
        [Token::Reference(to)] if **to == Token::Signer => true,
        _ => return bad_initialiser(module.id()),
    };
    let returns = module.signature(handle.returns);
    if def.visibility != Visibility::Private
        || !returns.is_empty()
        || !handle.type_params.is_empty()
    {
        return bad_initialiser(module.id());
    }
    let callee = state
        .loader
        .load(module.id(), &state.source)
        .and_then(|index| state.loader.function(index, "init_module"))
        .map_err(status_without_place)?;
    let mut signer = Value::signer(publisher);
    let argument = match by_reference {
        true => Value::borrow(&mut signer).map(Value::Reference),
        false => Ok::<Value, Failure>(signer),
    };
    let arguments = vec![argument.map_err(|_| status_without_place(TYPE_CONFUSION))?];
    execute(state, Invocation { callee, types: TyList::EMPTY, arguments }).map(|_| ())
}

fn bad_initialiser(id: &ModuleId) -> Result<(), VmStatus> {
    Err(VmError::new("INVALID_INIT_MODULE", format!("{id}::init_module")).into())
}
