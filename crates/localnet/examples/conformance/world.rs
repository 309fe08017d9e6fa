//! What the cases work with: the SDK, an account that publishes the probe, checks.
//! Never decides what is tested.

use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use aptos_sdk::account::Ed25519Account;
use aptos_sdk::transaction::types::{RawTransaction, SignedTransaction};
use aptos_sdk::transaction::{
    EntryFunction, InputEntryFunctionData, TransactionBuilder, TransactionPayload,
};
use aptos_sdk::types::{AccountAddress, ChainId};
use aptos_sdk::{Aptos, AptosConfig, AptosError};
use serde::Serialize;
use serde_json::Value;

/// Octas in one APT.
pub const APT: u64 = 100_000_000;
/// Gas units offered when a case does not say.
pub const MAX_GAS: u64 = 100_000;
/// The address for which the probe was compiled.
const PLACEHOLDER: [u8; 32] = {
    let mut bytes = [0; 32];
    let mut index = 0;
    while index < 32 {
        bytes[index] = [0xc0, 0xff, 0xee][index % 3];
        index += 1;
    }
    bytes
};

/// How a case ends.
pub type Outcome = Result<(), Box<dyn Error>>;
type Running = Pin<Box<dyn Future<Output = Outcome>>>;

/// One case.
pub struct Case {
    pub area: &'static str,
    pub name: String,
    pub run: Box<dyn FnOnce(Arc<World>) -> Running>,
}

/// The cases in the order in which they run.
#[derive(Default)]
pub struct Cases(pub Vec<Case>);

impl Cases {
    /// Adds a case.
    pub fn add<F, R>(&mut self, area: &'static str, name: impl Into<String>, run: F)
    where
        F: FnOnce(Arc<World>) -> R + 'static,
        R: Future<Output = Outcome> + 'static,
    {
        let run = Box::new(|world| -> Running { Box::pin(run(world)) });
        self.0.push(Case { area, name: name.into(), run });
    }
}

/// Fails unless both are equal.
pub fn equal<T: PartialEq<U> + Debug, U: Debug>(found: T, wanted: U) -> Outcome {
    holds(found == wanted, format!("{found:?} is not {wanted:?}"))
}

/// Fails unless the condition holds.
pub fn holds(condition: bool, what: impl Into<String>) -> Outcome {
    if condition { Ok(()) } else { Err(what.into().into()) }
}

/// Fails unless `text` contains `part`.
pub fn contains(text: &str, part: &str) -> Outcome {
    holds(text.contains(part), format!("{part:?} is not in {text:?}"))
}

/// Fails unless the node refused with this status and these words.
pub fn refused<T>(result: Result<T, AptosError>, status: u16, says: &str) -> Outcome {
    match result {
        Err(AptosError::Api { status_code, message, error_code, .. }) => {
            equal(status_code, status)?;
            contains(&format!("{message} {}", error_code.unwrap_or_default()), says)
        }
        Err(other) => Err(other.into()),
        Ok(_) => Err("it was accepted".into()),
    }
}

/// Fails unless the node refused a transaction with this code of Aptos.
pub fn refused_with<T>(result: Result<T, AptosError>, code: u64) -> Outcome {
    match result {
        Err(AptosError::Api { status_code, error_code, vm_error_code, .. }) => {
            let found = (status_code, error_code.as_deref(), vm_error_code);
            equal(found, (400, Some("vm_error"), Some(code)))
        }
        Err(other) => Err(other.into()),
        Ok(_) => Err("it was accepted".into()),
    }
}

/// Fails unless the node has no such thing.
pub fn missing<T>(result: Result<T, AptosError>) -> Outcome {
    match result {
        Err(AptosError::NotFound(_) | AptosError::Api { status_code: 404, .. }) => Ok(()),
        Err(other) => Err(other.into()),
        Ok(_) => Err("it is there".into()),
    }
}

/// One chain, one publisher.
pub struct World {
    pub aptos: Aptos,
    pub me: Ed25519Account,
    pub folder: PathBuf,
}

impl World {
    pub fn new(chain: &str, faucet: &str, folder: &str) -> Result<Self, AptosError> {
        let config = AptosConfig::custom(chain)?.with_faucet_url(faucet)?.without_retry();
        Ok(Self {
            aptos: Aptos::new(config)?,
            me: Ed25519Account::generate(),
            folder: PathBuf::from(folder),
        })
    }

    /// The name of something in the probe.
    pub fn probe(&self, name: &str) -> String {
        format!("{}::probe::{name}", self.me.address())
    }

