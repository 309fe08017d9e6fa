//! Verification of signatures by their scheme.
//! Never accepts a malleable signature or one under a key of small order: ed25519 is strict, and
//! of the two secp256k1 signatures only the one with the low `s` counts.

use ed25519_dalek::{Signature, VerifyingKey};
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use sha3::{Digest, Sha3_256};

use crate::authenticator::{AnyPublicKey, AnySignature, MultiKey};
use crate::transaction::{Hash, sha3};

/// An uncompressed point of secp256k1, the form in which Aptos takes keys.
const UNCOMPRESSED_KEY_BYTES: usize = 65;
/// Most keys in a multi-key account.
const MAX_KEYS: usize = 32;

/// `sha3(public key ‖ scheme)`: the authentication key of an account, and the address of a new one.
pub fn authentication_key(public_key: &[u8], scheme: u8) -> Hash {
    let mut hasher = Sha3_256::new();
    hasher.update(public_key);
    hasher.update([scheme]);
    hasher.finalize().into()
}

/// `Some` when the signature is valid.
pub fn verify_ed25519(key: &[u8], signature: &[u8], message: &[u8]) -> Option<()> {
    let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
    let signature = Signature::from_bytes(signature.try_into().ok()?);
    key.verify_strict(message, &signature).ok()
}

/// `Some` when the signature is valid.
pub fn verify_any(key: &AnyPublicKey, signature: &AnySignature, message: &[u8]) -> Option<()> {
    match (key, signature) {
        (AnyPublicKey::Ed25519(key), AnySignature::Ed25519(signature)) => {
            verify_ed25519(key, signature, message)
        }
        (AnyPublicKey::Secp256k1Ecdsa(key), AnySignature::Secp256k1Ecdsa(signature)) => {
            verify_secp256k1(key, signature, message)
        }
        _ => None,
    }
}

/// `Some` when the signature, over the SHA3-256 of the message, is valid and its `s` is low.
fn verify_secp256k1(key: &[u8], signature: &[u8], message: &[u8]) -> Option<()> {
    if key.len() != UNCOMPRESSED_KEY_BYTES {
        return None;
    }
    let key = k256::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
    let signature = k256::ecdsa::Signature::from_slice(signature).ok()?;
    if signature.normalize_s().is_some() {
        return None;
    }
    key.verify_prehash(&sha3(message), &signature).ok()
}

/// `Some` when the signature is valid.
pub fn verify_multi_ed25519(keys: &[u8], signatures: &[u8], message: &[u8]) -> Option<()> {
    let (threshold, keys) = keys.split_last()?;
    let (signatures, bitmap) = signatures.split_at_checked(signatures.len().checked_sub(4)?)?;
    if keys.len() % 32 != 0 || signatures.len() % 64 != 0 {
        return None;
    }
    let keys: Vec<&[u8]> = keys.chunks_exact(32).collect();
    let chosen = chosen_keys(bitmap, keys.len(), usize::from(*threshold))?;
    if chosen.len() != signatures.len() / 64 {
        return None;
    }
    for (index, signature) in chosen.into_iter().zip(signatures.chunks_exact(64)) {
        verify_ed25519(keys[index], signature, message)?;
    }
    Some(())
}

/// `Some` when the signature is valid.
pub fn verify_multi_key(
    keys: &MultiKey,
    signatures: &[AnySignature],
    bitmap: &[u8],
    message: &[u8],
) -> Option<()> {
    let threshold = usize::from(keys.signatures_required);
    let chosen = chosen_keys(bitmap, keys.keys.len(), threshold)?;
    if chosen.len() != signatures.len() {
        return None;
    }
    for (index, signature) in chosen.into_iter().zip(signatures) {
        verify_any(&keys.keys[index], signature, message)?;
    }
    Some(())
}

/// The keys that a bitmap names; `None` if they are too few or lie outside the account's keys.
fn chosen_keys(bitmap: &[u8], keys: usize, threshold: usize) -> Option<Vec<usize>> {
    if keys == 0 || keys > MAX_KEYS || threshold == 0 || threshold > keys || bitmap.len() > 4 {
        return None;
    }
    let chosen: Vec<usize> = (0..bitmap.len() * 8)
        .filter(|index| bitmap[index / 8] & (0b1000_0000 >> (index % 8)) != 0)
        .collect();
    let inside = chosen.last().is_some_and(|last| *last < keys);
    (inside && chosen.len() >= threshold).then_some(chosen)
}
