//! Arguments of entry functions, as BCS for the machine and as text for Move tests.
//! Never invalid UTF-8: the machine refuses that before any contract sees it.

use cactus_move_vm::AccountAddress;
use serde::Serialize;

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// `bool`
    Bool(bool),
    /// `u8`
    U8(u8),
    /// `u64`
    U64(u64),
    /// `address`
    Address(AccountAddress),
    /// `vector<u8>`
    Bytes(Vec<u8>),
    /// `String`
    Text(String),
    /// `vector<address>`
    Addresses(Vec<AccountAddress>),
    /// `vector<u64>`
    Numbers(Vec<u64>),
    /// `vector<vector<u8>>`
    ByteLists(Vec<Vec<u8>>),
}

impl Argument {
    /// As a transaction carries it.
    pub fn to_bcs(&self) -> Vec<u8> {
        match self {
            Self::Bool(value) => bcs(value),
            Self::U8(value) => bcs(value),
            Self::U64(value) => bcs(value),
            Self::Address(value) => bcs(value),
            Self::Bytes(value) => bcs(value),
            Self::Text(value) => bcs(value),
            Self::Addresses(value) => bcs(value),
            Self::Numbers(value) => bcs(value),
            Self::ByteLists(value) => bcs(value),
        }
    }

    /// As a Move expression.
    pub fn to_move(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::U8(value) => format!("{value}u8"),
            Self::U64(value) => value.to_string(),
            Self::Address(value) => move_address(value),
            Self::Bytes(value) => move_bytes(value),
            Self::Text(value) => format!("world::text({})", move_bytes(value.as_bytes())),
            Self::Addresses(values) => list("address", values.iter().map(move_address)),
            Self::Numbers(values) => list("u64", values.iter().map(u64::to_string)),
            Self::ByteLists(values) => {
                list("vector<u8>", values.iter().map(|bytes| move_bytes(bytes)))
            }
        }
    }
}

/// `@0x…`
pub fn move_address(address: &AccountAddress) -> String {
    format!("@{}", address.to_long_string())
}

/// `x"…"`
pub fn move_bytes(bytes: &[u8]) -> String {
    format!("x\"{}\"", hex::encode(bytes))
}

fn list(element: &str, values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.collect();
    format!("vector<{element}>[{}]", values.join(", "))
}

/// The BCS of anything that an argument or a signed message holds.
pub fn bcs<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    aptos_bcs::to_bytes(value).expect("no sequence here is longer than BCS allows")
}
