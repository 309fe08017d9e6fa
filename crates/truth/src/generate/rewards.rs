//! Reward funds: opening and filling them, claims, and what validators object to.
//! Never reckons what a claim pays.

use super::pools::is_completed;
use super::{Draft, Generator, Kind};
use crate::argument::Argument::{Address as A, Bytes, U64};
use crate::books::{Books, InPool};
use crate::records::{Member, Pool, PoolState, Work};

pub const KINDS: &[Kind] = &[
    Kind { function: "rewards::open", weight: 3, make: open },
    Kind { function: "rewards::open_in", weight: 2, make: open_in },
    Kind { function: "rewards::fund", weight: 3, make: fund },
    Kind { function: "rewards::claim", weight: 9, make: claim },
    Kind { function: "rewards::invalidate_work", weight: 1, make: invalidate_work },
    Kind { function: "rewards::soft_invalidate_work", weight: 2, make: soft_invalidate_work },
    Kind { function: "rewards::reclaim", weight: 3, make: reclaim },
];

/// A rate of this is one octa.
const SCALE: u64 = 1_000_000_000;
const MAX_RATE: u64 = SCALE * SCALE;

/// From nothing over parts of an octa to more than any fund holds.
fn rate(generator: &mut Generator) -> u64 {
    match generator.random.below(12) {
        0 => 0,
        1..=3 => generator.random.between(1, SCALE),
        4 => generator.random.between(1, MAX_RATE),
        _ => generator.random.between(SCALE, 2_000 * SCALE),
    }
}

fn open(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let at = generator.key_of(&books.pools.pools, |at, pool| {
        pool.state == PoolState::Pending && !books.pools.funds.contains_key(at)
    })?;
    let creator = books.pools.pools.get(&at)?.terms.creator;
    let rates = [rate(generator), rate(generator)];
    Some((Some(creator), [vec![A(at)], rates.map(U64).to_vec()].concat()))
}

fn open_in(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (signer, mut arguments) = open(generator, books)?;
    arguments.push(generator.asset());
    Some((signer, arguments))
}

fn fund(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let at = generator.key_of(&books.pools.funds, |at, _| {
        books.pools.pools.get(at).is_some_and(|pool| !is_completed(pool))
    })?;
    let funder = generator.anyone()?;
    let amount = generator.amount(books.wallet(&funder) / 40)?;
    Some((Some(funder), vec![A(at), U64(amount)]))
}

/// When the time began in which validators may still object.
fn window_start(pool: &Pool, now: u64) -> u64 {
    now.saturating_sub(pool.terms.lock_seconds)
}

/// Whether something of a member is old enough to be paid.
fn has_matured(books: &Books, at: &InPool, member: &Member, now: u64) -> bool {
    let Some(pool) = books.pools.pools.get(&at.0) else { return false };
    let until = window_start(pool, now).min(member.void_after_seconds);
    let works = books.pools.waiting.get(at).into_iter().flatten();
    let mut submitted = works.map(|(_, Work::V1 { submitted_seconds, .. })| *submitted_seconds);
    submitted.any(|submitted| submitted <= until)
        || member.intervals.iter().any(|interval| interval.from_seconds < until)
        || (member.active && member.from_seconds < until)
}

fn claim(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (now, early) = (generator.seconds, generator.random.once_in(10));
    let at = generator.key_of(&books.pools.members, |at, member| {
        books.pools.funds.contains_key(&at.0) && (early || has_matured(books, at, member, now))
    })?;
    let operator = books.pools.members.get(&at)?.operator;
    Some((Some(operator), vec![A(at.0), Bytes(at.1)]))
}

/// A work that validators may object to, or now and then any.
fn work(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (now, any) = (generator.seconds, generator.random.once_in(8));
    let (at, id) = generator.key_of(&books.pools.works, |(at, _), place| {
        let Some(pool) = books.pools.pools.get(at) else { return false };
        let waiting = books.pools.waiting.get(&(*at, place.node.clone()));
        let work = waiting.and_then(|waiting| waiting.get(&place.number));
        let in_window = work.is_some_and(|Work::V1 { submitted_seconds, valid, .. }| {
            *valid && *submitted_seconds > window_start(pool, now)
        });
        any || in_window
    })?;
    let validator = *generator.random.pick(books.validators())?;
    Some((Some(validator), vec![A(at), Bytes(id)]))
}

fn invalidate_work(generator: &mut Generator, books: &Books) -> Option<Draft> {
    work(generator, books)
}

fn soft_invalidate_work(generator: &mut Generator, books: &Books) -> Option<Draft> {
    work(generator, books)
}

fn reclaim(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (now, early) = (generator.seconds, generator.random.once_in(10));
    let at = generator.key_of(&books.pools.funds, |at, fund| {
        let left = books.pools.left(at).unwrap_or(0);
        let completed = books.pools.pools.get(at).is_some_and(|pool| match pool.state {
            PoolState::Completed { ended_seconds } => {
                early || now >= ended_seconds + pool.terms.lock_seconds + fund.claim_seconds
            }
            _ => false,
        });
        completed && left > 0
    })?;
    Some((Some(generator.anyone()?), vec![A(at)]))
}
