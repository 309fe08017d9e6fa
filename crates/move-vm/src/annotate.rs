//! Values with the names of their fields, for showing stored bytes to people and clients.
//! Never changes state.

use ethnum::U256;

use crate::codec::Decoder;
use crate::failure::{Failure, Outcome};
use crate::format::{FieldDef, Shape};
use crate::loader::Loader;
use crate::source::Source;
use crate::types::{StructId, Ty, TyList, TyNode};
use crate::value::VALUE_DEPTH_MAX;
use crate::{AccountAddress, StructTag, TypeTag};

/// A decoded value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnnotatedValue {
    /// `bool`
    Bool(bool),
    /// `u8`
    U8(u8),
    /// `u16`
    U16(u16),
    /// `u32`
    U32(u32),
    /// `u64`
    U64(u64),
    /// `u128`
    U128(u128),
    /// `u256`
    U256(U256),
    /// `address`
    Address(AccountAddress),
    /// `signer`
    Signer(AccountAddress),
    /// `vector<u8>`
    Bytes(Vec<u8>),
    /// Any other vector.
    Vector(Vec<AnnotatedValue>),
    /// A struct with its fields in order.
    Struct {
        /// The type.
        tag: StructTag,
        /// Names and values.
        fields: Vec<(String, AnnotatedValue)>,
    },
    /// A value of an enum.
    Enum {
        /// The type.
        tag: StructTag,
        /// The variant's name.
        variant: String,
        /// Names and values.
        fields: Vec<(String, AnnotatedValue)>,
    },
}

const BAD_BYTES: Failure = Failure::Other("FAILED_TO_DESERIALIZE_RESOURCE");

/// Reads one value off the decoder.
pub(crate) fn decode(
    loader: &mut Loader,
    source: &Source,
    ty: Ty,
    decoder: &mut Decoder,
) -> Outcome<AnnotatedValue> {
    Annotator { loader, source }.value(ty, decoder, 0)
}

struct Annotator<'a, 's> {
    loader: &'a mut Loader,
    source: &'a Source<'s>,
}

impl Annotator<'_, '_> {
    fn value(&mut self, ty: Ty, decoder: &mut Decoder, depth: usize) -> Outcome<AnnotatedValue> {
        if depth > VALUE_DEPTH_MAX {
            return Err(BAD_BYTES);
        }
        Ok(match self.loader.types.node(ty) {
            TyNode::Bool => match decoder.array()? {
                [0] => AnnotatedValue::Bool(false),
                [1] => AnnotatedValue::Bool(true),
                _ => return Err(BAD_BYTES),
            },
            TyNode::U8 => AnnotatedValue::U8(u8::from_le_bytes(decoder.array()?)),
            TyNode::U16 => AnnotatedValue::U16(u16::from_le_bytes(decoder.array()?)),
            TyNode::U32 => AnnotatedValue::U32(u32::from_le_bytes(decoder.array()?)),
            TyNode::U64 => AnnotatedValue::U64(u64::from_le_bytes(decoder.array()?)),
            TyNode::U128 => AnnotatedValue::U128(u128::from_le_bytes(decoder.array()?)),
            TyNode::U256 => AnnotatedValue::U256(U256::from_le_bytes(decoder.array()?)),
            TyNode::Address => AnnotatedValue::Address(AccountAddress(decoder.array()?)),
            TyNode::Signer => AnnotatedValue::Signer(AccountAddress(decoder.array()?)),
            TyNode::Vector(element) if self.loader.types.node(element) == TyNode::U8 => {
                let length = decoder.length()?;
                AnnotatedValue::Bytes(decoder.take(length)?.to_vec())
            }
            TyNode::Vector(element) => {
                let count = decoder.length()?;
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.value(element, decoder, depth + 1)?);
                }
                AnnotatedValue::Vector(items)
            }
            TyNode::Struct(id, list) => self.structure(ty, (id, list), decoder, depth)?,
        })
    }

    fn structure(
        &mut self,
        ty: Ty,
        (id, list): (StructId, TyList),
        decoder: &mut Decoder,
        depth: usize,
    ) -> Outcome<AnnotatedValue> {
        let tag = match self.loader.tag(ty).as_ref() {
            TypeTag::Struct(tag) => tag.as_ref().clone(),
            _ => return Err(BAD_BYTES),
        };
        let module = std::sync::Arc::clone(self.loader.module(id.module));
        let arguments = std::sync::Arc::clone(self.loader.types.list(list));
        let mut read = |fields: &[FieldDef], decoder: &mut Decoder| {
            let mut values = Vec::new();
            for field in fields {
                let ty = self.loader.ty(id.module, &field.token, &arguments, self.source)?;
                let value = self.value(ty, decoder, depth + 1)?;
                values.push((module.name(field.name).to_owned(), value));
            }
            Ok::<_, Failure>(values)
        };
        match &module.struct_def(id.def).shape {
            Shape::Native => Err(BAD_BYTES),
            Shape::Struct(fields) => {
                Ok(AnnotatedValue::Struct { tag, fields: read(fields, decoder)? })
            }
            Shape::Enum(variants) => {
                let variant = variants.get(decoder.length()?).ok_or(BAD_BYTES)?;
                let fields = read(&variant.fields, decoder)?;
                let variant = module.name(variant.name).to_owned();
                Ok(AnnotatedValue::Enum { tag, variant, fields })
            }
        }
    }
}
