//! BCS of values, driven by layouts.
//! Never trusts a length: what is allocated was there as bytes.

use std::rc::Rc;
use std::sync::Arc;

use ethnum::U256;

use crate::AccountAddress;
use crate::failure::{Failure, Outcome, TYPE_CONFUSION};
use crate::value::{Composite, Reference, VALUE_DEPTH_MAX, Value};

/// How a type is laid out in bytes.
#[derive(Debug)]
pub(crate) enum Layout {
    Bool,
    U8,
    U16,
    U32,
    U64,
    U128,
    U256,
    Address,
    Signer,
    /// `vector<u8>`
    Bytes,
    Vector(Arc<Layout>),
    Struct(Vec<Arc<Layout>>),
    Enum(Vec<Vec<Arc<Layout>>>),
}

/// The bytes are no value of the type.
const BAD_BYTES: Failure = Failure::Other("FAILED_TO_DESERIALIZE_RESOURCE");
/// Most elements of one sequence, as BCS defines.
const SEQUENCE_MAX: u64 = (1 << 31) - 1;

/// Decodes all of `bytes`.
pub(crate) fn decode(layout: &Layout, bytes: &[u8]) -> Outcome<Value> {
    let mut decoder = Decoder { rest: bytes };
    let value = decoder.value(layout, 0)?;
    if decoder.rest.is_empty() { Ok(value) } else { Err(BAD_BYTES) }
}

/// Encodes a value.
pub(crate) fn encode(layout: &Layout, value: &Value) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    encode_into(layout, value, &mut bytes, 0)?;
    Ok(bytes)
}

/// Encodes the content of a struct or enum.
pub(crate) fn encode_composite(layout: &Layout, content: &Composite) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    composite_into(layout, content, &mut bytes, 0)?;
    Ok(bytes)
}

/// Encodes what a reference refers to, without copying structs and vectors first.
pub(crate) fn encode_reference(layout: &Layout, reference: &Reference) -> Outcome<Vec<u8>> {
    match reference {
        Reference::Composite(content) => encode_composite(layout, &content.borrow()),
        Reference::Bytes(bytes) => encode(layout, &Value::Bytes(Rc::clone(bytes))),
        other => encode(layout, &other.read(&mut 0)?),
    }
}

/// Appends a length or variant as ULEB128.
pub(crate) fn write_uleb(mut number: u64, bytes: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Reads values off the front of bytes.
pub(crate) struct Decoder<'a> {
    pub rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub fn take(&mut self, count: usize) -> Outcome<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(BAD_BYTES)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| BAD_BYTES)
    }

    pub fn uleb(&mut self) -> Outcome<u64> {
        let mut number = 0u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            let part = u64::from(byte & 0x7f);
            number |= part << shift;
            if byte & 0x80 == 0 {
                let canonical = shift == 0 || part != 0;
                return if canonical && number <= SEQUENCE_MAX {
                    Ok(number)
                } else {
                    Err(BAD_BYTES)
                };
            }
        }
        Err(BAD_BYTES)
    }

    pub fn length(&mut self) -> Outcome<usize> {
        usize::try_from(self.uleb()?).map_err(|_| BAD_BYTES)
    }

    pub fn value(&mut self, layout: &Layout, depth: usize) -> Outcome<Value> {
        if depth > VALUE_DEPTH_MAX {
            return Err(Failure::Execution("VM_MAX_VALUE_DEPTH_REACHED"));
        }
        Ok(match layout {
            Layout::Bool => match self.array()? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                _ => return Err(BAD_BYTES),
            },
            Layout::U8 => Value::U8(u8::from_le_bytes(self.array()?)),
            Layout::U16 => Value::U16(u16::from_le_bytes(self.array()?)),
            Layout::U32 => Value::U32(u32::from_le_bytes(self.array()?)),
            Layout::U64 => Value::U64(u64::from_le_bytes(self.array()?)),
            Layout::U128 => Value::U128(u128::from_le_bytes(self.array()?)),
            Layout::U256 => Value::U256(Box::new(U256::from_le_bytes(self.array()?))),
            Layout::Address => Value::Address(Rc::new(AccountAddress(self.array()?))),
            Layout::Signer => return Err(BAD_BYTES),
            Layout::Bytes => {
                let length = self.length()?;
                Value::bytes(self.take(length)?.to_vec())
            }
            Layout::Vector(element) => {
                let count = self.length()?;
                // Each element takes at least one byte.
                let mut items = Vec::with_capacity(count.min(self.rest.len()).min(1024));
                for _ in 0..count {
                    items.push(self.value(element, depth + 1)?);
                }
                Value::composite(0, items)
            }
            Layout::Struct(fields) => Value::composite(0, self.fields(fields, depth)?),
            Layout::Enum(variants) => {
                let number = self.uleb()?;
                let variant = u16::try_from(number).map_err(|_| BAD_BYTES)?;
                let fields = variants.get(usize::from(variant)).ok_or(BAD_BYTES)?;
                Value::composite(variant, self.fields(fields, depth)?)
            }
        })
    }

    fn fields(&mut self, fields: &[Arc<Layout>], depth: usize) -> Outcome<Vec<Value>> {
        fields.iter().map(|field| self.value(field, depth + 1)).collect()
    }
}

