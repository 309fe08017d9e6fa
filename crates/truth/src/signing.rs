//! The messages that contracts verify, signed: BCS of `ed25519::SignedMessage<T>`.
//! Written apart from `cactus-protocol`, so that a slip there is not repeated here.

use cactus_move_vm::AccountAddress;
use ed25519_dalek::{Signer, SigningKey};
use serde::Serialize;

use crate::argument::bcs;
use crate::chain::CONTRACT;

#[derive(Serialize)]
struct SignedMessage<'a, T> {
    account: AccountAddress,
    module: &'a [u8],
    name: &'a [u8],
    inner: &'a T,
}

/// A Move struct that is signed.
pub trait Message: Serialize {
    /// Its module and its name.
    const TYPE: (&'static str, &'static str);
}

/// `registry::NodeKeyProof`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct NodeKeyProof {
    pub chain_id: u8,
    pub operator: AccountAddress,
    pub node_public_key: Vec<u8>,
}

impl Message for NodeKeyProof {
    const TYPE: (&'static str, &'static str) = ("registry", "NodeKeyProof");
}

/// `payment::Order`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Order {
    pub chain_id: u8,
    pub client: AccountAddress,
    pub server: AccountAddress,
    pub order_id: Vec<u8>,
    pub max_total: u64,
    pub max_per_task: u64,
    pub expires_seconds: u64,
}

impl Message for Order {
    const TYPE: (&'static str, &'static str) = ("payment", "Order");
}

/// `channel::Voucher`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Voucher {
    pub chain_id: u8,
    pub channel: AccountAddress,
    pub payee: AccountAddress,
    pub cumulative: u64,
}

impl Message for Voucher {
    const TYPE: (&'static str, &'static str) = ("channel", "Voucher");
}

/// `invite::Invite`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Invite {
    pub chain_id: u8,
    pub pool: AccountAddress,
    pub operator: AccountAddress,
    pub node_public_key: Vec<u8>,
    pub nonce: Vec<u8>,
    pub expires_seconds: u64,
}

impl Message for Invite {
    const TYPE: (&'static str, &'static str) = ("invite", "Invite");
}

/// `ballot::Opinion`, which is hashed and not signed.
#[derive(Debug, Clone, Serialize)]
pub struct Opinion {
    pub chain_id: u8,
    pub case: AccountAddress,
    pub appeal: bool,
    pub validator: AccountAddress,
    pub uphold: bool,
    pub salt: Vec<u8>,
}

/// The signature of `key` over `message`.
pub fn sign<T: Message>(key: &SigningKey, message: &T) -> Vec<u8> {
    let (module, name) = (T::TYPE.0.as_bytes(), T::TYPE.1.as_bytes());
    let signed = SignedMessage { account: CONTRACT, module, name, inner: message };
    key.sign(&bcs(&signed)).to_bytes().to_vec()
}
