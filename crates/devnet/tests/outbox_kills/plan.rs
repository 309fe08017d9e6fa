//! What a life is to do, from the parent to the child, and what a routing server decides in it.

use std::{fmt, path::PathBuf};

use cactus_ledger::{
    Assignment, Call,
    outbox::{IntentId, Point},
};
use cactus_protocol::{
    Address, Hash, Octas, Order, OrderId, Price, PublicKey, SecretKey, SignedOrder, TaskId,
    task::Fault,
};
use serde::{Deserialize, Serialize};

/// Names the plan to the child.
pub const VARIABLE: &str = "CACTUS_OUTBOX_KILLS_PLAN";

/// One life of a routing server's process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    pub url: String,
    pub contract: Address,
    pub database: PathBuf,
    pub lane: u8,
    /// Decisions to take in this life.
    pub decisions: u32,
    /// Where the process aborts, and at which passing of that place, counted from 1.
    pub dies_at: Option<(Place, u32)>,
    /// The chain's time.
    pub now_seconds: u64,
}

/// Where a process may end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Place {
    /// A decision and its intents are written, not committed.
    BeforeDeciding,
    /// They are committed.
    AfterDeciding,
    /// At a point of the outbox, by its place in [`Point::ALL`].
    Outbox(usize),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeDeciding => f.write_str("BeforeDeciding"),
            Self::AfterDeciding => f.write_str("AfterDeciding"),
            Self::Outbox(index) => Point::ALL[*index].fmt(f),
        }
    }
}

impl Place {
    /// Every place.
    pub fn all() -> impl Iterator<Item = Self> {
        let deciding = [Self::BeforeDeciding, Self::AfterDeciding];
        deciding.into_iter().chain(Point::ALL.map(Self::of))
    }

    pub fn of(point: Point) -> Self {
        Self::Outbox(Point::ALL.iter().position(|one| *one == point).unwrap())
    }
}

/// Everyone who takes part in one lane.
pub struct Cast {
    lane: u8,
}

impl Cast {
    pub fn of(lane: u8) -> Self {
        Self { lane }
    }

    fn key(&self, role: u8) -> SecretKey {
        let mut seed = [0x4b; 32];
        seed[..2].copy_from_slice(&[self.lane, role]);
        SecretKey::from_seed(&seed)
    }

    pub fn server(&self) -> SecretKey {
        self.key(0)
    }

    pub fn client(&self) -> SecretKey {
        self.key(1)
    }

    pub fn operator(&self) -> SecretKey {
        self.key(2)
    }

    pub fn node(&self) -> SecretKey {
        self.key(3)
    }

    /// What decision `number` wants of the chain, in order: a payment to somebody whom nothing
    /// else pays, or a task that is created and then paid or given up.
    pub fn decision(&self, plan: &Plan, number: u32) -> Vec<(IntentId, Call)> {
        if number.is_multiple_of(2) {
            let (recipient, amount) = self.payment(number);
            let id = IntentId::new(format!("pay:{number}"));
            return vec![(id, Call::Transfer { recipient, amount })];
        }
        let task_id = self.task(number);
        let create = Call::create_task(&self.order(plan.contract), self.assignment(plan, number));
        let client = self.client().address();
        let close = if number % 4 == 1 {
            Call::CompleteTask {
                client,
                task_id,
                prompt_tokens: number,
                output_tokens: 2 * number,
                compute_ms: 30,
                receipt_hash: Hash([8; 32]),
            }
        } else {
            Call::FailTask { client, task_id, fault: Fault::Nobody }
        };
        vec![(IntentId::create(task_id), create), (IntentId::close(task_id), close)]
    }

    /// To whom decision `number` sends how much.
    pub fn payment(&self, number: u32) -> (Address, Octas) {
        let mut recipient = [0xee; 32];
        recipient[1] = self.lane;
        recipient[2..6].copy_from_slice(&number.to_be_bytes());
        (Address(recipient), Octas(1_000 + u64::from(number)))
    }

    pub fn task(&self, number: u32) -> TaskId {
        let mut id = [self.lane; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        TaskId(id)
    }

    fn assignment(&self, plan: &Plan, number: u32) -> Assignment {
        Assignment {
            task_id: self.task(number),
            orchestrator: self.operator().address(),
            node: self.node().public(),
            lock: Octas(1_000_000),
            price: Price { prompt: Octas(100_000), output: Octas(200_000) },
            deadline_seconds: plan.now_seconds + 3_500,
        }
    }

    fn order(&self, contract: Address) -> SignedOrder {
        let order = Order {
            chain_id: cactus_ledger::LOCALNET_CHAIN_ID,
            client: self.client().address(),
            server: self.server().address(),
            order_id: OrderId([7; 32]),
            max_total: Octas(1_000_000_000),
            max_per_task: Octas(1_000_000),
            expires_seconds: 9_000_000_000,
        };
        SignedOrder::new(order, contract, &self.client()).unwrap()
    }

    pub fn node_proof(&self, contract: Address) -> (PublicKey, cactus_protocol::Signature) {
        let node = self.node();
        let proof = cactus_protocol::NodeKeyProof {
            chain_id: cactus_ledger::LOCALNET_CHAIN_ID,
            operator: self.operator().address(),
            node_public_key: node.public(),
        };
        let signature = cactus_protocol::chain_message::sign(&proof, contract, &node).unwrap();
        (node.public(), signature)
    }
}
