//! The outer layout of a compiled Move module: enough to order modules and to add metadata.
//! Trusts the compiler's output; it is no verifier.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};

const MAGIC_AND_VERSION: usize = 8;
const MODULE_HANDLES: u8 = 0x1;
const IDENTIFIERS: u8 = 0x7;
const ADDRESSES: u8 = 0x8;

/// A module split into its tables; each kind occurs once.
pub struct Module<'a> {
    header: &'a [u8],
    tables: Vec<(u8, &'a [u8])>,
    /// What follows the tables: the index of the module's own handle.
    trailer: &'a [u8],
}

impl<'a> Module<'a> {
    /// Splits `bytes` up.
    pub fn parse(bytes: &'a [u8]) -> anyhow::Result<Self> {
        let mut reader = Reader { bytes };
        let header = reader.take(MAGIC_AND_VERSION)?;
        let count = reader.number()?;
        let mut ranges = Vec::new();
        for _ in 0..count {
            let kind = reader.take(1)?[0];
            ranges.push((kind, reader.number()?, reader.number()?));
        }
        let contents = reader.bytes;
        let mut tables = Vec::new();
        let mut end = 0;
        for (kind, offset, length) in ranges {
            let stop = offset.checked_add(length).context("a table is too long")?;
            tables.push((kind, contents.get(offset..stop).context("a table is cut short")?));
            end = end.max(stop);
        }
        Ok(Self { header, tables, trailer: &contents[end..] })
    }

    /// The content of the table `kind`, empty if there is none.
    pub fn table(&self, kind: u8) -> &'a [u8] {
        self.tables.iter().find(|(found, _)| *found == kind).map_or(&[], |(_, content)| content)
    }

    /// The module's bytes with the table `kind` replaced or added.
    pub fn with_table(&self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut tables: Vec<(u8, &[u8])> =
            self.tables.iter().filter(|(found, _)| *found != kind).copied().collect();
        tables.push((kind, content));
        let mut bytes = self.header.to_vec();
        write_number(&mut bytes, tables.len());
        let mut offset = 0;
        for (kind, content) in &tables {
            bytes.push(*kind);
            write_number(&mut bytes, offset);
            write_number(&mut bytes, content.len());
            offset += content.len();
        }
        for (_, content) in &tables {
            bytes.extend_from_slice(content);
        }
        bytes.extend_from_slice(self.trailer);
        bytes
    }

    /// The modules that this one names, itself included, as (address, name).
    fn module_handles(&self) -> anyhow::Result<Vec<(Vec<u8>, String)>> {
        let mut identifiers = Vec::new();
        let mut reader = Reader { bytes: self.table(IDENTIFIERS) };
        while !reader.bytes.is_empty() {
            let length = reader.number()?;
            identifiers.push(String::from_utf8(reader.take(length)?.to_vec())?);
        }
        let addresses: Vec<&[u8]> = self.table(ADDRESSES).chunks(32).collect();
        let mut handles = Vec::new();
        let mut reader = Reader { bytes: self.table(MODULE_HANDLES) };
        while !reader.bytes.is_empty() {
            let address = addresses.get(reader.number()?).context("an address is missing")?;
            let name = identifiers.get(reader.number()?).context("a name is missing")?;
            handles.push((address.to_vec(), name.clone()));
        }
        Ok(handles)
    }

    /// The module's own address and name.
    pub fn own_handle(&self) -> anyhow::Result<(Vec<u8>, String)> {
        let index = Reader { bytes: self.trailer }.number()?;
        self.module_handles()?.into_iter().nth(index).context("the module has no handle of its own")
    }
}

/// The names of `modules`, each after those it depends on, otherwise in alphabetical order.
pub fn publication_order(modules: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<Vec<String>> {
    let mut waiting = BTreeMap::new();
    for (name, bytes) in modules {
        let module = Module::parse(bytes)?;
        let (own_address, own_name) = module.own_handle()?;
        ensure!(own_name == *name, "{name}.mv holds the module {own_name}");
        let dependencies: BTreeSet<String> = module
            .module_handles()?
            .into_iter()
            .filter(|(address, other)| {
                *address == own_address && other != name && modules.contains_key(other)
            })
            .map(|(_, other)| other)
            .collect();
        waiting.insert(name.clone(), dependencies);
    }
    let mut order: Vec<String> = Vec::new();
    while !waiting.is_empty() {
        let ready = waiting
            .iter()
            .find(|(_, dependencies)| dependencies.iter().all(|name| order.contains(name)))
            .map(|(name, _)| name.clone());
        let Some(name) = ready else { bail!("these modules depend on each other: {waiting:?}") };
        waiting.remove(&name);
        order.push(name);
    }
    Ok(order)
}

/// Reads ULEB128 numbers and runs of bytes.
pub struct Reader<'a> {
    pub bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> anyhow::Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length).context("the bytes end early")?;
        self.bytes = rest;
        Ok(taken)
    }

    /// The next ULEB128 number.
    pub fn number(&mut self) -> anyhow::Result<usize> {
        let mut value = 0_usize;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("a number is too long")
    }
}

/// Appends `value` as ULEB128.
pub fn write_number(bytes: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}
