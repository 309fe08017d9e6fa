//! Writes modules by hand, table by table, so that tests can hold what no compiler would emit.

#![allow(dead_code, missing_docs)]

use cactus_move_vm::AccountAddress;

pub const COPY: u8 = 1;
pub const DROP: u8 = 2;
pub const STORE: u8 = 4;
pub const KEY: u8 = 8;

pub const BOOL: &[u8] = &[1];
pub const U64: &[u8] = &[3];
pub const ADDRESS: &[u8] = &[5];
pub const U64S: &[u8] = &[0xa, 3];
/// The first type parameter.
pub const T: &[u8] = &[9, 0];

pub fn shared(token: &[u8]) -> Vec<u8> {
    [&[6], token].concat()
}

pub fn mutable(token: &[u8]) -> Vec<u8> {
    [&[7], token].concat()
}

pub fn structure(handle: u8) -> Vec<u8> {
    vec![8, handle]
}

pub fn generic(handle: u8, argument: &[u8]) -> Vec<u8> {
    [&[0xb, handle, 1], argument].concat()
}

/// Opcodes.
pub mod op {
    pub const POP: u8 = 0x01;
    pub const RET: u8 = 0x02;
    pub const BR_FALSE: u8 = 0x04;
    pub const BRANCH: u8 = 0x05;
    pub const LD_TRUE: u8 = 0x08;
    pub const COPY_LOC: u8 = 0x0a;
    pub const MOVE_LOC: u8 = 0x0b;
    pub const ST_LOC: u8 = 0x0c;
    pub const MUT_BORROW_LOC: u8 = 0x0d;
    pub const IMM_BORROW_LOC: u8 = 0x0e;
    pub const MUT_BORROW_FIELD: u8 = 0x0f;
    pub const IMM_BORROW_FIELD: u8 = 0x10;
    pub const CALL: u8 = 0x11;
    pub const PACK: u8 = 0x12;
    pub const UNPACK: u8 = 0x13;
    pub const READ_REF: u8 = 0x14;
    pub const WRITE_REF: u8 = 0x15;
    pub const ADD: u8 = 0x16;
    pub const NOT: u8 = 0x20;
    pub const EQ: u8 = 0x21;
    pub const LT: u8 = 0x23;
    pub const EXISTS: u8 = 0x29;
    pub const MUT_BORROW_GLOBAL: u8 = 0x2a;
    pub const IMM_BORROW_GLOBAL: u8 = 0x2b;
    pub const MOVE_FROM: u8 = 0x2c;
    pub const MOVE_TO: u8 = 0x2d;
    pub const FREEZE_REF: u8 = 0x2e;
    pub const MUT_BORROW_FIELD_GENERIC: u8 = 0x36;
    pub const IMM_BORROW_FIELD_GENERIC: u8 = 0x37;
    pub const CALL_GENERIC: u8 = 0x38;
    pub const PACK_GENERIC: u8 = 0x39;
    pub const UNPACK_GENERIC: u8 = 0x3a;
    pub const VEC_PACK: u8 = 0x40;
    pub const VEC_LEN: u8 = 0x41;
    pub const VEC_IMM_BORROW: u8 = 0x42;
    pub const VEC_MUT_BORROW: u8 = 0x43;
    pub const VEC_PUSH_BACK: u8 = 0x44;
    pub const VEC_POP_BACK: u8 = 0x45;
    pub const VEC_SWAP: u8 = 0x47;
    pub const IMM_BORROW_VARIANT_FIELD: u8 = 0x4e;
    pub const MUT_BORROW_VARIANT_FIELD: u8 = 0x4f;
    pub const IMM_BORROW_VARIANT_FIELD_GENERIC: u8 = 0x50;
    pub const MUT_BORROW_VARIANT_FIELD_GENERIC: u8 = 0x51;
    pub const PACK_VARIANT: u8 = 0x52;
    pub const PACK_VARIANT_GENERIC: u8 = 0x53;
    pub const UNPACK_VARIANT: u8 = 0x54;
    pub const UNPACK_VARIANT_GENERIC: u8 = 0x55;
    pub const TEST_VARIANT: u8 = 0x56;
    pub const TEST_VARIANT_GENERIC: u8 = 0x57;
}

