//! Values with the names of their fields, for showing stored bytes to people and clients.
//! Never changes state.

use ethnum::U256;

use crate::{AccountAddress, StructTag};

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
