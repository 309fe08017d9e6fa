//! Modules linked to each other by number, types and layouts computed once.
//! Never checks code: only checked modules are published, and only published ones load.

use std::collections::HashMap;
use std::sync::Arc;

use crate::codec::Layout;
use crate::failure::{Failure, Outcome};
use crate::format::{Shape, Token};
use crate::natives::{self, Native};
use crate::source::{Source, same};
use crate::types::{StructId, Ty, TyList, TyNode, Types};
use crate::value::VALUE_DEPTH_MAX;
use crate::{AbilitySet, CompiledModule, ModuleId, Storage, StructTag, TypeTag};

/// Beyond this many types a loader is not kept for the next session.
const TYPES_KEPT: usize = 100_000;

/// What a call instruction calls.
#[derive(Clone, Copy)]
pub(crate) struct Callee {
    pub module: u32,
    pub function: u16,
    pub native: Option<Native>,
}

struct Loaded {
    module: Arc<CompiledModule>,
    bytes: Arc<[u8]>,
    struct_ids: Vec<Option<StructId>>,
    callees: Vec<Option<Callee>>,
    constants: Vec<Option<Arc<Layout>>>,
}

/// Linked modules. Kept between sessions as long as no module changes.
#[derive(Default)]
pub(crate) struct Loader {
    modules: Vec<Loaded>,
    by_id: HashMap<ModuleId, u32>,
    /// The concrete types seen.
    pub types: Types,
    signatures: HashMap<(u32, u16, TyList), TyList>,
    layouts: Vec<Option<Arc<Layout>>>,
    tags: Vec<Option<Arc<TypeTag>>>,
}

fn at<T>(list: &[T], index: u32) -> &T {
    &list[usize::try_from(index).unwrap_or(usize::MAX)]
}

impl Loader {
    /// Whether every linked module is still what storage holds.
    pub fn is_current(&self, storage: &dyn Storage) -> bool {
        self.types.len() < TYPES_KEPT
            && self.by_id.iter().all(|(id, index)| {
                let bytes = storage.module(id).ok().flatten();
                bytes.is_some_and(|bytes| same(&bytes, &at(&self.modules, *index).bytes))
            })
    }

    /// The number of a module, linking it if need be.
    pub fn load(&mut self, id: &ModuleId, source: &Source) -> Outcome<u32> {
        if let Some(index) = self.by_id.get(id) {
            return Ok(*index);
        }
        let bytes = source.bytes(id)?.ok_or(Failure::Other("LINKER_ERROR"))?;
        let module = source.parsed.parse(id, &bytes)?;
        let index =
            u32::try_from(self.modules.len()).map_err(|_| Failure::Other("LINKER_ERROR"))?;
        self.modules.push(Loaded {
            struct_ids: vec![None; module.struct_handles.len()],
            callees: vec![None; module.function_handles.len()],
            constants: vec![None; module.constants.len()],
            module,
            bytes,
        });
        self.by_id.insert(id.clone(), index);
        Ok(index)
    }

    pub fn module(&self, index: u32) -> &Arc<CompiledModule> {
        &at(&self.modules, index).module
    }

    fn loaded_mut(&mut self, index: u32) -> &mut Loaded {
        &mut self.modules[usize::try_from(index).unwrap_or(usize::MAX)]
    }

    /// What a function handle of a module calls.
    pub fn callee(&mut self, module: u32, handle: u16, source: &Source) -> Outcome<Callee> {
        if let Some(callee) = at(&self.modules, module).callees[usize::from(handle)] {
            return Ok(callee);
        }
        let caller = Arc::clone(self.module(module));
        let function = caller.function_handle(handle);
        let target = self.load(&caller.module_of(function.module), source)?;
        let callee = self.function(target, caller.name(function.name))?;
        self.loaded_mut(module).callees[usize::from(handle)] = Some(callee);
        Ok(callee)
    }

    /// A function of a module by name.
    pub fn function(&self, module: u32, name: &str) -> Outcome<Callee> {
        let code = self.module(module);
        let function = code.function_index(name);
        let function = function.ok_or(Failure::Other("FUNCTION_RESOLUTION_FAILURE"))?;
        let def = &code.function_defs[usize::from(function)];
        let native = match &def.code {
            Some(_) => None,
            None => {
                Some(natives::find(code.id(), name).ok_or(Failure::Other("MISSING_DEPENDENCY"))?)
            }
        };
        Ok(Callee { module, function, native })
    }

    /// The struct that a struct handle of a module means.
    pub fn struct_id(&mut self, module: u32, handle: u16, source: &Source) -> Outcome<StructId> {
        if let Some(id) = at(&self.modules, module).struct_ids[usize::from(handle)] {
            return Ok(id);
        }
        let user = Arc::clone(self.module(module));
        let named = user.struct_handle(handle);
        let target = self.load(&user.module_of(named.module), source)?;
        let def = self.module(target).struct_index(user.name(named.name));
        let def = def.ok_or(Failure::Other("TYPE_RESOLUTION_FAILURE"))?;
        let id = StructId { module: target, def };
        self.loaded_mut(module).struct_ids[usize::from(handle)] = Some(id);
        Ok(id)
    }

