//! Signed transactions: transfers, and tasks that are created and settled.

use aptos_sdk::types::AccountAddress;

use super::network::{Account, Network, Server, bcs, function, now_seconds};

/// Octas that a task locks. It costs 5,000 of them.
const LOCK: u64 = 10_000;
/// Octas per 1,000 tokens, and the tokens of a task.
const PRICE: u64 = 1_000;
const TOKENS: u64 = 2_500;
/// Seconds until a task may be refunded.
const DEADLINE_SECONDS: u64 = 3_000;
/// Recipients of transfers.
const RECIPIENTS: u64 = 1_000;

/// A task that was created.
#[derive(Clone)]
pub struct Task {
    client: AccountAddress,
    id: Vec<u8>,
}

/// The sender's next transfer, of one octa.
pub fn transfer(sender: &mut Account, index: u64) -> Vec<u8> {
    let mut recipient = [0; 32];
    recipient[..8].copy_from_slice(&(index % RECIPIENTS).to_be_bytes());
    recipient[31] = 0xff;
    let arguments = vec![bcs(&AccountAddress::new(recipient)), bcs(&1_u64)];
    sender.sign("0x1::aptos_account::transfer", arguments)
}

impl Server {
    /// Locks the money of the next task.
    pub fn create(&mut self) -> (Task, Vec<u8>) {
        let number = usize::try_from(self.tasks).unwrap();
        let client = &self.clients[number % self.clients.len()];
        let operator = &self.operators[number % self.operators.len()];
        let mut id = vec![self.number; 32];
        id[..8].copy_from_slice(&self.tasks.to_be_bytes());
        self.tasks += 1;
        let arguments = vec![
            bcs(&client.address),
            bcs(&client.public_key),
            bcs(&client.order_id),
            bcs(&client.max_total),
            bcs(&client.max_total),
            bcs(&client.expires_seconds),
            bcs(&client.signature),
            bcs(&id),
            bcs(&operator.address),
            bcs(&operator.node_public_key),
            bcs(&LOCK),
            bcs(&PRICE),
            bcs(&PRICE),
            bcs(&(now_seconds() + DEADLINE_SECONDS)),
        ];
        let task = Task { client: client.address, id };
        (task, self.account.sign(&function("payment::create_task"), arguments))
    }

    /// Pays for a task.
    pub fn complete(&mut self, task: &Task) -> Vec<u8> {
        let arguments = vec![
            bcs(&task.client),
            bcs(&task.id),
            bcs(&TOKENS),
            bcs(&TOKENS),
            bcs(&300_u64),
            bcs(&vec![3_u8; 32]),
        ];
        self.account.sign(&function("payment::complete_task"), arguments)
    }

    /// Pays for several tasks at once.
    pub fn complete_all(&mut self, tasks: &[Task]) -> Vec<u8> {
        let all = |number: u64| bcs(&vec![number; tasks.len()]);
        let arguments = vec![
            bcs(&tasks.iter().map(|task| task.client).collect::<Vec<_>>()),
            bcs(&tasks.iter().map(|task| task.id.clone()).collect::<Vec<_>>()),
            all(TOKENS),
            all(TOKENS),
            all(300),
            bcs(&vec![vec![3_u8; 32]; tasks.len()]),
        ];
        self.account.sign(&function("payment::complete_tasks"), arguments)
    }
}

impl Network {
    /// `count` transfers, round robin over the senders.
    pub fn transfers(&mut self, count: u64) -> Vec<Vec<u8>> {
        let mut senders = self.senders.iter_mut().collect::<Vec<_>>();
        let turns = senders.len();
        (0..count)
            .map(|index| transfer(senders[usize::try_from(index).unwrap() % turns], index))
            .collect()
    }

    /// `count` tasks, each created and paid by two transactions in a row, round robin over the
    /// servers.
    pub fn settlements(&mut self, count: u64) -> Vec<Vec<u8>> {
        let turns = self.servers.len();
        (0..count)
            .flat_map(|index| {
                let server = &mut self.servers[usize::try_from(index).unwrap() % turns];
                let (task, created) = server.create();
                [created, server.complete(&task)]
            })
            .collect()
    }

    /// `count` tasks, created one by one and paid `batch` at a time.
    pub fn batches(&mut self, count: u64, batch: u64) -> Vec<Vec<u8>> {
        let turns = self.servers.len();
        let mut signed = Vec::new();
        for index in 0..count / batch {
            let server = &mut self.servers[usize::try_from(index).unwrap() % turns];
            let mut tasks = Vec::new();
            for _ in 0..batch {
                let (task, created) = server.create();
                tasks.push(task);
                signed.push(created);
            }
            signed.push(server.complete_all(&tasks));
        }
        signed
    }
}
