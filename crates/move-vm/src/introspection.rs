//! A module's public face: functions, types and metadata, as an ABI needs them.
//! Never shows code.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AccountAddress, TypeTag};

/// Who may call a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// The same module only.
    Private,
    /// Everyone.
    Public,
    /// The modules declared as friends.
    Friend,
}

/// What values of a type may be used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct AbilitySet(pub u8);

impl AbilitySet {
    /// May be copied.
    pub const COPY: u8 = 1;
    /// May be discarded.
    pub const DROP: u8 = 2;
    /// May live inside stored values.
    pub const STORE: u8 = 4;
    /// May be a resource.
    pub const KEY: u8 = 8;

    /// Whether all of `abilities` are in the set.
    pub fn has(self, abilities: u8) -> bool {
        self.0 & abilities == abilities
    }

    /// What is left when a value of a type with the abilities `inner` is inside: each ability
    /// needs itself inside, and `key` needs `store`.
    pub(crate) fn limited_by(self, inner: AbilitySet) -> AbilitySet {
        let key = if inner.has(Self::STORE) { Self::KEY } else { 0 };
        let same = inner.0 & (Self::COPY | Self::DROP | Self::STORE);
        AbilitySet(self.0 & (same | key))
    }

    /// The names in the order Aptos lists them.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            (Self::COPY, "copy"),
            (Self::DROP, "drop"),
            (Self::STORE, "store"),
            (Self::KEY, "key"),
        ];
        all.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, name)| *name).collect()
    }
}

/// A type as written in a signature: may hold references and type parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveType {
    /// `bool`
    Bool,
    /// `u8`
    U8,
    /// `u16`
    U16,
    /// `u32`
    U32,
    /// `u64`
    U64,
    /// `u128`
    U128,
    /// `u256`
    U256,
    /// `address`
    Address,
    /// `signer`
    Signer,
    /// `vector<T>`
    Vector(Box<MoveType>),
    /// A struct or enum.
    Struct {
        /// The defining module's address.
        address: AccountAddress,
        /// The defining module.
        module: String,
        /// The type's name.
        name: String,
        /// Its type arguments.
        type_args: Vec<MoveType>,
    },
    /// `&T` or `&mut T`
    Reference {
        /// Whether it is `&mut`.
        mutable: bool,
        /// The type referred to.
        to: Box<MoveType>,
    },
    /// A type parameter by position.
    TypeParameter(u16),
}

impl MoveType {
    /// The concrete type after replacing type parameters; `None` if it holds a reference or an
    /// argument is missing.
    pub fn to_tag(&self, arguments: &[TypeTag]) -> Option<TypeTag> {
        Some(match self {
            Self::Bool => TypeTag::Bool,
            Self::U8 => TypeTag::U8,
            Self::U16 => TypeTag::U16,
            Self::U32 => TypeTag::U32,
            Self::U64 => TypeTag::U64,
            Self::U128 => TypeTag::U128,
            Self::U256 => TypeTag::U256,
            Self::Address => TypeTag::Address,
            Self::Signer => TypeTag::Signer,
            Self::Vector(element) => TypeTag::Vector(Box::new(element.to_tag(arguments)?)),
            Self::Struct { address, module, name, type_args } => {
                let type_args =
                    type_args.iter().map(|one| one.to_tag(arguments)).collect::<Option<_>>()?;
                let (module, name) = (module.clone(), name.clone());
                let tag = crate::StructTag { address: *address, module, name, type_args };
                TypeTag::Struct(Box::new(tag))
            }
            Self::Reference { .. } => return None,
            Self::TypeParameter(index) => arguments.get(usize::from(*index))?.clone(),
        })
    }
}

