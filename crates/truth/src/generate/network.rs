//! Roles, parameters, servers, orchestrators and delegates: who may do what.
//! Never money, but for servers' bonds and what the treasury pays out.

use cactus_move_vm::AccountAddress as Address;

use super::{DAY, Draft, Generator, Kind, Planned, text};
use crate::argument::Argument::{Address as A, Bool, Bytes, U8, U64};
use crate::books::{Books, total_stake};
use crate::cast::{Actor, Cast};
use crate::chain::{CHAIN_ID, CONTRACT};
use crate::records::{Node, Orchestrator, Parameters, QueuedChange, Roles, Server, VaultOnly};
use crate::signing::{NodeKeyProof, sign};

pub const APT: u64 = 100_000_000;

pub const KINDS: &[Kind] = &[
    Kind { function: "config::propose_admin", weight: 2, make: propose_admin },
    Kind { function: "config::accept_admin", weight: 3, make: accept_admin },
    Kind { function: "config::set_validator", weight: 2, make: set_validator },
    Kind { function: "config::set_federator", weight: 2, make: set_federator },
    Kind { function: "config::queue_param", weight: 3, make: queue_param },
    Kind { function: "config::apply_param", weight: 3, make: apply_param },
    Kind { function: "config::pause", weight: 2, make: pause },
    Kind { function: "config::unpause", weight: 6, make: unpause },
    Kind { function: "server_registry::register_server", weight: 4, make: register_server },
    Kind { function: "server_registry::update_server", weight: 2, make: update_server },
    Kind { function: "server_registry::remove_server", weight: 2, make: remove_server },
    Kind { function: "server_registry::authorize_server", weight: 8, make: authorize_server },
    Kind { function: "server_registry::revoke_server", weight: 1, make: revoke_server },
    Kind { function: "registry::register_orchestrator", weight: 3, make: register_orchestrator },
    Kind { function: "registry::add_node", weight: 3, make: add_node },
    Kind { function: "registry::remove_node", weight: 2, make: remove_node },
    Kind { function: "registry::set_status", weight: 2, make: set_status },
    Kind { function: "registry::whitelist", weight: 4, make: whitelist },
    Kind { function: "registry::validate_node", weight: 6, make: validate_node },
    Kind { function: "registry::invalidate_node", weight: 1, make: invalidate_node },
    Kind { function: "registry::deregister", weight: 1, make: deregister },
    Kind { function: "delegation::add_delegate", weight: 2, make: add_delegate },
    Kind { function: "delegation::remove_delegate", weight: 1, make: remove_delegate },
    Kind { function: "config::allow_asset", weight: 1, make: set_asset },
    Kind { function: "config::disallow_asset", weight: 2, make: set_asset },
    Kind { function: "treasury::sweep", weight: 2, make: sweep },
    Kind { function: "treasury::sweep_slashed", weight: 4, make: sweep_slashed },
];

/// Names of parameters with values that keep the network working.
const PARAMETERS: &[(&str, u64, u64)] = &[
    ("min_stake", 1_000_000, 2 * APT),
    ("min_server_bond", 1_000_000, 2 * APT),
    ("unbonding_seconds", 3_600, 10 * DAY),
    ("server_fee_bps", 0, 2_000),
    ("treasury_fee_bps", 0, 1_000),
    ("quality_floor_bps", 5_000, 10_000),
    ("max_task_seconds", 60, DAY),
    ("slash_bounty_cap_bps", 0, 5_000),
    ("parameter_delay_seconds", 3_600, DAY),
    ("channel_close_seconds", 600, DAY),
    ("max_channel_seconds", DAY, 60 * DAY),
    ("accuser_bond", 100_000, APT),
    ("case_slash_bps", 100, 10_000),
    ("response_seconds", 600, 2 * DAY),
    ("vote_seconds", 600, 2 * DAY),
    ("appeal_seconds", 600, 2 * DAY),
    ("max_pool_seconds", DAY, 60 * DAY),
    ("reward_claim_seconds", DAY, 30 * DAY),
    ("withdrawal_delay_seconds", 60, DAY),
    ("review_seconds", 300, 7 * DAY),
    ("accuser_bond_bps", 0, 2_000),
    ("accuser_cooldown_seconds", 0, 2 * DAY),
];
const PAUSE_BITS: u64 = 6;
const PAUSE_ALL: u64 = 63;
const URL: &str = "https://server.example";

