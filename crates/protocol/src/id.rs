//! 32-byte identifiers. They print as `0x` and 64 hex digits, travel as 32 bytes in BCS and as
//! text in JSON. An identifier never says what it names: each kind is a type of its own.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha3::{Digest, Sha3_256};
use std::{fmt, str::FromStr};

/// The text was not the hex form of a 32-byte identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 0x and up to 64 hex digits, got {0:?}")]
pub struct BadId(String);

/// Reads `0x…` with 1 to 64 digits; fewer than 64 are padded on the left, as Aptos prints them.
fn parse_id(text: &str) -> Result<[u8; 32], BadId> {
    let bad = || BadId(text.chars().take(80).collect());
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.is_empty() || digits.len() > 64 {
        return Err(bad());
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(format!("{digits:0>64}"), &mut bytes).map_err(|_| bad())?;
    Ok(bytes)
}

/// Writes `0x` and the digits of at most 64 bytes, without allocating: every request writes a dozen
/// of them.
pub(crate) fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = [0; 128];
    let digits = digits.get_mut(..2 * bytes.len()).ok_or(fmt::Error)?;
    hex::encode_to_slice(bytes, digits).map_err(|_| fmt::Error)?;
    f.write_str("0x")?;
    f.write_str(std::str::from_utf8(digits).map_err(|_| fmt::Error)?)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(0x{})", stringify!($name), hex::encode(&self.0[..4]))
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                parse_id(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
                } else {
                    <[u8; 32]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

id!(
    /// An account on the chain: a client, an operator of orchestrators, a routing server.
    Address
);
id!(
    /// One unit of inference, from escrow to payment. Unique for ever.
    TaskId
);
id!(
    /// A client's signed spending mandate.
    OrderId
);
id!(
    /// A digest of 32 bytes: SHA3-256, as the chain's, unless its field says otherwise.
    Hash
);

impl Hash {
    /// SHA3-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha3_256::digest(bytes).into())
    }
}

impl TaskId {
    /// A fresh id: the time and 208 random bits, as a UUID of version 7 is made (RFC 9562). What is
    /// made together is kept together: a database appends to its indices instead of changing a page
    /// of each for every task.
    pub fn fresh(unix_ms: u64) -> Self {
        let mut id: [u8; 32] = rand::random();
        id[..6].copy_from_slice(&unix_ms.to_be_bytes()[2..]);
        Self(id)
    }
}

impl OrderId {
    /// A fresh id from the operating system's randomness.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_addresses_are_padded_on_the_left() {
        let address: Address = "0xa".parse().unwrap();
        assert_eq!(address.0[31], 10);
        assert_eq!(address.to_string().len(), 66);
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in ["", "0x", "0xzz", &"1".repeat(65), "-1"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn task_ids_sort_by_time_and_never_meet() {
        let (early, late) = (TaskId::fresh(1_700_000_000_000), TaskId::fresh(1_700_000_000_001));
        assert!(early < late);
        assert_ne!(late, TaskId::fresh(1_700_000_000_001));
    }

    #[test]
    fn json_is_text_and_bcs_is_bytes() {
        let id = TaskId([7; 32]);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"0x{}\"", "07".repeat(32)));
        assert_eq!(serde_json::from_str::<TaskId>(&json).unwrap(), id);
        assert_eq!(aptos_bcs::to_bytes(&id).unwrap(), [7; 32]);
    }
}
