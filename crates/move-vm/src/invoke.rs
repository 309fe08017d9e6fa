//! Calls from outside: resolves the function, builds its arguments, encodes its results.
//! Never lets bytes from outside become a value that only a module may make.

use std::sync::Arc;

use crate::codec;
use crate::failure::{Failure, Outcome, TYPE_CONFUSION};
use crate::format::{Shape, Token};
use crate::interpreter::{Invocation, execute, status_without_place};
use crate::loader::Callee;
use crate::state::State;
use crate::types::{StructId, Ty, TyList, TyNode};
use crate::value::{Composite, Value, length};
use crate::{AccountAddress, CompiledModule, ModuleId, TypeTag, VmStatus};

/// A call from outside.
pub(crate) struct Call<'a> {
    pub module: &'a ModuleId,
    pub function: &'a str,
    pub type_args: &'a [TypeTag],
    /// BCS, without signers.
    pub args: &'a [Vec<u8>],
    pub signers: &'a [AccountAddress],
}

/// A function found, with its concrete types.
struct Target {
    callee: Callee,
    types: TyList,
    code: Arc<CompiledModule>,
}

impl Target {
    fn parameters(&self) -> &[Token] {
        let def = &self.code.function_defs[usize::from(self.callee.function)];
        self.code.signature(self.code.handle_of(def).parameters)
    }

    fn is_entry(&self) -> bool {
        self.code.function_defs[usize::from(self.callee.function)].is_entry
    }

    fn returns(&self) -> &[Token] {
        let def = &self.code.function_defs[usize::from(self.callee.function)];
        self.code.signature(self.code.handle_of(def).returns)
    }
}

/// Calls an entry function.
pub(crate) fn entry(state: &mut State, call: &Call) -> Result<(), VmStatus> {
    let target = find(state, call).map_err(status_without_place)?;
    if !target.is_entry() {
        let status = "EXECUTE_ENTRY_FUNCTION_CALLED_ON_NON_ENTRY_FUNCTION";
        return Err(VmStatus::MiscellaneousError(status));
    }
    if !target.returns().is_empty() {
        return Err(VmStatus::MiscellaneousError("INVALID_MAIN_FUNCTION_SIGNATURE"));
    }
    run(state, call, &target).map(|_| ())
}

/// Calls any function.
pub(crate) fn any(state: &mut State, call: &Call) -> Result<Vec<(TypeTag, Vec<u8>)>, VmStatus> {
    let target = find(state, call).map_err(status_without_place)?;
    let results = run(state, call, &target)?;
    encode_results(state, &target, &results).map_err(status_without_place)
}

fn find(state: &mut State, call: &Call) -> Outcome<Target> {
    let State { loader, source, .. } = state;
    let module = loader.load(call.module, source)?;
    let callee = loader.function(module, call.function)?;
    let code = Arc::clone(loader.module(module));
    let def = &code.function_defs[usize::from(callee.function)];
    let constraints = &code.handle_of(def).type_params;
    if constraints.len() != call.type_args.len() {
        return Err(Failure::Other("NUMBER_OF_TYPE_ARGUMENTS_MISMATCH"));
    }
    let mut types = Vec::new();
    for (constraint, tag) in constraints.iter().zip(call.type_args) {
        let ty = loader.ty_of_tag(tag, source)?;
        if !loader.abilities(ty)?.has(constraint.0) {
            return Err(Failure::Other("CONSTRAINT_NOT_SATISFIED"));
        }
        types.push(ty);
    }
    Ok(Target { callee, types: loader.types.intern_list(&types)?, code })
}

fn run(state: &mut State, call: &Call, target: &Target) -> Result<Vec<Value>, VmStatus> {
    let tokens = target.parameters();
    let mut arguments = signers(tokens, call.signers).map_err(status_without_place)?;
    let rest = &tokens[arguments.len()..];
    if rest.len() != call.args.len() {
        return Err(VmStatus::MiscellaneousError("NUMBER_OF_ARGUMENTS_MISMATCH"));
    }
    let mut objects = Vec::new();
    for (token, bytes) in rest.iter().zip(call.args) {
        let value = argument(state, target, token, bytes, &mut objects);
        arguments.push(value.map_err(status_without_place)?);
    }
    for object in objects {
        check_object(state, object)?;
    }
    let Target { callee, types, .. } = *target;
    execute(state, Invocation { callee, types, arguments })
}

/// Values for the leading signer parameters.
fn signers(tokens: &[Token], signers: &[AccountAddress]) -> Outcome<Vec<Value>> {
    let mut values = Vec::new();
    for token in tokens {
        let by_reference = match token {
            Token::Signer => false,
            Token::Reference(to) if **to == Token::Signer => true,
            _ => break,
        };
        let address = signers.get(values.len());
        let address = address.ok_or(Failure::Other("NUMBER_OF_SIGNER_ARGUMENTS_MISMATCH"))?;
        let mut signer = Value::signer(*address);
        values.push(match by_reference {
            true => Value::Reference(Value::borrow(&mut signer)?),
            false => signer,
        });
    }
    if !values.is_empty() && values.len() != signers.len() {
        return Err(Failure::Other("NUMBER_OF_SIGNER_ARGUMENTS_MISMATCH"));
    }
    Ok(values)
}

/// An `Object<T>` in an argument: the type and the address.
type ObjectArgument = (Ty, AccountAddress);

