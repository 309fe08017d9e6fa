//! Transactions in JSON, as clients without BCS write them, into the form in which they are signed.
//! Never believes a signature: that is checked on the bytes, as for any other submission.

use actix_web::{HttpRequest, web};
use cactus_move_vm::AccountAddress;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::accounts::parse_address;
use super::answer::ApiError;
use super::view::{CallRequest, parse_call};
use crate::authenticator::{
    AccountAuthenticator, AnyPublicKey, AnySignature, MultiKey, TransactionAuthenticator,
};
use crate::chain::Chain;
use crate::store::Snapshot;
use crate::transaction::{
    RawTransaction, SignedTransaction, TransactionExecutable, TransactionExtraConfig,
    TransactionPayload, TransactionPayloadInner,
};

/// The body type of a signed transaction in BCS.
pub const SIGNED_BCS: &str = "application/x.aptos.signed_transaction+bcs";
const JSON: &str = "application/json";
/// Most keys of one account.
const MAX_KEYS: usize = 32;

/// A transaction that is not signed yet; counters are text.
#[derive(Deserialize)]
pub struct TransactionRequest {
    sender: String,
    /// Not needed with a nonce.
    sequence_number: Option<String>,
    max_gas_amount: String,
    gas_unit_price: String,
    expiration_timestamp_secs: String,
    payload: CallRequest,
    replay_protection_nonce: Option<String>,
}

/// A signed transaction.
#[derive(Deserialize)]
struct SignedRequest {
    #[serde(flatten)]
    transaction: TransactionRequest,
    signature: Signature,
}

/// What a body says of its own type; `None` for one that is no transaction.
pub fn body_type(request: &HttpRequest) -> Option<&str> {
    let kind = request.headers().get("content-type")?.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or(kind).trim();
    [SIGNED_BCS, JSON].contains(&kind).then_some(kind)
}

/// BCS of the signed transaction in a request's body, whichever of the two forms it has.
pub fn signed_bytes(
    chain: &Chain,
    snapshot: &Snapshot,
    request: &HttpRequest,
    body: &web::Bytes,
) -> Result<Vec<u8>, ApiError> {
    match body_type(request) {
        Some(SIGNED_BCS) => Ok(body.to_vec()),
        Some(_) => {
            let signed: SignedRequest = serde_json::from_slice(body).map_err(ApiError::invalid)?;
            let signed = SignedTransaction {
                raw: signed.transaction.raw(chain, snapshot)?,
                authenticator: signed.signature.of_transaction()?,
            };
            signed.to_bytes().map_err(ApiError::internal)
        }
        None => Err(ApiError::unsupported_body(SIGNED_BCS)),
    }
}

impl TransactionRequest {
    /// What is to be signed; arguments are encoded by the types that the function declares.
    pub fn raw(self, chain: &Chain, snapshot: &Snapshot) -> Result<RawTransaction, ApiError> {
        let number = |text: &str| text.parse::<u64>().map_err(ApiError::invalid);
        let nonce = self.replay_protection_nonce.as_deref().map(number).transpose()?;
        let sequence_number = match (self.sequence_number.as_deref(), nonce) {
            (_, Some(_)) => u64::MAX,
            (Some(text), None) => number(text)?,
            (None, None) => return Err(ApiError::invalid("sequence_number is missing")),
        };
        let call = parse_call(chain, snapshot, self.payload)?;
        let payload = match nonce {
            None => TransactionPayload::EntryFunction(call),
            Some(_) => TransactionPayload::Payload(TransactionPayloadInner::V1 {
                executable: TransactionExecutable::EntryFunction(call),
                extra_config: TransactionExtraConfig::V1 {
                    multisig_address: None,
                    replay_protection_nonce: nonce,
                },
            }),
        };
        Ok(RawTransaction {
            sender: parse_address(&self.sender)?,
            sequence_number,
            payload,
            max_gas_amount: number(&self.max_gas_amount)?,
            gas_unit_price: number(&self.gas_unit_price)?,
            expiration_timestamp_secs: number(&self.expiration_timestamp_secs)?,
            chain_id: chain.chain_id(),
        })
    }
}

/// `0x` and digits.
struct Hexadecimal(Vec<u8>);

impl<'de> Deserialize<'de> for Hexadecimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text.strip_prefix("0x").unwrap_or(&text)).map(Self).map_err(D::Error::custom)
    }
}

/// A key or signature with the name of its scheme.
#[derive(Deserialize)]
struct OfScheme {
    #[serde(rename = "type")]
    scheme: String,
    value: Hexadecimal,
}

/// A signature with the place of its key among an account's keys.
#[derive(Deserialize)]
struct Indexed {
    index: u8,
    signature: OfScheme,
}

/// The signatures that Aptos' API knows, of a transaction or of one account.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Signature {
    #[serde(rename = "ed25519_signature")]
    Ed25519 { public_key: Hexadecimal, signature: Hexadecimal },
    #[serde(rename = "multi_ed25519_signature")]
    MultiEd25519 {
        public_keys: Vec<Hexadecimal>,
        signatures: Vec<Hexadecimal>,
        threshold: u8,
        bitmap: Hexadecimal,
    },
    #[serde(rename = "single_key_signature")]
    SingleKey { public_key: OfScheme, signature: OfScheme },
    #[serde(rename = "multi_key_signature")]
    MultiKey { public_keys: Vec<OfScheme>, signatures: Vec<Indexed>, signatures_required: u8 },
    #[serde(rename = "multi_agent_signature")]
    MultiAgent {
        sender: Box<Signature>,
        secondary_signer_addresses: Vec<String>,
        secondary_signers: Vec<Signature>,
    },
    #[serde(rename = "fee_payer_signature")]
    FeePayer {
        sender: Box<Signature>,
        secondary_signer_addresses: Vec<String>,
        secondary_signers: Vec<Signature>,
        fee_payer_address: String,
        fee_payer_signer: Box<Signature>,
    },
    #[serde(rename = "no_account_signature")]
    Absent,
}