/// `LdU64`.
pub fn number(value: u8) -> Vec<u8> {
    vec![0x06, value, 0, 0, 0, 0, 0, 0, 0]
}

fn uleb(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
}

/// A table: its entries' bytes and how many there are.
#[derive(Default)]
struct Table {
    entries: Vec<Vec<u8>>,
}

impl Table {
    /// The index of an entry, which is added if it is new.
    fn index(&mut self, entry: Vec<u8>) -> u8 {
        let found = self.entries.iter().position(|known| *known == entry);
        let index = found.unwrap_or_else(|| {
            self.entries.push(entry);
            self.entries.len() - 1
        });
        u8::try_from(index).unwrap()
    }
}

/// A field's name and type.
pub type Field<'a> = (&'a str, Vec<u8>);
/// A variant's name and fields.
pub type Variant<'a> = (&'a str, &'a [Field<'a>]);

/// What a function is, apart from its code.
#[derive(Default, Clone)]
pub struct Function {
    pub parameters: Vec<Vec<u8>>,
    pub returns: Vec<Vec<u8>>,
    pub locals: Vec<Vec<u8>>,
    pub acquires: Vec<u8>,
    /// Abilities demanded of each type parameter.
    pub type_parameters: Vec<u8>,
    pub is_entry: bool,
}

/// A module being written. Indices stay below 128.
pub struct Assembler {
    modules: Table,
    struct_handles: Table,
    function_handles: Table,
    function_insts: Table,
    signatures: Table,
    identifiers: Table,
    addresses: Table,
    struct_defs: Table,
    struct_insts: Table,
    function_defs: Table,
    fields: Table,
    field_insts: Table,
    variant_fields: Table,
    variant_field_insts: Table,
    variants: Table,
    variant_insts: Table,
}

impl Assembler {
    pub fn new(address: AccountAddress, name: &str) -> Self {
        let mut assembler = Self {
            modules: Table::default(),
            struct_handles: Table::default(),
            function_handles: Table::default(),
            function_insts: Table::default(),
            signatures: Table::default(),
            identifiers: Table::default(),
            addresses: Table::default(),
            struct_defs: Table::default(),
            struct_insts: Table::default(),
            function_defs: Table::default(),
            fields: Table::default(),
            field_insts: Table::default(),
            variant_fields: Table::default(),
            variant_field_insts: Table::default(),
            variants: Table::default(),
            variant_insts: Table::default(),
        };
        assembler.module(address, name);
        assembler
    }

    fn name(&mut self, name: &str) -> u8 {
        let mut entry = Vec::new();
        uleb(&mut entry, name.len());
        entry.extend_from_slice(name.as_bytes());
        self.identifiers.index(entry)
    }

    pub fn module(&mut self, address: AccountAddress, name: &str) -> u8 {
        let address = self.addresses.index(address.0.to_vec());
        let name = self.name(name);
        self.modules.index(vec![address, name])
    }

    pub fn signature(&mut self, tokens: &[Vec<u8>]) -> u8 {
        let mut entry = Vec::new();
        uleb(&mut entry, tokens.len());
        entry.extend(tokens.concat());
        self.signatures.index(entry)
    }

    /// A struct handle; `parameters` are the abilities demanded of type parameters.
    pub fn struct_handle(
        &mut self,
        module: u8,
        name: &str,
        abilities: u8,
        parameters: &[u8],
    ) -> u8 {
        let name = self.name(name);
        let mut entry = vec![module, name, abilities, u8::try_from(parameters.len()).unwrap()];
        parameters.iter().for_each(|constraints| entry.extend([*constraints, 0]));
        self.struct_handles.index(entry)
    }

    /// Defines the struct of a handle and returns the definition's index.
    pub fn define_struct(&mut self, handle: u8, fields: &[Field]) -> u8 {
        let mut entry = vec![handle, 2, u8::try_from(fields.len()).unwrap()];
        for (name, token) in fields {
            entry.push(self.name(name));
            entry.extend_from_slice(token);
        }
        self.struct_defs.index(entry)
    }

    /// Defines the enum of a handle and returns the definition's index.
    pub fn define_enum(&mut self, handle: u8, variants: &[Variant]) -> u8 {
        let mut entry = vec![handle, 3, u8::try_from(variants.len()).unwrap()];
        for (name, fields) in variants {
            entry.extend([self.name(name), u8::try_from(fields.len()).unwrap()]);
            for (name, token) in *fields {
                entry.push(self.name(name));
                entry.extend_from_slice(token);
            }
        }
        self.struct_defs.index(entry)
    }

