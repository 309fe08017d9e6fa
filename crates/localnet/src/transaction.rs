//! Transactions as they arrive on the wire: BCS types, signing messages, hashes.
//! Never looks at the chain's state and never decides whether a signer may act.

use cactus_move_vm::{AccountAddress, ModuleId, TypeTag};
use serde::{Deserialize, Serialize};
use sha3::{Digest, Sha3_256};

use crate::authenticator::TransactionAuthenticator;

/// A SHA3-256 digest.
pub type Hash = [u8; 32];

/// Deepest nesting of structures that a transaction may carry. Type arguments are the only
/// recursive part; Aptos stops at 8 levels of them.
const MAX_NESTING: usize = 48;

/// What a sender signs: see Aptos' `RawTransaction`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawTransaction {
    /// The account that pays and whose sequence number advances.
    pub sender: AccountAddress,
    /// Must equal the account's sequence number when the transaction executes.
    pub sequence_number: u64,
    /// What to do.
    pub payload: TransactionPayload,
    /// Most gas units that may be charged.
    pub max_gas_amount: u64,
    /// Octas per gas unit.
    pub gas_unit_price: u64,
    /// Unix seconds after which the transaction must not execute.
    pub expiration_timestamp_secs: u64,
    /// The network that the signature is meant for.
    pub chain_id: u8,
}

/// The payload variants of Aptos, in wire order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransactionPayload {
    /// Bytecode carried by the transaction; refused by this chain.
    Script(Script),
    /// Removed by Aptos; kept so that the later variants keep their numbers.
    ModuleBundle(RetiredModuleBundle),
    /// A call of a public entry function.
    EntryFunction(EntryFunction),
    /// On-chain multisig; refused by this chain.
    Multisig(Multisig),
    /// The extensible payload that also carries orderless transactions.
    Payload(TransactionPayloadInner),
}

/// The extensible payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransactionPayloadInner {
    /// The only version there is.
    V1 {
        /// What runs.
        executable: TransactionExecutable,
        /// How it is protected against replay, and for whom it runs.
        extra_config: TransactionExtraConfig,
    },
}

/// What an extensible payload runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransactionExecutable {
    /// Refused by this chain.
    Script(Script),
    /// A call of a public entry function.
    EntryFunction(EntryFunction),
    /// Nothing: a vote of a multisig owner.
    Empty,
}

/// Options of an extensible payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransactionExtraConfig {
    /// The only version there is.
    V1 {
        /// Set when the call runs as an on-chain multisig account.
        multisig_address: Option<AccountAddress>,
        /// Set when a nonce, not the sequence number, protects against replay.
        replay_protection_nonce: Option<u64>,
    },
}

/// A payload that nothing can build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetiredModuleBundle {}

/// Bytecode to run once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Compiled script.
    pub code: Vec<u8>,
    /// Type arguments.
    pub type_args: Vec<TypeTag>,
    /// Values.
    pub args: Vec<ScriptArgument>,
}

/// A script's argument, in wire order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ScriptArgument {
    U8(u8),
    U64(u64),
    U128(u128),
    Address(AccountAddress),
    U8Vector(Vec<u8>),
    Bool(bool),
    U16(u16),
    U32(u32),
    U256([u8; 32]),
    Serialized(Vec<u8>),
}

/// A call through an on-chain multisig account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Multisig {
    /// The account that acts.
    pub multisig_address: AccountAddress,
    /// The call, when it was not stored on chain in full.
    pub transaction_payload: Option<MultisigTransactionPayload>,
}

/// What a multisig account calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MultisigTransactionPayload {
    /// The only kind there is.
    EntryFunction(EntryFunction),
}

/// A call of a public entry function. BCS-identical to Aptos' `ViewFunction`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryFunction {
    /// The module that declares the function.
    pub module: ModuleId,
    /// Its name.
    pub function: String,
    /// Type arguments.
    pub type_args: Vec<TypeTag>,
    /// BCS of each argument, without the signers.
    pub args: Vec<Vec<u8>>,
}

