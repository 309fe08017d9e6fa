//! Which views tell what an operation did. Never reads anything itself.

use cactus_move_vm::AccountAddress as Address;

use crate::argument::Argument::{self, Address as A, Bytes, Text, U64};
use crate::books::Books;
use crate::cast::Cast;
use crate::operation::Operation;
use crate::records::Domain;

/// A call of a view; `world::coins` stands for an account's wallet.
#[derive(Debug, Clone)]
pub struct View {
    pub function: &'static str,
    pub arguments: Vec<Argument>,
}

fn view(function: &'static str, arguments: Vec<Argument>) -> View {
    View { function, arguments }
}

/// What tells most about what an operation changed.
pub fn of_operation(operation: &Operation, created: Option<Address>) -> Vec<View> {
    let signer = operation.signer.unwrap_or_default();
    let first = match operation.arguments.first() {
        Some(A(address)) => *address,
        _ => signer,
    };
    let mut views = vec![view("world::coins", vec![A(signer)])];
    let (module, name) = operation.function.split_once("::").unwrap_or_default();
    let more = match (module, name) {
        ("payment", "deposit" | "request_withdraw" | "withdraw" | "cancel_withdraw") => {
            vec![view("payment::balance", vec![A(signer)])]
        }
        ("payment", "complete_tasks") => vec![view("server_registry::server", vec![A(signer)])],
        ("payment", _) => of_task(operation, first),
        ("stake", _) => vec![view("stake::stake_of", vec![A(signer)])],
        ("dispute", _) => vec![view("dispute::case", vec![A(created.unwrap_or(first))])],
        ("channel", "redeem_batch") => vec![],
        ("channel", _) => vec![view("channel::channel", vec![A(created.unwrap_or(first))])],
        ("server_registry", _) => vec![view("server_registry::server", vec![A(first)])],
        ("registry", _) => vec![view("registry::orchestrator", vec![A(first)])],
        ("delegation", _) => vec![view("delegation::delegates", vec![A(signer)])],
        ("config", _) => vec![view("config::paused", vec![]), view("config::admin", vec![])],
        ("domain", _) => vec![view("domain::domain", vec![U64(number(operation, 0))])],
        ("pool" | "rewards", _) => of_pool(operation, created.unwrap_or(first)),
        ("treasury", _) => vec![view("treasury::balance", vec![])],
        _ => vec![],
    };
    views.extend(more);
    views
}

/// A number among an operation's arguments; 1 if there is none at this place.
fn number(operation: &Operation, index: usize) -> u64 {
    match operation.arguments.get(index) {
        Some(U64(number)) => *number,
        _ => 1,
    }
}

fn of_pool(operation: &Operation, pool: Address) -> Vec<View> {
    let mut views =
        vec![view("pool::pool", vec![A(pool)]), view("rewards::fund_of", vec![A(pool)])];
    match (operation.function, operation.arguments.get(1)) {
        ("rewards::invalidate_work" | "rewards::soft_invalidate_work", Some(id @ Bytes(_))) => {
            views.push(view("pool::work", vec![A(pool), id.clone()]));
        }
        ("rewards::claim", Some(node @ Bytes(_))) => {
            views.push(view("rewards::account", vec![A(pool), node.clone()]));
        }
        (_, Some(node @ Bytes(_))) => {
            views.push(view("pool::member", vec![A(pool), node.clone()]));
        }
        _ => {}
    }
    views
}

fn of_pools(books: &Books) -> Vec<View> {
    let pools = &books.pools;
    let mut views = Vec::new();
    for (id, Domain::V1 { name, .. }) in &pools.domains {
        views.push(view("domain::domain", vec![U64(*id)]));
        views.push(view("domain::id_of", vec![Text(name.clone())]));
    }
    for pool in pools.pools.keys() {
        views.push(view("pool::pool", vec![A(*pool)]));
        views.push(view("rewards::fund_of", vec![A(*pool)]));
    }
    for (pool, node) in pools.members.keys() {
        let arguments = || vec![A(*pool), Bytes(node.clone())];
        views.push(view("pool::member", arguments()));
        if pools.funds.contains_key(pool) {
            views.push(view("rewards::account", arguments()));
        }
    }
    for (pool, id) in pools.works.keys() {
        views.push(view("pool::work", vec![A(*pool), Bytes(id.clone())]));
    }
    views
}

fn of_task(operation: &Operation, client: Address) -> Vec<View> {
    let index = if operation.function == "payment::create_task" { 7 } else { 1 };
    let mut views = vec![view("payment::balance", vec![A(client)])];
    if let Some(Bytes(id)) = operation.arguments.get(index) {
        views.push(view("payment::task", vec![A(client), Bytes(id.clone())]));
    }
    views
}

/// What tells everything.
pub fn of_everything(books: &Books) -> Vec<View> {
    let cast = Cast::default();
    let mut views = vec![
        view("treasury::balance", vec![]),
        view("config::paused", vec![]),
        view("config::admin", vec![]),
        view("config::param", vec![Text("server_fee_bps".to_owned())]),
        view("config::param", vec![Text("unbonding_seconds".to_owned())]),
    ];
    for actor in cast.everyone() {
        views.push(view("world::coins", vec![A(actor.address)]));
    }
    for client in books.clients.keys() {
        views.push(view("payment::balance", vec![A(*client)]));
        views.push(view("payment::vault_balance", vec![A(*client)]));
    }
    for (client, order) in books.orders.keys() {
        views.push(view("payment::order_used", vec![A(*client), Bytes(order.clone())]));
    }
    for (client, task) in books.tasks.keys() {
        views.push(view("payment::task", vec![A(*client), Bytes(task.clone())]));
    }
    for operator in books.stakes.keys() {
        let functions =
            ["stake::stake_of", "stake::quarantine_of", "stake::vault_balance", "reputation::of"];
        views.extend(functions.map(|function| view(function, vec![A(*operator)])));
    }
    for operator in books.orchestrators.keys() {
        views.push(view("registry::orchestrator", vec![A(*operator)]));
        views.push(view("delegation::delegates", vec![A(*operator)]));
    }
    for server in books.servers.keys() {
        let functions =
            ["server_registry::server", "server_registry::vault_balance", "treasury::due"];
        views.extend(functions.map(|function| view(function, vec![A(*server)])));
    }
    for channel in books.channels.keys() {
        views.push(view("channel::channel", vec![A(*channel)]));
        views.push(view("channel::vault_balance", vec![A(*channel)]));
    }
    for case in books.cases.keys() {
        views.push(view("dispute::case", vec![A(*case)]));
        views.push(view("dispute::vault_balance", vec![A(*case)]));
    }
    views.extend(of_pools(books));
    views
}