    pub fn struct_instance(&mut self, def: u8, arguments: &[Vec<u8>]) -> u8 {
        let arguments = self.signature(arguments);
        self.struct_insts.index(vec![def, arguments])
    }

    pub fn field(&mut self, def: u8, field: u8) -> u8 {
        self.fields.index(vec![def, field])
    }

    pub fn field_instance(&mut self, field: u8, arguments: &[Vec<u8>]) -> u8 {
        let arguments = self.signature(arguments);
        self.field_insts.index(vec![field, arguments])
    }

    pub fn variant(&mut self, def: u8, variant: u8) -> u8 {
        self.variants.index(vec![def, variant])
    }

    pub fn variant_instance(&mut self, variant: u8, arguments: &[Vec<u8>]) -> u8 {
        let arguments = self.signature(arguments);
        self.variant_insts.index(vec![variant, arguments])
    }

    /// A field that `variants` have at the same position.
    pub fn variant_field(&mut self, def: u8, field: u8, variants: &[u8]) -> u8 {
        let mut entry = vec![def, field, u8::try_from(variants.len()).unwrap()];
        entry.extend_from_slice(variants);
        self.variant_fields.index(entry)
    }

    pub fn variant_field_instance(&mut self, field: u8, arguments: &[Vec<u8>]) -> u8 {
        let arguments = self.signature(arguments);
        self.variant_field_insts.index(vec![field, arguments])
    }

    pub fn function_handle(&mut self, module: u8, name: &str, function: &Function) -> u8 {
        let name = self.name(name);
        let parameters = self.signature(&function.parameters);
        let returns = self.signature(&function.returns);
        let count = u8::try_from(function.type_parameters.len()).unwrap();
        let mut entry = vec![module, name, parameters, returns, count];
        entry.extend_from_slice(&function.type_parameters);
        // No access specifiers.
        entry.push(1);
        self.function_handles.index(entry)
    }

    pub fn function_instance(&mut self, handle: u8, arguments: &[Vec<u8>]) -> u8 {
        let arguments = self.signature(arguments);
        self.function_insts.index(vec![handle, arguments])
    }

    /// Defines a public function of this module and returns its handle.
    pub fn function(&mut self, name: &str, function: &Function, code: &[Vec<u8>]) -> u8 {
        let handle = self.function_handle(0, name, function);
        let locals = self.signature(&function.locals);
        let mut entry = vec![handle, 1, if function.is_entry { 4 } else { 0 }];
        uleb(&mut entry, function.acquires.len());
        entry.extend_from_slice(&function.acquires);
        entry.push(locals);
        uleb(&mut entry, code.len());
        entry.extend(code.concat());
        self.function_defs.index(entry);
        handle
    }

    /// The module's bytes, in version 7.
    pub fn finish(self) -> Vec<u8> {
        let tables = [
            (0x1, self.modules),
            (0x2, self.struct_handles),
            (0x3, self.function_handles),
            (0x4, self.function_insts),
            (0x5, self.signatures),
            (0x7, self.identifiers),
            (0x8, self.addresses),
            (0xa, self.struct_defs),
            (0xb, self.struct_insts),
            (0xc, self.function_defs),
            (0xd, self.fields),
            (0xe, self.field_insts),
            (0x11, self.variant_fields),
            (0x12, self.variant_field_insts),
            (0x13, self.variants),
            (0x14, self.variant_insts),
        ];
        let tables: Vec<(u8, Vec<u8>)> =
            tables.into_iter().map(|(kind, table)| (kind, table.entries.concat())).collect();
        let tables: Vec<_> = tables.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
        let mut bytes = vec![0xa1, 0x1c, 0xeb, 0x0b, 7, 0, 0, 0x0a];
        uleb(&mut bytes, tables.len());
        let mut offset = 0;
        for (kind, content) in &tables {
            bytes.push(*kind);
            uleb(&mut bytes, offset);
            uleb(&mut bytes, content.len());
            offset += content.len();
        }
        tables.iter().for_each(|(_, content)| bytes.extend_from_slice(content));
        // The own module handle.
        bytes.push(0);
        bytes
    }
}
