//! The entries of a module's tables and how each is read.
//! Never checks that an index is in bounds; see `bounds`.

use super::code::{Code, read_code};
use super::reader::{Reader, malformed};
use super::signature::Token;
use crate::VmError;
use crate::introspection::{AbilitySet, StructTypeParameter, Visibility};

const FIELDS_MAX: u64 = 255;
const VARIANTS_MAX: u64 = 127;
const TYPE_PARAMETERS_MAX: u64 = 255;
const ACCESS_SPECIFIERS_MAX: u64 = 64;
const ATTRIBUTES_MAX: u64 = 16;
const ACQUIRES_MAX: u64 = 255;
const CONSTANT_MAX: u64 = 65_535;

/// A module by address and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ModuleHandle {
    pub address: u16,
    pub name: u16,
}

/// A struct or enum, own or imported.
#[derive(Debug, Clone)]
pub(crate) struct StructHandle {
    pub module: u16,
    pub name: u16,
    pub abilities: AbilitySet,
    pub type_params: Vec<StructTypeParameter>,
}

/// A function, own or imported.
#[derive(Debug, Clone)]
pub(crate) struct FunctionHandle {
    pub module: u16,
    pub name: u16,
    pub parameters: u16,
    pub returns: u16,
    pub type_params: Vec<AbilitySet>,
}

/// Something generic (`of`) with type arguments (a signature).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instantiation {
    pub of: u16,
    pub type_args: u16,
}

/// A field.
#[derive(Debug, Clone)]
pub(crate) struct FieldDef {
    pub name: u16,
    pub token: Token,
}

/// A shape of an enum.
#[derive(Debug, Clone)]
pub(crate) struct VariantDef {
    pub name: u16,
    pub fields: Vec<FieldDef>,
}

/// What a struct or enum is made of.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    Native,
    Struct(Vec<FieldDef>),
    Enum(Vec<VariantDef>),
}

/// A struct or enum of this module.
#[derive(Debug, Clone)]
pub(crate) struct StructDef {
    pub handle: u16,
    pub shape: Shape,
}

/// A field of a struct by position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FieldHandle {
    pub owner: u16,
    pub field: u16,
}

/// A field that several variants have at the same position.
#[derive(Debug, Clone)]
pub(crate) struct VariantFieldHandle {
    pub owner: u16,
    pub field: u16,
    pub variants: Vec<u16>,
}

/// A variant of an enum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VariantHandle {
    pub owner: u16,
    pub variant: u16,
}

/// A function of this module.
#[derive(Debug, Clone)]
pub(crate) struct FunctionDef {
    pub handle: u16,
    pub visibility: Visibility,
    pub is_entry: bool,
    pub acquires: Vec<u16>,
    /// `None` for a native function.
    pub code: Option<Code>,
}

/// A constant: its type and BCS bytes.
#[derive(Debug, Clone)]
pub(crate) struct Constant {
    pub token: Token,
    pub data: Vec<u8>,
}

fn abilities(reader: &mut Reader) -> Result<AbilitySet, VmError> {
    let bits = reader.uleb(15)?;
    Ok(AbilitySet(u8::try_from(bits).map_err(|_| malformed("abilities"))?))
}

impl ModuleHandle {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, VmError> {
        Ok(Self { address: reader.index()?, name: reader.index()? })
    }
}

impl StructHandle {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, VmError> {
        Ok(Self {
            module: reader.index()?,
            name: reader.index()?,
            abilities: abilities(reader)?,
            type_params: reader.list(TYPE_PARAMETERS_MAX, |reader| {
                let constraints = abilities(reader)?;
                Ok(StructTypeParameter { constraints, is_phantom: reader.uleb(1)? == 1 })
            })?,
        })
    }
}

impl FunctionHandle {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, VmError> {
        let handle = Self {
            module: reader.index()?,
            name: reader.index()?,
            parameters: reader.index()?,
            returns: reader.index()?,
            type_params: reader.list(TYPE_PARAMETERS_MAX, abilities)?,
        };
        if reader.version >= 7 {
            option(reader, |reader| {
                reader.list(ACCESS_SPECIFIERS_MAX, skip_access_specifier).map(drop)
            })?;
        }
        if reader.version >= 8 {
            reader.list(ATTRIBUTES_MAX, |reader| one_of(reader, 1..=2))?;
        }
        Ok(handle)
    }
}

