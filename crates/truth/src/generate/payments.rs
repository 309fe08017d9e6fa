//! Clients' money, orders and tasks. Never settles a task that it believes final, unless spoiled.

use cactus_move_vm::AccountAddress as Address;

use super::{DAY, Draft, Generator, HOUR, Kind, SignedOrder};
use crate::argument::Argument::{Address as A, Addresses, ByteLists, Bytes, Numbers, U8, U64};
use crate::books::{Books, Id};
use crate::chain::CHAIN_ID;
use crate::records::{ClientAccount, Escrow, Node, Orchestrator, TaskState};
use crate::signing::{Order, sign};

pub const KINDS: &[Kind] = &[
    Kind { function: "payment::deposit", weight: 10, make: deposit },
    Kind { function: "payment::request_withdraw", weight: 5, make: request_withdraw },
    Kind { function: "payment::withdraw", weight: 4, make: withdraw },
    Kind { function: "payment::cancel_withdraw", weight: 1, make: cancel_withdraw },
    Kind { function: "payment::create_task", weight: 36, make: create_task },
    Kind { function: "payment::complete_task", weight: 16, make: complete_task },
    Kind { function: "payment::complete_tasks", weight: 4, make: complete_tasks },
    Kind { function: "payment::fail_task", weight: 5, make: fail_task },
    Kind { function: "payment::refund_expired", weight: 6, make: refund_expired },
    Kind { function: "payment::deliver_task", weight: 6, make: deliver_task },
    Kind { function: "payment::release_expired", weight: 6, make: release_expired },
];

/// Orders in use at a time.
const ORDERS: usize = 12;
/// The most that one task locks, in octas.
const MAX_LOCK: u64 = 20_000_000;

fn available(books: &Books, client: &Address) -> u64 {
    books.clients.get(client).map_or(0, |account| {
        let ClientAccount::V1 { escrow: Escrow::V1 { available, .. }, .. } = account;
        *available
    })
}

fn deposit(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let client = generator.address_in(|cast| &cast.clients)?;
    let amount = generator.amount(books.wallet(&client) / 2)?;
    Some((Some(client), vec![U64(amount)]))
}

fn request_withdraw(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let client = generator.key_of(&books.clients, |client, _| available(books, client) > 0)?;
    let amount = generator.amount(available(books, &client))?;
    Some((Some(client), vec![U64(amount)]))
}

/// A client with a request; `due` says on which side of its time, `None` that it does not matter.
fn requester(generator: &mut Generator, books: &Books, due: Option<bool>) -> Option<Address> {
    let now = generator.seconds;
    generator.key_of(&books.clients, |_, ClientAccount::V1 { escrow, .. }| {
        let Escrow::V1 { requested, withdraw_from_seconds, .. } = escrow;
        *requested > 0 && due.is_none_or(|due| due == (*withdraw_from_seconds <= now))
    })
}

fn withdraw(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let early = generator.random.once_in(20);
    Some((Some(requester(generator, books, Some(!early))?), vec![]))
}

fn cancel_withdraw(generator: &mut Generator, books: &Books) -> Option<Draft> {
    Some((Some(requester(generator, books, None)?), vec![]))
}

/// An order in use, or a new one in place of the oldest.
fn order(generator: &mut Generator) -> Option<SignedOrder> {
    let now = generator.seconds;
    generator.orders.retain(|signed| signed.order.expires_seconds > now);
    if generator.orders.len() >= ORDERS && !generator.random.once_in(30) {
        return generator.random.pick(&generator.orders).cloned();
    }
    let client = generator.random.pick(&generator.cast.clients)?.clone();
    let max_per_task = generator.random.between(1, MAX_LOCK);
    let order = Order {
        chain_id: CHAIN_ID,
        client: client.address,
        server: generator.address_in(|cast| &cast.servers)?,
        // Few ids, so that orders of one id with different limits meet.
        order_id: vec![generator.random.below(6).to_le_bytes()[0]; 32],
        max_total: max_per_task.saturating_mul(generator.random.between(1, 200)),
        max_per_task,
        expires_seconds: now + generator.random.between(60, 20 * DAY),
    };
    let signed = SignedOrder { signature: sign(&client.key, &order), order: order.clone() };
    generator.signed.orders.insert(order);
    if generator.orders.len() >= ORDERS {
        generator.orders.remove(0);
    }
    generator.orders.push(signed.clone());
    Some(signed)
}

/// An operator and a node that may work for it.
fn worker(generator: &mut Generator, books: &Books) -> Option<(Address, Vec<u8>)> {
    let works = |_: &Address, Orchestrator::V1 { whitelisted, nodes, .. }: &Orchestrator| {
        *whitelisted && nodes.iter().any(|Node::V1 { validated, .. }| *validated)
    };
    let operator = generator.key_of(&books.orchestrators, works)?;
    // Sometimes another's node: a delegate's, if there is such a delegation.
    let owner = match generator.random.once_in(10) {
        true => generator.key_of(&books.orchestrators, works)?,
        false => operator,
    };
    let Orchestrator::V1 { nodes, .. } = books.orchestrators.get(&owner)?;
    let validated: Vec<&Node> =
        nodes.iter().filter(|Node::V1 { validated, .. }| *validated).collect();
    let Node::V1 { public_key, .. } = generator.random.pick(&validated)?;
    Some((operator, public_key.clone()))
}