    /// A new account with coins.
    pub async fn funded(&self, octas: u64) -> Result<Ed25519Account, AptosError> {
        self.aptos.create_funded_account(octas).await
    }

    pub async fn balance(&self, address: AccountAddress) -> Result<u64, AptosError> {
        self.aptos.get_balance(address).await
    }

    /// A call of the probe.
    pub fn call(&self, name: &str, args: Vec<Vec<u8>>) -> Result<TransactionPayload, AptosError> {
        entry(&self.probe(name), &[], args)
    }

    /// Signs with the next sequence number and waits; a transaction that failed is answered too.
    pub async fn run(
        &self,
        sender: &Ed25519Account,
        payload: TransactionPayload,
    ) -> Result<Value, AptosError> {
        let next = self.aptos.get_sequence_number(sender.address()).await?;
        self.send(&signed(sender, &raw(sender.address(), next, payload)?)?).await
    }

    /// Submits and waits; a transaction that failed is answered too.
    pub async fn send(&self, transaction: &SignedTransaction) -> Result<Value, AptosError> {
        let fullnode = self.aptos.fullnode();
        let hash = fullnode.submit_transaction(transaction).await?.data.hash;
        match fullnode.wait_for_transaction(&hash, None).await {
            Ok(done) => Ok(done.data),
            Err(AptosError::ExecutionFailed { .. }) => {
                Ok(fullnode.get_transaction_by_hash(&hash).await?.data)
            }
            Err(other) => Err(other),
        }
    }

    /// Publishes a variant of the probe at the publisher's address.
    pub async fn publish(
        &self,
        variant: &str,
        sender: &Ed25519Account,
    ) -> Result<Value, Box<dyn Error>> {
        let mut code = std::fs::read(self.folder.join(format!("probe/{variant}.mv")))?;
        let address = self.me.address().to_bytes();
        for start in 0..code.len().saturating_sub(PLACEHOLDER.len()) {
            if code[start..start + PLACEHOLDER.len()] == PLACEHOLDER {
                code[start..start + PLACEHOLDER.len()].copy_from_slice(&address);
            }
        }
        self.publish_code(code, sender).await
    }

    pub async fn publish_code(
        &self,
        code: Vec<u8>,
        sender: &Ed25519Account,
    ) -> Result<Value, Box<dyn Error>> {
        // Name, compatible upgrades, upgrade number, digest and manifest; one module without
        // source, map and extension; no dependencies, no extension.
        let module = ("probe", Vec::<u8>::new(), Vec::<u8>::new(), None::<u8>);
        let empty = Vec::<u8>::new();
        let metadata = ("probe", 1_u8, 0_u64, "", &empty, vec![module], &empty, None::<u8>);
        let metadata = aptos_bcs::to_bytes(&metadata)?;
        let payload = InputEntryFunctionData::publish_package(metadata, vec![code])?;
        Ok(self.run(sender, payload).await?)
    }
}

/// A call with encoded arguments.
pub fn entry(
    function: &str,
    type_arguments: &[String],
    args: Vec<Vec<u8>>,
) -> Result<TransactionPayload, AptosError> {
    let mut builder = InputEntryFunctionData::new(function);
    for tag in type_arguments {
        builder = builder.type_arg(tag);
    }
    args.into_iter().fold(builder, |builder, arg| builder.arg_raw(arg)).build()
}

pub fn transfer(to: AccountAddress, octas: u64) -> Result<TransactionPayload, AptosError> {
    Ok(EntryFunction::apt_transfer(to, octas)?.into())
}

/// An address that nobody has used.
pub fn fresh() -> AccountAddress {
    Ed25519Account::generate().address()
}

pub fn raw(
    sender: AccountAddress,
    sequence_number: u64,
    payload: TransactionPayload,
) -> Result<RawTransaction, AptosError> {
    TransactionBuilder::new()
        .sender(sender)
        .sequence_number(sequence_number)
        .payload(payload)
        .max_gas_amount(MAX_GAS)
        .gas_unit_price(100)
        .chain_id(ChainId::new(4))
        .expiration_from_now(60)
        .build()
}

pub fn signed(
    sender: &Ed25519Account,
    raw: &RawTransaction,
) -> Result<SignedTransaction, AptosError> {
    aptos_sdk::transaction::builder::sign_transaction(raw, sender)
}

pub fn bcs<T: Serialize>(value: &T) -> Result<Vec<u8>, aptos_bcs::Error> {
    aptos_bcs::to_bytes(value)
}
