//! The faucet: an ordinary account, rich from genesis, that sends coins to whoever asks.
//! Never mints: what it gives away is what it has.

use std::sync::{Arc, Mutex, PoisonError};

use cactus_move_vm::AccountAddress;
use ed25519_dalek::SigningKey;

use crate::authenticator::{Authenticated, signed_by};
use crate::chain::{Chain, SubmitError};
use crate::clock::wall_clock_seconds;
use crate::framework;
use crate::signature::authentication_key;
use crate::transaction::{EntryFunction, RawTransaction, TransactionPayload, sha3};

/// Octas that genesis gives to the faucet: ten billion APT.
pub const ENDOWMENT: u64 = 1_000_000_000_000_000_000;
/// Gas units that a gift may cost.
const MAX_GAS: u64 = 20_000;
/// Seconds for which a gift may wait.
const LIFETIME_SECONDS: u64 = 60;

/// The faucet's key is public knowledge: nothing on this chain has value.
fn key() -> SigningKey {
    SigningKey::from_bytes(&sha3(b"cactus::localnet::faucet"))
}

/// The faucet's account.
pub fn address() -> AccountAddress {
    AccountAddress(authentication_key(key().verifying_key().as_bytes(), 0))
}

/// Hands out sequence numbers to concurrent gifts.
#[derive(Default)]
pub struct Faucet {
    next: Mutex<Option<u64>>,
}

impl Faucet {
    /// Submits a transfer of `octas` to `recipient`; it creates the account if need be.
    pub fn give(
        &self,
        chain: &Chain,
        recipient: AccountAddress,
        octas: u64,
    ) -> Result<Arc<Authenticated>, SubmitError> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let committed = framework::sequence_number(&*chain.snapshot(), &address())?;
        let sequence_number = next.unwrap_or(0).max(committed);
        let gift = transfer(chain.chain_id(), sequence_number, (recipient, octas))?;
        let submitted = chain.submit(gift);
        // After a refusal the chain's own count is the only one to trust.
        *next = submitted.is_ok().then_some(sequence_number + 1);
        submitted
    }
}

fn transfer(
    chain_id: u8,
    sequence_number: u64,
    (recipient, octas): (AccountAddress, u64),
) -> Result<Vec<u8>, SubmitError> {
    let raw = RawTransaction {
        sender: address(),
        sequence_number,
        payload: TransactionPayload::EntryFunction(EntryFunction {
            module: framework::module("aptos_account"),
            function: "transfer".to_owned(),
            type_args: Vec::new(),
            args: vec![recipient.0.to_vec(), octas.to_le_bytes().to_vec()],
        }),
        max_gas_amount: MAX_GAS,
        gas_unit_price: crate::execution::MIN_GAS_PRICE,
        expiration_timestamp_secs: wall_clock_seconds() + LIFETIME_SECONDS,
        chain_id,
    };
    Ok(signed_by(&key(), raw)?.to_bytes()?)
}
