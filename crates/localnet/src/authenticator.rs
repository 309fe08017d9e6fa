//! Signatures of transactions: the authenticators that Aptos' clients send, and their check.
//! Never compares a key with an account: that needs the chain's state.

use cactus_move_vm::AccountAddress;
use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use crate::signature::{
    authentication_key, verify_any, verify_ed25519, verify_multi_ed25519, verify_multi_key,
};
use crate::transaction::{
    Hash, MalformedTransaction, RawTransaction, SignedTransaction, fee_payer_signing_message,
    multi_agent_signing_message, single_signing_message, user_transaction_hash,
};

/// Who agreed to a transaction, in Aptos' wire order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransactionAuthenticator {
    /// One ed25519 key.
    Ed25519 {
        /// 32 bytes.
        public_key: Vec<u8>,
        /// 64 bytes.
        signature: Vec<u8>,
    },
    /// K of N ed25519 keys.
    MultiEd25519 {
        /// The keys, then the threshold in one byte.
        public_key: Vec<u8>,
        /// The signatures, then a bitmap of four bytes.
        signature: Vec<u8>,
    },
    /// Several accounts sign one transaction.
    MultiAgent {
        /// The sender.
        sender: AccountAuthenticator,
        /// The other accounts, in the order of the entry function's signers.
        secondary_signer_addresses: Vec<AccountAddress>,
        /// Their signatures.
        secondary_signers: Vec<AccountAuthenticator>,
    },
    /// Another account pays for gas.
    FeePayer {
        /// The sender.
        sender: AccountAuthenticator,
        /// The other accounts, in the order of the entry function's signers.
        secondary_signer_addresses: Vec<AccountAddress>,
        /// Their signatures.
        secondary_signers: Vec<AccountAuthenticator>,
        /// The account that pays.
        fee_payer_address: AccountAddress,
        /// Its signature.
        fee_payer_signer: AccountAuthenticator,
    },
    /// One account of any kind.
    SingleSender {
        /// The sender.
        sender: AccountAuthenticator,
    },
}

/// One account's signature, in Aptos' wire order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountAuthenticator {
    /// One ed25519 key.
    Ed25519 {
        /// 32 bytes.
        public_key: Vec<u8>,
        /// 64 bytes.
        signature: Vec<u8>,
    },
    /// K of N ed25519 keys.
    MultiEd25519 {
        /// The keys, then the threshold in one byte.
        public_key: Vec<u8>,
        /// The signatures, then a bitmap of four bytes.
        signature: Vec<u8>,
    },
    /// One key of any scheme.
    SingleKey {
        /// The key.
        public_key: AnyPublicKey,
        /// Its signature.
        signature: AnySignature,
    },
    /// K of N keys of any scheme.
    MultiKey {
        /// The keys and the threshold.
        public_keys: MultiKey,
        /// One signature per set bit, in the order of the keys.
        signatures: Vec<AnySignature>,
        /// Which keys signed; the most significant bit of the first byte is key 0.
        bitmap: Vec<u8>,
    },
    /// No signature (`NoAccountAuthenticator`): only for simulation.
    Absent,
}

/// A public key of any scheme. Ed25519 and secp256k1 verify on this chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum AnyPublicKey {
    Ed25519(Vec<u8>),
    Secp256k1Ecdsa(Vec<u8>),
    Secp256r1Ecdsa(Vec<u8>),
}

/// A signature of any scheme. Ed25519 and secp256k1 verify on this chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum AnySignature {
    Ed25519(Vec<u8>),
    Secp256k1Ecdsa(Vec<u8>),
}

/// The keys of a K-of-N account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultiKey {
    /// N keys.
    pub keys: Vec<AnyPublicKey>,
    /// K.
    pub signatures_required: u8,
}

/// An account that takes part in a transaction, and the key it proved; `None` when it is only
/// simulated and showed none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The account.
    pub address: AccountAddress,
    /// Must equal the account's authentication key on chain.
    pub authentication_key: Option<Hash>,
}

/// A transaction whose signatures are all valid. The keys still have to match the accounts.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The transaction.
    pub transaction: SignedTransaction,
    /// Its BCS.
    pub bytes: Vec<u8>,
    /// The hash by which it is known.
    pub hash: Hash,
    /// The sender, then the secondary signers.
    pub signers: Vec<Signer>,
    /// Who pays for gas, when not the sender.
    pub fee_payer: Option<Signer>,
    _verified: (),
}