fn create_task(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let SignedOrder { order, signature } = order(generator)?;
    let public_key = generator.cast.actor(&order.client)?.public_key();
    let (operator, node) = worker(generator, books)?;
    let used = books.orders.get(&(order.client, order.order_id.clone())).copied().unwrap_or(0);
    let most = order.max_per_task.min(order.max_total.saturating_sub(used));
    // An order that is used up is tried all the same: it must be refused.
    let lock = generator.amount(most.min(available(books, &order.client)).max(1))?;
    let longest = books.parameter(6).min(6 * HOUR);
    let task_id = match generator.random.once_in(40) {
        true => generator.key_of(&books.tasks, |id, _| id.0 == order.client)?.1,
        false => generator.id(),
    };
    let arguments = vec![
        A(order.client),
        Bytes(public_key),
        Bytes(order.order_id),
        U64(order.max_total),
        U64(order.max_per_task),
        U64(order.expires_seconds),
        Bytes(signature),
        Bytes(task_id),
        A(operator),
        Bytes(node),
        U64(lock),
        U64(generator.random.below(2_000_000)),
        U64(generator.random.below(6_000_000)),
        U64(generator.seconds + generator.random.between(1, longest)),
    ];
    Some((Some(order.server), arguments))
}

/// A task that is not final; `overdue` says on which side of its deadline, or of its review.
fn assigned(generator: &mut Generator, books: &Books, overdue: bool) -> Option<Id> {
    let now = generator.seconds;
    let fits = |id: &&Id| {
        books.tasks.get(*id).is_some_and(|task| (task.settle_until_seconds() < now) == overdue)
    };
    let ids: Vec<&Id> = books.assigned.iter().filter(fits).collect();
    generator.random.pick(&ids).map(|id| (*id).clone())
}

fn complete_task(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let id = assigned(generator, books, false)?;
    let server = books.tasks.get(&id)?.server;
    let receipt = generator.id();
    let arguments = vec![
        A(id.0),
        Bytes(id.1),
        U64(generator.random.below(20_000)),
        U64(generator.random.below(8_000)),
        U64(generator.random.below(60_000)),
        Bytes(receipt),
    ];
    Some((Some(server), arguments))
}

fn complete_tasks(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let first = assigned(generator, books, false)?;
    let server = books.tasks.get(&first)?.server;
    let own = |id: &&Id| books.tasks.get(*id).is_some_and(|task| task.server == server);
    let most = generator.random.index(8) + 1;
    let mut ids: Vec<Id> = books.assigned.iter().filter(own).take(most).cloned().collect();
    // A final task, or one twice, must be passed over.
    if generator.random.once_in(4) {
        ids.push(first);
    }
    let mut numbers =
        |most: u64| Numbers(ids.iter().map(|_| generator.random.below(most)).collect());
    let (prompts, outputs, times) = (numbers(20_000), numbers(8_000), numbers(60_000));
    let receipts = ids.iter().map(|_| generator.id()).collect();
    let arguments = vec![
        Addresses(ids.iter().map(|id| id.0).collect()),
        ByteLists(ids.iter().map(|id| id.1.clone()).collect()),
        prompts,
        outputs,
        times,
        ByteLists(receipts),
    ];
    Some((Some(server), arguments))
}

fn fail_task(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let overdue = generator.random.once_in(4);
    let id = assigned(generator, books, overdue)?;
    let server = books.tasks.get(&id)?.server;
    let fault = [1, 2, 3][generator.random.index(3)];
    Some((Some(server), vec![A(id.0), Bytes(id.1), U8(fault)]))
}

fn refund_expired(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let early = generator.random.once_in(20);
    let id = assigned(generator, books, !early)?;
    Some((Some(generator.anyone()?), vec![A(id.0), Bytes(id.1)]))
}

fn deliver_task(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let id = assigned(generator, books, false)?;
    let operator = books.tasks.get(&id)?.orchestrator;
    let receipt = generator.id();
    let arguments = vec![
        A(id.0),
        Bytes(id.1),
        U64(generator.random.below(20_000)),
        U64(generator.random.below(8_000)),
        U64(generator.random.below(60_000)),
        Bytes(receipt),
    ];
    Some((Some(operator), arguments))
}

fn release_expired(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (now, early) = (generator.seconds, generator.random.once_in(20));
    let id = generator.key_of(&books.tasks, |_, task| {
        let delivered = matches!(task.state, TaskState::Delivered { .. });
        delivered && (task.settle_until_seconds() < now) != early
    })?;
    Some((Some(generator.anyone()?), vec![A(id.0), Bytes(id.1)]))
}
