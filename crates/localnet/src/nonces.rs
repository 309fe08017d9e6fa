//! Replay protection of orderless transactions: the nonces that were used, kept in the state itself
//! as on Aptos (`0x1::nonce_validation`).
//! Never forgets a nonce while a transaction that carries it could still be valid.

use std::sync::{Arc, LazyLock};

use cactus_move_vm::{AccountAddress, Storage, StorageError};
use serde::{Deserialize, Serialize};

use crate::execution::Discarded;
use crate::refusal::Refusal;
use crate::state::{Write, table_key};
use crate::transaction::{RawTransaction, sha3};

/// How far ahead of the clock an orderless transaction may expire, in seconds: as on Aptos, a
/// minute and some slack for clocks that differ.
pub const MAX_AHEAD_SECONDS: u64 = 100;
/// Bytes of a nonce's digest that choose its bucket: 65,536 buckets.
const BUCKET_BYTES: usize = 2;

/// The table that holds the buckets.
static HANDLE: LazyLock<AccountAddress> =
    LazyLock::new(|| AccountAddress(sha3(b"cactus::localnet::nonces")));

#[derive(Serialize, Deserialize)]
struct Used {
    sender: AccountAddress,
    nonce: u64,
    /// Unix seconds after which the transaction that used it is not valid.
    expires: u64,
}

/// The write that marks a nonce as used; refuses one that is.
///
/// Forgetting needs no clock, so that replays agree: a transaction that expires at `x` only runs
/// after `x - MAX_AHEAD_SECONDS`, and by then whatever expired before that is no longer valid.
pub fn mark_used(
    state: &dyn Storage,
    raw: &RawTransaction,
    nonce: u64,
) -> Result<Write, Discarded> {
    let malformed = |error: aptos_bcs::Error| StorageError(error.to_string());
    let key = bucket(&raw.sender, nonce);
    let mut used: Vec<Used> = match state.table_item(&HANDLE, &key)? {
        Some(bytes) => aptos_bcs::from_bytes(&bytes).map_err(malformed)?,
        None => Vec::new(),
    };
    let expires = raw.expiration_timestamp_secs;
    used.retain(|one| one.expires.saturating_add(MAX_AHEAD_SECONDS) >= expires);
    if used.iter().any(|one| one.sender == raw.sender && one.nonce == nonce) {
        return Err(Refusal::NonceAlreadyUsed.into());
    }
    used.push(Used { sender: raw.sender, nonce, expires });
    let bytes = aptos_bcs::to_bytes(&used).map_err(malformed)?;
    Ok((table_key(&HANDLE, &key), Some(Arc::from(bytes))))
}

fn bucket(sender: &AccountAddress, nonce: u64) -> Vec<u8> {
    let digest = sha3(&[&sender.0[..], &nonce.to_le_bytes()].concat());
    digest[..BUCKET_BYTES].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framework;
    use crate::state::Overlay;
    use crate::transaction::{EntryFunction, TransactionPayload};

    fn raw(sender: u8, expires: u64) -> RawTransaction {
        RawTransaction {
            sender: AccountAddress([sender; 32]),
            sequence_number: u64::MAX,
            payload: TransactionPayload::EntryFunction(EntryFunction {
                module: framework::module("aptos_account"),
                function: "transfer".to_owned(),
                type_args: Vec::new(),
                args: Vec::new(),
            }),
            max_gas_amount: 1_000,
            gas_unit_price: 100,
            expiration_timestamp_secs: expires,
            chain_id: 4,
        }
    }

    fn spend(state: &mut Overlay, raw: &RawTransaction, nonce: u64) -> bool {
        match mark_used(state, raw, nonce) {
            Ok(write) => state.apply(&[write]).is_ok(),
            Err(Discarded::Refused(Refusal::NonceAlreadyUsed)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_nonce_is_used_once_per_account_while_its_transaction_could_be_valid() {
        let mut state = Overlay::new(None);
        assert!(spend(&mut state, &raw(1, 1_000), 7));
        assert!(!spend(&mut state, &raw(1, 1_000), 7));
        assert!(spend(&mut state, &raw(2, 1_000), 7));
        assert!(spend(&mut state, &raw(1, 1_000), 8));
        assert!(!spend(&mut state, &raw(1, 1_000 + MAX_AHEAD_SECONDS), 7));
        assert!(spend(&mut state, &raw(1, 1_001 + MAX_AHEAD_SECONDS), 7));
    }

    #[test]
    fn expired_nonces_leave_nothing_behind() {
        let mut state = Overlay::new(None);
        for round in 1..50 {
            assert!(spend(&mut state, &raw(1, round * 1_000), 7));
        }
        let writes = state.into_writes();
        let kept: Vec<Used> = writes
            .iter()
            .flat_map(|(_, value)| {
                aptos_bcs::from_bytes::<Vec<Used>>(value.as_deref().unwrap()).unwrap()
            })
            .collect();
        assert_eq!(kept.len(), 1);
    }
}