fn encode_into(layout: &Layout, value: &Value, bytes: &mut Vec<u8>, depth: usize) -> Outcome<()> {
    if depth > VALUE_DEPTH_MAX {
        return Err(Failure::Execution("VM_MAX_VALUE_DEPTH_REACHED"));
    }
    match (layout, value) {
        (Layout::Bool, Value::Bool(value)) => bytes.push(u8::from(*value)),
        (Layout::U8, Value::U8(value)) => bytes.push(*value),
        (Layout::U16, Value::U16(value)) => bytes.extend(value.to_le_bytes()),
        (Layout::U32, Value::U32(value)) => bytes.extend(value.to_le_bytes()),
        (Layout::U64, Value::U64(value)) => bytes.extend(value.to_le_bytes()),
        (Layout::U128, Value::U128(value)) => bytes.extend(value.to_le_bytes()),
        (Layout::U256, Value::U256(value)) => bytes.extend(value.to_le_bytes()),
        (Layout::Address, Value::Address(address)) => bytes.extend(address.0),
        (Layout::Bytes, Value::Bytes(content)) => {
            let content = content.borrow();
            write_uleb(crate::value::length(content.len()), bytes);
            bytes.extend_from_slice(&content);
        }
        (_, Value::Composite(content)) => {
            composite_into(layout, &content.borrow(), bytes, depth)?;
        }
        (_, Value::Cell(cell)) => encode_into(layout, &cell.borrow(), bytes, depth)?,
        _ => return Err(TYPE_CONFUSION),
    }
    Ok(())
}

fn composite_into(
    layout: &Layout,
    content: &Composite,
    bytes: &mut Vec<u8>,
    depth: usize,
) -> Outcome<()> {
    let items = &content.items;
    let fields = match layout {
        Layout::Vector(element) => {
            write_uleb(crate::value::length(items.len()), bytes);
            return items.iter().try_for_each(|item| encode_into(element, item, bytes, depth + 1));
        }
        // A signer is written as its address.
        Layout::Signer => {
            let item = items.first().ok_or(TYPE_CONFUSION)?;
            return encode_into(&Layout::Address, item, bytes, depth + 1);
        }
        Layout::Struct(fields) => fields,
        Layout::Enum(variants) => {
            write_uleb(u64::from(content.variant), bytes);
            variants.get(usize::from(content.variant)).ok_or(TYPE_CONFUSION)?
        }
        _ => return Err(TYPE_CONFUSION),
    };
    if fields.len() != items.len() {
        return Err(TYPE_CONFUSION);
    }
    let mut pairs = fields.iter().zip(items);
    pairs.try_for_each(|(field, item)| encode_into(field, item, bytes, depth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_lengths_and_deep_values_are_refused_without_allocating() {
        let numbers = Layout::Vector(Arc::new(Layout::U64));
        assert!(decode(&numbers, &[0xff, 0xff, 0xff, 0xff, 0x07]).is_err());
        assert!(decode(&Layout::Bytes, &[0xff, 0xff, 0xff, 0xff, 0x07]).is_err());
        let mut deep = Arc::new(Layout::U8);
        for _ in 0..200 {
            deep = Arc::new(Layout::Vector(deep));
        }
        assert!(decode(&deep, &[1; 300]).is_err());
    }

    #[test]
    fn only_canonical_bytes_decode() {
        assert!(decode(&Layout::Bool, &[2]).is_err());
        assert!(decode(&Layout::U8, &[1, 1]).is_err());
        assert!(decode(&Layout::Bytes, &[0x81, 0x00, 7]).is_err());
    }

    #[test]
    fn an_enum_writes_its_variant_first() {
        let layout = Layout::Enum(vec![vec![], vec![Arc::new(Layout::U16)]]);
        let value = decode(&layout, &[1, 5, 0]).unwrap();
        assert_eq!(encode(&layout, &value).unwrap(), [1, 5, 0]);
        assert!(decode(&layout, &[2]).is_err());
    }
}
