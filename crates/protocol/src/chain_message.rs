//! Messages that the contract verifies: BCS of Move's `ed25519::SignedMessage<T>`, that is the
//! type's name (account, module, struct) and then the value. The type name binds the contract and
//! the purpose; each body names the chain.

use crate::{
    amount::Octas,
    id::{Address, OrderId},
    key::{PublicKey, SecretKey, Signature},
    signed::{BadSignature, Scope, Verified},
};
use serde::{Deserialize, Serialize};

/// A value whose Move twin has the same fields in the same order.
pub trait ChainMessage: Serialize {
    /// The Move module.
    const MODULE: &'static str;
    /// The Move struct.
    const NAME: &'static str;
    /// The chain that the body names.
    fn chain_id(&self) -> u8;
}

#[derive(Serialize)]
struct TypeInfo {
    account: Address,
    module: Vec<u8>,
    name: Vec<u8>,
}

#[derive(Serialize)]
struct SignedMessage<'a, T> {
    type_info: TypeInfo,
    inner: &'a T,
}

/// The bytes that `ed25519::signature_verify_strict_t` checks for `message` of the contract at
/// `contract`.
///
/// # Errors
/// Only when the message has no BCS form.
pub fn signing_bytes<T: ChainMessage>(
    message: &T,
    contract: Address,
) -> Result<Vec<u8>, BadSignature> {
    let type_info = TypeInfo {
        account: contract,
        module: T::MODULE.as_bytes().to_vec(),
        name: T::NAME.as_bytes().to_vec(),
    };
    aptos_bcs::to_bytes(&SignedMessage { type_info, inner: message }).map_err(|_| BadSignature)
}

/// Signs a message for the contract at `contract`.
///
/// # Errors
/// Only when the message has no BCS form.
pub fn sign<T: ChainMessage>(
    message: &T,
    contract: Address,
    key: &SecretKey,
) -> Result<Signature, BadSignature> {
    Ok(key.sign(&signing_bytes(message, contract)?))
}

/// Checks what the contract will check.
///
/// # Errors
/// [`BadSignature`] for another key, message, chain or contract.
pub fn verify<T: ChainMessage>(
    message: &T,
    scope: Scope,
    key: &PublicKey,
    signature: &Signature,
) -> Result<(), BadSignature> {
    let bytes = signing_bytes(message, scope.contract)?;
    let right = message.chain_id() == scope.chain_id && key.verify(&bytes, signature);
    if right { Ok(()) } else { Err(BadSignature) }
}

/// `cactus::payment::Order`: a client's mandate to one routing server to lock money for tasks.
/// Live locks and settled amounts under one order never exceed `max_total`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The chain.
    pub chain_id: u8,
    /// Who pays.
    pub client: Address,
    /// Who may create tasks under it.
    pub server: Address,
    /// Chosen at random by the client; one order, one id. A vector of 32 bytes in Move.
    #[serde(with = "bytes_of_id")]
    pub order_id: OrderId,
    /// The most that may ever be spent.
    pub max_total: Octas,
    /// The most that one task may lock.
    pub max_per_task: Octas,
    /// Unix seconds after which no task may be created.
    pub expires_seconds: u64,
}

impl ChainMessage for Order {
    const MODULE: &'static str = "payment";
    const NAME: &'static str = "Order";
    fn chain_id(&self) -> u8 {
        self.chain_id
    }
}

/// An order with the client's key and signature, as it travels to a routing server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOrder {
    /// The mandate.
    pub order: Order,
    /// The client's key; it must open the client's account.
    pub public_key: PublicKey,
    /// Over the order, as the contract verifies it.
    pub signature: Signature,
}

impl SignedOrder {
    /// Signs an order with the client's key.
    ///
    /// # Errors
    /// Only when the order has no BCS form.
    pub fn new(order: Order, contract: Address, key: &SecretKey) -> Result<Self, BadSignature> {
        let signature = sign(&order, contract, key)?;
        Ok(Self { order, public_key: key.public(), signature })
    }

    /// Checks the signature, and that the key opens the client's account.
    ///
    /// # Errors
    /// [`BadSignature`] for another key, account, chain or contract.
    pub fn verify(self, scope: Scope) -> Result<Verified<Self>, BadSignature> {
        if self.public_key.address() != self.order.client {
            return Err(BadSignature);
        }
        verify(&self.order, scope, &self.public_key, &self.signature)?;
        Ok(Verified::of_chain_message(self))
    }
}