    /// The concrete types of a signature under type arguments.
    pub fn signature(
        &mut self,
        module: u32,
        signature: u16,
        arguments: TyList,
        source: &Source,
    ) -> Outcome<TyList> {
        let key = (module, signature, arguments);
        if let Some(list) = self.signatures.get(&key) {
            return Ok(*list);
        }
        let code = Arc::clone(self.module(module));
        let arguments = Arc::clone(self.types.list(arguments));
        let types = code.signature(signature).iter();
        let types: Vec<Ty> = types
            .map(|token| self.ty(module, token, &arguments, source))
            .collect::<Outcome<_>>()?;
        let list = self.types.intern_list(&types)?;
        self.signatures.insert(key, list);
        Ok(list)
    }

    /// The concrete type of a token. References count as what they refer to.
    pub fn ty(
        &mut self,
        module: u32,
        token: &Token,
        arguments: &[Ty],
        source: &Source,
    ) -> Outcome<Ty> {
        let node = match token {
            Token::Bool => TyNode::Bool,
            Token::U8 => TyNode::U8,
            Token::U16 => TyNode::U16,
            Token::U32 => TyNode::U32,
            Token::U64 => TyNode::U64,
            Token::U128 => TyNode::U128,
            Token::U256 => TyNode::U256,
            Token::Address => TyNode::Address,
            Token::Signer => TyNode::Signer,
            Token::Vector(element) => TyNode::Vector(self.ty(module, element, arguments, source)?),
            Token::Reference(to) | Token::MutReference(to) => {
                return self.ty(module, to, arguments, source);
            }
            Token::Parameter(index) => {
                let argument = arguments.get(usize::from(*index));
                return argument.copied().ok_or(Failure::Other("TYPE_RESOLUTION_FAILURE"));
            }
            Token::Struct(handle, inner) => {
                let id = self.struct_id(module, *handle, source)?;
                let inner = inner.iter().map(|token| self.ty(module, token, arguments, source));
                let inner: Vec<Ty> = inner.collect::<Outcome<_>>()?;
                TyNode::Struct(id, self.types.intern_list(&inner)?)
            }
        };
        self.types.intern(node)
    }

    /// The concrete type that a tag names. Arity must match; constraints are the caller's matter.
    pub fn ty_of_tag(&mut self, tag: &TypeTag, source: &Source) -> Outcome<Ty> {
        let node = match tag {
            TypeTag::Bool => TyNode::Bool,
            TypeTag::U8 => TyNode::U8,
            TypeTag::U16 => TyNode::U16,
            TypeTag::U32 => TyNode::U32,
            TypeTag::U64 => TyNode::U64,
            TypeTag::U128 => TyNode::U128,
            TypeTag::U256 => TyNode::U256,
            TypeTag::Address => TyNode::Address,
            TypeTag::Signer => TyNode::Signer,
            TypeTag::Vector(element) => TyNode::Vector(self.ty_of_tag(element, source)?),
            TypeTag::Struct(tag) => {
                let missing = Failure::Other("TYPE_RESOLUTION_FAILURE");
                let module = self.load(&tag.module_id(), source)?;
                let def = self.module(module).struct_index(&tag.name).ok_or(missing.clone())?;
                let code = self.module(module);
                let handle = code.struct_handle(code.struct_def(def).handle);
                if handle.type_params.len() != tag.type_args.len() {
                    return Err(Failure::Other("NUMBER_OF_TYPE_ARGUMENTS_MISMATCH"));
                }
                let inner = tag.type_args.iter().map(|tag| self.ty_of_tag(tag, source));
                let inner: Vec<Ty> = inner.collect::<Outcome<_>>()?;
                TyNode::Struct(StructId { module, def }, self.types.intern_list(&inner)?)
            }
        };
        self.types.intern(node)
    }

    /// The name of a type.
    pub fn tag(&mut self, ty: Ty) -> Arc<TypeTag> {
        if let Some(Some(tag)) = self.tags.get(ty.index()) {
            return Arc::clone(tag);
        }
        let tag = Arc::new(self.make_tag(ty));
        if self.tags.len() <= ty.index() {
            self.tags.resize(ty.index() + 1, None);
        }
        self.tags[ty.index()] = Some(Arc::clone(&tag));
        tag
    }

    fn make_tag(&mut self, ty: Ty) -> TypeTag {
        match self.types.node(ty) {
            TyNode::Bool => TypeTag::Bool,
            TyNode::U8 => TypeTag::U8,
            TyNode::U16 => TypeTag::U16,
            TyNode::U32 => TypeTag::U32,
            TyNode::U64 => TypeTag::U64,
            TyNode::U128 => TypeTag::U128,
            TyNode::U256 => TypeTag::U256,
            TyNode::Address => TypeTag::Address,
            TyNode::Signer => TypeTag::Signer,
            TyNode::Vector(element) => {
                TypeTag::Vector(Box::new(self.tag(element).as_ref().clone()))
            }
            TyNode::Struct(id, list) => {
                let list = Arc::clone(self.types.list(list));
                let type_args = list.iter().map(|ty| self.tag(*ty).as_ref().clone()).collect();
                let module = self.module(id.module);
                let name = module.name(module.struct_handle(module.struct_def(id.def).handle).name);
                TypeTag::Struct(Box::new(StructTag {
                    address: module.id().address,
                    module: module.id().name.clone(),
                    name: name.to_owned(),
                    type_args,
                }))
            }
        }
    }

