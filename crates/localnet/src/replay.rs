//! Executes a ledger again from genesis and compares: the proof that execution is deterministic
//! and that the stored state is what the transactions made it.
//! Never changes the ledger that it reads.

use std::sync::Arc;

use cactus_move_vm::Vm;

use crate::authenticator::{AuthenticationError, authenticate};
use crate::block::BlockBuilder;
use crate::execution::Discarded;
use crate::genesis::{GenesisError, genesis_block};
use crate::records::{ByteString, TransactionBody};
use crate::store::{Snapshot, Store, StoreError};

/// A ledger that was found consistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The last version.
    pub version: u64,
    /// User transactions executed again.
    pub user_transactions: u64,
    /// The hash over all transactions and their outcomes.
    pub accumulator: [u8; 32],
    /// The sum over the whole state.
    pub state: [u8; 32],
}

/// What an audit found.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Genesis does not work any more.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The chain has another genesis: another release made it.
    #[error("the chain was started with other bytecode")]
    OtherGenesis,
    /// A stored transaction would not be accepted.
    #[error("the transaction at version {version} is not valid: {cause}")]
    Invalid {
        /// Which one.
        version: u64,
        /// Why.
        cause: AuthenticationError,
    },
    /// A stored transaction would be discarded.
    #[error("the transaction at version {version} would be discarded: {cause}")]
    WouldBeDiscarded {
        /// Which one.
        version: u64,
        /// Why.
        cause: Discarded,
    },
    /// A block or transaction is missing.
    #[error("there is no record of {what} {number}")]
    Missing {
        /// Of what.
        what: &'static str,
        /// Height or version.
        number: u64,
    },
    /// Execution had another outcome.
    #[error("block {height} has another outcome when executed again")]
    Diverged {
        /// Which block.
        height: u64,
    },
    /// The stored state is not what its checksum says.
    #[error("the stored state does not add up to its checksum")]
    StateDamaged,
}

/// Audits the ledger up to a snapshot.
pub fn audit(ledger: &Arc<Snapshot>) -> Result<Audit, AuditError> {
    let end = *ledger.ledger();
    if ledger.recompute_checksum()? != end.checksum {
        return Err(AuditError::StateDamaged);
    }
    let vm = Vm::new();
    let store = Store::in_memory()?;
    let genesis = genesis_block(&vm, end.chain_id)?;
    let mut replayed = store.commit(None, &genesis)?;
    let mut audit = Audit {
        version: end.version,
        user_transactions: 0,
        accumulator: end.accumulator,
        state: end.checksum.to_bytes(),
    };
    if ledger.block(0)? != replayed.block(0)? {
        return Err(AuditError::OtherGenesis);
    }
    for height in 1..=end.height {
        let (block, users) = replay_block(&vm, ledger, &replayed, height)?;
        replayed = store.commit(Some(&*replayed), &block)?;
        if ledger.block(height)? != replayed.block(height)? {
            return Err(AuditError::Diverged { height });
        }
        audit.user_transactions += users;
    }
    if replayed.ledger() != &end {
        return Err(AuditError::Diverged { height: end.height });
    }
    Ok(audit)
}

fn replay_block(
    vm: &Vm,
    ledger: &Snapshot,
    base: &Arc<Snapshot>,
    height: u64,
) -> Result<(crate::store::CommittedBlock, u64), AuditError> {
    let missing = |what, number| AuditError::Missing { what, number };
    let record = ledger.block(height)?.ok_or(missing("block", height))?;
    let discarded = |version, cause| AuditError::WouldBeDiscarded { version, cause };
    let ahead = ledger.ledger().clock_ahead_us;
    let mut block = BlockBuilder::open(vm, base, record.timestamp_us, ahead)
        .map_err(|cause| discarded(record.first_version, cause))?;
    let mut users = 0;
    for version in record.first_version + 1..=record.last_version {
        let stored = ledger.transaction(version)?;
        let stored = stored.ok_or(missing("transaction", version))?;
        let TransactionBody::User(ByteString(bytes)) = stored.body else {
            return Err(AuditError::Diverged { height });
        };
        let transaction =
            authenticate(bytes).map_err(|cause| AuditError::Invalid { version, cause })?;
        block.execute(&transaction).map_err(|cause| discarded(version, cause))?;
        users += 1;
    }
    Ok((block.finish(), users))
}
