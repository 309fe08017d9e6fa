//! A node on a free port, and clients for it.
#![allow(dead_code, unreachable_pub)] // Each test file uses its own part.

use std::net::TcpListener;
use std::time::Duration;

use aptos_sdk::account::Ed25519Account;
use aptos_sdk::transaction::types::{RawTransaction, SignedTransaction};
use aptos_sdk::transaction::{EntryFunction, TransactionBuilder, TransactionPayload};
use aptos_sdk::types::{AccountAddress, ChainId};
use aptos_sdk::{Aptos, AptosConfig, AptosError};
use cactus_localnet::{Localnet, LocalnetConfig};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Octas in one APT.
pub const APT: u64 = 100_000_000;
/// Gas units that tests offer.
pub const MAX_GAS: u64 = 100_000;

pub struct Node {
    pub chain: Localnet,
    pub root: String,
    pub aptos: Aptos,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Node {
    pub fn start() -> Self {
        Self::start_with(LocalnetConfig::default())
    }

    pub fn start_with(config: LocalnetConfig) -> Self {
        let chain = Localnet::open(config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let root = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let (serving, stop) = (chain.clone(), shutdown.clone());
        let server = tokio::spawn(async move { serving.serve(listener, stop).await.unwrap() });
        let aptos = client(&root);
        Self { chain, root, aptos, shutdown, server }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.server.await.unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// A new account with `octas`.
    pub async fn funded(&self, octas: u64) -> Ed25519Account {
        self.aptos.create_funded_account(octas).await.unwrap()
    }

    /// Signs a call with this sequence number.
    pub fn sign(
        &self,
        sender: &Ed25519Account,
        sequence_number: u64,
        payload: impl Into<TransactionPayload>,
    ) -> SignedTransaction {
        signed(sender, &raw(sender.address(), sequence_number, payload))
    }

    /// Signs with the account's next sequence number, submits and waits.
    pub async fn run(
        &self,
        sender: &Ed25519Account,
        payload: impl Into<TransactionPayload>,
    ) -> Result<Value, AptosError> {
        let next = self.aptos.get_sequence_number(sender.address()).await?;
        let transaction = self.sign(sender, next, payload);
        Ok(self.aptos.submit_and_wait(&transaction, None).await?.data)
    }
}

/// The unmodified official client, with its faucet client.
pub fn client(root: &str) -> Aptos {
    let config = AptosConfig::custom(&format!("{root}/v1")).unwrap();
    let config = config.with_faucet_url(root).unwrap().without_retry();
    Aptos::new(config).unwrap()
}

pub fn raw(
    sender: AccountAddress,
    sequence_number: u64,
    payload: impl Into<TransactionPayload>,
) -> RawTransaction {
    TransactionBuilder::new()
        .sender(sender)
        .sequence_number(sequence_number)
        .payload(payload.into())
        .max_gas_amount(MAX_GAS)
        .gas_unit_price(100)
        .chain_id(ChainId::new(4))
        .expiration_from_now(60)
        .build()
        .unwrap()
}

pub fn signed(sender: &Ed25519Account, raw: &RawTransaction) -> SignedTransaction {
    aptos_sdk::transaction::builder::sign_transaction(raw, sender).unwrap()
}

pub fn transfer(to: AccountAddress, octas: u64) -> EntryFunction {
    EntryFunction::apt_transfer(to, octas).unwrap()
}

/// An account that nobody has used.
pub fn somebody() -> AccountAddress {
    AccountAddress::from_hex("0xb0b").unwrap()
}

/// A call of a contract's entry function.
pub fn contract(module: &str, function: &str, args: Vec<Vec<u8>>) -> EntryFunction {
    let id = format!("{}::{module}::{function}", contract_address());
    EntryFunction::from_function_id(&id, Vec::new(), args).unwrap()
}

pub fn contract_address() -> AccountAddress {
    AccountAddress::new(cactus_localnet::CONTRACT_ADDRESS.0)
}

pub fn bcs<T: serde::Serialize>(value: &T) -> Vec<u8> {
    aptos_bcs::to_bytes(value).unwrap()
}

/// Status, error code and VM error code of a refused call.
pub fn refusal(error: &AptosError) -> (u16, String, Option<u64>) {
    match error {
        AptosError::Api { status_code, error_code, vm_error_code, .. } => {
            (*status_code, error_code.clone().unwrap_or_default(), *vm_error_code)
        }
        other => panic!("not an answer of the node: {other}"),
    }
}

pub const SECOND: Duration = Duration::from_secs(1);