/// `cactus::registry::NodeKeyProof`: a node's key agrees to belong to an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeKeyProof {
    /// The chain.
    pub chain_id: u8,
    /// The operator's account.
    pub operator: Address,
    /// The node's key, which signs this.
    pub node_public_key: PublicKey,
}

impl ChainMessage for NodeKeyProof {
    const MODULE: &'static str = "registry";
    const NAME: &'static str = "NodeKeyProof";
    fn chain_id(&self) -> u8 {
        self.chain_id
    }
}

/// `cactus::channel::Voucher`: all that a channel's payer owes its payee so far. A later one holds
/// for more; the contract pays the difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Voucher {
    /// The chain.
    pub chain_id: u8,
    /// The channel's object.
    pub channel: Address,
    /// Whom it pays.
    pub payee: Address,
    /// Octas since the channel was opened; never less than in an earlier voucher.
    pub cumulative: Octas,
}

impl ChainMessage for Voucher {
    const MODULE: &'static str = "channel";
    const NAME: &'static str = "Voucher";
    fn chain_id(&self) -> u8 {
        self.chain_id
    }
}

/// `cactus::invite::Invite`: lets one node of one operator into a pool, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invite {
    /// The chain.
    pub chain_id: u8,
    /// The pool's object.
    pub pool: Address,
    /// Who may bring the node.
    pub operator: Address,
    /// The node's key.
    pub node_public_key: PublicKey,
    /// Chosen at random; 32 bytes, used once.
    pub nonce: Vec<u8>,
    /// Unix seconds from which on it is worth nothing.
    pub expires_seconds: u64,
}

impl ChainMessage for Invite {
    const MODULE: &'static str = "invite";
    const NAME: &'static str = "Invite";
    fn chain_id(&self) -> u8 {
        self.chain_id
    }
}

/// Move has no fixed-size arrays: an id inside a Move struct is a vector of 32 bytes.
mod bytes_of_id {
    use crate::id::OrderId;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(id: &OrderId, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            id.serialize(serializer)
        } else {
            id.0.as_slice().serialize(serializer)
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OrderId, D::Error> {
        if deserializer.is_human_readable() {
            return OrderId::deserialize(deserializer);
        }
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        <[u8; 32]>::try_from(bytes)
            .map(OrderId)
            .map_err(|_| D::Error::custom("an order id has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: Scope = Scope { chain_id: 4, contract: Address([0xca; 32]) };

    fn order(client: Address) -> Order {
        Order {
            chain_id: 4,
            client,
            server: Address([2; 32]),
            order_id: OrderId([3; 32]),
            max_total: Octas(1_000),
            max_per_task: Octas(100),
            expires_seconds: 1_800_000_000,
        }
    }

    #[test]
    fn an_order_is_signed_as_move_lays_it_out() {
        let bytes = signing_bytes(&order(Address([1; 32])), SCOPE.contract).unwrap();
        let mut expected = vec![0xca; 32];
        expected.extend(b"\x07payment\x05Order\x04");
        expected.extend([1; 32]);
        expected.extend([2; 32]);
        expected.push(32);
        expected.extend([3; 32]);
        for number in [1_000_u64, 100, 1_800_000_000] {
            expected.extend(number.to_le_bytes());
        }
        assert_eq!(bytes, expected);
    }

    #[test]
    fn an_order_counts_only_for_the_account_of_its_key() {
        let key = SecretKey::random();
        let good = SignedOrder::new(order(key.address()), SCOPE.contract, &key).unwrap();
        assert!(good.clone().verify(SCOPE).is_ok());
        assert!(good.clone().verify(Scope { chain_id: 1, ..SCOPE }).is_err());
        assert!(good.clone().verify(Scope { contract: Address([1; 32]), ..SCOPE }).is_err());
        let stolen = SignedOrder::new(order(Address([1; 32])), SCOPE.contract, &key).unwrap();
        assert!(stolen.verify(SCOPE).is_err());
        let mut raised = good;
        raised.order.max_total = Octas(u64::MAX);
        assert!(raised.verify(SCOPE).is_err());
    }
}
