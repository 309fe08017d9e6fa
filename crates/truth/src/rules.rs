//! What must hold between the state before an operation and the state after it: who may win, who
//! may lose, and what a task may cost. Never computes what a contract should do, except a price.

mod disputes;

use std::collections::{BTreeMap, BTreeSet};

use cactus_move_vm::{AccountAddress as Address, Effects, VmStatus};

use crate::argument::Argument;
use crate::books::{Books, Touched, Violation, hold, primary_store, read, total_stake};
use crate::cast::Cast;
use crate::operation::Operation;
use crate::records::{
    Appeal, Case, Channel, ClientAccount, Escrow, Pauses, Reputation, Server, Settlement, Stake,
    TaskSettled, TaskState,
};
use crate::signing::{Invite, Order};

/// What a record looked like before an operation, as far as rules compare it.
pub struct Before {
    stakes: BTreeMap<Address, Stake>,
    reputations: BTreeMap<Address, Reputation>,
    escrows: BTreeMap<Address, Escrow>,
}

/// What people signed in a sequence; nothing else may count.
#[derive(Debug, Clone, Default)]
pub struct Signed {
    /// Orders.
    pub orders: std::collections::HashSet<Order>,
    /// The highest cumulative amount signed, by channel.
    pub vouchers: BTreeMap<Address, u64>,
    /// Invites, with the public key that signed each.
    pub invites: std::collections::HashSet<(Vec<u8>, Invite)>,
}

/// Parameters by their index.
const SERVER_FEE_BPS: usize = 3;
const TREASURY_FEE_BPS: usize = 4;
const QUALITY_FLOOR_BPS: usize = 5;
const BPS: u128 = 10_000;
const PRICE_TOKENS: u128 = 1_000;

/// Entry functions that no pause may stop.
pub const EXITS: &[&str] = &[
    "payment::request_withdraw",
    "payment::withdraw",
    "payment::cancel_withdraw",
    "payment::deliver_task",
    "payment::release_expired",
    "payment::complete_task",
    "payment::complete_tasks",
    "payment::fail_task",
    "payment::refund_expired",
    "stake::begin_unbond",
    "stake::rebond",
    "stake::withdraw",
    "server_registry::remove_server",
    "registry::deregister",
    "registry::remove_node",
    "delegation::remove_delegate",
    "channel::redeem",
    "channel::redeem_batch",
    "channel::close_by_payee",
    "channel::request_close",
    "channel::finalize",
    "dispute::finalize",
    "dispute::respond",
    "dispute::hold_task",
    "treasury::sweep",
    "treasury::sweep_slashed",
    "domain::update_domain",
    "pool::end_pool",
    "pool::leave_pool",
    "pool::eject_node",
    "pool::blacklist_provider",
    "pool::blacklist_node",
    "pool::submit_work",
    "rewards::claim",
    "rewards::invalidate_work",
    "rewards::soft_invalidate_work",
    "rewards::reclaim",
];

impl Before {
    /// Notes what the rules will compare.
    pub fn of(books: &Books) -> Self {
        let escrow = |(at, account): (&Address, &ClientAccount)| {
            let ClientAccount::V1 { escrow, .. } = account;
            (*at, escrow.clone())
        };
        Self {
            stakes: books.stakes.clone(),
            reputations: books.reputations.clone(),
            escrows: books.clients.iter().map(escrow).collect(),
        }
    }
}

/// Checks how an operation failed: by a documented abort, and no exit by a pause.
///
/// # Errors
/// It failed in another way.
pub fn check_failure(operation: &Operation, status: &VmStatus) -> Result<(), Violation> {
    let VmStatus::MoveAbort { reason, .. } = status else {
        return Err(Violation(format!("it failed other than by an abort: {status}")));
    };
    let Some(reason) = reason else {
        return Err(Violation(format!("it aborted with an undocumented code: {status}")));
    };
    let paused = reason.name == "EPAUSED" && EXITS.contains(&operation.function);
    hold!(!paused, "a pause blocked an exit");
    Ok(())
}

/// Checks an operation that succeeded.
///
/// # Errors
/// A rule is broken.
pub fn check_success(
    (before, books): (&Before, &Books),
    (operation, effects, touched): (&Operation, &Effects, &Touched),
    (cast, signed): (&Cast, &Signed),
) -> Result<(), Violation> {
    check_wallets(books, operation, effects, touched, cast)?;
    check_settlements(before, books, effects)?;
    disputes::check_stakes(before, books, operation)?;
    disputes::check_bounty(before, books, (operation, effects, touched))?;
    disputes::check_tasks(books, (operation, effects, touched))?;
    match operation.function {
        "payment::create_task" => check_order(books, operation, signed),
        "stake::withdraw" => check_withdrawal(before, books, operation),
        "payment::withdraw" => check_payout(before, books, operation, touched),
        "channel::redeem" | "channel::redeem_batch" => check_vouchers(books, signed),
        _ => Ok(()),
    }
}