impl fmt::Display for MoveType {
    /// As the ABI of Aptos prints it: `&mut vector<T0>`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => formatter.write_str("bool"),
            Self::U8 => formatter.write_str("u8"),
            Self::U16 => formatter.write_str("u16"),
            Self::U32 => formatter.write_str("u32"),
            Self::U64 => formatter.write_str("u64"),
            Self::U128 => formatter.write_str("u128"),
            Self::U256 => formatter.write_str("u256"),
            Self::Address => formatter.write_str("address"),
            Self::Signer => formatter.write_str("signer"),
            Self::Vector(element) => write!(formatter, "vector<{element}>"),
            Self::Reference { mutable: true, to } => write!(formatter, "&mut {to}"),
            Self::Reference { mutable: false, to } => write!(formatter, "&{to}"),
            Self::TypeParameter(index) => write!(formatter, "T{index}"),
            Self::Struct { address, module, name, type_args } => {
                write!(formatter, "{address}::{module}::{name}")?;
                for (index, argument) in type_args.iter().enumerate() {
                    let before = if index == 0 { "<" } else { ", " };
                    write!(formatter, "{before}{argument}")?;
                }
                formatter.write_str(if type_args.is_empty() { "" } else { ">" })
            }
        }
    }
}

/// A function's face.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Its name.
    pub name: String,
    /// Who may call it.
    pub visibility: Visibility,
    /// Whether a transaction may start there.
    pub is_entry: bool,
    /// Whether the machine implements it.
    pub is_native: bool,
    /// Constraints per type parameter.
    pub type_params: Vec<AbilitySet>,
    /// Parameter types.
    pub params: Vec<MoveType>,
    /// Return types.
    pub returns: Vec<MoveType>,
}

/// A type parameter of a struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StructTypeParameter {
    /// Abilities that an argument must have.
    pub constraints: AbilitySet,
    /// Whether no field uses it.
    pub is_phantom: bool,
}

/// A named field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldInfo {
    /// Its name.
    pub name: String,
    /// Its type.
    pub field_type: MoveType,
}

/// One shape of an enum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantInfo {
    /// Its name.
    pub name: String,
    /// Its fields.
    pub fields: Vec<FieldInfo>,
}

/// A struct's or enum's face.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StructInfo {
    /// Its name.
    pub name: String,
    /// Whether the machine defines it.
    pub is_native: bool,
    /// Its abilities.
    pub abilities: AbilitySet,
    /// Its type parameters.
    pub type_params: Vec<StructTypeParameter>,
    /// Fields of a struct; empty for an enum.
    pub fields: Vec<FieldInfo>,
    /// Variants of an enum; empty for a struct.
    pub variants: Vec<VariantInfo>,
}

/// An attribute the Aptos compiler recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// See the constants.
    pub kind: u8,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Attribute {
    /// `#[view]`
    pub const VIEW: u8 = 1;
    /// `#[resource_group]`
    pub const RESOURCE_GROUP: u8 = 2;
    /// `#[resource_group_member]`
    pub const RESOURCE_GROUP_MEMBER: u8 = 3;
    /// `#[event]`
    pub const EVENT: u8 = 4;
}

/// Name and doc of an abort code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDescription {
    /// The constant's name.
    pub code_name: String,
    /// Its doc comment.
    pub code_description: String,
}

/// The content of the metadata key `aptos::metadata_v1`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AptosMetadata {
    /// Abort codes by number.
    pub error_map: BTreeMap<u64, ErrorDescription>,
    /// Attributes by struct.
    pub struct_attributes: BTreeMap<String, Vec<Attribute>>,
    /// Attributes by function.
    pub fun_attributes: BTreeMap<String, Vec<Attribute>>,
}

impl AptosMetadata {
    /// Whether the function is marked `#[view]`.
    pub fn is_view(&self, function: &str) -> bool {
        let attributes = self.fun_attributes.get(function);
        attributes.is_some_and(|list| list.iter().any(|one| one.kind == Attribute::VIEW))
    }

    /// Whether the struct is marked `#[event]`.
    pub fn is_event(&self, name: &str) -> bool {
        let attributes = self.struct_attributes.get(name);
        attributes.is_some_and(|list| list.iter().any(|one| one.kind == Attribute::EVENT))
    }
}
