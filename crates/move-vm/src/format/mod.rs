//! The binary format of modules: header, tables and what they mean together.
//! Never executes anything.

mod bounds;
mod code;
mod face;
mod reader;
mod signature;
mod tables;

use std::ops::Range;

pub(crate) use code::{Access, Binary, Bytecode, Code, Use, VectorOp, Width};
pub(crate) use signature::Token;
pub(crate) use tables::{
    Constant, FieldDef, FieldHandle, FunctionDef, FunctionHandle, Instantiation, ModuleHandle,
    Shape, StructDef, StructHandle, VariantFieldHandle, VariantHandle,
};

use crate::{AccountAddress, ModuleId, VmError};
use reader::{Reader, malformed};

const MAGIC: [u8; 4] = [0xa1, 0x1c, 0xeb, 0x0b];
/// Aptos marks its bytecode from version 7 on in the version's highest byte.
const APTOS_MARK: u32 = 0x0a00_0000;
const VERSIONS: std::ops::RangeInclusive<u32> = 6..=8;
/// Largest module accepted, in bytes. The largest module of Aptos' own framework is a tenth.
const MODULE_BYTES_MAX: usize = 1 << 20;
const IDENTIFIER_MAX: u64 = 255;
const SIGNATURE_MAX: u64 = 255;
const METADATA_KEY_MAX: u64 = 1_023;
const METADATA_VALUE_MAX: u64 = 65_535;
const TABLE_KINDS: usize = 0x15;

/// A deserialised module whose every index is in bounds.
#[derive(Debug, Clone)]
pub struct CompiledModule {
    id: ModuleId,
    pub(crate) self_handle: u16,
    pub(crate) module_handles: Vec<ModuleHandle>,
    pub(crate) struct_handles: Vec<StructHandle>,
    pub(crate) function_handles: Vec<FunctionHandle>,
    pub(crate) function_insts: Vec<Instantiation>,
    pub(crate) signatures: Vec<Vec<Token>>,
    pub(crate) constants: Vec<Constant>,
    pub(crate) identifiers: Vec<Box<str>>,
    pub(crate) addresses: Vec<AccountAddress>,
    pub(crate) struct_defs: Vec<StructDef>,
    pub(crate) struct_insts: Vec<Instantiation>,
    pub(crate) function_defs: Vec<FunctionDef>,
    pub(crate) field_handles: Vec<FieldHandle>,
    pub(crate) field_insts: Vec<Instantiation>,
    pub(crate) friend_handles: Vec<ModuleHandle>,
    pub(crate) variant_field_handles: Vec<VariantFieldHandle>,
    pub(crate) variant_field_insts: Vec<Instantiation>,
    pub(crate) variant_handles: Vec<VariantHandle>,
    pub(crate) variant_insts: Vec<Instantiation>,
    metadata: Vec<(Vec<u8>, Vec<u8>)>,
}

impl CompiledModule {
    /// Parses and bounds-checks. Never panics, whatever the bytes.
    pub fn deserialize(bytes: &[u8]) -> Result<Self, VmError> {
        if bytes.len() > MODULE_BYTES_MAX {
            return Err(VmError::new("CODE_DESERIALIZATION_ERROR", "module too large"));
        }
        let mut header = Reader::new(bytes, 0);
        if header.take(4)? != MAGIC {
            return Err(VmError::new("BAD_MAGIC", "not a Move module"));
        }
        let version = u32::from_le_bytes(header.array()?) & !APTOS_MARK;
        if !VERSIONS.contains(&version) {
            return Err(VmError::new("UNKNOWN_VERSION", format!("bytecode version {version}")));
        }
        let (ranges, length) = read_header(&mut header)?;
        let contents = header.take(length)?;
        let self_handle = header.index()?;
        if !header.rest().is_empty() {
            return Err(malformed("bytes after the end"));
        }
        let tables = Tables { ranges, contents, version };
        let mut module = tables.read(self_handle)?;
        bounds::check(&module)?;
        let handle = module.module_handles[usize::from(self_handle)];
        module.id = module.module_id(handle);
        Ok(module)
    }

    /// Where the module lives.
    pub fn id(&self) -> &ModuleId {
        &self.id
    }

    /// Raw metadata entries: key and value.
    pub fn metadata(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.metadata
    }

    pub(crate) fn name(&self, identifier: u16) -> &str {
        &self.identifiers[usize::from(identifier)]
    }

    pub(crate) fn module_id(&self, handle: ModuleHandle) -> ModuleId {
        ModuleId::new(self.addresses[usize::from(handle.address)], self.name(handle.name))
    }

    pub(crate) fn module_of(&self, handle: u16) -> ModuleId {
        self.module_id(self.module_handles[usize::from(handle)])
    }

    pub(crate) fn struct_handle(&self, index: u16) -> &StructHandle {
        &self.struct_handles[usize::from(index)]
    }

    pub(crate) fn function_handle(&self, index: u16) -> &FunctionHandle {
        &self.function_handles[usize::from(index)]
    }

    pub(crate) fn struct_def(&self, index: u16) -> &StructDef {
        &self.struct_defs[usize::from(index)]
    }

    pub(crate) fn signature(&self, index: u16) -> &[Token] {
        &self.signatures[usize::from(index)]
    }

    /// The handle of a function definition.
    pub(crate) fn handle_of(&self, function: &FunctionDef) -> &FunctionHandle {
        self.function_handle(function.handle)
    }

