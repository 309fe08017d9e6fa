//! One user transaction: may it run, and what does it do. Follows Aptos: prologue checks, then the
//! entry function, then an epilogue that charges gas and advances the sequence number.
//! Never writes anywhere; a transaction that fails its checks has no effect at all.

use std::sync::Arc;

use cactus_move_vm::{AccountAddress, Context, Effects, Storage, StorageError, Vm, VmStatus};

use crate::authenticator::{Authenticated, Signer};
use crate::framework;
use crate::nonces;
use crate::records::{ByteString, EventRecord, Outcome};
use crate::refusal::Refusal;
use crate::state::{Write, encode_key};
use crate::transaction::{
    EntryFunction, RawTransaction, TransactionExecutable, TransactionExtraConfig,
    TransactionPayload, TransactionPayloadInner,
};

/// Most gas units that a transaction may offer, as on Aptos' networks.
pub const MAX_GAS_UNITS: u64 = 2_000_000;
/// Least octas per gas unit, as on Aptos' networks.
pub const MIN_GAS_PRICE: u64 = 100;
/// Most octas per gas unit, as on Aptos' networks.
pub const MAX_GAS_PRICE: u64 = 10_000_000_000;
/// Largest transaction in bytes, as on Aptos' networks.
const MAX_BYTES: usize = 64 * 1024;
/// Largest transaction that publishes code, in bytes; the real networks split such packages.
pub const MAX_PUBLISH_BYTES: usize = 8 * 1024 * 1024;
/// Gas units that every transaction costs.
const INTRINSIC_GAS: u64 = 3;
/// Bytes of transaction per further gas unit.
const BYTES_PER_GAS_UNIT: u64 = 1024;
/// Gas units for the framework's own calls, which no user pays for.
pub const SYSTEM_GAS: u64 = 1_000_000;

/// Why a transaction left no trace.
#[derive(Debug, thiserror::Error)]
pub enum Discarded {
    /// It is not acceptable.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The state could not be read, or the framework itself failed.
    #[error("the framework failed: {0}")]
    Fault(#[from] VmStatus),
}

impl From<StorageError> for Discarded {
    fn from(error: StorageError) -> Self {
        Self::Fault(error.into())
    }
}

/// What a transaction did.
pub struct Executed {
    pub outcome: Outcome,
    pub writes: Vec<Write>,
    pub events: Vec<EventRecord>,
}

/// The surroundings of an execution.
pub struct Execution<'a> {
    pub vm: &'a Vm,
    pub state: &'a dyn Storage,
    pub chain_id: u8,
    /// Block time in microseconds.
    pub timestamp_us: u64,
}

/// Checks that need no state. `wall_seconds` is the time by which expiry is measured.
pub fn check_stateless(
    transaction: &Authenticated,
    chain_id: u8,
    wall_seconds: u64,
) -> Result<(), Refusal> {
    let raw = &transaction.transaction.raw;
    let entry = entry_function(&raw.payload)?;
    let publishes = entry.module == framework::module("code");
    let orderless = raw.nonce().is_some();
    let furthest = wall_seconds.saturating_add(nonces::MAX_AHEAD_SECONDS);
    let max_bytes = if publishes { MAX_PUBLISH_BYTES } else { MAX_BYTES };
    let refusals = [
        (transaction.bytes.len() > max_bytes, Refusal::TooLarge),
        (raw.chain_id != chain_id, Refusal::BadChainId),
        (raw.expiration_timestamp_secs <= wall_seconds, Refusal::Expired),
        (raw.max_gas_amount > MAX_GAS_UNITS, Refusal::MaxGasAboveBound),
        (raw.max_gas_amount < intrinsic_gas(transaction), Refusal::MaxGasBelowMinimum),
        (raw.gas_unit_price < MIN_GAS_PRICE, Refusal::GasPriceBelowBound),
        (raw.gas_unit_price > MAX_GAS_PRICE, Refusal::GasPriceAboveBound),
        (!orderless && raw.sequence_number == u64::MAX, Refusal::SequenceNumberTooBig),
        (orderless && raw.expiration_timestamp_secs > furthest, Refusal::ExpirationTooFar),
    ];
    let refused = refusals.into_iter().find(|(applies, _)| *applies);
    refused.map_or(Ok(()), |(_, refusal)| Err(refusal))
}

/// Checks against the state, all but the sequence number; answers the sender's.
pub fn check_accounts(state: &dyn Storage, transaction: &Authenticated) -> Result<u64, Discarded> {
    let raw = &transaction.transaction.raw;
    for signer in transaction.signers.iter().chain(&transaction.fee_payer) {
        check_key(state, signer)?;
    }
    let balance = framework::apt_balance(state, &transaction.payer())?;
    let most = raw.max_gas_amount.checked_mul(raw.gas_unit_price);
    if most.is_none_or(|most| balance < most) {
        return Err(Refusal::InsufficientBalance.into());
    }
    Ok(framework::sequence_number(state, &raw.sender)?)
}

fn check_key(state: &dyn Storage, signer: &Signer) -> Result<(), Discarded> {
    let Some(proven) = signer.authentication_key else {
        return Ok(());
    };
    let expected = match framework::account(state, &signer.address)? {
        Some(account) => account.authentication_key,
        None => signer.address.0.to_vec(),
    };
    if expected != proven {
        return Err(Refusal::InvalidAuthenticationKey.into());
    }
    Ok(())
}

