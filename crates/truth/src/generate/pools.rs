//! Domains, pools, their members and work. Never signs an invite without noting it among the
//! signed.

use cactus_move_vm::AccountAddress as Address;

use super::{DAY, Draft, Generator, HOUR, Kind, Planned, text};
use crate::argument::Argument::{Address as A, Bool, Bytes, U64};
use crate::books::{Books, InPool};
use crate::cast::Actor;
use crate::chain::CHAIN_ID;
use crate::records::{Member, Node, Orchestrator, Pool, PoolState, Stake};
use crate::signing::{Invite, sign};

pub const KINDS: &[Kind] = &[
    Kind { function: "domain::create_domain", weight: 1, make: create_domain },
    Kind { function: "domain::update_domain", weight: 1, make: update_domain },
    Kind { function: "pool::create_pool", weight: 2, make: create_pool },
    Kind { function: "pool::start_pool", weight: 4, make: start_pool },
    Kind { function: "pool::end_pool", weight: 1, make: end_pool },
    Kind { function: "pool::join_pool", weight: 10, make: join_pool },
    Kind { function: "pool::leave_pool", weight: 3, make: leave_pool },
    Kind { function: "pool::submit_work", weight: 12, make: submit_work },
    Kind { function: "pool::eject_node", weight: 1, make: eject_node },
    Kind { function: "pool::blacklist_provider", weight: 1, make: blacklist_provider },
    Kind { function: "pool::blacklist_node", weight: 1, make: blacklist_node },
];

const MAX_POOL_SECONDS: usize = 16;
/// Pools that are not completed at a time.
const LIVE_POOLS: usize = 6;
const MAX_UNITS: u64 = 1_000;

/// The domain that is there from the start.
pub fn prelude(generator: &Generator) -> Vec<Planned> {
    let admin = Some(generator.cast.admin.address);
    vec![("domain::create_domain", (admin, ["sorting", "check/1", "ipfs://x"].map(text).to_vec()))]
}

fn create_domain(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let federator = *generator.random.pick(books.federators())?;
    // Few names, so that some are taken.
    let name = text(&format!("domain {}", generator.random.below(200)));
    Some((Some(federator), vec![name, text("check/1"), text("ipfs://parameters")]))
}

fn update_domain(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let federator = *generator.random.pick(books.federators())?;
    let id = generator.key_of(&books.pools.domains, |_, _| true)?;
    let logic = text(&format!("check/{}", generator.random.below(9)));
    Some((Some(federator), vec![U64(id), logic, text("ipfs://others")]))
}

fn create_pool(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let live = books.pools.pools.values().filter(|pool| !is_completed(pool)).count();
    if live >= LIVE_POOLS {
        return None;
    }
    let creator = generator.anyone()?;
    let domain = generator.key_of(&books.pools.domains, |_, _| true)?;
    let key = generator.random.pick(&generator.cast.sessions)?.public_key();
    let longest = if generator.random.once_in(2) { HOUR } else { DAY };
    let lock = generator.random.between(600, longest);
    let shortest = if generator.random.once_in(4) { HOUR } else { DAY };
    let lasts = generator.random.between(shortest, books.parameter(MAX_POOL_SECONDS).min(30 * DAY));
    let arguments = vec![
        U64(domain),
        text("pool"),
        text("ipfs://data"),
        Bytes(key),
        U64(generator.random.between(1, 4)),
        U64(generator.random.between(1, MAX_UNITS)),
        U64(lock),
        U64(generator.seconds + lasts),
    ];
    Some((Some(creator), arguments))
}

pub fn is_completed(pool: &Pool) -> bool {
    matches!(pool.state, PoolState::Completed { .. })
}

fn start_pool(generator: &mut Generator, books: &Books) -> Option<Draft> {
    // Most have a fund by then, and time left.
    let (now, any) = (generator.seconds, generator.random.once_in(12));
    let at = generator.key_of(&books.pools.pools, |at, pool| {
        let ready = books.pools.funds.contains_key(at) && now < pool.terms.end_seconds;
        pool.state == PoolState::Pending && (any || ready)
    })?;
    Some((Some(books.pools.pools.get(&at)?.terms.creator), vec![A(at)]))
}

fn end_pool(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (now, early) = (generator.seconds, generator.random.once_in(4));
    let at = generator.key_of(&books.pools.pools, |_, pool| {
        !is_completed(pool) && (early || now >= pool.terms.end_seconds)
    })?;
    let creator = books.pools.pools.get(&at)?.terms.creator;
    let anyone = generator.anyone()?;
    Some((Some(if early { creator } else { anyone }), vec![A(at)]))
}

/// A pool that nodes may join and work in.
fn open_pool(generator: &mut Generator, books: &Books) -> Option<Address> {
    let now = generator.seconds;
    generator.key_of(&books.pools.pools, |_, pool| {
        pool.state == PoolState::Active && now < pool.terms.end_seconds
    })
}

