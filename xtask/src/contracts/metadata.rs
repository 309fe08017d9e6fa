//! Adds the metadata that Aptos' own compiler writes and the offline one does not: which functions
//! are views, which structs are events, what the error codes are called. Never changes code.

use std::collections::BTreeMap;

use serde::Serialize;

use super::attributes::Attributes;
use super::bytecode::{Module, Reader, write_number};

const METADATA_TABLE: u8 = 0x10;
const KEY: &[u8] = b"aptos::metadata_v1";
const VIEW_FUNCTION: u8 = 1;
const EVENT: u8 = 4;

/// Aptos' `RuntimeModuleMetadataV1`.
#[derive(Serialize)]
struct RuntimeMetadata {
    error_map: BTreeMap<u64, ErrorDescription>,
    struct_attributes: BTreeMap<String, Vec<KnownAttribute>>,
    function_attributes: BTreeMap<String, Vec<KnownAttribute>>,
}

#[derive(Serialize)]
struct ErrorDescription {
    code_name: String,
    code_description: String,
}

#[derive(Serialize)]
struct KnownAttribute {
    kind: u8,
    arguments: Vec<String>,
}

/// `module` with `attributes` as its only metadata.
///
/// The compiler's own entry names its version; leaving it out keeps the bytes a function of the
/// source alone.
pub fn attach(module: &[u8], attributes: Option<&Attributes>) -> anyhow::Result<Vec<u8>> {
    let parsed = Module::parse(module)?;
    let mut table = Vec::new();
    let mut old = Reader { bytes: parsed.table(METADATA_TABLE) };
    while !old.bytes.is_empty() {
        let (key, value) = (entry(&mut old)?, entry(&mut old)?);
        if key != KEY && key != b"compilation_metadata" {
            write_entry(&mut table, key);
            write_entry(&mut table, value);
        }
    }
    if let Some(attributes) = attributes {
        write_entry(&mut table, KEY);
        write_entry(&mut table, &aptos_bcs::to_bytes(&runtime_metadata(attributes))?);
    }
    Ok(parsed.with_table(METADATA_TABLE, &table))
}

fn runtime_metadata(attributes: &Attributes) -> RuntimeMetadata {
    let marked = |names: &[String], kind| {
        let attribute = || vec![KnownAttribute { kind, arguments: Vec::new() }];
        names.iter().map(|name| (name.clone(), attribute())).collect()
    };
    let error_map = attributes.errors.iter().map(|(code, error)| {
        let description = ErrorDescription {
            code_name: error.name.clone(),
            code_description: error.description.clone(),
        };
        (*code, description)
    });
    RuntimeMetadata {
        error_map: error_map.collect(),
        struct_attributes: marked(&attributes.events, EVENT),
        function_attributes: marked(&attributes.views, VIEW_FUNCTION),
    }
}

fn entry<'a>(reader: &mut Reader<'a>) -> anyhow::Result<&'a [u8]> {
    let length = reader.number()?;
    reader.take(length)
}

fn write_entry(table: &mut Vec<u8>, bytes: &[u8]) {
    write_number(table, bytes.len());
    table.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    // Magic, version 7, two tables (identifiers, metadata), the tables, the own handle's index.
    fn module() -> Vec<u8> {
        let mut bytes = vec![0xa1, 0x1c, 0xeb, 0x0b, 7, 0, 0, 0, 2, 7, 0, 2, 0x10, 2, 5];
        bytes.extend([1, b'm']);
        bytes.extend([1, b'k', 2, b'v', b'w']);
        bytes.push(0);
        bytes
    }

    #[test]
    fn attaching_keeps_other_tables_and_other_metadata() {
        let attributes = Attributes { views: vec!["get".to_owned()], ..Attributes::default() };
        let bytes = attach(&module(), Some(&attributes)).unwrap();
        let parsed = Module::parse(&bytes).unwrap();
        assert_eq!(parsed.table(7), [1, b'm']);
        let metadata = parsed.table(METADATA_TABLE);
        assert!(metadata.starts_with(&[1, b'k', 2, b'v', b'w', 18]));
        assert!(metadata.ends_with(&[0, 0, 1, 3, b'g', b'e', b't', 1, 1, 0]));
        assert_eq!(bytes.last(), Some(&0));
    }

    #[test]
    fn attaching_twice_changes_nothing() {
        let attributes = Attributes { views: vec!["get".to_owned()], ..Attributes::default() };
        let once = attach(&module(), Some(&attributes)).unwrap();
        assert_eq!(attach(&once, Some(&attributes)).unwrap(), once);
    }
}
