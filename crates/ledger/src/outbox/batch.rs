//! Which intents share a transaction, and what one transaction means for each of them. Pure.
//!
//! A payment alone goes at once. While payments are on their way to the chain, further ones gather
//! until one of those arrives or a transaction is full: the busier the server, the more payments
//! share a signature, and nobody waits longer than for one block.

use super::{IntentId, Outcome, store::Ready};
use crate::{call::Call, chain::Execution, event::ChainEvent};
use cactus_protocol::{Address, Octas, TaskId};
use std::collections::HashSet;

/// Payments of one transaction. The contract takes 100; half of that stays far below the gas that
/// one transaction may burn.
pub(crate) const MOST_PAYMENTS: usize = 50;
/// Transactions with payments in flight from which on further payments gather.
const GATHERING: usize = 2;

/// Intents that one transaction carries.
pub(crate) type Batch = Vec<Ready>;

/// What a committed transaction says about one of its payments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// It was made.
    Paid(Outcome),
    /// The contract passed it over; the task itself tells whether it was paid before.
    PassedOver(String),
    /// Nothing: the node did not show the contract's events.
    Silent,
}

/// How much may be signed now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Further transactions.
    pub(crate) transactions: usize,
    /// Transactions with payments that are in flight.
    pub(crate) paying: usize,
}

/// Whether a call is a payment that can share a transaction.
pub(crate) fn is_payment(call: &Call) -> bool {
    matches!(call, Call::CompleteTask { .. })
}

/// What goes now, oldest first. Intents that are in `alone` share with nobody.
pub(crate) fn gather(ready: Vec<Ready>, alone: &HashSet<IntentId>, room: Room) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut open: Option<usize> = None;
    for intent in ready {
        let shares = is_payment(&intent.call) && !alone.contains(&intent.id);
        match open.map(|place| &mut batches[place]) {
            Some(batch) if shares && batch.len() < MOST_PAYMENTS => batch.push(intent),
            _ => {
                if shares {
                    open = Some(batches.len());
                }
                batches.push(vec![intent]);
            }
        }
    }
    let mut paying = room.paying;
    batches.retain(|batch| {
        let pays = is_payment(&batch[0].call) && !alone.contains(&batch[0].id);
        let goes = !pays || batch.len() == MOST_PAYMENTS || paying < GATHERING;
        paying += usize::from(pays && goes);
        goes
    });
    batches.truncate(room.transactions);
    batches
}

/// The one call that carries them all.
pub(crate) fn call_of<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Option<Call> {
    let mut calls = calls.into_iter().peekable();
    let first = calls.next()?;
    if calls.peek().is_none() {
        return Some(first.clone());
    }
    let mut all = Lists::default();
    for call in std::iter::once(first).chain(calls) {
        all.push(call)?;
    }
    Some(Call::CompleteTasks {
        clients: all.clients,
        task_ids: all.task_ids,
        prompt_tokens: all.prompt_tokens,
        output_tokens: all.output_tokens,
        compute_ms: all.compute_ms,
        receipt_hashes: all.receipt_hashes,
    })
}

#[derive(Default)]
struct Lists {
    clients: Vec<Address>,
    task_ids: Vec<TaskId>,
    prompt_tokens: Vec<u32>,
    output_tokens: Vec<u32>,
    compute_ms: Vec<u32>,
    receipt_hashes: Vec<cactus_protocol::Hash>,
}

impl Lists {
    /// `None` for anything but a payment: it cannot share.
    fn push(&mut self, call: &Call) -> Option<()> {
        let Call::CompleteTask {
            client,
            task_id,
            prompt_tokens,
            output_tokens,
            compute_ms,
            receipt_hash,
        } = call
        else {
            return None;
        };
        self.clients.push(*client);
        self.task_ids.push(*task_id);
        self.prompt_tokens.push(*prompt_tokens);
        self.output_tokens.push(*output_tokens);
        self.compute_ms.push(*compute_ms);
        self.receipt_hashes.push(*receipt_hash);
        Some(())
    }
}

/// What a transaction that succeeded says about the payment of one task. `share` is its place and
/// how many there are: the gas is split evenly, the rest of the division to the first.
pub(crate) fn part_of(
    (client, task_id): (Address, TaskId),
    (hash, execution): (&str, &Execution),
    share: (usize, usize),
) -> Part {
    let of_task = |event: &&ChainEvent| {
        event.settlement().is_some_and(|paid| paid.client == client && paid.task_id == task_id)
    };
    if let Some(event) = execution.events.iter().find(of_task) {
        return Part::Paid(Outcome::Confirmed {
            hash: hash.to_owned(),
            version: execution.version,
            gas_octas: gas_share(execution.gas, share),
            events: vec![event.clone()],
        });
    }
    let mut skipped = execution.events.iter().filter_map(ChainEvent::skipped);
    match skipped.find(|skipped| skipped.client == client && skipped.task_id == task_id) {
        Some(skipped) => Part::PassedOver(format!("passed over: {:?}", skipped.reason)),
        None => Part::Silent,
    }
}

