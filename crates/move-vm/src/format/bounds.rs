//! Every index in bounds, every arity right, no duplicate: what the rest of the crate relies on
//! when it indexes a table. Never looks at another module.

use std::collections::HashSet;
use std::hash::Hash;

use super::{
    Bytecode, Code, CompiledModule, FieldDef, FunctionDef, Instantiation, Shape, Token, Use,
};
use crate::VmError;

/// Most values a vector literal may pack at once.
const VECTOR_LITERAL_MAX: u64 = 65_535;
const LOCALS_MAX: usize = 255;

fn bad_index(what: &str) -> VmError {
    VmError::new("INDEX_OUT_OF_BOUNDS", what)
}

fn below<T>(index: u16, table: &[T], what: &'static str) -> Result<(), VmError> {
    if usize::from(index) < table.len() { Ok(()) } else { Err(bad_index(what)) }
}

fn unique<T: Hash + Eq>(items: impl Iterator<Item = T>, what: &str) -> Result<(), VmError> {
    let mut seen = HashSet::new();
    for item in items {
        if !seen.insert(item) {
            return Err(VmError::new("DUPLICATE_ELEMENT", what));
        }
    }
    Ok(())
}

fn all<T>(items: &[T], check: impl Fn(&T) -> Result<(), VmError>) -> Result<(), VmError> {
    items.iter().try_for_each(check)
}

/// Where a type stands: how many type parameters it may name, and whether it may be a reference.
#[derive(Clone, Copy)]
struct Scope {
    parameters: usize,
    references: bool,
}

/// Checks the whole module.
pub(super) fn check(module: &CompiledModule) -> Result<(), VmError> {
    below(module.self_handle, &module.module_handles, "own module handle")?;
    for handle in module.module_handles.iter().chain(&module.friend_handles) {
        below(handle.address, &module.addresses, "module address")?;
        below(handle.name, &module.identifiers, "module name")?;
    }
    let bounds = Bounds { module };
    bounds.handles()?;
    all(&module.signatures, |tokens| {
        bounds.tokens(tokens, Scope { parameters: usize::MAX, references: true })
    })?;
    all(&module.constants, |constant| {
        bounds.token(&constant.token, Scope { parameters: 0, references: false })
    })?;
    bounds.definitions()?;
    bounds.members()?;
    bounds.duplicates()?;
    all(&module.function_defs, |def| bounds.function(def))
}

struct Bounds<'a> {
    module: &'a CompiledModule,
}