/// The calls that make a network out of strangers.
pub fn prelude(generator: &mut Generator) -> Vec<Planned> {
    let cast = generator.cast.clone();
    let admin = Some(cast.admin.address);
    let mut calls: Vec<Planned> = Vec::new();
    for validator in &cast.validators {
        calls.push(("config::set_validator", (admin, vec![A(validator.address), Bool(true)])));
    }
    for server in &cast.servers {
        calls.push(("server_registry::register_server", registration(server, 2 * APT)));
        calls.push(("server_registry::authorize_server", (admin, vec![A(server.address)])));
    }
    for (operator, node) in cast.operators.iter().zip(&cast.nodes) {
        let (own, key) = (Some(operator.address), Bytes(node.public_key()));
        calls.push((
            "registry::register_orchestrator",
            (own, vec![text("https://operator.example")]),
        ));
        calls.push(("registry::add_node", node_registration(operator.address, node)));
        calls.push(("stake::bond", (own, vec![U64(20 * APT)])));
        calls.push(("registry::whitelist", (admin, vec![A(operator.address), Bool(true)])));
        calls.push(("registry::validate_node", (admin, vec![A(operator.address), key])));
    }
    for client in &cast.clients {
        calls.push(("payment::deposit", (Some(client.address), vec![U64(10 * APT)])));
    }
    calls
}

fn registration(server: &Actor, bond: u64) -> Draft {
    (Some(server.address), vec![text(URL), Bytes(server.public_key()), U64(bond)])
}

fn node_registration(operator: Address, node: &Actor) -> Draft {
    let node_public_key = node.public_key();
    let proof =
        NodeKeyProof { chain_id: CHAIN_ID, operator, node_public_key: node_public_key.clone() };
    let proof = sign(&node.key, &proof);
    (Some(operator), vec![Bytes(node_public_key), text("https://node.example"), Bytes(proof)])
}

fn propose_admin(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let heirs = [generator.cast.admin.address, generator.address_in(|cast| &cast.heirs)?];
    let heir = *generator.random.pick(&heirs)?;
    Some((Some(books.admin()), vec![A(heir)]))
}

fn accept_admin(_: &mut Generator, books: &Books) -> Option<Draft> {
    let Roles::V1 { proposed_admin, .. } = books.roles.as_ref()?;
    Some((Some((*proposed_admin)?), vec![]))
}

fn set_validator(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let validator = generator.address_in(|cast| &cast.validators)?;
    let allowed = !generator.random.once_in(4);
    Some((Some(books.admin()), vec![A(validator), Bool(allowed)]))
}

fn set_federator(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let allowed = generator.random.once_in(2);
    Some((Some(books.admin()), vec![A(generator.anyone()?), Bool(allowed)]))
}

fn queue_param(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (name, low, high) = *generator.random.pick(PARAMETERS)?;
    let value = generator.random.between(low, high);
    Some((Some(books.admin()), vec![text(name), U64(value)]))
}

fn apply_param(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let Parameters::V1 { queued, .. } = books.parameters.as_ref()?;
    let due = |change: &&QueuedChange| change.apply_from_seconds <= generator.seconds;
    let due: Vec<QueuedChange> = queued.iter().filter(due).cloned().collect();
    let queued = if due.is_empty() { queued.clone() } else { due };
    let index = usize::try_from(generator.random.pick(&queued)?.parameter).ok()?;
    Some((None, vec![text(PARAMETERS.get(index)?.0)]))
}

fn pause(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let bit = 1 << generator.random.below(PAUSE_BITS);
    Some((Some(books.admin()), vec![U64(bit)]))
}

fn unpause(_: &mut Generator, books: &Books) -> Option<Draft> {
    (crate::rules::paused(books) != 0).then(|| (Some(books.admin()), vec![U64(PAUSE_ALL)]))
}

fn is_registered(books: &Books, server: &Address) -> bool {
    matches!(books.servers.get(server), Some(Server::V1 { registered: true, .. }))
}

fn register_server(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let applicants = generator.cast.servers.iter().chain(&generator.cast.strangers);
    let new: Vec<Actor> =
        applicants.filter(|actor| !is_registered(books, &actor.address)).cloned().collect();
    let server = generator.random.pick(&new)?.clone();
    let bond = books.parameter(1) + generator.random.below(APT);
    Some(registration(&server, bond))
}

fn registered_server(generator: &mut Generator, books: &Books) -> Option<Address> {
    generator.key_of(&books.servers, |server, _| is_registered(books, server))
}

fn update_server(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let server = registered_server(generator, books)?;
    let key = generator.id();
    Some((Some(server), vec![text("https://elsewhere.example"), Bytes(key)]))
}

fn remove_server(generator: &mut Generator, books: &Books) -> Option<Draft> {
    // Mostly one without authorisation, so that the network goes on.
    let server = registered_server(generator, books)?;
    let Server::V1 { authorized, .. } = books.servers.get(&server)?;
    (!authorized || generator.random.once_in(4)).then(|| (Some(server), vec![]))
}

fn authorize_server(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let waiting = |_: &Address, server: &Server| {
        matches!(server, Server::V1 { registered: true, authorized: false, .. })
    };
    let server = generator.key_of(&books.servers, waiting)?;
    Some((Some(books.admin()), vec![A(server)]))
}

