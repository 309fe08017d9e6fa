//! The hashes of what is asked and answered: SHA-256, for which processors have instructions, because
//! every server and node hashes all of it. What the chain itself hashes is SHA3-256 ([`Hash::of`]).

use crate::{answer::UNKNOWN_TOKEN, id::Hash};
use sha2::{Digest, Sha256};

/// The hash of a request's bytes.
pub(crate) fn of_request(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

/// Collects an output and hashes it, the same however it was cut into deltas: SHA-256 of (SHA-256 of the token ids as little-endian
/// `u32`s ‖ SHA-256 of the UTF-8 text). For vectors, their values as little-endian binary32 take
/// the place of the token ids and the text is empty.
#[derive(Debug, Clone, Default)]
pub struct OutputHasher {
    tokens: Sha256,
    text: Sha256,
    count: u32,
    unknown: u32,
    text_bytes: u64,
}

impl OutputHasher {
    /// Adds the next part.
    pub fn update(&mut self, token_ids: &[u32], text: &str) {
        for id in token_ids {
            self.tokens.update(id.to_le_bytes());
            self.count = self.count.saturating_add(1);
            self.unknown = self.unknown.saturating_add(u32::from(*id == UNKNOWN_TOKEN));
        }
        self.text_bytes =
            self.text_bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        self.text.update(text);
    }

    /// Adds the next values of vectors, as the bits of IEEE 754 binary32. They count as no tokens.
    pub fn update_values(&mut self, bits: &[u32]) {
        for value in bits {
            self.tokens.update(value.to_le_bytes());
        }
    }

    /// How many tokens came so far.
    pub fn token_count(&self) -> u32 {
        self.count
    }

    /// How many of them were [`UNKNOWN_TOKEN`].
    pub fn unknown_count(&self) -> u32 {
        self.unknown
    }

    /// How much text came so far, in bytes.
    pub fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// The hash of all parts.
    pub fn finish(self) -> Hash {
        let outer = Sha256::new().chain_update(self.tokens.finalize());
        Hash(outer.chain_update(self.text.finalize()).finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(parts: &[(&[u32], &str)]) -> Hash {
        let mut hasher = OutputHasher::default();
        for (ids, text) in parts {
            hasher.update(ids, text);
        }
        hasher.finish()
    }

    #[test]
    fn the_hash_does_not_depend_on_the_cuts() {
        assert_eq!(hash(&[(&[1, 2], "ab"), (&[3], "c")]), hash(&[(&[1, 2, 3], "abc")]));
        assert_ne!(hash(&[(&[1, 2], "abc")]), hash(&[(&[1, 2, 3], "abc")]));
        assert_ne!(hash(&[(&[1, 2, 3], "abd")]), hash(&[(&[1, 2, 3], "abc")]));
    }
}
