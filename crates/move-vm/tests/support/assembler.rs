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
    pub const COPY_LOC: u8 = 0x0a;
    pub const MOVE_LOC: u8 = 0x0b;
    pub const ST_LOC: u8 = 0x0c;
    pub const MUT_BORROW_LOC: u8 = 0x0d;
    pub const IMM_BORROW_LOC: u8 = 0x0e;
    pub const MUT_BORROW_FIELD: u8 = 0x0f;
    pub const IMM_BORROW_FIELD: u8 = 0x10;
    pub const CALL: u8 = 0x11;
    pub const PACK: u8 = 0x12;
    pub const READ_REF: u8 = 0x14;
    pub const WRITE_REF: u8 = 0x15;
    pub const EQ: u8 = 0x21;
    pub const MUT_BORROW_GLOBAL: u8 = 0x2a;
    pub const IMM_BORROW_GLOBAL: u8 = 0x2b;
    pub const MOVE_FROM: u8 = 0x2c;
    pub const FREEZE_REF: u8 = 0x2e;
    pub const CALL_GENERIC: u8 = 0x38;
    pub const PACK_GENERIC: u8 = 0x39;
    pub const VEC_IMM_BORROW: u8 = 0x42;
    pub const VEC_MUT_BORROW: u8 = 0x43;
    pub const VEC_PUSH_BACK: u8 = 0x44;
    pub const VEC_POP_BACK: u8 = 0x45;
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

/// What a function is, apart from its code.
#[derive(Default, Clone)]
pub struct Function {
    pub parameters: Vec<Vec<u8>>,
    pub returns: Vec<Vec<u8>>,
    pub locals: Vec<Vec<u8>>,
    pub acquires: Vec<u8>,
    /// Abilities demanded of each type parameter.
    pub type_parameters: Vec<u8>,
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
    pub fn define_struct(&mut self, handle: u8, fields: &[(&str, Vec<u8>)]) -> u8 {
        let mut entry = vec![handle, 2, u8::try_from(fields.len()).unwrap()];
        for (name, token) in fields {
            entry.push(self.name(name));
            entry.extend_from_slice(token);
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
        let mut entry = vec![handle, 1, 0];
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