/// A transaction with the proof that its signers agreed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTransaction {
    /// What was signed.
    pub raw: RawTransaction,
    /// Who signed it.
    pub authenticator: TransactionAuthenticator,
}

/// Bytes that are no signed transaction.
#[derive(Debug, thiserror::Error)]
#[error("the bytes are no signed transaction: {0}")]
pub struct MalformedTransaction(#[from] aptos_bcs::Error);

impl RawTransaction {
    /// What protects an orderless transaction against replay in place of its sequence number.
    pub fn nonce(&self) -> Option<u64> {
        match &self.payload {
            TransactionPayload::Payload(TransactionPayloadInner::V1 {
                extra_config: TransactionExtraConfig::V1 { replay_protection_nonce, .. },
                ..
            }) => *replay_protection_nonce,
            _ => None,
        }
    }
}

impl SignedTransaction {
    /// Parses untrusted bytes; nothing may follow the transaction.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedTransaction> {
        Ok(aptos_bcs::from_bytes_with_limit(bytes, MAX_NESTING)?)
    }

    /// BCS.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MalformedTransaction> {
        Ok(aptos_bcs::to_bytes(self)?)
    }
}

/// Parses untrusted bytes of several transactions.
pub fn parse_batch(bytes: &[u8]) -> Result<Vec<SignedTransaction>, MalformedTransaction> {
    Ok(aptos_bcs::from_bytes_with_limit(bytes, MAX_NESTING)?)
}

/// Parses an untrusted BCS view request, which has the shape of an entry function.
pub fn parse_view_request(bytes: &[u8]) -> Result<EntryFunction, MalformedTransaction> {
    Ok(aptos_bcs::from_bytes_with_limit(bytes, MAX_NESTING)?)
}

/// The hash by which a user transaction is known: `sha3(sha3("APTOS::Transaction") ‖ 00 ‖ bcs)`.
pub fn user_transaction_hash(signed_bytes: &[u8]) -> Hash {
    tagged_transaction_hash(0, signed_bytes)
}

/// The hash of a transaction of any kind; `variant` is its place in Aptos' `Transaction` enum.
pub fn tagged_transaction_hash(variant: u8, bytes: &[u8]) -> Hash {
    let mut hasher = Sha3_256::new();
    hasher.update(sha3(b"APTOS::Transaction"));
    hasher.update([variant]);
    hasher.update(bytes);
    hasher.finalize().into()
}

/// SHA3-256 of `bytes`.
pub fn sha3(bytes: &[u8]) -> Hash {
    Sha3_256::digest(bytes).into()
}

#[derive(Serialize)]
enum RawTransactionWithData<'a> {
    MultiAgent(&'a RawTransaction, &'a [AccountAddress]),
    FeePayer(&'a RawTransaction, &'a [AccountAddress], AccountAddress),
}

/// What a lone sender signs.
pub fn single_signing_message(raw: &RawTransaction) -> Result<Vec<u8>, MalformedTransaction> {
    signing_message(b"APTOS::RawTransaction", raw)
}

/// What each signer of a multi-agent transaction signs.
pub fn multi_agent_signing_message(
    raw: &RawTransaction,
    secondary: &[AccountAddress],
) -> Result<Vec<u8>, MalformedTransaction> {
    let data = RawTransactionWithData::MultiAgent(raw, secondary);
    signing_message(b"APTOS::RawTransactionWithData", &data)
}

/// What each signer of a sponsored transaction signs. `fee_payer` is zero for signers that did not
/// know yet who would pay.
pub fn fee_payer_signing_message(
    raw: &RawTransaction,
    secondary: &[AccountAddress],
    fee_payer: AccountAddress,
) -> Result<Vec<u8>, MalformedTransaction> {
    let data = RawTransactionWithData::FeePayer(raw, secondary, fee_payer);
    signing_message(b"APTOS::RawTransactionWithData", &data)
}

fn signing_message<T: Serialize>(
    domain: &[u8],
    value: &T,
) -> Result<Vec<u8>, MalformedTransaction> {
    let mut message = sha3(domain).to_vec();
    message.extend(aptos_bcs::to_bytes(value)?);
    Ok(message)
}
