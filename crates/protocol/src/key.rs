//! Ed25519 keys. Verification is strict (RFC 8032, no small-order points, no malleable
//! signatures). A secret key never prints itself and is wiped when dropped.

use crate::id::{Address, write_hex};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha3::{Digest, Sha3_256};
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

/// The text was not a key or signature of the right length in hex.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 0x and {digits} hex digits")]
pub struct BadKey {
    /// How many digits it takes.
    pub digits: usize,
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], BadKey> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
        .map_err(|_| BadKey { digits: 2 * N })?;
    Ok(bytes)
}

/// A secret key: 32 bytes, the seed of RFC 8032.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A fresh key from the operating system's randomness.
    pub fn random() -> Self {
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
        Self::from_seed(&seed)
    }

    /// The key with this seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed. Whoever has it has the money.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The seed in hex, for a key file.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("0x{}", hex::encode(*self.seed())))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The address of the account that this key opens.
    pub fn address(&self) -> Address {
        self.public().address()
    }

    /// Signs bytes that this crate built. Private to the crate: nothing signs bytes chosen by a
    /// peer.
    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {:?})", self.address())
    }
}

impl FromStr for SecretKey {
    type Err = BadKey;

    /// Reads a seed in hex, with or without `0x` or AIP-80's prefix `ed25519-priv-`.
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        let seed = Zeroizing::new(decode(text.strip_prefix("ed25519-priv-").unwrap_or(text))?);
        Ok(Self::from_seed(&seed))
    }
}

/// A public key: 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The address of the single-key account that this key opens: SHA3-256 of the key and the
    /// scheme byte 0 (Aptos' authentication key).
    pub fn address(&self) -> Address {
        Address(Sha3_256::new().chain_update(self.0).chain_update([0]).finalize().into())
    }

    /// Whether `signature` is this key's over `message`, strictly.
    pub(crate) fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

/// A signature: 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// Text in JSON; in BCS a vector of bytes, as Move declares keys and signatures.
macro_rules! hex_text {
    ($name:ident, $bytes:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(0x{}…)", stringify!($name), hex::encode(&self.0[..4]))
            }
        }

        impl FromStr for $name {
            type Err = BadKey;
            fn from_str(text: &str) -> Result<Self, BadKey> {
                decode(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.as_slice().serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    return String::deserialize(deserializer)?.parse().map_err(D::Error::custom);
                }
                let bytes = Vec::<u8>::deserialize(deserializer)?;
                <[u8; $bytes]>::try_from(bytes)
                    .map(Self)
                    .map_err(|_| D::Error::custom(BadKey { digits: 2 * $bytes }))
            }
        }
    };
}

hex_text!(PublicKey, 32);
hex_text!(Signature, 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_localnet_admin_has_its_well_known_address() {
        let seed: [u8; 32] = Sha3_256::digest("cactus::localnet::admin").into();
        assert_eq!(
            SecretKey::from_seed(&seed).address().to_string(),
            "0x770eb1b3170bcdd27aab10aed54a73bf2b40f49c88ae430957992798c9cdfed8"
        );
    }

    #[test]
    fn a_secret_key_does_not_print_its_seed() {
        let key = SecretKey::random();
        assert!(!format!("{key:?}").contains(&hex::encode(*key.seed())));
        assert_eq!(key.to_hex().parse::<SecretKey>().unwrap().address(), key.address());
    }

    #[test]
    fn a_key_of_small_order_verifies_nothing() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(!PublicKey(identity).verify(b"x", &Signature([0; 64])));
    }
}