impl Authenticated {
    /// The account that pays for gas.
    pub fn payer(&self) -> AccountAddress {
        self.fee_payer.map_or(self.transaction.raw.sender, |payer| payer.address)
    }
}

/// Why a submission did not become an [`Authenticated`] transaction.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// Not a transaction.
    #[error(transparent)]
    Malformed(#[from] MalformedTransaction),
    /// A transaction that must be discarded.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Parses and verifies a submission.
pub fn authenticate(bytes: Vec<u8>) -> Result<Authenticated, AuthenticationError> {
    let transaction = SignedTransaction::parse(&bytes)?;
    let claims = Claims::of(&transaction)?;
    for claim in claims.all() {
        claim.verify()?;
    }
    Ok(claims.into_authenticated(transaction, bytes))
}

/// Signs with one ed25519 key.
pub fn signed_by(
    key: &SigningKey,
    raw: RawTransaction,
) -> Result<SignedTransaction, MalformedTransaction> {
    let signature = key.sign(&single_signing_message(&raw)?);
    let authenticator = TransactionAuthenticator::Ed25519 {
        public_key: key.verifying_key().as_bytes().to_vec(),
        signature: signature.to_bytes().to_vec(),
    };
    Ok(SignedTransaction { raw, authenticator })
}

/// Parses a transaction for simulation. One whose signatures are valid is refused, because whoever
/// answers a simulation could submit it.
pub fn for_simulation(bytes: Vec<u8>) -> Result<Option<Authenticated>, AuthenticationError> {
    let transaction = SignedTransaction::parse(&bytes)?;
    let claims = Claims::of(&transaction)?;
    if claims.all().all(|claim| claim.verify().is_ok()) {
        return Ok(None);
    }
    Ok(Some(claims.into_authenticated(transaction, bytes)))
}

/// One account's signature with the messages that it may stand under.
struct Claim<'a> {
    address: AccountAddress,
    authenticator: Key<'a>,
    messages: Vec<&'a [u8]>,
}

/// The part of an authenticator that signs, whatever enum it came in.
enum Key<'a> {
    Ed25519(&'a [u8], &'a [u8]),
    MultiEd25519(&'a [u8], &'a [u8]),
    Single(&'a AnyPublicKey, &'a AnySignature),
    Multi(&'a MultiKey, &'a [AnySignature], &'a [u8]),
    Absent,
}

impl<'a> From<&'a AccountAuthenticator> for Key<'a> {
    fn from(authenticator: &'a AccountAuthenticator) -> Self {
        use AccountAuthenticator as A;
        match authenticator {
            A::Ed25519 { public_key, signature } => Key::Ed25519(public_key, signature),
            A::MultiEd25519 { public_key, signature } => Key::MultiEd25519(public_key, signature),
            A::SingleKey { public_key, signature } => Key::Single(public_key, signature),
            A::MultiKey { public_keys, signatures, bitmap } => {
                Key::Multi(public_keys, signatures, bitmap)
            }
            A::Absent => Key::Absent,
        }
    }
}

/// Everything that a transaction's authenticator asserts, not yet believed.
struct Claims {
    signers: Vec<(AccountAddress, AccountAuthenticator)>,
    fee_payer: Option<(AccountAddress, AccountAuthenticator)>,
    /// What signers sign, and for sponsored transactions also the form without the payer.
    messages: Vec<Vec<u8>>,
}