    /// How values of a type are laid out.
    pub fn layout(&mut self, ty: Ty, source: &Source) -> Outcome<Arc<Layout>> {
        self.layout_at(ty, source, 0)
    }

    fn layout_at(&mut self, ty: Ty, source: &Source, depth: usize) -> Outcome<Arc<Layout>> {
        if let Some(Some(layout)) = self.layouts.get(ty.index()) {
            return Ok(Arc::clone(layout));
        }
        if depth > VALUE_DEPTH_MAX {
            return Err(Failure::Execution("VM_MAX_VALUE_DEPTH_REACHED"));
        }
        let layout = Arc::new(match self.types.node(ty) {
            TyNode::Bool => Layout::Bool,
            TyNode::U8 => Layout::U8,
            TyNode::U16 => Layout::U16,
            TyNode::U32 => Layout::U32,
            TyNode::U64 => Layout::U64,
            TyNode::U128 => Layout::U128,
            TyNode::U256 => Layout::U256,
            TyNode::Address => Layout::Address,
            TyNode::Signer => Layout::Signer,
            TyNode::Vector(element) if self.types.node(element) == TyNode::U8 => Layout::Bytes,
            TyNode::Vector(element) => {
                Layout::Vector(self.layout_at(element, source, depth + 1)?)
            }
            TyNode::Struct(id, list) => self.struct_layout(id, list, source, depth)?,
        });
        if self.layouts.len() <= ty.index() {
            self.layouts.resize(ty.index() + 1, None);
        }
        self.layouts[ty.index()] = Some(Arc::clone(&layout));
        Ok(layout)
    }

    fn struct_layout(
        &mut self,
        id: StructId,
        list: TyList,
        source: &Source,
        depth: usize,
    ) -> Outcome<Layout> {
        let module = Arc::clone(self.module(id.module));
        let def = module.struct_def(id.def);
        let arguments = Arc::clone(self.types.list(list));
        let mut fields = |fields: &[crate::format::FieldDef]| -> Outcome<Vec<Arc<Layout>>> {
            fields
                .iter()
                .map(|field| {
                    let ty = self.ty(id.module, &field.token, &arguments, source)?;
                    self.layout_at(ty, source, depth + 1)
                })
                .collect()
        };
        Ok(match &def.shape {
            Shape::Native => return Err(Failure::Other("TYPE_RESOLUTION_FAILURE")),
            Shape::Struct(list) => Layout::Struct(fields(list)?),
            Shape::Enum(variants) => Layout::Enum(
                variants.iter().map(|variant| fields(&variant.fields)).collect::<Outcome<_>>()?,
            ),
        })
    }

    /// The layout of a module's constant.
    pub fn constant(&mut self, module: u32, index: u16, source: &Source) -> Outcome<Arc<Layout>> {
        if let Some(layout) = &at(&self.modules, module).constants[usize::from(index)] {
            return Ok(Arc::clone(layout));
        }
        let code = Arc::clone(self.module(module));
        let ty = self.ty(module, &code.constants[usize::from(index)].token, &[], source)?;
        let layout = self.layout(ty, source)?;
        self.loaded_mut(module).constants[usize::from(index)] = Some(Arc::clone(&layout));
        Ok(layout)
    }

    /// The concrete type of a struct definition of a loaded module.
    pub fn struct_ty(&mut self, module: u32, def: u16, arguments: TyList) -> Outcome<Ty> {
        self.types.intern(TyNode::Struct(StructId { module, def }, arguments))
    }

    /// The abilities of a concrete type.
    pub fn abilities(&self, ty: Ty) -> Outcome<AbilitySet> {
        const VALUE: u8 = AbilitySet::COPY | AbilitySet::DROP | AbilitySet::STORE;
        Ok(match self.types.node(ty) {
            TyNode::Signer => AbilitySet(AbilitySet::DROP),
            TyNode::Vector(element) => AbilitySet(self.abilities(element)?.0 & VALUE),
            TyNode::Struct(id, list) => {
                let module = self.module(id.module);
                let handle = module.struct_handle(module.struct_def(id.def).handle);
                let mut abilities = handle.abilities;
                for (parameter, ty) in handle.type_params.iter().zip(self.types.list(list).iter()) {
                    let argument = self.abilities(*ty)?;
                    if !argument.has(parameter.constraints.0) {
                        return Err(Failure::Other("CONSTRAINT_NOT_SATISFIED"));
                    }
                    if !parameter.is_phantom {
                        abilities = abilities.limited_by(argument);
                    }
                }
                abilities
            }
            _ => AbilitySet(VALUE),
        })
    }
}