impl Bounds<'_> {
    fn handles(&self) -> Result<(), VmError> {
        let module = self.module;
        all(&module.struct_handles, |handle| {
            below(handle.module, &module.module_handles, "module of a struct")?;
            below(handle.name, &module.identifiers, "name of a struct")
        })?;
        all(&module.function_handles, |handle| {
            below(handle.module, &module.module_handles, "module of a function")?;
            below(handle.name, &module.identifiers, "name of a function")?;
            below(handle.parameters, &module.signatures, "parameters")?;
            below(handle.returns, &module.signatures, "results")
        })
    }

    fn tokens(&self, tokens: &[Token], scope: Scope) -> Result<(), VmError> {
        tokens.iter().try_for_each(|token| self.token(token, scope))
    }

    fn token(&self, token: &Token, scope: Scope) -> Result<(), VmError> {
        let inner = Scope { references: false, ..scope };
        match token {
            Token::Vector(element) => self.token(element, inner),
            Token::Reference(to) | Token::MutReference(to) if scope.references => {
                self.token(to, inner)
            }
            Token::Reference(_) | Token::MutReference(_) => {
                Err(VmError::new("INVALID_SIGNATURE_TOKEN", "reference inside a type"))
            }
            Token::Parameter(index) if usize::from(*index) >= scope.parameters => {
                Err(bad_index("type parameter"))
            }
            Token::Struct(index, arguments) => {
                below(*index, &self.module.struct_handles, "struct handle")?;
                if self.module.struct_handle(*index).type_params.len() != arguments.len() {
                    return Err(arity());
                }
                self.tokens(arguments, inner)
            }
            _ => Ok(()),
        }
    }

    fn definitions(&self) -> Result<(), VmError> {
        let module = self.module;
        all(&module.struct_defs, |def| {
            below(def.handle, &module.struct_handles, "struct definition")?;
            let handle = module.struct_handle(def.handle);
            if handle.module != module.self_handle {
                return Err(VmError::new(
                    "INVALID_MODULE_HANDLE",
                    "definition of a foreign struct",
                ));
            }
            let scope = Scope { parameters: handle.type_params.len(), references: false };
            for field in def.all_fields() {
                below(field.name, &module.identifiers, "field name")?;
                self.token(&field.token, scope)?;
            }
            self.shape(&def.shape)
        })?;
        all(&module.function_defs, |def| {
            below(def.handle, &module.function_handles, "function definition")?;
            if module.function_handle(def.handle).module != module.self_handle {
                return Err(VmError::new(
                    "INVALID_MODULE_HANDLE",
                    "definition of a foreign function",
                ));
            }
            all(&def.acquires, |index| below(*index, &module.struct_defs, "acquires"))
        })
    }

    /// Field names are unique, and no value is without bytes.
    fn shape(&self, shape: &Shape) -> Result<(), VmError> {
        let names = |fields: &[FieldDef]| unique(fields.iter().map(|field| field.name), "field");
        match shape {
            Shape::Native => Ok(()),
            Shape::Struct(fields) if fields.is_empty() => {
                Err(VmError::new("ZERO_SIZED_STRUCT", "struct without fields"))
            }
            Shape::Struct(fields) => names(fields),
            Shape::Enum(variants) => {
                if variants.is_empty() {
                    return Err(VmError::new("ZERO_VARIANTS_ERROR", "enum without variants"));
                }
                unique(variants.iter().map(|variant| variant.name), "variant")?;
                for variant in variants {
                    below(variant.name, &self.module.identifiers, "variant name")?;
                    names(&variant.fields)?;
                }
                Ok(())
            }
        }
    }

    /// Field, variant and instantiation tables.
    fn members(&self) -> Result<(), VmError> {
        let module = self.module;
        let field = |owner: u16, variant: Option<u16>, field: u16| {
            below(owner, &module.struct_defs, "owner of a field")?;
            let fields = module.struct_def(owner).fields(variant);
            below(field, fields.ok_or_else(|| bad_index("fields"))?, "field")
        };
        all(&module.field_handles, |handle| field(handle.owner, None, handle.field))?;
        all(&module.variant_field_handles, |handle| {
            if handle.variants.is_empty() {
                return Err(VmError::new("ZERO_VARIANTS_ERROR", "variant field"));
            }
            all(&handle.variants, |variant| field(handle.owner, Some(*variant), handle.field))
        })?;
        all(&module.variant_handles, |handle| {
            below(handle.owner, &module.struct_defs, "owner of a variant")?;
            let fields = module.struct_def(handle.owner).fields(Some(handle.variant));
            fields.map(|_| ()).ok_or_else(|| bad_index("variant"))
        })?;
        self.instantiations()
    }

    fn instantiations(&self) -> Result<(), VmError> {
        let module = self.module;
        let params_of =
            |def: u16| module.struct_handle(module.struct_def(def).handle).type_params.len();
        all(&module.struct_insts, |one| {
            below(one.of, &module.struct_defs, "generic struct")?;
            self.arguments(*one, params_of(one.of))
        })?;
        all(&module.function_insts, |one| {
            below(one.of, &module.function_handles, "generic function")?;
            self.arguments(*one, module.function_handle(one.of).type_params.len())
        })?;
        all(&module.field_insts, |one| {
            below(one.of, &module.field_handles, "generic field")?;
            self.arguments(*one, params_of(module.field_handles[usize::from(one.of)].owner))
        })?;
        all(&module.variant_field_insts, |one| {
            below(one.of, &module.variant_field_handles, "generic variant field")?;
            let handle = &module.variant_field_handles[usize::from(one.of)];
            self.arguments(*one, params_of(handle.owner))
        })?;
        all(&module.variant_insts, |one| {
            below(one.of, &module.variant_handles, "generic variant")?;
            self.arguments(*one, params_of(module.variant_handles[usize::from(one.of)].owner))
        })
    }

    fn arguments(&self, one: Instantiation, parameters: usize) -> Result<(), VmError> {
        below(one.type_args, &self.module.signatures, "type arguments")?;
        let arguments = self.module.signature(one.type_args);
        if arguments.len() != parameters || parameters == 0 {
            return Err(arity());
        }
        self.tokens(arguments, Scope { parameters: usize::MAX, references: false })
    }

    fn duplicates(&self) -> Result<(), VmError> {
        let module = self.module;
        unique(module.identifiers.iter(), "identifier")?;
        unique(module.addresses.iter(), "address")?;
        unique(module.module_handles.iter(), "module handle")?;
        unique(module.friend_handles.iter(), "friend")?;
        unique(module.struct_handles.iter().map(|one| (one.module, one.name)), "struct handle")?;
        let function_names = module.function_handles.iter().map(|one| (one.module, one.name));
        unique(function_names, "function handle")?;
        unique(module.struct_defs.iter().map(|def| def.handle), "struct")?;
        unique(module.function_defs.iter().map(|def| def.handle), "function")?;
        let own = |one: &u16| *one == module.self_handle;
        let structs = module.struct_handles.iter().map(|one| one.module).filter(own).count();
        let functions = module.function_handles.iter().map(|one| one.module).filter(own).count();
        if structs != module.struct_defs.len() || functions != module.function_defs.len() {
            return Err(VmError::new("UNIMPLEMENTED_HANDLE", "own handle without definition"));
        }
        Ok(())
    }

    fn function(&self, def: &FunctionDef) -> Result<(), VmError> {
        let handle = self.module.function_handle(def.handle);
        let scope = Scope { parameters: handle.type_params.len(), references: true };
        for signature in [handle.parameters, handle.returns] {
            self.tokens(self.module.signature(signature), scope)?;
        }
        let Some(code) = &def.code else { return Ok(()) };
        below(code.locals, &self.module.signatures, "locals")?;
        let parameters = self.module.signature(handle.parameters);
        let locals = self.module.signature(code.locals);
        self.tokens(locals, scope)?;
        let count = parameters.len() + locals.len();
        if count > LOCALS_MAX {
            return Err(VmError::new("TOO_MANY_LOCALS", count.to_string()));
        }
        code.code.iter().try_for_each(|instruction| {
            self.instruction(instruction, code, count)?;
            self.type_arguments(instruction, scope)
        })
    }

    fn instruction(&self, op: &Bytecode, code: &Code, locals: usize) -> Result<(), VmError> {
        use Bytecode as B;
        let module = self.module;
        match op {
            B::BrTrue(to) | B::BrFalse(to) | B::Branch(to) => below(*to, &code.code, "branch"),
            B::LdConst(index) => below(*index, &module.constants, "constant"),
            B::CopyLoc(local) | B::MoveLoc(local) | B::StLoc(local) | B::BorrowLoc(_, local) => {
                if usize::from(*local) < locals {
                    Ok(())
                } else {
                    Err(bad_index("local"))
                }
            }
            B::BorrowField(_, used) => {
                self.used(*used, &module.field_handles, &module.field_insts, |handle| {
                    params(module, handle.owner)
                })
            }
            B::BorrowVariantField(_, used) => {
                let (plain, insts) = (&module.variant_field_handles, &module.variant_field_insts);
                self.used(*used, plain, insts, |handle| params(module, handle.owner))
            }
            B::PackVariant(used) | B::UnpackVariant(used) | B::TestVariant(used) => {
                self.used(*used, &module.variant_handles, &module.variant_insts, |handle| {
                    params(module, handle.owner)
                })
            }
            B::Call(used) => {
                let (plain, insts) = (&module.function_handles, &module.function_insts);
                self.used(*used, plain, insts, |handle| handle.type_params.len())
            }
            B::Pack(used)
            | B::Unpack(used)
            | B::Exists(used)
            | B::BorrowGlobal(_, used)
            | B::MoveFrom(used)
            | B::MoveTo(used) => {
                self.used(*used, &module.struct_defs, &module.struct_insts, |def| {
                    module.struct_handle(def.handle).type_params.len()
                })
            }
            B::Vector(_, element) | B::VecPack(element, _) | B::VecUnpack(element, _) => {
                self.vector(op, *element)
            }
            _ => Ok(()),
        }
    }

    /// In bounds, and generic exactly if named through an instantiation.
    fn used<T>(
        &self,
        used: Use,
        plain: &[T],
        insts: &[Instantiation],
        parameters: impl Fn(&T) -> usize,
    ) -> Result<(), VmError> {
        match used {
            Use::Generic(index) => below(index, insts, "instantiation"),
            Use::Plain(index) => {
                below(index, plain, "operand")?;
                if parameters(&plain[usize::from(index)]) == 0 { Ok(()) } else { Err(arity()) }
            }
        }
    }

    fn vector(&self, op: &Bytecode, element: u16) -> Result<(), VmError> {
        below(element, &self.module.signatures, "vector element")?;
        let one = matches!(self.module.signature(element), [token] if !token.is_reference());
        let many = match op {
            Bytecode::VecPack(_, count) | Bytecode::VecUnpack(_, count) => {
                *count > VECTOR_LITERAL_MAX
            }
            _ => false,
        };
        if one && !many { Ok(()) } else { Err(VmError::new("MALFORMED", "vector operand")) }
    }

    /// The type arguments in an instruction name only the function's own parameters.
    fn type_arguments(&self, op: &Bytecode, scope: Scope) -> Result<(), VmError> {
        use Bytecode as B;
        let module = self.module;
        let (insts, index) = match op {
            B::BorrowField(_, Use::Generic(index)) => (&module.field_insts, index),
            B::BorrowVariantField(_, Use::Generic(index)) => (&module.variant_field_insts, index),
            B::PackVariant(Use::Generic(index))
            | B::UnpackVariant(Use::Generic(index))
            | B::TestVariant(Use::Generic(index)) => (&module.variant_insts, index),
            B::Call(Use::Generic(index)) => (&module.function_insts, index),
            B::Pack(Use::Generic(index))
            | B::Unpack(Use::Generic(index))
            | B::Exists(Use::Generic(index))
            | B::BorrowGlobal(_, Use::Generic(index))
            | B::MoveFrom(Use::Generic(index))
            | B::MoveTo(Use::Generic(index)) => (&module.struct_insts, index),
            B::Vector(_, element) | B::VecPack(element, _) | B::VecUnpack(element, _) => {
                let scope = Scope { references: false, ..scope };
                return self.tokens(module.signature(*element), scope);
            }
            _ => return Ok(()),
        };
        let arguments = module.signature(insts[usize::from(*index)].type_args);
        self.tokens(arguments, Scope { references: false, ..scope })
    }
}

fn params(module: &CompiledModule, owner: u16) -> usize {
    module.struct_handle(module.struct_def(owner).handle).type_params.len()
}

fn arity() -> VmError {
    VmError::new("NUMBER_OF_TYPE_ARGUMENTS_MISMATCH", "type arguments")
}