pub(crate) fn gas_share(gas: Octas, (place, count): (usize, usize)) -> Octas {
    let count = u64::try_from(count.max(1)).unwrap_or(u64::MAX);
    let rest = if place == 0 { gas.0 % count } else { 0 };
    Octas(gas.0 / count + rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cactus_protocol::Hash;
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    use serde_json::json;

    fn payment(number: u8) -> Ready {
        let call = Call::CompleteTask {
            client: Address([9; 32]),
            task_id: TaskId([number; 32]),
            prompt_tokens: number.into(),
            output_tokens: 2,
            compute_ms: 3,
            receipt_hash: Hash([number; 32]),
        };
        ready(format!("close:{number}"), call)
    }

    fn transfer(number: u8) -> Ready {
        let call = Call::Transfer { recipient: Address([number; 32]), amount: Octas(1) };
        ready(format!("transfer:{number}"), call)
    }

    fn ready(id: String, call: Call) -> Ready {
        Ready { id: IntentId::new(id), call, attempts: 0, orphaned: false }
    }

    fn sizes(ready: Vec<Ready>, paying: usize) -> Vec<usize> {
        let room = Room { transactions: 64, paying };
        gather(ready, &HashSet::new(), room).iter().map(Vec::len).collect()
    }

    #[test]
    fn a_payment_alone_goes_at_once_and_several_share() {
        assert_eq!(sizes(vec![payment(1)], 0), [1]);
        assert_eq!(sizes(vec![payment(1), transfer(1), payment(2)], 0), [2, 1]);
    }

    #[test]
    fn while_payments_are_on_their_way_further_ones_gather_until_a_transaction_is_full() {
        assert_eq!(sizes(vec![payment(1)], 1), [1]);
        assert_eq!(sizes(vec![payment(1), transfer(1)], 2), [1], "the transfer goes");
        let many = |count: u8| (0..count).map(payment).collect::<Vec<_>>();
        assert_eq!(sizes(many(49), 2), [0; 0]);
        assert_eq!(sizes(many(110), 2), [50, 50]);
        assert_eq!(sizes(many(110), 0), [50, 50]);
    }

    #[test]
    fn what_is_to_go_alone_shares_with_nobody_and_waits_for_nobody() {
        let alone = HashSet::from([payment(1).id]);
        let ready = vec![payment(1), payment(2), payment(3)];
        let batches = gather(ready, &alone, Room { transactions: 64, paying: 0 });
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        let batches = gather(vec![payment(1)], &alone, Room { transactions: 64, paying: 2 });
        assert_eq!(batches.len(), 1);
    }

    #[test]
    fn many_payments_become_one_call_in_order_and_one_stays_what_it_is() {
        let one = payment(1);
        assert_eq!(call_of([&one.call]), Some(one.call.clone()));
        let Some(Call::CompleteTasks { task_ids, prompt_tokens, .. }) =
            call_of([&one.call, &payment(2).call])
        else {
            panic!("one call for both");
        };
        assert_eq!(task_ids, [TaskId([1; 32]), TaskId([2; 32])]);
        assert_eq!(prompt_tokens, [1, 2]);
        assert_eq!(call_of([&one.call, &transfer(1).call]), None);
    }

    fn event(name: &str, task: u8, more: serde_json::Value) -> ChainEvent {
        let mut data = json!({
            "client": Address([9; 32]), "task_id": TaskId([task; 32]), "server": Address([1; 32]),
            "orchestrator": Address([2; 32]), "orchestrator_octas": "5", "server_fee_octas": "0",
            "treasury_fee_octas": "0", "refund_octas": "0",
        });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let module = if name == "TaskSettled" { "settlement" } else { "payment" };
        ChainEvent { module: module.into(), name: name.into(), data }
    }

    #[test]
    fn each_payment_has_its_own_word_of_the_contract() {
        let execution = Execution {
            version: 7,
            success: true,
            vm_status: String::new(),
            gas: Octas(11),
            events: vec![
                event("TaskSettled", 1, json!({})),
                event("TaskSkipped", 2, json!({"reason": 3})),
            ],
        };
        let part = |task: u8, place| {
            let about = (Address([9; 32]), TaskId([task; 32]));
            part_of(about, ("0x1", &execution), (place, 3))
        };
        let Part::Paid(Outcome::Confirmed { gas_octas, events, .. }) = part(1, 0) else {
            panic!("it was paid");
        };
        assert_eq!((gas_octas, events.len()), (Octas(5), 1));
        assert_eq!(part(2, 1), Part::PassedOver("passed over: Final".into()));
        assert_eq!(part(3, 2), Part::Silent);
    }

    #[test]
    fn nothing_is_lost_or_doubled_and_gas_adds_up() {
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            let count: u8 = random.random_range(0..150);
            let kinds: Vec<bool> = (0..count).map(|_| random.random()).collect();
            let intent = |(number, pays): (u8, &bool)| {
                if *pays { payment(number) } else { transfer(number) }
            };
            let all: Vec<_> = (0..).zip(&kinds).map(intent).collect();
            let room = Room { transactions: 200, paying: 0 };
            let batches = gather(all.clone(), &HashSet::new(), room);
            let ids: Vec<_> = batches.iter().flatten().map(|one| &one.id).collect();
            let unique: HashSet<_> = ids.iter().collect();
            assert_eq!(unique.len(), ids.len(), "doubled, seed {seed}");
            assert!(all.len() - ids.len() < MOST_PAYMENTS, "withheld, seed {seed}");
            for batch in &batches {
                assert!(batch.len() <= MOST_PAYMENTS);
                assert!(call_of(batch.iter().map(|one| &one.call)).is_some());
            }
            let (gas, parts) = (random.random_range(0..1000), kinds.len().max(1));
            let shares = (0..parts).map(|place| gas_share(Octas(gas), (place, parts)).0);
            assert_eq!(shares.sum::<u64>(), gas, "seed {seed}");
        }
    }
}