/// The call that a payload asks for, when this chain supports it.
pub fn entry_function(payload: &TransactionPayload) -> Result<&EntryFunction, Refusal> {
    match payload {
        TransactionPayload::EntryFunction(entry) => Ok(entry),
        TransactionPayload::Script(_) => Err(Refusal::Unsupported("scripts are not supported")),
        TransactionPayload::Multisig(_) => Err(Refusal::Unsupported("multisig is not supported")),
        TransactionPayload::ModuleBundle(never) => match *never {},
        TransactionPayload::Payload(TransactionPayloadInner::V1 { executable, extra_config }) => {
            let TransactionExtraConfig::V1 { multisig_address, .. } = extra_config;
            if multisig_address.is_some() {
                return Err(Refusal::Unsupported("multisig is not supported"));
            }
            match executable {
                TransactionExecutable::EntryFunction(entry) => Ok(entry),
                TransactionExecutable::Script(_) => {
                    Err(Refusal::Unsupported("scripts are not supported"))
                }
                TransactionExecutable::Empty => {
                    Err(Refusal::Unsupported("an empty payload does nothing"))
                }
            }
        }
    }
}

fn intrinsic_gas(transaction: &Authenticated) -> u64 {
    let bytes = u64::try_from(transaction.bytes.len()).unwrap_or(u64::MAX);
    INTRINSIC_GAS + bytes / BYTES_PER_GAS_UNIT
}

impl Execution<'_> {
    /// Runs a transaction whose turn it is.
    pub fn run(&self, transaction: &Authenticated) -> Result<Executed, Discarded> {
        let raw = &transaction.transaction.raw;
        let sequence_number = check_accounts(self.state, transaction)?;
        if let Some(nonce) = raw.nonce() {
            let used = nonces::mark_used(self.state, raw, nonce)?;
            let mut executed = self.call(transaction)?;
            executed.writes.push(used);
            return Ok(executed);
        }
        if raw.sequence_number < sequence_number {
            return Err(Refusal::SequenceNumberTooOld.into());
        }
        if raw.sequence_number > sequence_number {
            return Err(Refusal::SequenceNumberTooNew.into());
        }
        self.call(transaction)
    }

    fn call(&self, transaction: &Authenticated) -> Result<Executed, Discarded> {
        let raw = &transaction.transaction.raw;
        let entry = entry_function(&raw.payload)?;
        let intrinsic = intrinsic_gas(transaction);
        let limit = raw.max_gas_amount.saturating_sub(intrinsic);
        // The epilogue runs in the same session and is not the user's to pay for.
        let context = self.context(transaction);
        let mut session = self.vm.session(self.state, context, limit.saturating_add(SYSTEM_GAS));
        let signers: Vec<AccountAddress> =
            transaction.signers.iter().map(|signer| signer.address).collect();
        let mut result = session.execute_entry(
            &entry.module,
            &entry.function,
            entry.type_args.clone(),
            entry.args.clone(),
            &signers,
        );
        if session.gas_used() > limit {
            result = Err(VmStatus::OutOfGas);
        }
        let gas_used = session.gas_used().min(limit).saturating_add(intrinsic);
        if let Err(VmStatus::Storage(error)) = result {
            return Err(error.into());
        }
        if result.is_ok() {
            result = self.epilogue(&mut session, transaction, gas_used);
        }
        let (result, effects) = match result.and_then(|()| session.finish()) {
            Ok(effects) => (Ok(()), effects),
            Err(status) => (Err(status), self.charge_only(transaction, gas_used)?),
        };
        Executed::new(Outcome::new(&result, gas_used), effects)
    }

    /// A transaction that failed still pays and still uses its sequence number.
    fn charge_only(&self, transaction: &Authenticated, gas_used: u64) -> Result<Effects, VmStatus> {
        let context = self.context(transaction);
        let mut session = self.vm.session(self.state, context, SYSTEM_GAS);
        self.epilogue(&mut session, transaction, gas_used)?;
        session.finish()
    }

    fn epilogue(
        &self,
        session: &mut cactus_move_vm::Session<'_>,
        transaction: &Authenticated,
        gas_used: u64,
    ) -> Result<(), VmStatus> {
        let raw = &transaction.transaction.raw;
        let args = epilogue_arguments(raw, transaction.payer(), gas_used)
            .map_err(|_| VmStatus::MiscellaneousError("FAILED_TO_SERIALIZE_ARGUMENT"))?;
        let module = framework::module("transaction_validation");
        session.call(&module, "epilogue", Vec::new(), args)?;
        Ok(())
    }

    fn context(&self, transaction: &Authenticated) -> Context {
        Context {
            chain_id: self.chain_id,
            timestamp_us: self.timestamp_us,
            transaction_hash: transaction.hash,
            sender: transaction.transaction.raw.sender,
        }
    }
}

fn epilogue_arguments(
    raw: &RawTransaction,
    payer: AccountAddress,
    gas_used: u64,
) -> Result<Vec<Vec<u8>>, aptos_bcs::Error> {
    Ok(vec![
        aptos_bcs::to_bytes(&raw.sender)?,
        aptos_bcs::to_bytes(&payer)?,
        aptos_bcs::to_bytes(&raw.gas_unit_price)?,
        aptos_bcs::to_bytes(&gas_used)?,
        aptos_bcs::to_bytes(&raw.nonce().is_none())?,
    ])
}

impl Executed {
    /// Effects of a session, laid out for the store.
    pub fn new(outcome: Outcome, effects: Effects) -> Result<Self, Discarded> {
        let malformed = |error: aptos_bcs::Error| StorageError(error.to_string());
        let mut writes = Vec::with_capacity(effects.writes.len());
        for (key, value) in effects.writes {
            writes.push((encode_key(&key).map_err(malformed)?, value.map(Arc::from)));
        }
        let record = |event: cactus_move_vm::Event| EventRecord {
            type_tag: event.type_tag,
            data: ByteString(event.data),
        };
        Ok(Self { outcome, writes, events: effects.events.into_iter().map(record).collect() })
    }
}
