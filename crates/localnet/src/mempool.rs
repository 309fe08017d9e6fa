//! Transactions that wait for a block: ready ones in order of arrival, future ones parked.
//! Never executes anything and never touches the state.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use cactus_move_vm::AccountAddress;

use crate::authenticator::Authenticated;
use crate::refusal::Refusal;
use crate::transaction::Hash;

/// Transactions of one account that may wait, ready or parked; as in Aptos.
pub const PER_ACCOUNT_LIMIT: usize = 100;
/// Transactions that may wait in all.
const CAPACITY: usize = 50_000;
/// Bytes of transactions that may wait in all.
const CAPACITY_BYTES: usize = 256 * 1024 * 1024;

/// Why a valid transaction was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Its sequence number was used.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many of the account's transactions wait, or too many in all: try again later.
    #[error("too many transactions are waiting")]
    Full,
    /// Another transaction with the same sequence number waits and does not pay less.
    #[error("transaction already in mempool with a different payload")]
    Conflict,
}

/// The waiting room.
#[derive(Default)]
pub struct Mempool {
    accounts: HashMap<AccountAddress, Queue>,
    /// Accounts whose next transaction waits, each once.
    ready: VecDeque<AccountAddress>,
    /// Orderless transactions that wait, by sender and nonce.
    nonces: BTreeMap<(AccountAddress, u64), Arc<Authenticated>>,
    /// The orderless ones that no block has taken, in order of arrival; also some that are gone.
    loose: VecDeque<Arc<Authenticated>>,
    /// The orderless ones in the block under construction.
    loose_in_block: Vec<Arc<Authenticated>>,
    waiting: HashMap<Hash, Arc<Authenticated>>,
    bytes: usize,
}

struct Queue {
    /// The sequence number that executes next, after those in the block under construction.
    next: u64,
    transactions: BTreeMap<u64, Arc<Authenticated>>,
    queued: bool,
}

impl Mempool {
    /// Takes a transaction in. `committed` is the account's sequence number on chain, read while
    /// the mempool was locked: a block that commits meanwhile would make it stale.
    pub fn insert(
        &mut self,
        transaction: Arc<Authenticated>,
        committed: u64,
    ) -> Result<(), NotAdmitted> {
        let raw = &transaction.transaction.raw;
        let full = self.waiting.len() >= CAPACITY
            || self.bytes.saturating_add(transaction.bytes.len()) > CAPACITY_BYTES;
        if self.waiting.contains_key(&transaction.hash) {
            return Ok(());
        }
        if let Some(nonce) = raw.nonce() {
            return self.insert_orderless(transaction, nonce, full);
        }
        if raw.sequence_number < committed {
            return Err(Refusal::SequenceNumberTooOld.into());
        }
        let queue = self.accounts.get(&raw.sender);
        let crowded = queue.is_some_and(|queue| queue.transactions.len() >= PER_ACCOUNT_LIMIT);
        let replaces = queue.and_then(|queue| queue.transactions.get(&raw.sequence_number));
        match replaces.cloned() {
            Some(old) => self.replace(&old, transaction),
            None if full || crowded => Err(NotAdmitted::Full),
            None => {
                self.add(transaction, committed);
                Ok(())
            }
        }
    }

    fn insert_orderless(
        &mut self,
        transaction: Arc<Authenticated>,
        nonce: u64,
        full: bool,
    ) -> Result<(), NotAdmitted> {
        let sender = transaction.transaction.raw.sender;
        if self.nonces.contains_key(&(sender, nonce)) {
            return Err(NotAdmitted::Conflict);
        }
        let of_sender = self.nonces.range((sender, 0)..=(sender, u64::MAX)).count();
        if full || of_sender >= PER_ACCOUNT_LIMIT {
            return Err(NotAdmitted::Full);
        }
        self.bytes = self.bytes.saturating_add(transaction.bytes.len());
        self.waiting.insert(transaction.hash, Arc::clone(&transaction));
        self.nonces.insert((sender, nonce), Arc::clone(&transaction));
        self.loose.push_back(transaction);
        Ok(())
    }

    /// A transaction that waits or is in the block under construction.
    pub fn get(&self, hash: &Hash) -> Option<Arc<Authenticated>> {
        self.waiting.get(hash).cloned()
    }