fn revoke_server(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let server = registered_server(generator, books)?;
    Some((Some(books.admin()), vec![A(server)]))
}

fn register_orchestrator(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let new = |actor: &&Actor| !books.orchestrators.contains_key(&actor.address);
    let cast: &Cast = &generator.cast;
    let applicants = cast.operators.iter().chain(&cast.strangers).filter(new);
    let applicants: Vec<Address> = applicants.map(|actor| actor.address).collect();
    let operator = *generator.random.pick(&applicants)?;
    Some((Some(operator), vec![text("https://operator.example")]))
}

fn operator(generator: &mut Generator, books: &Books) -> Option<Address> {
    generator.key_of(&books.orchestrators, |_, _| true)
}

fn nodes(books: &Books, operator: &Address) -> Vec<Node> {
    books
        .orchestrators
        .get(operator)
        .map_or(Vec::new(), |Orchestrator::V1 { nodes, .. }| nodes.clone())
}

fn add_node(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let operator = operator(generator, books)?;
    let nodes = nodes(books, &operator);
    let is_new = |actor: &&Actor| {
        let key = actor.public_key();
        !nodes.iter().any(|Node::V1 { public_key, .. }| *public_key == key)
    };
    let new: Vec<Actor> = generator.cast.nodes.iter().filter(is_new).cloned().collect();
    let node = generator.random.pick(&new)?.clone();
    Some(node_registration(operator, &node))
}

fn node(
    generator: &mut Generator,
    books: &Books,
    wanted: Option<bool>,
) -> Option<(Address, Vec<u8>)> {
    let operator = operator(generator, books)?;
    let mut nodes = nodes(books, &operator);
    nodes.retain(|Node::V1 { validated, .. }| wanted.is_none_or(|wanted| wanted == *validated));
    let Node::V1 { public_key, .. } = generator.random.pick(&nodes)?;
    Some((operator, public_key.clone()))
}

fn remove_node(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (operator, key) = node(generator, books, None)?;
    (nodes(books, &operator).len() > 1).then(|| (Some(operator), vec![Bytes(key)]))
}

fn set_status(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let status = [1, 2, 3][generator.random.index(3)];
    Some((Some(operator(generator, books)?), vec![U8(status)]))
}

fn validator(generator: &mut Generator, books: &Books) -> Option<Address> {
    generator.random.pick(books.validators()).copied()
}

fn whitelist(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let operator = operator(generator, books)?;
    let Orchestrator::V1 { whitelisted, .. } = books.orchestrators.get(&operator)?;
    let allowed = !whitelisted || !generator.random.once_in(6);
    Some((Some(validator(generator, books)?), vec![A(operator), Bool(allowed)]))
}

fn validate_node(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (operator, key) = node(generator, books, Some(false))?;
    Some((Some(validator(generator, books)?), vec![A(operator), Bytes(key)]))
}

fn invalidate_node(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (operator, key) = node(generator, books, Some(true))?;
    Some((Some(validator(generator, books)?), vec![A(operator), Bytes(key)]))
}

fn deregister(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let free = |at: &Address, _: &Orchestrator| {
        books.stakes.get(at).is_none_or(|stake| total_stake(stake) == 0)
    };
    Some((Some(generator.key_of(&books.orchestrators, free)?), vec![]))
}

fn add_delegate(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (from, to) = (operator(generator, books)?, operator(generator, books)?);
    (from != to).then(|| (Some(from), vec![A(to)]))
}

fn remove_delegate(generator: &mut Generator, books: &Books) -> Option<Draft> {
    // Now and then one that is none.
    if generator.random.once_in(8) {
        return add_delegate(generator, books);
    }
    let operator = generator.key_of(&books.delegates, |_, delegates| !delegates.is_empty())?;
    let delegate = *generator.random.pick(books.delegates.get(&operator)?)?;
    Some((Some(operator), vec![A(delegate)]))
}

/// APT stays whatever is said; what is no asset is never allowed.
fn set_asset(generator: &mut Generator, books: &Books) -> Option<Draft> {
    Some((Some(books.admin()), vec![generator.asset()]))
}

fn sweep(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let due = |_: &Address, VaultOnly::V1 { vault }: &VaultOnly| {
        books.stores.get(&vault.store()).is_some_and(|octas| *octas > 0)
    };
    let server = generator.key_of(&books.shares, due)?;
    Some((Some(books.admin()), vec![A(server), A(generator.anyone()?)]))
}

fn sweep_slashed(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let VaultOnly::V1 { vault } = books.shares.get(&CONTRACT)?;
    let due = books.stores.get(&vault.store()).is_some_and(|octas| *octas > 0);
    if !due && !generator.random.once_in(10) {
        return None;
    }
    Some((Some(books.admin()), vec![A(generator.anyone()?)]))
}
