//! What is stored about committed transactions and blocks.
//! Never holds anything that could not be rebuilt by executing the same transactions again.

use std::fmt;

use cactus_move_vm::{TypeTag, VmStatus};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha3::{Digest, Sha3_256};

use crate::state::{Checksum, Write};
use crate::transaction::{Hash, tagged_transaction_hash, user_transaction_hash};

/// A transaction's place in the ledger, from 0.
pub type Version = u64;

/// A committed transaction with its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionRecord {
    /// What was executed.
    pub body: TransactionBody,
    /// The hash by which it is known.
    pub hash: Hash,
    /// How it ended.
    pub outcome: Outcome,
    /// What it emitted.
    pub events: Vec<EventRecord>,
    /// The block that holds it.
    pub block_height: u64,
    /// Microseconds since 1970, of the block.
    pub timestamp_us: u64,
    /// Hash of everything up to and including this transaction.
    pub accumulator: Hash,
    /// Hash of `events`.
    pub event_root: Hash,
    /// Hash of the state changes.
    pub state_change: Hash,
}

/// The kinds of transaction on this chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransactionBody {
    /// Publishes the framework and the contracts; version 0.
    Genesis,
    /// Opens a block: moves the clock.
    BlockMetadata,
    /// BCS of a signed transaction.
    User(ByteString),
}

impl TransactionBody {
    /// The hash by which the transaction is known. `height` and `timestamp_us` tell the chain's
    /// own transactions apart.
    pub fn hash(&self, height: u64, timestamp_us: u64) -> Hash {
        let position = [height.to_le_bytes(), timestamp_us.to_le_bytes()].concat();
        match self {
            Self::User(bytes) => user_transaction_hash(&bytes.0),
            Self::Genesis => tagged_transaction_hash(1, &position),
            Self::BlockMetadata => tagged_transaction_hash(2, &position),
        }
    }
}

/// How a committed transaction ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether its effects, beyond gas and sequence number, were kept.
    pub success: bool,
    /// Aptos' text for the result.
    pub vm_status: String,
    /// Gas units charged.
    pub gas_used: u64,
}

impl Outcome {
    /// The outcome of an execution that was charged `gas_used` units.
    pub fn new(result: &Result<(), VmStatus>, gas_used: u64) -> Self {
        Self {
            success: result.is_ok(),
            vm_status: match result {
                Ok(()) => "Executed successfully".to_owned(),
                Err(status) => status.vm_status(),
            },
            gas_used,
        }
    }
}

/// An emitted event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The type of the data.
    pub type_tag: TypeTag,
    /// Its BCS bytes.
    pub data: ByteString,
}

/// One state change of a transaction; `None` deletes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRecord {
    /// Laid out as in [`crate::state`].
    pub key: ByteString,
    /// The new bytes.
    pub value: Option<ByteString>,
}

impl From<&Write> for ChangeRecord {
    fn from((key, value): &Write) -> Self {
        Self {
            key: ByteString(key.to_vec()),
            value: value.as_ref().map(|value| ByteString(value.to_vec())),
        }
    }
}

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRecord {
    /// The block's transactions, both ends included.
    pub first_version: Version,
    /// The block's transactions, both ends included.
    pub last_version: Version,
    /// Microseconds since 1970.
    pub timestamp_us: u64,
    /// The accumulator after the block's last transaction.
    pub hash: Hash,
}

/// Where the chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Which network this is.
    pub chain_id: u8,
    /// The last committed transaction.
    pub version: Version,
    /// The last block.
    pub height: u64,
    /// Its time in microseconds since 1970.
    pub timestamp_us: u64,
    /// How far tests have moved the clock ahead of the wall clock.
    pub clock_ahead_us: u64,
    /// Hash over all transactions and their outcomes.
    pub accumulator: Hash,
    /// Sum over the whole state.
    pub checksum: Checksum,
}

/// The accumulator after a transaction: a hash chain over transactions and their outcomes.
pub fn accumulate(
    before: &Hash,
    transaction: &Hash,
    outcome: &Outcome,
    roots: (&Hash, &Hash),
) -> Hash {
    let mut hasher = Sha3_256::new();
    hasher.update(before);
    hasher.update(transaction);
    hasher.update(roots.0);
    hasher.update(roots.1);
    hasher.update([u8::from(outcome.success)]);
    hasher.update(outcome.gas_used.to_le_bytes());
    hasher.update(outcome.vm_status.as_bytes());
    hasher.finalize().into()
}

/// Bytes that encode as one run, not element by element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteString(pub Vec<u8>);

impl Serialize for ByteString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for ByteString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = ByteString;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<ByteString, E> {
                Ok(ByteString(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
