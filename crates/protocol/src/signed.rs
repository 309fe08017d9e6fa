//! Messages between parties, signed so that no signature means anything elsewhere: the bytes name
//! the purpose, the chain and the contract. Messages that the contract itself verifies are in
//! [`crate::chain_message`].

use crate::{
    id::Address,
    key::{PublicKey, SecretKey, Signature},
};
use serde::{Deserialize, Serialize};
use std::ops::Deref;

/// A message with one purpose, hence one place among signatures.
pub trait Canonical: Serialize {
    /// For example `hello`; signed as `cactus::hello::v1`.
    const PURPOSE: &'static str;
}

/// Where a signature counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The chain that holds the contract.
    pub chain_id: u8,
    /// The account of the contract.
    pub contract: Address,
}

/// The signature is not this key's over this message in this scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match the message, its signer or this network")]
pub struct BadSignature;

/// A message and a signature that nobody has checked yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// The claim. Untrusted until [`Signed::verify`].
    pub body: T,
    signature: Signature,
}

/// A message whose signature was checked. Only [`Signed::verify`] builds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

#[derive(Serialize)]
struct Envelope<'a, T> {
    domain: String,
    chain_id: u8,
    contract: Address,
    body: &'a T,
}

fn signing_bytes<T: Canonical>(body: &T, scope: Scope) -> Result<Vec<u8>, BadSignature> {
    let domain = format!("cactus::{}::v1", T::PURPOSE);
    let envelope = Envelope { domain, chain_id: scope.chain_id, contract: scope.contract, body };
    aptos_bcs::to_bytes(&envelope).map_err(|_| BadSignature)
}

impl<T: Canonical> Signed<T> {
    /// Signs `body`.
    ///
    /// # Errors
    /// Only when `body` has no BCS form (a sequence longer than 2³¹).
    pub fn new(body: T, scope: Scope, key: &SecretKey) -> Result<Self, BadSignature> {
        let signature = key.sign(&signing_bytes(&body, scope)?);
        Ok(Self { body, signature })
    }

    /// Checks the signature against `key`, strictly.
    ///
    /// # Errors
    /// [`BadSignature`] for another key, message, purpose, chain or contract.
    pub fn verify(self, scope: Scope, key: &PublicKey) -> Result<Verified<T>, BadSignature> {
        let bytes = signing_bytes(&self.body, scope)?;
        if key.verify(&bytes, &self.signature) {
            Ok(Verified(self.body))
        } else {
            Err(BadSignature)
        }
    }
}

impl<T> Verified<T> {
    /// For [`crate::chain_message`], whose signatures have another layout.
    pub(crate) fn of_chain_message(message: T) -> Self {
        Self(message)
    }

    /// The message.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize)]
    struct A(u64);
    impl Canonical for A {
        const PURPOSE: &'static str = "a";
    }
    #[derive(Debug, Clone, PartialEq, Serialize)]
    struct B(u64);
    impl Canonical for B {
        const PURPOSE: &'static str = "b";
    }

    const SCOPE: Scope = Scope { chain_id: 4, contract: Address([9; 32]) };

    #[test]
    fn a_signature_counts_for_its_message_key_chain_and_contract_only() {
        let key = SecretKey::random();
        let signed = Signed::new(A(1), SCOPE, &key).unwrap();
        assert_eq!(signed.clone().verify(SCOPE, &key.public()).unwrap().into_inner(), A(1));

        let elsewhere =
            [Scope { chain_id: 1, ..SCOPE }, Scope { contract: Address([8; 32]), ..SCOPE }];
        for scope in elsewhere {
            assert!(signed.clone().verify(scope, &key.public()).is_err());
        }
        assert!(signed.clone().verify(SCOPE, &SecretKey::random().public()).is_err());
        let other_body = Signed { body: A(2), signature: signed.signature };
        assert!(other_body.verify(SCOPE, &key.public()).is_err());
        let other_purpose = Signed { body: B(1), signature: signed.signature };
        assert!(other_purpose.verify(SCOPE, &key.public()).is_err());
    }
}
