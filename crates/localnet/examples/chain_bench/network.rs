//! The people of a network that can settle tasks: routing servers that the admin let in, operators
//! with a bonded and validated node, clients with money in the escrow and an order at a server.

use std::time::{SystemTime, UNIX_EPOCH};

use aptos_sdk::account::Ed25519Account;
use aptos_sdk::transaction::builder::sign_transaction;
use aptos_sdk::transaction::{EntryFunction, TransactionBuilder};
use aptos_sdk::types::{AccountAddress, ChainId};
use ed25519_dalek::{Signer, SigningKey};
use futures::stream::{self, StreamExt};
use serde::Serialize;

use super::http::Api;

/// Octas for everybody.
const ENDOWMENT: u64 = 1_000_000_000_000;
/// Octas of a bond and of a stake: the least that the contracts take.
const BOND: u64 = 100_000_000;
/// Octas in the escrow per client, and the most that an order may spend.
const DEPOSIT: u64 = ENDOWMENT / 2;
/// Seconds for which orders are good.
const ORDER_SECONDS: u64 = 86_400;
/// Gas units that a transaction offers.
const MAX_GAS: u64 = 100_000;

/// An account that counts its own sequence numbers.
pub struct Account {
    key: Ed25519Account,
    next: u64,
}

impl Account {
    fn new(seed: [u8; 32]) -> Self {
        Self { key: Ed25519Account::from_private_key_bytes(&seed).unwrap(), next: 0 }
    }

    pub fn address(&self) -> AccountAddress {
        self.key.address()
    }

    /// Signs the account's next transaction.
    pub fn sign(&mut self, function: &str, arguments: Vec<Vec<u8>>) -> Vec<u8> {
        let call = EntryFunction::from_function_id(function, Vec::new(), arguments).unwrap();
        let raw = TransactionBuilder::new()
            .sender(self.address())
            .sequence_number(self.next)
            .payload(call.into())
            .max_gas_amount(MAX_GAS)
            .gas_unit_price(100)
            .chain_id(ChainId::new(cactus_localnet::LOCALNET_CHAIN_ID))
            .expiration_from_now(3_000)
            .build()
            .unwrap();
        self.next += 1;
        sign_transaction(&raw, &self.key).unwrap().to_bcs().unwrap()
    }
}

/// Someone who pays, and the order at one server.
pub struct Client {
    pub address: AccountAddress,
    pub public_key: Vec<u8>,
    pub order_id: Vec<u8>,
    pub max_total: u64,
    pub expires_seconds: u64,
    pub signature: Vec<u8>,
}

/// Someone who works.
pub struct Operator {
    pub address: AccountAddress,
    pub node_public_key: Vec<u8>,
}

/// A routing server with its own clients and operators, as real ones mostly have.
pub struct Server {
    pub account: Account,
    pub clients: Vec<Client>,
    pub operators: Vec<Operator>,
    /// How many tasks it has created.
    pub tasks: u64,
    pub number: u8,
}

/// How many of whom.
#[derive(Clone, Copy)]
pub struct Size {
    pub servers: u8,
    pub clients_each: u8,
    pub operators_each: u8,
    pub senders: u8,
}

/// Everyone.
pub struct Network {
    pub servers: Vec<Server>,
    /// Accounts that only move coins.
    pub senders: Vec<Account>,
}

#[derive(Serialize)]
struct SignedMessage<T> {
    account: AccountAddress,
    module: &'static str,
    name: &'static str,
    inner: T,
}

#[derive(Serialize)]
struct NodeKeyProof {
    chain_id: u8,
    operator: AccountAddress,
    node_public_key: Vec<u8>,
}

#[derive(Serialize)]
struct Order {
    chain_id: u8,
    client: AccountAddress,
    server: AccountAddress,
    order_id: Vec<u8>,
    max_total: u64,
    max_per_task: u64,
    expires_seconds: u64,
}

pub fn bcs<T: Serialize>(value: &T) -> Vec<u8> {
    aptos_bcs::to_bytes(value).unwrap()
}

/// The account that holds the contracts.
pub fn contract() -> AccountAddress {
    AccountAddress::new(cactus_localnet::CONTRACT_ADDRESS.0)
}

pub fn function(name: &str) -> String {
    format!("{}::{name}", contract())
}

