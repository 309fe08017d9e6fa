//! Two of everyone and everything, and the calls that each makes. Never decides what they may
//! write in common.

use std::collections::BTreeSet;

use cactus_move_vm::{AccountAddress, StateKey};

use super::Common;
use crate::argument::Argument::{self, Address as A, Bool, Bytes, Text, U64};
use crate::argument::bcs;
use crate::books::Violation;
use crate::cast::{Actor, Cast, NOW_SECONDS};
use crate::chain::{CHAIN_ID, Chain};
use crate::generate::Generator;
use crate::operation::{Operation, Step};
use crate::random::Random;
use crate::run::Trial;
use crate::signing::{Invite, Opinion, Order, Voucher, sign};
use sha3::{Digest, Sha3_256};

const APT: u64 = 100_000_000;
const YEAR: u64 = 365 * 86_400;

/// Everything so far.
pub struct Scene {
    trial: Trial,
    cast: Cast,
    nonce: u64,
    /// In the order in which they were made.
    channels: Vec<AccountAddress>,
    pools: Vec<AccountAddress>,
    cases: Vec<AccountAddress>,
}

/// Who acts.
struct Party<'a> {
    index: usize,
    common: Common,
    client: &'a Actor,
    server: &'a Actor,
    operator: &'a Actor,
    node: &'a Actor,
    /// Signs vouchers and invites.
    session: &'a Actor,
    validator: &'a Actor,
    stranger: &'a Actor,
}

