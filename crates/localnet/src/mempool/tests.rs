//! Order, parking and limits of waiting transactions.

use ed25519_dalek::SigningKey;

use super::*;
use crate::authenticator::{authenticate, signed_by};
use crate::framework;
use crate::signature::authentication_key;
use crate::transaction::{
    EntryFunction, RawTransaction, TransactionExecutable, TransactionExtraConfig,
    TransactionPayload, TransactionPayloadInner,
};

const FOREVER: u64 = u64::MAX;

struct Sender(SigningKey);

impl Sender {
    fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    fn address(&self) -> AccountAddress {
        AccountAddress(authentication_key(self.0.verifying_key().as_bytes(), 0))
    }

    fn send(&self, sequence_number: u64, gas_unit_price: u64, expires: u64) -> Arc<Authenticated> {
        let payload = TransactionPayload::EntryFunction(call());
        self.send_payload(payload, sequence_number, gas_unit_price, expires)
    }

    fn send_orderless(&self, nonce: u64, expires: u64) -> Arc<Authenticated> {
        let payload = TransactionPayload::Payload(TransactionPayloadInner::V1 {
            executable: TransactionExecutable::EntryFunction(call()),
            extra_config: TransactionExtraConfig::V1 {
                multisig_address: None,
                replay_protection_nonce: Some(nonce),
            },
        });
        self.send_payload(payload, u64::MAX, 100, expires)
    }

    fn send_payload(
        &self,
        payload: TransactionPayload,
        sequence_number: u64,
        gas_unit_price: u64,
        expires: u64,
    ) -> Arc<Authenticated> {
        let raw = RawTransaction {
            sender: self.address(),
            sequence_number,
            payload,
            max_gas_amount: 1_000,
            gas_unit_price,
            expiration_timestamp_secs: expires,
            chain_id: 4,
        };
        Arc::new(authenticate(signed_by(&self.0, raw).unwrap().to_bytes().unwrap()).unwrap())
    }
}

fn call() -> EntryFunction {
    EntryFunction {
        module: framework::module("aptos_account"),
        function: "transfer".to_owned(),
        type_args: Vec::new(),
        args: Vec::new(),
    }
}

fn sequence_numbers(taken: &[Arc<Authenticated>]) -> Vec<u64> {
    taken.iter().map(|one| one.transaction.raw.sequence_number).collect()
}

/// Settles as if the chain had come to `committed`.
fn settle(mempool: &mut Mempool, taken: &[Arc<Authenticated>], sender: &Sender, committed: u64) {
    let after = HashMap::from([(sender.address(), committed)]);
    mempool.settle(taken, &after);
}

#[test]
fn future_transactions_are_parked_until_the_gap_closes() {
    let (mut mempool, sender) = (Mempool::default(), Sender::new(1));
    for sequence_number in [7, 6] {
        mempool.insert(sender.send(sequence_number, 100, FOREVER), 5).unwrap();
    }
    assert!(!mempool.has_ready());
    assert!(mempool.take(10).is_empty());
    mempool.insert(sender.send(5, 100, FOREVER), 5).unwrap();
    let taken = mempool.take(10);
    assert_eq!(sequence_numbers(&taken), [5, 6, 7]);
    settle(&mut mempool, &taken, &sender, 8);
    assert!(!mempool.has_ready());
    assert!(mempool.get(&taken[0].hash).is_none());
    assert!(mempool.accounts.is_empty());
    assert_eq!(mempool.bytes, 0);
}

#[test]
fn accounts_take_turns() {
    let mut mempool = Mempool::default();
    let (busy, quiet) = (Sender::new(1), Sender::new(2));
    for sequence_number in 0..3 {
        mempool.insert(busy.send(sequence_number, 100, FOREVER), 0).unwrap();
    }
    mempool.insert(quiet.send(9, 100, FOREVER), 9).unwrap();
    assert_eq!(sequence_numbers(&mempool.take(10)), [0, 9, 1, 2]);
}

#[test]
fn what_waits_behind_a_discarded_transaction_is_parked_again() {
    let (mut mempool, sender) = (Mempool::default(), Sender::new(1));
    for sequence_number in 0..3 {
        mempool.insert(sender.send(sequence_number, 100, FOREVER), 0).unwrap();
    }
    let taken = mempool.take(2);
    settle(&mut mempool, &taken[..1], &sender, 0);
    assert!(mempool.take(10).is_empty());
    mempool.insert(sender.send(0, 100, FOREVER), 0).unwrap();
    assert_eq!(sequence_numbers(&mempool.take(10)), [0, 1, 2]);
}

#[test]
fn what_a_block_had_no_time_for_is_taken_again() {
    let (mut mempool, sender) = (Mempool::default(), Sender::new(1));
    for sequence_number in 0..3 {
        mempool.insert(sender.send(sequence_number, 100, FOREVER), 0).unwrap();
    }
    let taken = mempool.take(3);
    settle(&mut mempool, &taken[..1], &sender, 1);
    assert_eq!(sequence_numbers(&mempool.take(3)), [1, 2]);
}

