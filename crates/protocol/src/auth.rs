//! Signed HTTP requests: how a client with a wallet speaks to a routing server without an API
//! key. The header is `Authorization: Cactus <hex of BCS>`; a one-shot or standing order comes in
//! `X-Cactus-Order: <hex of BCS>`.

use crate::{
    chain_message::SignedOrder,
    id::{Address, Hash},
    key::{PublicKey, SecretKey},
    signed::{BadSignature, Canonical, Scope, Signed, Verified},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The scheme in the `Authorization` header.
pub const SCHEME: &str = "Cactus";
/// The header that carries an order.
pub const ORDER_HEADER: &str = "X-Cactus-Order";
/// How far a request's clock may be from the server's, in milliseconds.
pub const CLOCK_TOLERANCE_MS: u64 = 60_000;
/// The longest header that is read, in hex digits.
const MAX_HEADER_DIGITS: usize = 4096;

/// What a client says about one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestClaim {
    /// Who asks.
    pub client: Address,
    /// The server that is asked; no other may use the signature.
    pub server: Address,
    /// `GET`, `POST` …
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// SHA3-256 of the body.
    pub body_hash: Hash,
    /// Fresh for each request.
    pub nonce: [u8; 16],
    /// Unix milliseconds.
    pub time_ms: u64,
}

impl Canonical for RequestClaim {
    const PURPOSE: &'static str = "request";
}

/// A claim, its signature and the key that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSignature {
    /// Must open the client's account.
    pub public_key: PublicKey,
    /// Untrusted until verified.
    pub claim: Signed<RequestClaim>,
}

impl RequestSignature {
    /// Signs a claim with the client's key.
    ///
    /// # Errors
    /// Only when the claim has no BCS form.
    pub fn new(claim: RequestClaim, scope: Scope, key: &SecretKey) -> Result<Self, BadSignature> {
        Ok(Self { public_key: key.public(), claim: Signed::new(claim, scope, key)? })
    }

    /// Checks the signature and that the key opens the client's account. The caller compares
    /// server, method, path, body hash and time, and remembers the nonce.
    ///
    /// # Errors
    /// [`BadSignature`] for another key, account, chain or contract.
    pub fn verify(self, scope: Scope) -> Result<Verified<RequestClaim>, BadSignature> {
        let claim = self.claim.verify(scope, &self.public_key)?;
        if self.public_key.address() == claim.client { Ok(claim) } else { Err(BadSignature) }
    }

    /// The value of the `Authorization` header.
    pub fn to_header(&self) -> String {
        format!("{SCHEME} {}", to_hex(self))
    }

    /// Reads the value of an `Authorization` header of this scheme.
    pub fn parse_header(value: &str) -> Option<Self> {
        from_hex(value.strip_prefix(SCHEME)?.trim_start())
    }
}

impl SignedOrder {
    /// The value of the order header.
    pub fn to_header(&self) -> String {
        to_hex(self)
    }

    /// Reads the value of an order header.
    pub fn parse_header(value: &str) -> Option<Self> {
        from_hex(value.trim())
    }
}

fn to_hex<T: Serialize>(value: &T) -> String {
    hex::encode(aptos_bcs::to_bytes(value).unwrap_or_default())
}

fn from_hex<T: DeserializeOwned>(text: &str) -> Option<T> {
    if text.len() > MAX_HEADER_DIGITS {
        return None;
    }
    aptos_bcs::from_bytes(&hex::decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: Scope = Scope { chain_id: 4, contract: Address([9; 32]) };

    fn claim(client: Address) -> RequestClaim {
        RequestClaim {
            client,
            server: Address([2; 32]),
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            body_hash: Hash::of(b"{}"),
            nonce: [1; 16],
            time_ms: 1,
        }
    }

    #[test]
    fn a_header_is_read_back_and_verified() {
        let key = SecretKey::random();
        let signature = RequestSignature::new(claim(key.address()), SCOPE, &key).unwrap();
        let read = RequestSignature::parse_header(&signature.to_header()).unwrap();
        assert_eq!(read.verify(SCOPE).unwrap().method, "POST");
    }

    #[test]
    fn a_claim_for_another_account_is_refused() {
        let key = SecretKey::random();
        let signature = RequestSignature::new(claim(Address([1; 32])), SCOPE, &key).unwrap();
        assert_eq!(signature.verify(SCOPE), Err(BadSignature));
    }

    proptest::proptest! {
        #[test]
        fn a_header_that_was_tampered_with_never_verifies(
            place: proptest::sample::Index,
            digit in "[0-9a-f]",
            junk in "\\PC{0,80}",
        ) {
            let key = SecretKey::from_seed(&[3; 32]);
            let header = RequestSignature::new(claim(key.address()), SCOPE, &key).unwrap();
            let good = header.to_header();
            let place = SCHEME.len() + 1 + place.index(good.len() - SCHEME.len() - 1);
            let mut bad = good.clone();
            bad.replace_range(place..=place, &digit);
            let verified = RequestSignature::parse_header(&bad).map(|read| read.verify(SCOPE));
            proptest::prop_assert!(bad == good || !matches!(verified, Some(Ok(_))));
            let _ = RequestSignature::parse_header(&junk);
            let _ = SignedOrder::parse_header(&junk);
        }
    }

    #[test]
    fn headers_of_garbage_are_none() {
        let long = format!("Cactus {}", "0".repeat(MAX_HEADER_DIGITS + 2));
        for value in ["", "Cactus", "Cactus zz", "Bearer 00", "Cactus 00", &long] {
            assert!(RequestSignature::parse_header(value).is_none());
        }
    }
}