impl Scene {
    /// A network of strangers.
    ///
    /// # Errors
    /// The committed bytecode does not start or refuses to make one.
    pub fn new() -> Result<Self, Violation> {
        let mut trial = Trial::new()?;
        let mut generator = Generator::new(Random::new(0));
        for operation in generator.take_prelude() {
            trial.step(&Step::Call(operation))?;
        }
        let (channels, pools, cases) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { trial, cast: Cast::default(), nonce: 1_000_000, channels, pools, cases })
    }

    /// Takes a step that is not compared.
    ///
    /// # Errors
    /// A rule is broken.
    pub fn step(&mut self, step: &Step) -> Result<(), Violation> {
        match self.trial.step(step)? {
            None => Ok(()),
            Some(status) => Err(Violation(format!("{step} was refused: {status}"))),
        }
    }

    /// The call of the first or the second party.
    ///
    /// # Errors
    /// There is no such call in this report.
    pub fn operation(
        &mut self,
        function: &'static str,
        common: Common,
        index: usize,
    ) -> Result<Operation, Violation> {
        self.nonce += 1;
        let cast = self.cast.clone();
        let server = if common == Common::Server { 0 } else { index };
        let party = Party {
            index,
            common,
            client: &cast.clients[index],
            server: &cast.servers[server],
            operator: &cast.operators[index],
            node: &cast.nodes[index],
            session: &cast.sessions[index],
            validator: &cast.validators[index],
            stranger: &cast.strangers[index],
        };
        let (signer, arguments) = match function.split("::").next().unwrap_or_default() {
            "payment" => self.payment(function, &party),
            "stake" => Some((party.operator, vec![U64(1_000)])),
            "channel" => self.channel(function, &party),
            "pool" | "rewards" => self.pool(function, &party),
            "dispute" => self.dispute(function, &party),
            _ => None,
        }
        .ok_or_else(|| Violation(format!("the report knows no {function}")))?;
        let signer = Some(signer.address);
        Ok(Operation { nonce: self.nonce, function, signer, arguments })
    }

    fn payment<'a>(&self, function: &str, party: &Party<'a>) -> Option<(&'a Actor, Vec<Argument>)> {
        let task = || vec![A(party.client.address), Bytes(party.task())];
        Some(match function {
            "payment::deposit" | "payment::request_withdraw" => (party.client, vec![U64(1_000)]),
            "payment::withdraw" => (party.client, vec![]),
            "payment::create_task" => (party.server, self.create_task(party)),
            "payment::complete_task" | "payment::deliver_task" => {
                let delivers = function == "payment::deliver_task";
                let actor = if delivers { party.operator } else { party.server };
                let work = [1_000, 1_000, 5].map(U64).to_vec();
                (actor, [task(), work, vec![Bytes(vec![9; 32])]].concat())
            }
            _ => return None,
        })
    }

    fn create_task(&self, party: &Party) -> Vec<Argument> {
        let order = party.order();
        let signature = sign(&party.client.key, &order);
        let head = vec![
            A(order.client),
            Bytes(party.client.public_key()),
            Bytes(order.order_id),
            U64(order.max_total),
            U64(order.max_per_task),
            U64(order.expires_seconds),
            Bytes(signature),
            Bytes(party.task()),
            A(party.operator.address),
            Bytes(party.node.public_key()),
        ];
        let deadline = self.trial.chain.seconds() + 600;
        [head, [100_000, 500, 1_500, deadline].map(U64).to_vec()].concat()
    }

    fn channel<'a>(&self, function: &str, party: &Party<'a>) -> Option<(&'a Actor, Vec<Argument>)> {
        let at = self.channels.iter().rev().nth(1 - party.index);
        let channel = at.copied().unwrap_or_default();
        Some(match function {
            "channel::open" => {
                let expires = self.trial.chain.seconds() + 10 * 86_400;
                let key = Bytes(party.session.public_key());
                (party.client, vec![A(party.server.address), key, U64(APT), U64(expires)])
            }
            "channel::top_up" => (party.client, vec![A(channel), U64(1_000)]),
            "channel::redeem" => {
                let (payee, cumulative) = (party.server.address, VOUCHER_OCTAS);
                let voucher = Voucher { chain_id: CHAIN_ID, channel, payee, cumulative };
                let signature = Bytes(sign(&party.session.key, &voucher));
                (party.server, vec![A(channel), U64(cumulative), signature])
            }
            "channel::request_close" => (party.client, vec![A(channel)]),
            "channel::close_by_payee" => (party.server, vec![A(channel)]),
            _ => return None,
        })
    }

    fn pool<'a>(&self, function: &str, party: &Party<'a>) -> Option<(&'a Actor, Vec<Argument>)> {
        // Of the pools of this act; both parties work in the last one if that is what they share.
        let shared = party.common == Common::Pool && !function.ends_with("_pool");
        let joins = party.common == Common::Pool && function == "pool::join_pool";
        let back = if shared || joins { 0 } else { 1 - party.index };
        let pool = self.pools.iter().rev().nth(back).copied().unwrap_or_default();
        let node = || Bytes(party.node.public_key());
        Some(match function {
            "pool::create_pool" => {
                let end = self.trial.chain.seconds() + 10 * 86_400;
                let texts = [Text("pool".to_owned()), Text("ipfs://data".to_owned())].to_vec();
                // Both know the key of the pool that they will share.
                let key = vec![Bytes(self.cast.sessions[0].public_key())];
                let numbers = [2, 1_000, 600, end].map(U64).to_vec();
                (party.client, [vec![U64(1)], texts, key, numbers].concat())
            }
            "rewards::open" => (party.client, vec![A(pool), U64(APT), U64(APT)]),
            "rewards::fund" => (party.client, vec![A(pool), U64(APT)]),
            "pool::start_pool" => (party.client, vec![A(pool)]),
            "pool::join_pool" => {
                let invite = party.invite(pool);
                let signature = Bytes(sign(&self.cast.sessions[0].key, &invite));
                let (nonce, expires) = (Bytes(invite.nonce), U64(invite.expires_seconds));
                (party.operator, vec![A(pool), node(), nonce, expires, signature])
            }
            "pool::submit_work" => {
                let id = Bytes(vec![20 + u8::try_from(party.index).unwrap_or(0); 32]);
                (party.operator, vec![A(pool), node(), id, U64(10)])
            }
            "rewards::claim" => (party.operator, vec![A(pool), node()]),
            _ => return None,
        })
    }

    fn dispute<'a>(&self, function: &str, party: &Party<'a>) -> Option<(&'a Actor, Vec<Argument>)> {
        let case = self.cases.get(party.index).copied().unwrap_or_default();
        let opinion = Opinion {
            chain_id: CHAIN_ID,
            case,
            appeal: false,
            validator: party.validator.address,
            uphold: true,
            salt: vec![3; 32],
        };
        Some(match function {
            "dispute::accuse" => {
                let nobody = [A(AccountAddress::ZERO), Bytes(Vec::new())];
                let evidence = Bytes(vec![4; 32]);
                let operator = A(party.operator.address);
                (party.stranger, [&[operator], &nobody[..], &[evidence]].concat())
            }
            "dispute::respond" => (party.operator, vec![A(case), Bytes(vec![5; 32])]),
            "dispute::commit_vote" => {
                let commitment = Sha3_256::digest(bcs(&opinion)).to_vec();
                (party.validator, vec![A(case), Bytes(commitment)])
            }
            "dispute::reveal_vote" => {
                (party.validator, vec![A(case), Bool(opinion.uphold), Bytes(opinion.salt)])
            }
            "dispute::finalize" => (party.stranger, vec![A(case)]),
            _ => return None,
        })
    }

    /// Places that the operation writes, from the present state.
    ///
    /// # Errors
    /// It was refused.
    pub fn written(&self, operation: &Operation) -> Result<BTreeSet<StateKey>, Violation> {
        let mut chain: Chain = self.trial.chain.clone();
        let effects = chain
            .call(operation)
            .map_err(|status| Violation(format!("{operation} was refused: {status}")))?;
        Ok(effects.writes.into_keys().collect())
    }

    /// Carries the operation out.
    ///
    /// # Errors
    /// It was refused, or a rule is broken.
    pub fn keep(&mut self, operation: Operation) -> Result<(), Violation> {
        self.note_signed(&operation);
        self.step(&Step::Call(operation))?;
        let books = &self.trial.books;
        let known = |known: &[AccountAddress], at: &&AccountAddress| !known.contains(*at);
        let channel = books.channels.keys().find(|at| known(&self.channels, at)).copied();
        let pool = books.pools.pools.keys().find(|at| known(&self.pools, at)).copied();
        let case = books.cases.keys().find(|at| known(&self.cases, at)).copied();
        self.channels.extend(channel);
        self.pools.extend(pool);
        self.cases.extend(case);
        Ok(())
    }

    /// The rules must know what was signed here.
    fn note_signed(&mut self, operation: &Operation) {
        let signed = &mut self.trial.signed;
        match (operation.function, operation.arguments.as_slice()) {
            ("channel::redeem", [A(channel), U64(cumulative), _]) => {
                signed.vouchers.insert(*channel, *cumulative);
            }
            (
                "payment::create_task",
                [A(client), _, Bytes(order_id), U64(total), U64(each), U64(expires), ..],
            ) => {
                signed.orders.insert(Order {
                    chain_id: CHAIN_ID,
                    client: *client,
                    server: operation.signer.unwrap_or_default(),
                    order_id: order_id.clone(),
                    max_total: *total,
                    max_per_task: *each,
                    expires_seconds: *expires,
                });
            }
            ("pool::join_pool", [A(pool), Bytes(node), Bytes(nonce), U64(expires), _]) => {
                let invite = Invite {
                    chain_id: CHAIN_ID,
                    pool: *pool,
                    operator: operation.signer.unwrap_or_default(),
                    node_public_key: node.clone(),
                    nonce: nonce.clone(),
                    expires_seconds: *expires,
                };
                signed.invites.insert((self.cast.sessions[0].public_key(), invite));
            }
            _ => {}
        }
    }
}

/// What each voucher pays, in octas.
const VOUCHER_OCTAS: u64 = 700;

impl Party<'_> {
    /// An id of each act's own.
    fn task(&self) -> Vec<u8> {
        vec![if self.common == Common::Server { 2 } else { 1 }; 32]
    }

    fn order(&self) -> Order {
        Order {
            chain_id: CHAIN_ID,
            client: self.client.address,
            server: self.server.address,
            order_id: self.task(),
            max_total: APT,
            max_per_task: APT,
            expires_seconds: NOW_SECONDS + YEAR,
        }
    }

    fn invite(&self, pool: AccountAddress) -> Invite {
        Invite {
            chain_id: CHAIN_ID,
            pool,
            operator: self.operator.address,
            node_public_key: self.node.public_key(),
            nonce: vec![u8::try_from(self.index).unwrap_or(0); 32],
            expires_seconds: NOW_SECONDS + YEAR,
        }
    }
}
