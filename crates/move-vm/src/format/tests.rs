//! Hand-made modules, in each version and with each kind of damage to the header.

use super::*;

/// The tables of a module `0x1::m` with `public fun f(): u64 { 5 }`, in version `version`.
struct Parts {
    version: u32,
    function_handles: Vec<u8>,
    code: Vec<u8>,
}

impl Parts {
    fn new(version: u32, function_handles: &[u8]) -> Self {
        let code = vec![2, 0x06, 5, 0, 0, 0, 0, 0, 0, 0, 0x02];
        Self { version, function_handles: function_handles.to_vec(), code }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut function = vec![0, 1, 0, 0, 0];
        function.extend(&self.code);
        let address = AccountAddress::ONE.0.to_vec();
        let tables = [
            (0x1, vec![0, 0]),
            (0x3, self.function_handles.clone()),
            (0x5, vec![0, 1, 0x03]),
            (0x7, vec![1, b'm', 1, b'f']),
            (0x8, address),
            (0xc, function),
        ];
        self.assemble(&tables)
    }

    fn assemble(&self, tables: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((self.version | APTOS_MARK).to_le_bytes());
        bytes.push(u8::try_from(tables.len()).unwrap());
        let mut at = 0;
        for (kind, content) in tables {
            let length = u8::try_from(content.len()).unwrap();
            bytes.extend([*kind, at, length]);
            at += length;
        }
        tables.iter().for_each(|(_, content)| bytes.extend(content));
        bytes.push(0);
        bytes
    }
}

const HANDLE_6: [u8; 5] = [0, 1, 0, 1, 0];
const HANDLE_7: [u8; 6] = [0, 1, 0, 1, 0, 1];
const HANDLE_8: [u8; 7] = [0, 1, 0, 1, 0, 1, 0];

fn code_of(bytes: &[u8]) -> &'static str {
    CompiledModule::deserialize(bytes).unwrap_err().code
}

#[test]
fn versions_six_to_eight_are_read() {
    for (version, handle) in [(6, &HANDLE_6[..]), (7, &HANDLE_7), (8, &HANDLE_8)] {
        let module = CompiledModule::deserialize(&Parts::new(version, handle).bytes()).unwrap();
        assert_eq!(module.id().to_string(), "0x1::m");
        let function = module.function("f").unwrap();
        assert_eq!(function.returns, [crate::MoveType::U64]);
    }
    for version in [0, 5, 9, 10, u32::MAX] {
        assert_eq!(code_of(&Parts::new(version, &HANDLE_8).bytes()), "UNKNOWN_VERSION");
    }
}

#[test]
fn access_specifiers_and_attributes_are_read_over() {
    // Reads anything anywhere; reads a resource at the address in parameter 0; persistent.
    let specified = [0, 1, 0, 1, 0, 2, 2, 1, 1, 1, 1, 1, 2, 4, 0, 3, 0, 1, 1, 1];
    CompiledModule::deserialize(&Parts::new(8, &specified).bytes()).unwrap();
    let unknown = [0, 1, 0, 1, 0, 2, 1, 9, 1, 1, 1, 0];
    assert_eq!(code_of(&Parts::new(8, &unknown).bytes()), "MALFORMED");
}

#[test]
fn features_of_later_versions_are_refused_by_name() {
    for opcode in [0x58, 0x5a, 0x5b, 0x67] {
        let mut parts = Parts::new(8, &HANDLE_8);
        parts.code = vec![1, opcode, 0, 0];
        assert_eq!(code_of(&parts.bytes()), "FEATURE_NOT_ENABLED");
    }
    let mut parts = Parts::new(6, &HANDLE_6);
    parts.code = vec![1, 0x56, 0];
    assert_eq!(code_of(&parts.bytes()), "MALFORMED");
}

#[test]
fn tables_may_not_repeat_overlap_or_leave_gaps() {
    let parts = Parts::new(7, &HANDLE_7);
    let repeated = parts.assemble(&[(0x1, vec![0, 0]), (0x1, vec![0, 0])]);
    assert_eq!(code_of(&repeated), "DUPLICATE_TABLE");
    let unknown = parts.assemble(&[(0x9, vec![0, 0])]);
    assert_eq!(code_of(&unknown), "UNKNOWN_TABLE_TYPE");
    let empty = parts.assemble(&[(0x1, vec![])]);
    assert_eq!(code_of(&empty), "BAD_HEADER_TABLE");
    // Moves the second table one byte on.
    let mut gap = parts.bytes();
    gap[9 + 4] += 1;
    assert_eq!(code_of(&gap), "BAD_HEADER_TABLE");
    let mut trailing = parts.bytes();
    trailing.push(0);
    assert_eq!(code_of(&trailing), "MALFORMED");
}

#[test]
fn deep_types_are_refused_without_recursing_far() {
    let mut parts = Parts::new(7, &HANDLE_7);
    parts.code = vec![1, 0x02];
    let mut signature = vec![1];
    signature.extend(vec![0xa; 100]);
    signature.push(0x02);
    let tables = [(0x1, vec![0, 0]), (0x5, signature), (0x7, vec![1, b'm']), (0x8, vec![0; 32])];
    assert_eq!(code_of(&parts.assemble(&tables)), "MALFORMED");
}