/// No wallet shrinks but that of who signs, and only those grow whom the operation is meant to pay.
fn check_wallets(
    books: &Books,
    operation: &Operation,
    effects: &Effects,
    touched: &Touched,
    cast: &Cast,
) -> Result<(), Violation> {
    let winners = entitled(books, operation, effects);
    for actor in cast.everyone() {
        let store = primary_store(&actor.address);
        let Some(before) = touched.stores.get(&store) else { continue };
        let after = books.stores.get(&store).copied().unwrap_or(0);
        let own = operation.signer == Some(actor.address);
        hold!(after >= *before || own, "{} lost {}", actor.address, before - after);
        let may_win = winners.contains(&actor.address);
        hold!(after <= *before || may_win, "{} won {}", actor.address, after - before);
    }
    Ok(())
}

/// Whom an operation may pay.
fn entitled(books: &Books, operation: &Operation, effects: &Effects) -> BTreeSet<Address> {
    let signer = operation.signer.unwrap_or_default();
    let address = |index: usize| match operation.arguments.get(index) {
        Some(Argument::Address(address)) => *address,
        _ => Address::ZERO,
    };
    let channel = |end: fn(&Channel) -> Address| books.channels.get(&address(0)).map(end);
    match operation.function {
        "payment::withdraw" | "stake::withdraw" | "server_registry::remove_server" => {
            [signer].into()
        }
        "payment::complete_task" | "payment::complete_tasks" | "payment::release_expired" => {
            payees(effects).collect()
        }
        "rewards::claim" => [signer].into(),
        "rewards::reclaim" => {
            let pool = books.pools.pools.get(&address(0));
            pool.map(|pool| pool.terms.creator).into_iter().collect()
        }
        "treasury::sweep" => [address(1)].into(),
        "treasury::sweep_slashed" => [address(0)].into(),
        "dispute::finalize" => {
            let parties = books.cases.get(&address(0)).map(parties).unwrap_or_default();
            parties.into_iter().chain(payees(effects)).collect()
        }
        "channel::redeem" => channel(|channel| channel.payee).into_iter().collect(),
        "channel::close_by_payee" | "channel::finalize" => {
            channel(|channel| channel.payer).into_iter().collect()
        }
        "channel::redeem_batch" => match operation.arguments.first() {
            Some(Argument::Addresses(channels)) => {
                let records = channels.iter().filter_map(|at| books.channels.get(at));
                records.map(|channel| channel.payee).collect()
            }
            _ => BTreeSet::new(),
        },
        _ => BTreeSet::new(),
    }
}

fn parties(case: &Case) -> BTreeSet<Address> {
    let appellant = match case.appeal {
        Appeal::Filed { appellant, .. } => Some(appellant),
        Appeal::None => None,
    };
    [case.accuser, case.operator, case.client].into_iter().chain(appellant).collect()
}

/// Orchestrators and servers of what was settled.
fn payees(effects: &Effects) -> impl Iterator<Item = Address> {
    settlements(effects).flat_map(|settled| [settled.orchestrator, settled.server])
}

fn settlements(effects: &Effects) -> impl Iterator<Item = Settlement> {
    let settled = effects.events.iter().filter(|event| {
        matches!(&event.type_tag, cactus_move_vm::TypeTag::Struct(tag)
            if tag.module == "settlement" && tag.name == "TaskSettled")
    });
    settled.filter_map(|event| read(&event.data).ok()).map(|TaskSettled::V1(settled)| settled)
}

/// The price is what was agreed, rounded down; fees too; and nothing is lost in between.
fn check_settlements(before: &Before, books: &Books, effects: &Effects) -> Result<(), Violation> {
    let mut served_here: BTreeMap<Address, u64> = BTreeMap::new();
    for settled in settlements(effects) {
        let more = served_here.entry(settled.orchestrator).or_default();
        let quality = quality(before, books, &settled.orchestrator, *more);
        *more += 1;
        let id = (settled.client, settled.task_id.clone());
        let Some(task) = books.tasks.get(&id) else {
            return Err(Violation("a settled task is not in the books".to_owned()));
        };
        let work = u128::from(settled.prompt_tokens) * u128::from(task.prompt_price)
            + u128::from(settled.output_tokens) * u128::from(task.output_price);
        let price = (work * quality / (PRICE_TOKENS * BPS)).min(u128::from(task.lock));
        let charge = u128::from(settled.orchestrator_octas)
            + u128::from(settled.server_fee_octas)
            + u128::from(settled.treasury_fee_octas);
        hold!(charge == price, "a task cost {charge}, its price is {price}: {settled:?}");
        let share = |index| price * u128::from(books.parameter(index)) / BPS;
        let fees = (share(SERVER_FEE_BPS), share(TREASURY_FEE_BPS));
        let paid = (settled.server_fee_octas.into(), settled.treasury_fee_octas.into());
        hold!(fees == paid, "fees of {paid:?} instead of {fees:?}");
        let whole = charge + u128::from(settled.refund_octas) == u128::from(task.lock);
        hold!(whole, "charge and refund are not the lock: {settled:?}");
        let fee_octas = settled.server_fee_octas + settled.treasury_fee_octas;
        let state =
            TaskState::Settled { orchestrator_octas: settled.orchestrator_octas, fee_octas };
        hold!(task.state == state, "the event says otherwise than the record: {settled:?}");
    }
    Ok(())
}