    pub(crate) fn function_index(&self, name: &str) -> Option<u16> {
        let found =
            self.function_defs.iter().position(|def| self.name(self.handle_of(def).name) == name);
        found.and_then(|index| u16::try_from(index).ok())
    }

    pub(crate) fn struct_index(&self, name: &str) -> Option<u16> {
        let name_of = |def: &StructDef| self.name(self.struct_handle(def.handle).name);
        let found = self.struct_defs.iter().position(|def| name_of(def) == name);
        found.and_then(|index| u16::try_from(index).ok())
    }
}

/// Byte ranges of the tables by kind, and the length of them all.
type Header = ([Range<usize>; TABLE_KINDS], usize);

/// Tables may come in any order but must follow each other without a gap.
fn read_header(reader: &mut Reader) -> Result<Header, VmError> {
    let bad = |detail: &str| VmError::new("BAD_HEADER_TABLE", detail);
    let count = reader.count(255)?;
    let mut ranges: [Range<usize>; TABLE_KINDS] = std::array::from_fn(|_| 0..0);
    let mut spans = Vec::new();
    for _ in 0..count {
        let kind = usize::from(reader.byte()?);
        let start = reader.count(u64::from(u32::MAX))?;
        let length = reader.count(u64::from(u32::MAX))?;
        let range = ranges.get_mut(kind).filter(|_| kind != 0 && kind != 9);
        let range = range.ok_or_else(|| VmError::new("UNKNOWN_TABLE_TYPE", kind.to_string()))?;
        if range.end > 0 {
            return Err(VmError::new("DUPLICATE_TABLE", kind.to_string()));
        }
        let end = start.checked_add(length).filter(|_| length > 0);
        *range = start..end.ok_or_else(|| bad("empty or endless table"))?;
        spans.push(range.clone());
    }
    spans.sort_by_key(|span| span.start);
    let mut at = 0;
    for span in spans {
        if span.start != at {
            return Err(bad("gap or overlap between tables"));
        }
        at = span.end;
    }
    Ok((ranges, at))
}

struct Tables<'a> {
    ranges: [Range<usize>; TABLE_KINDS],
    contents: &'a [u8],
    version: u32,
}

impl Tables<'_> {
    fn table<T>(
        &self,
        kind: usize,
        mut read: impl FnMut(&mut Reader) -> Result<T, VmError>,
    ) -> Result<Vec<T>, VmError> {
        let bytes = self.contents.get(self.ranges[kind].clone());
        let bytes = bytes.ok_or_else(|| malformed("table outside of the module"))?;
        let mut reader = Reader::new(bytes, self.version);
        let mut entries = Vec::new();
        while !reader.is_empty() {
            if entries.len() >= usize::from(u16::MAX) {
                return Err(malformed("table with too many entries"));
            }
            entries.push(read(&mut reader)?);
        }
        Ok(entries)
    }

    fn read(&self, self_handle: u16) -> Result<CompiledModule, VmError> {
        if self.version < 7 && self.ranges[0x11..].iter().any(|range| range.end > 0) {
            return Err(malformed("enums need bytecode version 7"));
        }
        Ok(CompiledModule {
            id: ModuleId::new(AccountAddress::ZERO, ""),
            self_handle,
            module_handles: self.table(0x1, ModuleHandle::read)?,
            struct_handles: self.table(0x2, StructHandle::read)?,
            function_handles: self.table(0x3, FunctionHandle::read)?,
            function_insts: self.table(0x4, Instantiation::read)?,
            signatures: self.table(0x5, |reader| reader.list(SIGNATURE_MAX, Token::read))?,
            constants: self.table(0x6, Constant::read)?,
            identifiers: self.table(0x7, read_identifier)?,
            addresses: self.table(0x8, |reader| Ok(AccountAddress(reader.array()?)))?,
            struct_defs: self.table(0xa, StructDef::read)?,
            struct_insts: self.table(0xb, Instantiation::read)?,
            function_defs: self.table(0xc, FunctionDef::read)?,
            field_handles: self.table(0xd, FieldHandle::read)?,
            field_insts: self.table(0xe, Instantiation::read)?,
            friend_handles: self.table(0xf, ModuleHandle::read)?,
            metadata: self.table(0x10, |reader| {
                let key = reader.blob(METADATA_KEY_MAX)?.to_vec();
                Ok((key, reader.blob(METADATA_VALUE_MAX)?.to_vec()))
            })?,
            variant_field_handles: self.table(0x11, VariantFieldHandle::read)?,
            variant_field_insts: self.table(0x12, Instantiation::read)?,
            variant_handles: self.table(0x13, VariantHandle::read)?,
            variant_insts: self.table(0x14, Instantiation::read)?,
        })
    }
}

/// Letters, digits, `_` and, as compilers make them up, `$`; the first is no digit.
fn read_identifier(reader: &mut Reader) -> Result<Box<str>, VmError> {
    let bytes = reader.blob(IDENTIFIER_MAX)?;
    let bad = || malformed("identifier");
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$';
    let first = *bytes.first().ok_or_else(bad)?;
    let is_self = bytes == b"<SELF>";
    if !is_self && (first.is_ascii_digit() || !bytes.iter().all(|byte| letter(*byte))) {
        return Err(bad());
    }
    std::str::from_utf8(bytes).map(Box::from).map_err(|_| bad())
}

#[cfg(test)]
mod tests;
