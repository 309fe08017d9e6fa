//! The revision of a model: a Merkle tree (SHA3-256) over its files. It never reads a disk.
//!
//! Leaves are chunks of 1 MiB, so that a part of a large file can be proven and hashing uses every
//! core. Each kind of node has its own first byte; a node without a sibling moves up unchanged.

use rayon::prelude::*;
use sha3::{Digest, Sha3_256};

/// A SHA3-256 digest.
pub(crate) type Hash = [u8; 32];

const CHUNK: usize = 1 << 20;
const CHUNK_TAG: u8 = 0;
const NODE_TAG: u8 = 1;
const ENTRY_TAG: u8 = 2;

/// The hash of one file: its name, its length and the root over its chunks.
pub(crate) fn entry(name: &str, content: &[u8]) -> Hash {
    let leaf = |chunk: &[u8]| hash(&[&[CHUNK_TAG], chunk]);
    let leaves: Vec<Hash> = content.par_chunks(CHUNK).map(leaf).collect();
    // Lengths of strings and buffers in memory fit 64 bits on every platform.
    let length = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes();
    hash(&[
        &[ENTRY_TAG],
        &length(name.as_bytes()),
        name.as_bytes(),
        &length(content),
        &root(leaves),
    ])
}

/// The root over `level`; the root of nothing is the hash of an empty chunk.
pub(crate) fn root(mut level: Vec<Hash>) -> Hash {
    while level.len() > 1 {
        level = level.chunks(2).map(join).collect();
    }
    level.first().copied().unwrap_or_else(|| hash(&[&[CHUNK_TAG]]))
}

fn join(pair: &[Hash]) -> Hash {
    match pair {
        [left, right] => hash(&[&[NODE_TAG], left, right]),
        [only, ..] => *only,
        [] => hash(&[&[CHUNK_TAG]]),
    }
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha3_256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_depends_on_every_byte_every_name_and_every_border() {
        let base = root(vec![entry("a", b"one"), entry("b", b"two")]);
        for other in [
            vec![entry("a", b"onE"), entry("b", b"two")],
            vec![entry("A", b"one"), entry("b", b"two")],
            vec![entry("a", b"onet"), entry("b", b"wo")],
            vec![entry("a", b"one")],
            vec![entry("b", b"two"), entry("a", b"one")],
        ] {
            assert_ne!(root(other), base);
        }
    }

    #[test]
    fn large_files_are_trees_of_one_mebibyte_chunks() {
        let content = vec![7_u8; 2 * CHUNK + 1];
        let leaf = |bytes: &[u8]| hash(&[&[0], bytes]);
        let left = hash(&[&[1], &leaf(&content[..CHUNK]), &leaf(&content[CHUNK..2 * CHUNK])]);
        let tree = hash(&[&[1], &left, &leaf(&content[2 * CHUNK..])]);
        let length = 2_097_153_u64.to_le_bytes();
        assert_eq!(entry("w", &content), hash(&[&[2], &1_u64.to_le_bytes(), b"w", &length, &tree]));
    }
}
