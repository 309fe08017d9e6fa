//! The block producer: one thread that executes what waits and commits it, a block at a time.
//! Never answers a client: a transaction is known to be committed only after its block is durable.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::authenticator::Authenticated;
use crate::block::BlockBuilder;
use crate::chain::Chain;
use crate::clock::wall_clock_seconds;
use crate::execution::{Discarded, check_stateless};
use crate::framework;
use crate::refusal::Refusal;
use crate::store::StoreError;

/// Most transactions in a block.
const BLOCK_TRANSACTIONS: usize = 1_000;
/// After this long a block is closed, so that a heavy one does not hold up the answers.
const BLOCK_TIME: Duration = Duration::from_millis(100);
/// How often expired transactions are dropped when nothing else happens.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Why the chain cannot go on.
#[derive(Debug, thiserror::Error)]
enum ProduceError {
    #[error(transparent)]
    Block(#[from] Discarded),
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Work {
    transactions: Vec<Arc<Authenticated>>,
    tick: bool,
}

/// Runs until the chain is stopped.
pub fn run(chain: &Chain) {
    let _stop = StopOnExit(chain);
    while let Some(work) = next_work(chain) {
        if let Err(error) = produce(chain, &work) {
            tracing::error!(%error, "the chain stops: no block can be built");
            return;
        }
    }
}

/// However the thread ends, nobody may wait for blocks that will not come.
struct StopOnExit<'a>(&'a Chain);

impl Drop for StopOnExit<'_> {
    fn drop(&mut self) {
        let _waiting = self.0.lock_waiting();
        self.0.stopped.store(true, Ordering::Release);
        self.0.settled.notify_all();
    }
}

fn next_work(chain: &Chain) -> Option<Work> {
    let mut waiting = chain.lock_waiting();
    loop {
        if chain.stopped.load(Ordering::Acquire) {
            return None;
        }
        let work = Work {
            transactions: waiting.mempool.take(BLOCK_TRANSACTIONS),
            tick: std::mem::take(&mut waiting.tick),
        };
        if work.tick || !work.transactions.is_empty() {
            return Some(work);
        }
        let woken = chain.work.wait_timeout(waiting, HOUSEKEEPING);
        waiting = woken.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        waiting.mempool.expire(wall_clock_seconds());
    }
}

fn produce(chain: &Chain, work: &Work) -> Result<(), ProduceError> {
    let base = chain.snapshot();
    let clock_ahead_us = chain.clock.ahead_us();
    let timestamp_us = chain.clock.after(base.ledger().timestamp_us);
    let mut block = BlockBuilder::open(&chain.vm, &base, timestamp_us, clock_ahead_us)?;
    let done = fill(chain, &mut block, &work.transactions);
    if work.tick || block.user_transactions() > 0 {
        let snapshot = chain.store.commit(Some(&*base), &block.finish())?;
        // Visible before the mempool forgets: a look-up finds a transaction in one or the other.
        chain.newest.send_replace(snapshot);
    }
    settle(chain, &work.transactions, &done);
    Ok(())
}

/// Executes transactions until they, or the block's time, are used up. Answers those that were
/// committed or discarded: the others may still have their turn.
fn fill(
    chain: &Chain,
    block: &mut BlockBuilder<'_>,
    transactions: &[Arc<Authenticated>],
) -> Vec<Arc<Authenticated>> {
    let started = Instant::now();
    let now_seconds = wall_clock_seconds();
    let mut done = Vec::with_capacity(transactions.len());
    for transaction in transactions {
        if !done.is_empty() && started.elapsed() > BLOCK_TIME {
            break;
        }
        let executed = check_stateless(transaction, chain.chain_id(), now_seconds)
            .map_err(Discarded::from)
            .and_then(|()| block.execute(transaction));
        match executed {
            // One before it was discarded.
            Err(Discarded::Refused(Refusal::SequenceNumberTooNew)) => continue,
            Err(Discarded::Refused(reason)) => {
                tracing::debug!(%reason, hash = hex::encode(transaction.hash), "discarded");
            }
            Err(Discarded::Fault(fault)) => {
                tracing::error!(%fault, hash = hex::encode(transaction.hash), "discarded");
            }
            Ok(()) => {}
        }
        done.push(Arc::clone(transaction));
    }
    done
}

fn settle(chain: &Chain, taken: &[Arc<Authenticated>], done: &[Arc<Authenticated>]) {
    let snapshot = chain.snapshot();
    let mut sequence_numbers = HashMap::new();
    for transaction in taken {
        let sender = transaction.transaction.raw.sender;
        sequence_numbers
            .entry(sender)
            .or_insert_with(|| framework::sequence_number(&*snapshot, &sender).unwrap_or(0));
    }
    let mut waiting = chain.lock_waiting();
    waiting.mempool.settle(done, &sequence_numbers);
    chain.settled.notify_all();
    drop(waiting);
    // Wakes those who wait for a transaction that was discarded.
    chain.newest.send_replace(snapshot);
}
