//! Account addresses: 32 bytes, with the text forms Aptos reads and prints.
//! Never decides who owns an address.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An account or object address. BCS: the 32 bytes, no length.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountAddress(pub [u8; 32]);

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an account address: {0:?}")]
pub struct BadAddress(pub String);

impl AccountAddress {
    /// `0x0`, the address nobody can sign for.
    pub const ZERO: Self = Self([0; 32]);
    /// `0x1`, where the framework lives.
    pub const ONE: Self = Self::small(1);

    /// The address whose last byte is `last` and whose other bytes are zero.
    pub const fn small(last: u8) -> Self {
        let mut bytes = [0; 32];
        bytes[31] = last;
        Self(bytes)
    }

    /// `0x0` to `0xf`: the addresses that AIP-40 prints short.
    pub fn is_special(&self) -> bool {
        self.0[..31].iter().all(|byte| *byte == 0) && self.0[31] < 16
    }

    /// All 64 digits with `0x`.
    pub fn to_long_string(&self) -> String {
        let mut text = String::with_capacity(66);
        text.push_str("0x");
        for byte in self.0 {
            text.push(digit(byte >> 4));
            text.push(digit(byte & 15));
        }
        text
    }

    /// With `0x` and without leading zeros, as in type names and abort locations.
    pub fn to_short_string(&self) -> String {
        let long = self.to_long_string();
        let digits = long[2..].trim_start_matches('0');
        format!("0x{}", if digits.is_empty() { "0" } else { digits })
    }
}

fn digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

impl fmt::Display for AccountAddress {
    /// AIP-40: short for `0x0` to `0xf`, long otherwise.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_special() {
            formatter.write_str(&self.to_short_string())
        } else {
            formatter.write_str(&self.to_long_string())
        }
    }
}

impl fmt::Debug for AccountAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_short_string())
    }
}

impl FromStr for AccountAddress {
    type Err = BadAddress;

    /// Takes 1 to 64 hexadecimal digits with or without `0x`.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.chars().take(80).collect());
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if digits.is_empty() || digits.len() > 64 {
            return Err(bad());
        }
        let mut bytes = [0u8; 32];
        for (index, character) in digits.chars().rev().enumerate() {
            let value = character.to_digit(16).and_then(|value| u8::try_from(value).ok());
            let value = value.ok_or_else(bad)?;
            bytes[31 - index / 2] |= if index % 2 == 0 { value } else { value << 4 };
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_print_short_and_others_long() {
        assert_eq!(AccountAddress::small(10).to_string(), "0xa");
        assert_eq!(AccountAddress::ZERO.to_string(), "0x0");
        assert_eq!(AccountAddress::small(16).to_string(), format!("0x{:064x}", 16));
        assert_eq!(AccountAddress::small(16).to_short_string(), "0x10");
    }

    #[test]
    fn text_forms_parse_back_and_rubbish_does_not() {
        let address: AccountAddress = "0x770e".parse().unwrap();
        assert_eq!(address.to_string().parse(), Ok(address));
        assert_eq!(address.to_short_string(), "0x770e");
        for text in ["", "0x", "0xg", "é", &"1".repeat(65)] {
            assert!(text.parse::<AccountAddress>().is_err(), "{text}");
        }
    }
}