impl Signature {
    fn of_transaction(self) -> Result<TransactionAuthenticator, ApiError> {
        use TransactionAuthenticator as T;
        Ok(match self {
            Self::MultiAgent { sender, secondary_signer_addresses, secondary_signers } => {
                T::MultiAgent {
                    sender: sender.of_account()?,
                    secondary_signer_addresses: addresses(&secondary_signer_addresses)?,
                    secondary_signers: of_accounts(secondary_signers)?,
                }
            }
            Self::FeePayer {
                sender,
                secondary_signer_addresses,
                secondary_signers,
                fee_payer_address,
                fee_payer_signer,
            } => T::FeePayer {
                sender: sender.of_account()?,
                secondary_signer_addresses: addresses(&secondary_signer_addresses)?,
                secondary_signers: of_accounts(secondary_signers)?,
                fee_payer_address: parse_address(&fee_payer_address)?,
                fee_payer_signer: fee_payer_signer.of_account()?,
            },
            of_account => match of_account.of_account()? {
                AccountAuthenticator::Ed25519 { public_key, signature } => {
                    T::Ed25519 { public_key, signature }
                }
                AccountAuthenticator::MultiEd25519 { public_key, signature } => {
                    T::MultiEd25519 { public_key, signature }
                }
                sender => T::SingleSender { sender },
            },
        })
    }

    fn of_account(self) -> Result<AccountAuthenticator, ApiError> {
        use AccountAuthenticator as A;
        Ok(match self {
            Self::Ed25519 { public_key, signature } => {
                A::Ed25519 { public_key: public_key.0, signature: signature.0 }
            }
            Self::MultiEd25519 { public_keys, signatures, threshold, bitmap } => {
                let mut public_key = joined(public_keys);
                public_key.push(threshold);
                let signature = [joined(signatures), bitmap.0].concat();
                A::MultiEd25519 { public_key, signature }
            }
            Self::SingleKey { public_key, signature } => {
                A::SingleKey { public_key: public_key.key()?, signature: signature.signature()? }
            }
            Self::MultiKey { public_keys, signatures, signatures_required } => {
                let keys: Result<_, _> = public_keys.into_iter().map(OfScheme::key).collect();
                let bitmap = bitmap(&signatures)?;
                let signatures: Result<_, _> =
                    signatures.into_iter().map(|one| one.signature.signature()).collect();
                let public_keys = MultiKey { keys: keys?, signatures_required };
                A::MultiKey { public_keys, signatures: signatures?, bitmap }
            }
            Self::Absent => A::Absent,
            Self::MultiAgent { .. } | Self::FeePayer { .. } => {
                return Err(ApiError::invalid("one account cannot sign for several"));
            }
        })
    }
}

fn of_accounts(signatures: Vec<Signature>) -> Result<Vec<AccountAuthenticator>, ApiError> {
    signatures.into_iter().map(Signature::of_account).collect()
}

fn addresses(texts: &[String]) -> Result<Vec<AccountAddress>, ApiError> {
    texts.iter().map(|text| parse_address(text)).collect()
}

fn joined(parts: Vec<Hexadecimal>) -> Vec<u8> {
    parts.into_iter().flat_map(|part| part.0).collect()
}

/// One bit for each key that signed, the most significant bit of the first byte for key 0; four
/// bytes, as Aptos' clients write it.
fn bitmap(signatures: &[Indexed]) -> Result<Vec<u8>, ApiError> {
    let mut bits = vec![0; MAX_KEYS / 8];
    for one in signatures {
        let index = usize::from(one.index);
        let byte = bits.get_mut(index / 8);
        let byte =
            byte.ok_or_else(|| ApiError::invalid("a multi-key account has at most 32 keys"))?;
        *byte |= 0b1000_0000 >> (index % 8);
    }
    Ok(bits)
}

impl OfScheme {
    fn key(self) -> Result<AnyPublicKey, ApiError> {
        match self.scheme.as_str() {
            "ed25519" => Ok(AnyPublicKey::Ed25519(self.value.0)),
            "secp256k1_ecdsa" => Ok(AnyPublicKey::Secp256k1Ecdsa(self.value.0)),
            "secp256r1_ecdsa" => Ok(AnyPublicKey::Secp256r1Ecdsa(self.value.0)),
            other => Err(ApiError::invalid(format!("keys of the scheme {other} are not known"))),
        }
    }

    fn signature(self) -> Result<AnySignature, ApiError> {
        match self.scheme.as_str() {
            "ed25519" => Ok(AnySignature::Ed25519(self.value.0)),
            "secp256k1_ecdsa" => Ok(AnySignature::Secp256k1Ecdsa(self.value.0)),
            other => Err(ApiError::invalid(format!("signatures of {other} are not known"))),
        }
    }
}