fn one_of(reader: &mut Reader, allowed: std::ops::RangeInclusive<u8>) -> Result<u8, VmError> {
    let byte = reader.byte()?;
    if allowed.contains(&byte) { Ok(byte) } else { Err(malformed("unknown tag")) }
}

fn option(
    reader: &mut Reader,
    read: impl FnOnce(&mut Reader) -> Result<(), VmError>,
) -> Result<(), VmError> {
    if one_of(reader, 1..=2)? == 2 { read(reader) } else { Ok(()) }
}

/// Access specifiers promise what a function touches. They are read and not enforced.
fn skip_access_specifier(reader: &mut Reader) -> Result<(), VmError> {
    one_of(reader, 1..=3)?;
    one_of(reader, 1..=2)?;
    match one_of(reader, 1..=5)? {
        1 => {}
        5 => {
            reader.index()?;
            reader.index()?;
        }
        _ => {
            reader.index()?;
        }
    }
    match one_of(reader, 1..=3)? {
        2 => {
            reader.index()?;
        }
        3 => {
            reader.uleb(255)?;
            option(reader, |reader| reader.index().map(drop))?;
        }
        _ => {}
    }
    Ok(())
}

impl Instantiation {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, VmError> {
        Ok(Self { of: reader.index()?, type_args: reader.index()? })
    }
}

impl FieldDef {
    fn read(reader: &mut Reader) -> Result<Self, VmError> {
        Ok(Self { name: reader.index()?, token: Token::read(reader)? })
    }
}

impl StructDef {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, VmError> {
        let handle = reader.index()?;
        let shape = match reader.byte()? {
            1 => Shape::Native,
            2 => Shape::Struct(reader.list(FIELDS_MAX, FieldDef::read)?),
            3 if reader.version >= 7 => Shape::Enum(reader.list(VARIANTS_MAX, |reader| {
                let name = reader.index()?;
                Ok(VariantDef { name, fields: reader.list(FIELDS_MAX, FieldDef::read)? })
            })?),
            _ => return Err(malformed("unknown kind of struct")),
        };
        Ok(Self { handle, shape })
    }

    /// The fields of a struct, or of one variant of an enum.
    pub fn fields(&self, variant: Option<u16>) -> Option<&[FieldDef]> {
        match (&self.shape, variant) {
            (Shape::Struct(fields), None) => Some(fields),
            (Shape::Enum(variants), Some(variant)) => {
                variants.get(usize::from(variant)).map(|variant| variant.fields.as_slice())
            }
            _ => None,
        }
    }

    /// All fields with the variant each belongs to.
    pub fn all_fields(&self) -> impl Iterator<Item = &FieldDef> {
        let (fields, variants): (&[FieldDef], &[VariantDef]) = match &self.shape {
            Shape::Native => (&[], &[]),
            Shape::Struct(fields) => (fields, &[]),
            Shape::Enum(variants) => (&[], variants),
        };
        fields.iter().chain(variants.iter().flat_map(|variant| &variant.fields))
    }
}

impl FieldHandle {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, VmError> {
        Ok(Self { owner: reader.index()?, field: reader.index()? })
    }
}

impl VariantFieldHandle {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, VmError> {
        let (owner, field) = (reader.index()?, reader.index()?);
        Ok(Self { owner, field, variants: reader.list(VARIANTS_MAX, Reader::index)? })
    }
}

impl VariantHandle {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, VmError> {
        Ok(Self { owner: reader.index()?, variant: reader.index()? })
    }
}

impl FunctionDef {
    const NATIVE: u8 = 2;
    const ENTRY: u8 = 4;

    pub(super) fn read(reader: &mut Reader) -> Result<Self, VmError> {
        let handle = reader.index()?;
        let visibility = match reader.byte()? {
            0 => Visibility::Private,
            1 => Visibility::Public,
            3 => Visibility::Friend,
            _ => return Err(malformed("unknown visibility")),
        };
        let flags = reader.byte()?;
        if flags & !(Self::NATIVE | Self::ENTRY) != 0 {
            return Err(VmError::new("INVALID_FLAG_BITS", "function flags"));
        }
        let acquires = reader.list(ACQUIRES_MAX, Reader::index)?;
        let native = flags & Self::NATIVE != 0;
        let code = if native { None } else { Some(read_code(reader)?) };
        Ok(Self { handle, visibility, is_entry: flags & Self::ENTRY != 0, acquires, code })
    }
}

impl Constant {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, VmError> {
        let token = Token::read(reader)?;
        Ok(Self { token, data: reader.blob(CONSTANT_MAX)?.to_vec() })
    }
}