    /// Whether it is worth trying to [`Mempool::take`].
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty() || !self.loose.is_empty()
    }

    /// At most `limit` transactions for a block, one account after the other. They stay known
    /// until [`Mempool::settle`].
    pub fn take(&mut self, limit: usize) -> Vec<Arc<Authenticated>> {
        let mut taken = Vec::new();
        while taken.len() < limit && self.has_ready() {
            self.take_orderless(&mut taken);
            if taken.len() < limit {
                self.take_ordered(&mut taken);
            }
        }
        taken
    }

    fn take_ordered(&mut self, taken: &mut Vec<Arc<Authenticated>>) {
        let Some(address) = self.ready.pop_front() else {
            return;
        };
        let Some(queue) = self.accounts.get_mut(&address) else {
            return;
        };
        queue.queued = false;
        if let Some(transaction) = queue.transactions.get(&queue.next) {
            taken.push(Arc::clone(transaction));
            queue.next += 1;
        }
        self.enqueue(address);
    }

    fn take_orderless(&mut self, taken: &mut Vec<Arc<Authenticated>>) {
        let Some(transaction) = self.loose.pop_front() else {
            return;
        };
        if self.waiting.contains_key(&transaction.hash) {
            self.loose_in_block.push(Arc::clone(&transaction));
            taken.push(transaction);
        }
    }

    /// Forgets what a block committed or discarded. `committed` is the sequence number afterwards
    /// of every sender of whom something was taken: what was taken and is not done is put back,
    /// ready or, behind a discarded transaction, parked.
    pub fn settle(
        &mut self,
        done: &[Arc<Authenticated>],
        committed: &HashMap<AccountAddress, u64>,
    ) {
        for transaction in done {
            self.remove(transaction);
        }
        for (address, committed) in committed {
            self.rewind(*address, *committed);
        }
        for transaction in std::mem::take(&mut self.loose_in_block).into_iter().rev() {
            if self.waiting.contains_key(&transaction.hash) {
                self.loose.push_front(transaction);
            }
        }
    }

    /// Drops what can no longer execute because its time is over.
    pub fn expire(&mut self, now_seconds: u64) {
        let expired: Vec<_> = self
            .waiting
            .values()
            .filter(|one| one.transaction.raw.expiration_timestamp_secs <= now_seconds)
            .filter(|one| !self.is_in_block(one))
            .cloned()
            .collect();
        for transaction in &expired {
            self.remove(transaction);
            self.forget_if_empty(transaction.transaction.raw.sender);
        }
    }

    fn is_in_block(&self, transaction: &Authenticated) -> bool {
        let raw = &transaction.transaction.raw;
        if raw.nonce().is_some() {
            return self.loose_in_block.iter().any(|one| one.hash == transaction.hash);
        }
        let queue = self.accounts.get(&raw.sender);
        queue.is_some_and(|queue| raw.sequence_number < queue.next)
    }

    fn add(&mut self, transaction: Arc<Authenticated>, committed: u64) {
        let raw = &transaction.transaction.raw;
        let (sender, sequence_number) = (raw.sender, raw.sequence_number);
        self.bytes = self.bytes.saturating_add(transaction.bytes.len());
        self.waiting.insert(transaction.hash, Arc::clone(&transaction));
        let queue = self.accounts.entry(sender).or_insert_with(|| Queue {
            next: committed,
            transactions: BTreeMap::new(),
            queued: false,
        });
        queue.transactions.insert(sequence_number, transaction);
        self.enqueue(sender);
    }

    fn replace(
        &mut self,
        old: &Arc<Authenticated>,
        new: Arc<Authenticated>,
    ) -> Result<(), NotAdmitted> {
        let pays_more = new.transaction.raw.gas_unit_price > old.transaction.raw.gas_unit_price;
        if self.is_in_block(old) || !pays_more {
            return Err(NotAdmitted::Conflict);
        }
        let sequence_number = new.transaction.raw.sequence_number;
        self.remove(old);
        self.add(new, sequence_number);
        Ok(())
    }

    fn remove(&mut self, transaction: &Authenticated) {
        if self.waiting.remove(&transaction.hash).is_none() {
            return;
        }
        self.bytes = self.bytes.saturating_sub(transaction.bytes.len());
        let raw = &transaction.transaction.raw;
        if let Some(nonce) = raw.nonce() {
            self.nonces.remove(&(raw.sender, nonce));
            return;
        }
        if let Some(queue) = self.accounts.get_mut(&raw.sender)
            && let Entry::Occupied(entry) = queue.transactions.entry(raw.sequence_number)
            && entry.get().hash == transaction.hash
        {
            entry.remove();
        }
    }

    fn rewind(&mut self, address: AccountAddress, committed: u64) {
        let Some(queue) = self.accounts.get_mut(&address) else {
            return;
        };
        queue.next = committed;
        let passed: Vec<_> =
            queue.transactions.range(..committed).map(|(_, one)| Arc::clone(one)).collect();
        for transaction in &passed {
            self.remove(transaction);
        }
        self.enqueue(address);
        self.forget_if_empty(address);
    }

    fn forget_if_empty(&mut self, address: AccountAddress) {
        let queue = self.accounts.get(&address);
        if queue.is_some_and(|queue| queue.transactions.is_empty()) {
            self.accounts.remove(&address);
        }
    }

    fn enqueue(&mut self, address: AccountAddress) {
        if let Some(queue) = self.accounts.get_mut(&address)
            && !queue.queued
            && queue.transactions.contains_key(&queue.next)
        {
            queue.queued = true;
            self.ready.push_back(address);
        }
    }
}

#[cfg(test)]
mod tests;