#[test]
fn used_sequence_numbers_are_refused_and_repeats_are_harmless() {
    let (mut mempool, sender) = (Mempool::default(), Sender::new(1));
    let old = mempool.insert(sender.send(4, 100, FOREVER), 5);
    assert_eq!(old, Err(NotAdmitted::Refused(Refusal::SequenceNumberTooOld)));
    let transaction = sender.send(5, 100, FOREVER);
    mempool.insert(Arc::clone(&transaction), 5).unwrap();
    mempool.insert(transaction, 5).unwrap();
    assert_eq!(mempool.take(10).len(), 1);
}

#[test]
fn only_a_better_price_replaces_a_waiting_transaction() {
    let (mut mempool, sender) = (Mempool::default(), Sender::new(1));
    mempool.insert(sender.send(0, 200, FOREVER), 0).unwrap();
    let cheaper = mempool.insert(sender.send(0, 199, FOREVER), 0);
    assert_eq!(cheaper, Err(NotAdmitted::Conflict));
    mempool.insert(sender.send(0, 201, FOREVER), 0).unwrap();
    let taken = mempool.take(10);
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].transaction.raw.gas_unit_price, 201);
    // It is in the block now.
    let late = mempool.insert(sender.send(0, 300, FOREVER), 0);
    assert_eq!(late, Err(NotAdmitted::Conflict));
}

#[test]
fn one_account_cannot_fill_the_mempool() {
    let (mut mempool, sender) = (Mempool::default(), Sender::new(1));
    let limit = u64::try_from(PER_ACCOUNT_LIMIT).unwrap();
    for sequence_number in 1..=limit {
        mempool.insert(sender.send(sequence_number, 100, FOREVER), 0).unwrap();
    }
    let beyond = mempool.insert(sender.send(limit + 1, 100, FOREVER), 0);
    assert_eq!(beyond, Err(NotAdmitted::Full));
    mempool.insert(Sender::new(2).send(0, 100, FOREVER), 0).unwrap();
}

#[test]
fn expired_transactions_go_but_not_out_of_a_block() {
    let (mut mempool, sender) = (Mempool::default(), Sender::new(1));
    let (first, parked) = (sender.send(0, 100, 50), sender.send(2, 100, 50));
    mempool.insert(Arc::clone(&first), 0).unwrap();
    mempool.insert(Arc::clone(&parked), 0).unwrap();
    let taken = mempool.take(1);
    mempool.expire(49);
    assert!(mempool.get(&parked.hash).is_some());
    mempool.expire(50);
    assert!(mempool.get(&parked.hash).is_none());
    assert!(mempool.get(&first.hash).is_some());
    settle(&mut mempool, &taken, &sender, 1);
    assert!(mempool.accounts.is_empty());
}

#[test]
fn orderless_transactions_are_taken_once_and_come_back_when_their_block_had_no_time() {
    let (mut mempool, sender) = (Mempool::default(), Sender::new(1));
    let sent: Vec<_> = (0..3).map(|nonce| sender.send_orderless(nonce, FOREVER)).collect();
    for transaction in &sent {
        mempool.insert(Arc::clone(transaction), 5).unwrap();
    }
    let same_nonce = sender.send_orderless(1, FOREVER - 1);
    assert_eq!(mempool.insert(same_nonce, 5), Err(NotAdmitted::Conflict));
    mempool.insert(sender.send(5, 100, FOREVER), 5).unwrap();
    let taken = mempool.take(10);
    assert_eq!(taken.len(), 4);
    assert!(!mempool.has_ready());
    settle(&mut mempool, &[Arc::clone(&sent[0])], &sender, 5);
    assert!(mempool.get(&sent[0].hash).is_none());
    assert_eq!(mempool.take(10).len(), 3);
    settle(&mut mempool, &taken[1..], &sender, 6);
    assert!(!mempool.has_ready());
    assert!(mempool.waiting.is_empty() && mempool.nonces.is_empty());
    assert_eq!(mempool.bytes, 0);
}

#[test]
fn an_account_may_not_crowd_out_others_with_orderless_transactions_and_they_expire() {
    let (mut mempool, sender) = (Mempool::default(), Sender::new(1));
    for nonce in 0..PER_ACCOUNT_LIMIT as u64 {
        mempool.insert(sender.send_orderless(nonce, 1_000), 0).unwrap();
    }
    let one_more = sender.send_orderless(1_000, 1_000);
    assert_eq!(mempool.insert(one_more, 0), Err(NotAdmitted::Full));
    let other = Sender::new(2);
    mempool.insert(other.send_orderless(0, FOREVER), 0).unwrap();
    mempool.expire(1_000);
    assert_eq!(mempool.take(1_000).len(), 1);
    assert!(!mempool.has_ready());
}