impl Claims {
    fn of(transaction: &SignedTransaction) -> Result<Self, AuthenticationError> {
        use TransactionAuthenticator as T;
        let raw = &transaction.raw;
        let single = |sender: AccountAuthenticator| -> Result<Self, AuthenticationError> {
            Ok(Self {
                signers: vec![(raw.sender, sender)],
                fee_payer: None,
                messages: vec![single_signing_message(raw)?],
            })
        };
        match transaction.authenticator.clone() {
            T::Ed25519 { public_key, signature } => {
                single(AccountAuthenticator::Ed25519 { public_key, signature })
            }
            T::MultiEd25519 { public_key, signature } => {
                single(AccountAuthenticator::MultiEd25519 { public_key, signature })
            }
            T::SingleSender { sender } => single(sender),
            T::MultiAgent { sender, secondary_signer_addresses, secondary_signers } => Ok(Self {
                messages: vec![multi_agent_signing_message(raw, &secondary_signer_addresses)?],
                signers: joined(
                    raw.sender,
                    sender,
                    &secondary_signer_addresses,
                    secondary_signers,
                )?,
                fee_payer: None,
            }),
            T::FeePayer {
                sender,
                secondary_signer_addresses: secondary,
                secondary_signers,
                fee_payer_address,
                fee_payer_signer,
            } => Ok(Self {
                messages: vec![
                    fee_payer_signing_message(raw, &secondary, fee_payer_address)?,
                    fee_payer_signing_message(raw, &secondary, AccountAddress([0; 32]))?,
                ],
                signers: joined(raw.sender, sender, &secondary, secondary_signers)?,
                fee_payer: Some((fee_payer_address, fee_payer_signer)),
            }),
        }
    }

    fn all(&self) -> impl Iterator<Item = Claim<'_>> {
        let signers = self.signers.iter().map(|(address, authenticator)| Claim {
            address: *address,
            authenticator: authenticator.into(),
            messages: self.messages.iter().map(Vec::as_slice).collect(),
        });
        // The payer must have named itself.
        let payer = self.fee_payer.iter().map(|(address, authenticator)| Claim {
            address: *address,
            authenticator: authenticator.into(),
            messages: self.messages.iter().take(1).map(Vec::as_slice).collect(),
        });
        signers.chain(payer)
    }

    fn into_authenticated(self, transaction: SignedTransaction, bytes: Vec<u8>) -> Authenticated {
        let mut signers: Vec<Signer> = self
            .all()
            .map(|claim| Signer {
                address: claim.address,
                authentication_key: claim.authenticator.authentication_key(),
            })
            .collect();
        let fee_payer = self.fee_payer.is_some().then(|| signers.pop()).flatten();
        Authenticated {
            hash: user_transaction_hash(&bytes),
            transaction,
            bytes,
            signers,
            fee_payer,
            _verified: (),
        }
    }
}

fn joined(
    sender_address: AccountAddress,
    sender: AccountAuthenticator,
    secondary_addresses: &[AccountAddress],
    secondary: Vec<AccountAuthenticator>,
) -> Result<Vec<(AccountAddress, AccountAuthenticator)>, Refusal> {
    if secondary_addresses.len() != secondary.len() {
        return Err(Refusal::SecondarySignerCount);
    }
    let mut signers = vec![(sender_address, sender)];
    signers.extend(secondary_addresses.iter().copied().zip(secondary));
    let mut addresses: Vec<_> = signers.iter().map(|(address, _)| *address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.len() != signers.len() {
        return Err(Refusal::DuplicateSigners);
    }
    Ok(signers)
}

impl Claim<'_> {
    fn verify(&self) -> Result<(), Refusal> {
        let valid =
            self.messages.iter().any(|message| self.authenticator.verify(message).is_some());
        valid.then_some(()).ok_or(Refusal::InvalidSignature)
    }
}

impl Key<'_> {
    /// `Some` when the signature is valid.
    fn verify(&self, message: &[u8]) -> Option<()> {
        match self {
            Self::Ed25519(key, signature) => verify_ed25519(key, signature, message),
            Self::MultiEd25519(keys, signatures) => verify_multi_ed25519(keys, signatures, message),
            Self::Single(key, signature) => verify_any(key, signature, message),
            Self::Multi(keys, signatures, bitmap) => {
                verify_multi_key(keys, signatures, bitmap, message)
            }
            Self::Absent => None,
        }
    }

    /// `sha3(public key ‖ scheme)`.
    fn authentication_key(&self) -> Option<Hash> {
        let (bytes, scheme) = match self {
            Self::Ed25519(key, _) => (key.to_vec(), 0),
            Self::MultiEd25519(keys, _) => (keys.to_vec(), 1),
            Self::Single(key, _) => (aptos_bcs::to_bytes(key).ok()?, 2),
            Self::Multi(keys, ..) => (aptos_bcs::to_bytes(keys).ok()?, 3),
            Self::Absent => return None,
        };
        Some(authentication_key(&bytes, scheme))
    }
}

#[cfg(test)]
mod tests;
