//! Which places of the chain's state unrelated operations write: none in common, so that an
//! executor such as Block-STM can run them side by side. Never judges reads: state that is only
//! read does not hinder anyone.

use std::collections::BTreeSet;

use cactus_move_vm::{AccountAddress, StateKey};

use crate::argument::Argument::{Address as A, Bytes, U64};
use crate::books::Violation;
use crate::cast::{Actor, Cast, NOW_SECONDS};
use crate::chain::{CHAIN_ID, Chain};
use crate::generate::Generator;
use crate::operation::{Operation, Step};
use crate::random::Random;
use crate::run::Trial;
use crate::signing::{Order, Voucher, sign};

const APT: u64 = 100_000_000;

/// Two operations of unrelated parties, from the same state.
#[derive(Debug, Clone)]
pub struct AccessPair {
    /// What both call.
    pub function: &'static str,
    /// How many places each writes.
    pub writes: (usize, usize),
    /// Places that both write.
    pub shared: Vec<String>,
}

/// For each hot entry function, what two unrelated parties write in common.
///
/// # Errors
/// The committed bytecode does not start or refuses the operations.
pub fn access_report() -> Result<Vec<AccessPair>, Violation> {
    let mut scene = Scene::new()?;
    let mut pairs = Vec::new();
    for function in FUNCTIONS {
        let (one, other) = (scene.operation(function, 0), scene.operation(function, 1));
        let (written, others) = (scene.written(&one)?, scene.written(&other)?);
        let shared = written.intersection(&others).map(|key| format!("{key:?}")).collect();
        pairs.push(AccessPair { function, writes: (written.len(), others.len()), shared });
        // What comes later builds on both.
        scene.keep(one)?;
        scene.keep(other)?;
    }
    Ok(pairs)
}

/// In an order in which each builds on those before it.
const FUNCTIONS: &[&str] = &[
    "payment::deposit",
    "payment::create_task",
    "payment::complete_task",
    "payment::request_withdraw",
    "stake::bond",
    "stake::begin_unbond",
    "stake::rebond",
    "channel::open",
    "channel::top_up",
    "channel::redeem",
    "channel::request_close",
    "channel::close_by_payee",
];

/// Two of everything: client, server, operator, node, channel.
struct Scene {
    trial: Trial,
    cast: Cast,
    nonce: u64,
    channels: Vec<AccountAddress>,
}

impl Scene {
    fn new() -> Result<Self, Violation> {
        let mut trial = Trial::new()?;
        let mut generator = Generator::new(Random::new(0));
        for operation in generator.take_prelude() {
            trial.step(&Step::Call(operation))?;
        }
        Ok(Self { trial, cast: Cast::default(), nonce: 1_000_000, channels: Vec::new() })
    }

    fn operation(&mut self, function: &'static str, index: usize) -> Operation {
        self.nonce += 1;
        let cast = self.cast.clone();
        let (client, server) = (&cast.clients[index], &cast.servers[index]);
        let (operator, node) = (&cast.operators[index], &cast.nodes[index]);
        let channel = self.channels.get(index).copied().unwrap_or_default();
        let session = &cast.sessions[index];
        let task = vec![1; 32];
        let (signer, arguments) = match function {
            "payment::deposit" | "payment::request_withdraw" => (client, vec![U64(1_000)]),
            "payment::create_task" => (server, create_task(client, server, operator, node)),
            "payment::complete_task" => {
                let work = [1_000, 1_000, 5].map(U64);
                let mut arguments = vec![A(client.address), Bytes(task)];
                arguments.extend(work);
                arguments.push(Bytes(vec![9; 32]));
                (server, arguments)
            }
            "channel::open" => {
                let expires = NOW_SECONDS + 10 * 86_400;
                let key = Bytes(session.public_key());
                (client, vec![A(server.address), key, U64(APT), U64(expires)])
            }
            "channel::top_up" => (client, vec![A(channel), U64(1_000)]),
            "channel::redeem" => {
                let (payee, cumulative) = (server.address, 700);
                let voucher = Voucher { chain_id: CHAIN_ID, channel, payee, cumulative };
                let signature = Bytes(sign(&session.key, &voucher));
                (server, vec![A(channel), U64(cumulative), signature])
            }
            "channel::request_close" => (client, vec![A(channel)]),
            "channel::close_by_payee" => (server, vec![A(channel)]),
            _ => (operator, vec![U64(1_000)]),
        };
        Operation { nonce: self.nonce, function, signer: Some(signer.address), arguments }
    }

    /// Places that the operation writes, from the present state.
    fn written(&self, operation: &Operation) -> Result<BTreeSet<StateKey>, Violation> {
        let mut chain: Chain = self.trial.chain.clone();
        let effects = chain
            .call(operation)
            .map_err(|status| Violation(format!("{operation} was refused: {status}")))?;
        Ok(effects.writes.into_keys().collect())
    }

    fn keep(&mut self, operation: Operation) -> Result<(), Violation> {
        note_signed(&mut self.trial, &operation);
        self.trial.step(&Step::Call(operation))?;
        let known = self.trial.books.channels.keys().find(|at| !self.channels.contains(at));
        self.channels.extend(known.copied());
        Ok(())
    }
}

fn order(client: &Actor, server: &Actor) -> Order {
    Order {
        chain_id: CHAIN_ID,
        client: client.address,
        server: server.address,
        order_id: vec![1; 32],
        max_total: APT,
        max_per_task: APT,
        expires_seconds: NOW_SECONDS + 1_000,
    }
}

fn create_task(
    client: &Actor,
    server: &Actor,
    operator: &Actor,
    node: &Actor,
) -> Vec<crate::Argument> {
    let order = order(client, server);
    let signature = sign(&client.key, &order);
    let head = [A(client.address), Bytes(client.public_key()), Bytes(order.order_id)];
    let limits = [order.max_total, order.max_per_task, order.expires_seconds].map(U64);
    let names =
        [Bytes(signature), Bytes(vec![1; 32]), A(operator.address), Bytes(node.public_key())];
    let terms = [100_000, 500, 1_500, NOW_SECONDS + 600].map(U64);
    head.into_iter().chain(limits).chain(names).chain(terms).collect()
}

/// The rules must know what was signed here.
fn note_signed(trial: &mut Trial, operation: &Operation) {
    let cast = Cast::default();
    for (client, server) in cast.clients.iter().zip(&cast.servers) {
        trial.signed.orders.insert(order(client, server));
    }
    if let ("channel::redeem", [A(channel), U64(cumulative), _]) =
        (operation.function, operation.arguments.as_slice())
    {
        trial.signed.vouchers.insert(*channel, *cumulative);
    }
}