fn argument(
    state: &mut State,
    target: &Target,
    token: &Token,
    bytes: &[u8],
    objects: &mut Vec<ObjectArgument>,
) -> Outcome<Value> {
    const BAD: Failure = Failure::Other("FAILED_TO_DESERIALIZE_ARGUMENT");
    if token.is_reference() {
        return Err(Failure::Other("INVALID_MAIN_FUNCTION_SIGNATURE"));
    }
    let State { loader, source, .. } = state;
    let arguments = Arc::clone(loader.types.list(target.types));
    let ty = loader.ty(target.callee.module, token, &arguments, source)?;
    let layout = loader.layout(ty, source)?;
    // A decoded value takes at most about this much more than its bytes.
    state.meter.allocate(32 * length(bytes.len()))?;
    let value = codec::decode(&layout, bytes).map_err(|_| BAD)?;
    let mut inspector = Inspector { state, objects: Vec::new() };
    inspector.inspect(ty, &value)?;
    objects.append(&mut inspector.objects);
    Ok(value)
}

/// Accepts the types that may come from outside and collects the objects among them.
struct Inspector<'a, 's> {
    state: &'a State<'s>,
    objects: Vec<ObjectArgument>,
}

impl Inspector<'_, '_> {
    fn inspect(&mut self, ty: Ty, value: &Value) -> Outcome<()> {
        match self.state.loader.types.node(ty) {
            TyNode::Signer => Err(Failure::Other("INVALID_MAIN_FUNCTION_SIGNATURE")),
            TyNode::Vector(element) => match value {
                Value::Composite(content) => self.items(element, &content.borrow()),
                _ => Ok(()),
            },
            TyNode::Struct(id, list) => self.structure(id, list, value),
            _ => Ok(()),
        }
    }

    fn items(&mut self, ty: Ty, content: &Composite) -> Outcome<()> {
        content.items.iter().try_for_each(|item| self.inspect(ty, item))
    }

    fn structure(&mut self, id: StructId, list: TyList, value: &Value) -> Outcome<()> {
        let module = self.state.loader.module(id.module);
        let def = module.struct_def(id.def);
        let name = module.name(module.struct_handle(def.handle).name);
        let inner = self.state.loader.types.list(list).first().copied();
        let place = match module.id().address == AccountAddress::ONE {
            true => module.id().name.as_str(),
            false => "",
        };
        let Value::Composite(content) = value else { return Err(TYPE_CONFUSION) };
        let content = content.borrow();
        match (place, name, inner, &def.shape) {
            ("string", "String", None, _) => inspect_text(&content),
            ("fixed_point32", "FixedPoint32", None, _)
            | ("fixed_point64", "FixedPoint64", None, _) => Ok(()),
            ("option", "Option", Some(inner), Shape::Enum(_)) => self.items(inner, &content),
            ("option", "Option", Some(inner), _) => self.option(inner, &content),
            ("object", "Object", Some(inner), _) => {
                let item = content.items.first().ok_or(TYPE_CONFUSION)?;
                self.objects.push((inner, item.copy(&mut 0)?.into_address()?));
                Ok(())
            }
            _ => Err(Failure::Other("INVALID_MAIN_FUNCTION_SIGNATURE")),
        }
    }

    /// An option that is a struct holds a vector of at most one value.
    fn option(&mut self, inner: Ty, option: &Composite) -> Outcome<()> {
        const BAD: Failure = Failure::Other("FAILED_TO_DESERIALIZE_ARGUMENT");
        match option.items.first() {
            Some(Value::Bytes(bytes)) if bytes.borrow().len() <= 1 => Ok(()),
            Some(Value::Composite(vector)) if vector.borrow().items.len() <= 1 => {
                self.items(inner, &vector.borrow())
            }
            _ => Err(BAD),
        }
    }
}

/// A string holds UTF-8, which only this and `0x1::string` ensure.
fn inspect_text(content: &Composite) -> Outcome<()> {
    match content.items.first() {
        Some(Value::Bytes(bytes)) if std::str::from_utf8(&bytes.borrow()).is_ok() => Ok(()),
        _ => Err(Failure::Other("FAILED_TO_DESERIALIZE_ARGUMENT")),
    }
}

/// Aborts as the framework does if there is no such object.
fn check_object(state: &mut State, (ty, address): ObjectArgument) -> Result<(), VmStatus> {
    let find = |state: &mut State| {
        let State { loader, source, .. } = state;
        let module = loader.load(&ModuleId::new(AccountAddress::ONE, "object"), source)?;
        let callee = loader.function(module, "address_to_object")?;
        Ok((callee, loader.types.intern_list(&[ty])?))
    };
    let (callee, types) = find(state).map_err(status_without_place)?;
    let arguments = vec![Value::address(address)];
    execute(state, Invocation { callee, types, arguments }).map(|_| ())
}

fn encode_results(
    state: &mut State,
    target: &Target,
    results: &[Value],
) -> Outcome<Vec<(TypeTag, Vec<u8>)>> {
    let arguments = Arc::clone(state.loader.types.list(target.types));
    let mut encoded = Vec::new();
    for (token, value) in target.returns().iter().zip(results) {
        let State { loader, source, .. } = state;
        let ty = loader.ty(target.callee.module, token, &arguments, source)?;
        let layout = loader.layout(ty, source)?;
        let bytes = match value {
            Value::Reference(reference) => codec::encode_reference(&layout, reference)?,
            value => codec::encode(&layout, value)?,
        };
        encoded.push((loader.tag(ty).as_ref().clone(), bytes));
    }
    Ok(encoded)
}
