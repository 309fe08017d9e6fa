//! From a call to signed bytes and their hash. Pure: the same call, number, expiry and price give
//! the same transaction, and nothing here talks to a chain.

use crate::call::{Call, EntryCall, Module};
use aptos_sdk::{
    account::Ed25519Account,
    transaction::{
        EntryFunction, RawTransaction, SignedTransaction, TransactionPayload, sign_transaction,
    },
    types::{AccountAddress, ChainId, Identifier, MoveModuleId},
};
use cactus_protocol::{Address, SecretKey};

/// The most gas units one call may burn. The dearest call of the contracts takes a small part of
/// it; the sender must own this many units times the unit price to send at all (0.1 APT at the
/// usual 100 octas), and pays only for what it uses.
pub(crate) const MAX_GAS_UNITS: u64 = 100_000;

/// Who signs, for which chain and which contracts.
pub(crate) struct Signer {
    account: Ed25519Account,
    chain_id: u8,
    contract: Address,
}

/// What a transaction needs besides its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Must be the sender's next when the transaction executes.
    pub(crate) sequence_number: u64,
    /// In chain time; after it the transaction can never happen.
    pub(crate) expires_seconds: u64,
    /// Octas per unit of gas.
    pub(crate) gas_unit_price: u64,
}

/// The call has no form on this chain: a broken key or name. It can never be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the call cannot be signed: {0}")]
pub(crate) struct Unsignable(pub(crate) String);

pub(crate) fn account_address(address: Address) -> AccountAddress {
    AccountAddress::new(address.0)
}

impl Signer {
    pub(crate) fn new(
        key: &SecretKey,
        chain_id: u8,
        contract: Address,
    ) -> Result<Self, Unsignable> {
        let account = Ed25519Account::from_private_key_bytes(key.seed().as_slice())
            .map_err(|error| Unsignable(error.to_string()))?;
        Ok(Self { account, chain_id, contract })
    }

    pub(crate) fn chain_id(&self) -> u8 {
        self.chain_id
    }

    pub(crate) fn address(&self) -> Address {
        Address(self.account.address().to_bytes())
    }

    pub(crate) fn sign(&self, call: &Call, terms: Terms) -> Result<Signed, Unsignable> {
        let raw = RawTransaction::new(
            self.account.address(),
            terms.sequence_number,
            TransactionPayload::EntryFunction(self.entry_function(call.entry())?),
            MAX_GAS_UNITS,
            terms.gas_unit_price,
            terms.expires_seconds,
            ChainId::new(self.chain_id),
        );
        let broken = |error: aptos_sdk::AptosError| Unsignable(error.to_string());
        let transaction = sign_transaction(&raw, &self.account).map_err(broken)?;
        let hash = transaction.hash().map_err(broken)?.to_hex();
        Ok(Signed { hash, transaction })
    }

    fn entry_function(&self, call: EntryCall) -> Result<EntryFunction, Unsignable> {
        let (account, module) = match call.module {
            Module::Cactus(module) => (account_address(self.contract), module),
            Module::Framework(module) => (AccountAddress::ONE, module),
        };
        let name = Identifier::new(module).map_err(|error| Unsignable(error.to_string()))?;
        Ok(EntryFunction::new(
            MoveModuleId::new(account, name),
            call.function,
            Vec::new(),
            call.arguments,
        ))
    }
}

/// A transaction that can be handed in, and the hash that it will be known by.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) hash: String,
    pub(crate) transaction: SignedTransaction,
}