pub fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The seed of the `number`th account of a `kind`: runs differ only by time.
fn seed(kind: u8, server: u8, number: u8) -> [u8; 32] {
    let mut seed = [0x5a; 32];
    seed[..3].copy_from_slice(&[kind, server, number]);
    seed
}

fn sign<T: Serialize>(
    key: &SigningKey,
    module: &'static str,
    name: &'static str,
    inner: T,
) -> Vec<u8> {
    let message = SignedMessage { account: contract(), module, name, inner };
    key.sign(&bcs(&message)).to_bytes().to_vec()
}

impl Network {
    /// Registers everyone.
    pub async fn found(api: &Api, size: Size) -> Self {
        let mut admin = Account::new(cactus_localnet::admin_seed());
        api.fund(admin.address(), ENDOWMENT).await;
        let mut servers = Vec::new();
        for number in 0..size.servers {
            servers.push(found_server(api, &mut admin, size, number).await);
        }
        let senders = stream::iter(0..size.senders).map(async |number| {
            let account = Account::new(seed(0, 0, number));
            api.fund(account.address(), ENDOWMENT).await;
            account
        });
        Self { servers, senders: senders.buffered(16).collect().await }
    }
}

async fn found_server(api: &Api, admin: &mut Account, size: Size, number: u8) -> Server {
    let mut account = Account::new(seed(1, number, 0));
    let address = account.address();
    api.fund(address, ENDOWMENT).await;
    let arguments = vec![bcs(&"http://s"), bcs(&vec![9_u8; 32]), bcs(&BOND)];
    api.run(&account.sign(&function("server_registry::register_server"), arguments)).await;
    let arguments = vec![bcs(&address)];
    api.run(&admin.sign(&function("server_registry::authorize_server"), arguments)).await;
    let mut operators = Vec::new();
    for operator in 0..size.operators_each {
        operators.push(found_operator(api, admin, (number, operator)).await);
    }
    let mut clients = Vec::new();
    for client in 0..size.clients_each {
        clients.push(found_client(api, address, (number, client)).await);
    }
    Server { account, clients, operators, tasks: 0, number }
}

async fn found_operator(api: &Api, admin: &mut Account, (server, number): (u8, u8)) -> Operator {
    let mut account = Account::new(seed(2, server, number));
    let address = account.address();
    api.fund(address, ENDOWMENT).await;
    let node = SigningKey::from_bytes(&seed(3, server, number));
    let node_public_key = node.verifying_key().to_bytes().to_vec();
    let proof = NodeKeyProof {
        chain_id: cactus_localnet::LOCALNET_CHAIN_ID,
        operator: address,
        node_public_key: node_public_key.clone(),
    };
    let proof = sign(&node, "registry", "NodeKeyProof", proof);
    let key = bcs(&node_public_key);
    let steps = [
        ("registry::register_orchestrator", vec![bcs(&"http://o")]),
        ("registry::add_node", vec![key.clone(), bcs(&"{}"), bcs(&proof)]),
        ("registry::set_status", vec![bcs(&1_u8)]),
        ("stake::bond", vec![bcs(&(2 * BOND))]),
    ];
    for (name, arguments) in steps {
        api.run(&account.sign(&function(name), arguments)).await;
    }
    let arguments = vec![bcs(&address), bcs(&true)];
    api.run(&admin.sign(&function("registry::whitelist"), arguments)).await;
    let arguments = vec![bcs(&address), key];
    api.run(&admin.sign(&function("registry::validate_node"), arguments)).await;
    Operator { address, node_public_key }
}

async fn found_client(api: &Api, server: AccountAddress, (at, number): (u8, u8)) -> Client {
    let mut account = Account::new(seed(4, at, number));
    let address = account.address();
    api.fund(address, ENDOWMENT).await;
    api.run(&account.sign(&function("payment::deposit"), vec![bcs(&DEPOSIT)])).await;
    let key = SigningKey::from_bytes(&seed(4, at, number));
    let (order_id, expires_seconds) = (vec![number; 32], now_seconds() + ORDER_SECONDS);
    let order = Order {
        chain_id: cactus_localnet::LOCALNET_CHAIN_ID,
        client: address,
        server,
        order_id: order_id.clone(),
        max_total: DEPOSIT,
        max_per_task: DEPOSIT,
        expires_seconds,
    };
    Client {
        address,
        public_key: key.verifying_key().to_bytes().to_vec(),
        order_id,
        max_total: DEPOSIT,
        expires_seconds,
        signature: sign(&key, "payment", "Order", order),
    }
}
