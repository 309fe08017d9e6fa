//! The public face of a deserialised module: see [`crate::introspection`].
//! Never fails: bounds were checked when the module was read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{CompiledModule, FieldDef, FunctionDef, Shape, StructDef, Token};
use crate::ModuleId;
use crate::introspection::{
    AptosMetadata, ErrorDescription, FieldInfo, FunctionInfo, MoveType, StructInfo, VariantInfo,
};

/// The content of the older metadata key `aptos::metadata_v0`.
#[derive(Deserialize)]
struct OldMetadata {
    error_map: BTreeMap<u64, ErrorDescription>,
}

impl CompiledModule {
    /// The modules it uses, without itself.
    pub fn dependencies(&self) -> Vec<ModuleId> {
        let ids: BTreeSet<ModuleId> =
            self.module_handles.iter().map(|handle| self.module_id(*handle)).collect();
        ids.into_iter().filter(|id| id != self.id()).collect()
    }

    /// The modules that may call its friend functions.
    pub fn friends(&self) -> Vec<ModuleId> {
        self.friend_handles.iter().map(|handle| self.module_id(*handle)).collect()
    }

    /// Its functions, in the order of definition.
    pub fn functions(&self) -> Vec<FunctionInfo> {
        self.function_defs.iter().map(|def| self.function_info(def)).collect()
    }

    /// One function by name.
    pub fn function(&self, name: &str) -> Option<FunctionInfo> {
        let index = self.function_index(name)?;
        Some(self.function_info(&self.function_defs[usize::from(index)]))
    }

    fn function_info(&self, def: &FunctionDef) -> FunctionInfo {
        let handle = self.handle_of(def);
        let types = |signature| {
            self.signature(signature).iter().map(|token| self.move_type(token)).collect()
        };
        FunctionInfo {
            name: self.name(handle.name).to_owned(),
            visibility: def.visibility,
            is_entry: def.is_entry,
            is_native: def.code.is_none(),
            type_params: handle.type_params.clone(),
            params: types(handle.parameters),
            returns: types(handle.returns),
        }
    }

    /// Its structs and enums, in the order of definition.
    pub fn structs(&self) -> Vec<StructInfo> {
        self.struct_defs.iter().map(|def| self.struct_info(def)).collect()
    }

    fn struct_info(&self, def: &StructDef) -> StructInfo {
        let handle = self.struct_handle(def.handle);
        let (fields, variants) = match &def.shape {
            Shape::Native => (Vec::new(), Vec::new()),
            Shape::Struct(fields) => (self.field_infos(fields), Vec::new()),
            Shape::Enum(variants) => {
                let info = |variant: &super::tables::VariantDef| VariantInfo {
                    name: self.name(variant.name).to_owned(),
                    fields: self.field_infos(&variant.fields),
                };
                (Vec::new(), variants.iter().map(info).collect())
            }
        };
        StructInfo {
            name: self.name(handle.name).to_owned(),
            is_native: matches!(def.shape, Shape::Native),
            abilities: handle.abilities,
            type_params: handle.type_params.clone(),
            fields,
            variants,
        }
    }

    fn field_infos(&self, fields: &[FieldDef]) -> Vec<FieldInfo> {
        let info = |field: &FieldDef| FieldInfo {
            name: self.name(field.name).to_owned(),
            field_type: self.move_type(&field.token),
        };
        fields.iter().map(info).collect()
    }

    /// A token with its handles replaced by names.
    pub(crate) fn move_type(&self, token: &Token) -> MoveType {
        match token {
            Token::Bool => MoveType::Bool,
            Token::U8 => MoveType::U8,
            Token::U16 => MoveType::U16,
            Token::U32 => MoveType::U32,
            Token::U64 => MoveType::U64,
            Token::U128 => MoveType::U128,
            Token::U256 => MoveType::U256,
            Token::Address => MoveType::Address,
            Token::Signer => MoveType::Signer,
            Token::Parameter(index) => MoveType::TypeParameter(*index),
            Token::Vector(element) => MoveType::Vector(Box::new(self.move_type(element))),
            Token::Reference(to) => {
                MoveType::Reference { mutable: false, to: Box::new(self.move_type(to)) }
            }
            Token::MutReference(to) => {
                MoveType::Reference { mutable: true, to: Box::new(self.move_type(to)) }
            }
            Token::Struct(index, arguments) => {
                let handle = self.struct_handle(*index);
                let ModuleId { address, name: module } = self.module_of(handle.module);
                let name = self.name(handle.name).to_owned();
                let type_args = arguments.iter().map(|one| self.move_type(one)).collect();
                MoveType::Struct { address, module, name, type_args }
            }
        }
    }

    /// The Aptos part of the metadata: error names and attributes. Empty if there is none, or if
    /// it does not parse: it only informs.
    pub fn aptos_metadata(&self) -> AptosMetadata {
        let find = |key: &[u8]| self.metadata().iter().find(|(name, _)| name == key);
        if let Some((_, value)) = find(b"aptos::metadata_v1") {
            return aptos_bcs::from_bytes(value).unwrap_or_default();
        }
        let old = find(b"aptos::metadata_v0")
            .and_then(|(_, value)| aptos_bcs::from_bytes::<OldMetadata>(value).ok());
        let error_map = old.map(|old| old.error_map).unwrap_or_default();
        AptosMetadata { error_map, ..AptosMetadata::default() }
    }
}
