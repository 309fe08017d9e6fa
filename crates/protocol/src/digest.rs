//! The hash of an output, the same however the output was cut into deltas.

use crate::id::Hash;
use sha3::{Digest, Sha3_256};

/// Collects an output and hashes it: SHA3-256 of (SHA3-256 of the token ids as little-endian
/// `u32`s ‖ SHA3-256 of the UTF-8 text).
#[derive(Debug, Clone, Default)]
pub struct OutputHasher {
    tokens: Sha3_256,
    text: Sha3_256,
    count: u32,
}

impl OutputHasher {
    /// Adds the next part.
    pub fn update(&mut self, token_ids: &[u32], text: &str) {
        for id in token_ids {
            self.tokens.update(id.to_le_bytes());
            self.count = self.count.saturating_add(1);
        }
        self.text.update(text);
    }

    /// How many tokens came so far.
    pub fn token_count(&self) -> u32 {
        self.count
    }

    /// The hash of all parts.
    pub fn finish(self) -> Hash {
        let outer = Sha3_256::new().chain_update(self.tokens.finalize());
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
