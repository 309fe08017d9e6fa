//! Names of types and modules as they appear in transactions, storage keys and REST answers.
//! Never says whether a named type exists.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::AccountAddress;

/// Deepest nesting that [`TypeTag::from_str`] accepts.
const MAX_TAG_DEPTH: usize = 16;

/// A module's place: the publishing address and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModuleId {
    /// The address it is published under.
    pub address: AccountAddress,
    /// Its name.
    pub name: String,
}

impl ModuleId {
    /// Joins the two parts.
    pub fn new(address: AccountAddress, name: impl Into<String>) -> Self {
        Self { address, name: name.into() }
    }
}

impl fmt::Display for ModuleId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}::{}", self.address.to_short_string(), self.name)
    }
}

/// A concrete type. The order of the variants is that of Aptos, so BCS agrees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TypeTag {
    /// `bool`
    Bool,
    /// `u8`
    U8,
    /// `u64`
    U64,
    /// `u128`
    U128,
    /// `address`
    Address,
    /// `signer`
    Signer,
    /// `vector<T>`
    Vector(Box<TypeTag>),
    /// A struct or enum.
    Struct(Box<StructTag>),
    /// `u16`
    U16,
    /// `u32`
    U32,
    /// `u256`
    U256,
}

/// A concrete struct or enum type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StructTag {
    /// The address of the defining module.
    pub address: AccountAddress,
    /// The defining module.
    pub module: String,
    /// The type's name.
    pub name: String,
    /// Its type arguments.
    pub type_args: Vec<TypeTag>,
}

/// Why a text is no type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a Move type: {0:?}")]
pub struct BadTypeTag(pub String);

impl StructTag {
    /// The module that defines the type.
    pub fn module_id(&self) -> ModuleId {
        ModuleId::new(self.address, self.module.clone())
    }

    fn write(&self, text: &mut String, short: bool) {
        let address = if short { self.address.to_short_string() } else { self.address.to_string() };
        text.push_str(&address);
        for part in [&self.module, &self.name] {
            text.push_str("::");
            text.push_str(part);
        }
        if self.type_args.is_empty() {
            return;
        }
        text.push('<');
        for (index, argument) in self.type_args.iter().enumerate() {
            if index > 0 {
                text.push_str(", ");
            }
            argument.write(text, short);
        }
        text.push('>');
    }
}

impl TypeTag {
    /// The form of `0x1::type_info::type_name`: addresses without leading zeros.
    pub fn to_canonical_string(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, true);
        text
    }

    fn write(&self, text: &mut String, short: bool) {
        let name = match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::U128 => "u128",
            Self::U256 => "u256",
            Self::Address => "address",
            Self::Signer => "signer",
            Self::Struct(tag) => return tag.write(text, short),
            Self::Vector(element) => {
                text.push_str("vector<");
                element.write(text, short);
                ">"
            }
        };
        text.push_str(name);
    }
}

impl fmt::Display for TypeTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text, false);
        formatter.write_str(&text)
    }
}

impl fmt::Display for StructTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text, false);
        formatter.write_str(&text)
    }
}

impl FromStr for TypeTag {
    type Err = BadTypeTag;

    fn from_str(text: &str) -> Result<Self, BadTypeTag> {
        let mut parser = Parser { rest: text };
        let tag = parser.tag(0);
        match tag {
            Some(tag) if parser.rest.trim().is_empty() => Ok(tag),
            _ => Err(BadTypeTag(text.chars().take(200).collect())),
        }
    }
}

impl FromStr for StructTag {
    type Err = BadTypeTag;

    fn from_str(text: &str) -> Result<Self, BadTypeTag> {
        match text.parse()? {
            TypeTag::Struct(tag) => Ok(*tag),
            _ => Err(BadTypeTag(text.chars().take(200).collect())),
        }
    }
}

/// Reads tags from the front of `rest`.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn word(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start();
        let allowed = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let end = self.rest.find(|character| !allowed(character)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let rest = self.rest.trim_start();
        let stripped = rest.strip_prefix(symbol);
        self.rest = stripped.unwrap_or(self.rest);
        stripped.is_some()
    }

    fn list(&mut self, depth: usize) -> Option<Vec<TypeTag>> {
        let mut tags = vec![self.tag(depth)?];
        while self.eat(",") {
            tags.push(self.tag(depth)?);
        }
        self.eat(">").then_some(tags)
    }

    fn tag(&mut self, depth: usize) -> Option<TypeTag> {
        if depth > MAX_TAG_DEPTH {
            return None;
        }
        Some(match self.word()? {
            "bool" => TypeTag::Bool,
            "u8" => TypeTag::U8,
            "u16" => TypeTag::U16,
            "u32" => TypeTag::U32,
            "u64" => TypeTag::U64,
            "u128" => TypeTag::U128,
            "u256" => TypeTag::U256,
            "address" => TypeTag::Address,
            "signer" => TypeTag::Signer,
            "vector" => {
                let mut element = self.eat("<").then(|| self.list(depth + 1))??;
                let only = element.pop()?;
                element.is_empty().then(|| TypeTag::Vector(Box::new(only)))?
            }
            address => TypeTag::Struct(Box::new(self.structure(address, depth)?)),
        })
    }

    fn structure(&mut self, address: &str, depth: usize) -> Option<StructTag> {
        let address = address.starts_with("0x").then(|| address.parse().ok())??;
        let module = self.eat("::").then(|| self.word())??.to_owned();
        let name = self.eat("::").then(|| self.word())??.to_owned();
        let type_args = if self.eat("<") { self.list(depth + 1)? } else { Vec::new() };
        Some(StructTag { address, module, name, type_args })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_print_and_parse_as_aptos_prints_them() {
        for text in [
            "vector<vector<u8>>",
            "0x1::coin::CoinStore<0x1::aptos_coin::AptosCoin>",
            "0x1::table::Table<address, vector<u256>>",
        ] {
            let tag: TypeTag = text.parse().unwrap();
            assert_eq!(tag.to_string(), text);
        }
        assert!("vector<u8, u8>".parse::<TypeTag>().is_err());
        assert!("0x1::a".parse::<TypeTag>().is_err());
        assert!("u8 u8".parse::<TypeTag>().is_err());
        assert!("vector<".repeat(100_000).parse::<TypeTag>().is_err());
    }

    #[test]
    fn the_variant_order_matches_aptos() {
        for (tag, index) in [(TypeTag::Bool, 0), (TypeTag::Signer, 5), (TypeTag::U256, 10)] {
            assert_eq!(aptos_bcs::to_bytes(&tag).unwrap(), [index]);
        }
    }
}