fn join_pool(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let at = open_pool(generator, books)?;
    let pool = books.pools.pools.get(&at)?;
    let full = pool.active_nodes >= pool.terms.max_nodes;
    if full && !generator.random.once_in(6) {
        return None;
    }
    let (operator, node) = newcomer(generator, books, at)?;
    let has_key = |actor: &&Actor| actor.public_key() == pool.terms.invite_key;
    let inviter = generator.cast.sessions.iter().find(has_key)?.clone();
    // A nonce that was used must not work again. The chain is not asked which those are.
    let nonce = match generator.random.once_in(20) {
        true => {
            let of_pool = generator.nonces.iter().filter(|(of, _)| *of == at);
            let known: Vec<Vec<u8>> = of_pool.map(|(_, nonce)| nonce.clone()).collect();
            generator.random.pick(&known)?.clone()
        }
        false => generator.id(),
    };
    generator.nonces.push((at, nonce.clone()));
    let expires_seconds = generator.seconds + generator.random.between(1, 2 * DAY);
    let invite = Invite {
        chain_id: CHAIN_ID,
        pool: at,
        operator,
        node_public_key: node.clone(),
        nonce: nonce.clone(),
        expires_seconds,
    };
    let signature = sign(&inviter.key, &invite);
    generator.signed.invites.insert((inviter.public_key(), invite.clone()));
    let secret = inviter.key.to_bytes().to_vec();
    generator.invites.insert(signature.clone(), (secret, invite));
    let arguments = vec![A(at), Bytes(node), Bytes(nonce), U64(expires_seconds), Bytes(signature)];
    Some((Some(operator), arguments))
}

/// A validated node that is not in the pool, or now and then any node.
fn newcomer(generator: &mut Generator, books: &Books, at: Address) -> Option<(Address, Vec<u8>)> {
    let any = generator.random.once_in(12);
    let mut fitting = Vec::new();
    for (operator, Orchestrator::V1 { whitelisted, nodes, .. }) in &books.orchestrators {
        let bonded = books.stakes.get(operator).map_or(0, |Stake::V1 { bonded, .. }| *bonded);
        let fit = *whitelisted && bonded >= books.parameter(0);
        for Node::V1 { public_key, validated, .. } in nodes {
            let member = books.pools.members.get(&(at, public_key.clone()));
            let out = member.is_none_or(|member| {
                !member.active && member.operator == *operator && !is_void(member)
            });
            let welcome = out && !books.pools.is_banned(at, *operator, public_key);
            if any || (fit && *validated && welcome) {
                fitting.push((*operator, public_key.clone()));
            }
        }
    }
    generator.random.pick(&fitting).cloned()
}

fn is_void(member: &Member) -> bool {
    member.void_after_seconds != u64::MAX
}

/// A node in a pool.
fn active(generator: &mut Generator, books: &Books) -> Option<InPool> {
    generator.key_of(&books.pools.members, |_, member| member.active)
}

fn leave_pool(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let at = active(generator, books)?;
    let operator = books.pools.members.get(&at)?.operator;
    Some((Some(operator), vec![A(at.0), Bytes(at.1)]))
}

fn submit_work(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let now = generator.seconds;
    let (out, banned) = (generator.random.once_in(20), generator.random.once_in(6));
    let at = generator.key_of(&books.pools.members, |(pool, node), member| {
        let open = books.pools.pools.get(pool).is_some_and(|pool| now < pool.terms.end_seconds);
        let is_banned = books.pools.is_banned(*pool, member.operator, node);
        out || (member.active && open && (banned || !is_banned))
    })?;
    let most = books.pools.pools.get(&at.0)?.terms.max_units_per_work;
    // Ids of work are used once.
    let id = match generator.random.once_in(30) {
        true => generator.key_of(&books.pools.works, |(pool, _), _| *pool == at.0)?.1,
        false => generator.id(),
    };
    let units = generator.random.between(1, most);
    let operator = books.pools.members.get(&at)?.operator;
    Some((Some(operator), vec![A(at.0), Bytes(at.1), Bytes(id), U64(units)]))
}

fn creator_of(books: &Books, at: &Address) -> Option<Address> {
    books.pools.pools.get(at).map(|pool| pool.terms.creator)
}

fn eject_node(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (at, node) = active(generator, books)?;
    Some((Some(creator_of(books, &at)?), vec![A(at), Bytes(node)]))
}

fn blacklist_provider(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (at, operator, banned) = match generator.random.once_in(2) {
        true => {
            let (at, _) = active(generator, books)?;
            (at, generator.key_of(&books.orchestrators, |_, _| true)?, true)
        }
        false => {
            let (at, operator) =
                generator.key_of(&books.pools.banned_operators, |_, banned| *banned)?;
            (at, operator, false)
        }
    };
    Some((Some(creator_of(books, &at)?), vec![A(at), A(operator), Bool(banned)]))
}

fn blacklist_node(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let banned = generator.random.once_in(2);
    let (at, node) = match banned {
        true => active(generator, books)?,
        false => generator.key_of(&books.pools.banned_nodes, |_, banned| *banned)?,
    };
    Some((Some(creator_of(books, &at)?), vec![A(at), Bytes(node), Bool(banned)]))
}