/// Basis points that an orchestrator earns after `more` tasks in the same call.
fn quality(before: &Before, books: &Books, operator: &Address, more: u64) -> u128 {
    let floor = u128::from(books.parameter(QUALITY_FLOOR_BPS));
    let (served, failed) = before.reputations.get(operator).map_or((0, 0), |record| {
        let Reputation::V1 { served, failed_by_provider, .. } = record;
        (*served, *failed_by_provider)
    });
    let good = u128::from(served + more) + 1;
    floor + (BPS - floor) * good / (good + u128::from(failed))
}

/// Only what the client signed counts, and never for more than it says.
fn check_order(books: &Books, operation: &Operation, signed: &Signed) -> Result<(), Violation> {
    use Argument::{Address as A, Bytes, U64};
    let [A(client), _, Bytes(order_id), U64(max_total), U64(max_per_task), U64(expires), ..] =
        operation.arguments.as_slice()
    else {
        return Err(Violation("create_task has other arguments".to_owned()));
    };
    let order = Order {
        chain_id: crate::chain::CHAIN_ID,
        client: *client,
        server: operation.signer.unwrap_or_default(),
        order_id: order_id.clone(),
        max_total: *max_total,
        max_per_task: *max_per_task,
        expires_seconds: *expires,
    };
    hold!(signed.orders.contains(&order), "an order counted that nobody signed: {order:?}");
    let used = books.orders.get(&(*client, order_id.clone())).copied().unwrap_or(0);
    hold!(used <= *max_total, "{used} octas used under an order for {max_total}");
    let (Some(Bytes(task_id)), Some(U64(lock))) =
        (operation.arguments.get(7), operation.arguments.get(10))
    else {
        return Err(Violation("create_task has other arguments".to_owned()));
    };
    hold!(lock <= max_per_task, "a lock of {lock} under an order for {max_per_task} per task");
    let task = books.tasks.get(&(*client, task_id.clone()));
    hold!(task.is_some_and(|task| task.lock == *lock), "the task was not recorded as asked");
    let server = books.servers.get(&order.server);
    let authorized = matches!(server, Some(Server::V1 { registered: true, authorized: true, .. }));
    hold!(authorized, "a server without authorisation created a task");
    Ok(())
}

/// What open cases may cost stays, matured or not.
fn check_withdrawal(
    before: &Before,
    books: &Books,
    operation: &Operation,
) -> Result<(), Violation> {
    let operator = operation.signer.unwrap_or_default();
    let (Some(old), Some(new)) = (before.stakes.get(&operator), books.stakes.get(&operator)) else {
        return Err(Violation("a withdrawal without a stake".to_owned()));
    };
    let Stake::V1 { quarantined, .. } = new;
    let (old, new) = (total_stake(old), total_stake(new));
    hold!(new < old, "a withdrawal of nothing");
    hold!(new >= *quarantined, "{new} left, but open cases hold back {quarantined}");
    Ok(())
}

/// What was announced is paid when its time has come, as far as it is free, and no more.
fn check_payout(
    before: &Before,
    books: &Books,
    operation: &Operation,
    touched: &Touched,
) -> Result<(), Violation> {
    let client = operation.signer.unwrap_or_default();
    let (Some(old), Some(ClientAccount::V1 { escrow: new, .. })) =
        (before.escrows.get(&client), books.clients.get(&client))
    else {
        return Err(Violation("a withdrawal without a deposit".to_owned()));
    };
    let (Escrow::V1 { available, requested, .. }, Escrow::V1 { requested: left, .. }) = (old, new);
    let store = primary_store(&client);
    let after = books.stores.get(&store).copied().unwrap_or(0);
    let paid = after - touched.stores.get(&store).copied().unwrap_or(after);
    hold!(paid == *requested.min(available), "paid {paid} of {requested} with {available} free");
    hold!(*left == 0, "a request outlived its payment");
    Ok(())
}

/// No channel pays more than its key signed.
fn check_vouchers(books: &Books, signed: &Signed) -> Result<(), Violation> {
    for (at, channel) in &books.channels {
        let most = signed.vouchers.get(at).copied().unwrap_or(0);
        hold!(channel.settled <= most, "channel {at} paid {}, signed was {most}", channel.settled);
    }
    Ok(())
}

/// The pause mask.
pub fn paused(books: &Books) -> u64 {
    books.pauses.map_or(0, |Pauses::V1 { mask }| mask)
}
