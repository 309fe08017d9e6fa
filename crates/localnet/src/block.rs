//! A block under construction: transactions one after the other on top of the last committed state.
//! Never touches the disk: it ends as a value that the store makes durable in one commit.

use std::sync::Arc;

use cactus_move_vm::{AccountAddress, Context, Effects, Vm, VmStatus};

use crate::authenticator::Authenticated;
use crate::execution::{Discarded, Executed, Execution, SYSTEM_GAS};
use crate::framework;
use crate::records::{
    BlockRecord, ByteString, ChangeRecord, Ledger, Outcome, TransactionBody, TransactionRecord,
    accumulate,
};
use crate::state::{Checksum, Overlay};
use crate::store::{CommittedBlock, CommittedTransaction, Snapshot};
use crate::transaction::sha3;

/// A block under construction.
pub struct BlockBuilder<'a> {
    vm: &'a Vm,
    state: Overlay,
    ledger: Ledger,
    first_version: u64,
    transactions: Vec<CommittedTransaction>,
}

impl<'a> BlockBuilder<'a> {
    /// Opens a block on top of `base`: its first transaction moves the chain's clock.
    pub fn open(
        vm: &'a Vm,
        base: &Arc<Snapshot>,
        timestamp_us: u64,
        clock_ahead_us: u64,
    ) -> Result<Self, Discarded> {
        let last = *base.ledger();
        let ledger = Ledger { height: last.height + 1, timestamp_us, clock_ahead_us, ..last };
        let mut block = Self {
            vm,
            state: Overlay::new(Some(Arc::clone(base))),
            first_version: last.version + 1,
            ledger,
            transactions: Vec::new(),
        };
        block.move_clock()?;
        Ok(block)
    }

    /// The first block of a chain, with nothing in it.
    pub fn genesis(vm: &'a Vm, chain_id: u8, timestamp_us: u64) -> Self {
        let ledger = Ledger {
            chain_id,
            version: 0,
            height: 0,
            timestamp_us,
            clock_ahead_us: 0,
            accumulator: [0; 32],
            checksum: Checksum::default(),
        };
        Self { vm, state: Overlay::new(None), first_version: 0, ledger, transactions: Vec::new() }
    }

    /// Records effects that were gathered step by step as the one transaction of genesis.
    pub fn record_genesis(&mut self, effects: Effects) -> Result<(), Discarded> {
        let executed = Executed::new(Outcome::new(&Ok(()), 0), effects)?;
        self.record(TransactionBody::Genesis, None, executed)
    }

    /// Executes a user transaction. One that is discarded leaves the block as it was.
    pub fn execute(&mut self, transaction: &Authenticated) -> Result<(), Discarded> {
        let executed = self.execution().run(transaction)?;
        let raw = &transaction.transaction.raw;
        let sender = raw.nonce().is_none().then_some((raw.sender, raw.sequence_number));
        let body = TransactionBody::User(ByteString(transaction.bytes.clone()));
        self.record(body, sender, executed)
    }

    /// How many user transactions the block holds.
    pub fn user_transactions(&self) -> usize {
        self.transactions.len().saturating_sub(1)
    }

    /// The block, ready to be committed.
    pub fn finish(mut self) -> CommittedBlock {
        self.ledger.checksum = self.state.checksum();
        CommittedBlock {
            block: BlockRecord {
                first_version: self.first_version,
                last_version: self.ledger.version,
                timestamp_us: self.ledger.timestamp_us,
                hash: self.ledger.accumulator,
            },
            transactions: self.transactions,
            writes: self.state.into_writes(),
            ledger: self.ledger,
        }
    }

    fn execution(&self) -> Execution<'_> {
        Execution {
            vm: self.vm,
            state: &self.state,
            chain_id: self.ledger.chain_id,
            timestamp_us: self.ledger.timestamp_us,
        }
    }

    fn move_clock(&mut self) -> Result<(), Discarded> {
        let Ledger { height, timestamp_us, chain_id, .. } = self.ledger;
        let context = Context {
            chain_id,
            timestamp_us,
            transaction_hash: TransactionBody::BlockMetadata.hash(height, timestamp_us),
            sender: AccountAddress::ZERO,
        };
        let mut session = self.vm.session(&self.state, context, SYSTEM_GAS);
        let time = aptos_bcs::to_bytes(&timestamp_us)
            .map_err(|_| VmStatus::MiscellaneousError("FAILED_TO_SERIALIZE_ARGUMENT"))?;
        let module = framework::module("timestamp");
        session.call(&module, "update_global_time", Vec::new(), vec![time])?;
        let effects = session.finish()?;
        let executed = Executed::new(Outcome::new(&Ok(()), 0), effects)?;
        self.record(TransactionBody::BlockMetadata, None, executed)
    }

    fn record(
        &mut self,
        body: TransactionBody,
        sender: Option<(AccountAddress, u64)>,
        executed: Executed,
    ) -> Result<(), Discarded> {
        let changes: Vec<ChangeRecord> = executed.writes.iter().map(ChangeRecord::from).collect();
        let malformed = |_| VmStatus::MiscellaneousError("FAILED_TO_SERIALIZE_WRITE_SET_CHANGES");
        let changes = aptos_bcs::to_bytes(&changes).map_err(malformed)?;
        let events = aptos_bcs::to_bytes(&executed.events).map_err(malformed)?;
        let Ledger { height, timestamp_us, accumulator, .. } = self.ledger;
        let hash = body.hash(height, timestamp_us);
        let (state_change, event_root) = (sha3(&changes), sha3(&events));
        let roots = (&state_change, &event_root);
        let record = TransactionRecord {
            accumulator: accumulate(&accumulator, &hash, &executed.outcome, roots),
            body,
            hash,
            outcome: executed.outcome,
            events: executed.events,
            block_height: height,
            timestamp_us,
            event_root,
            state_change,
        };
        self.state.apply(&executed.writes)?;
        self.ledger.accumulator = record.accumulator;
        if !self.transactions.is_empty() {
            self.ledger.version += 1;
        } else {
            self.ledger.version = self.first_version;
        }
        self.transactions.push(CommittedTransaction { record, changes, sender });
        Ok(())
    }
}
