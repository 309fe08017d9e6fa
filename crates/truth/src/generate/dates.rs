//! The times at which the state's meaning changes by itself: deadlines, ends of phases, maturities.
//! Never more than the state says.

use crate::books::Books;
use crate::records::{
    Appeal, Ballot, ChannelState, ClientAccount, Escrow, Parameters, PoolState, Stake, Task, Work,
};

/// Unix seconds after `now`, by kind of thing; kinds without any date are left out.
pub fn all(books: &Books, now: u64) -> Vec<Vec<u64>> {
    let tasks = books.assigned.iter().filter_map(|id| books.tasks.get(id));
    let requests = books.clients.values().map(|ClientAccount::V1 { escrow, .. }| {
        let Escrow::V1 { withdraw_from_seconds, .. } = escrow;
        *withdraw_from_seconds
    });
    let bonds = books.stakes.values().flat_map(|Stake::V1 { unbonding, .. }| unbonding);
    let channels = books.channels.values().filter_map(|channel| match channel.state {
        ChannelState::Open => Some(channel.expires_seconds),
        ChannelState::Closing { from_seconds } => Some(from_seconds),
        ChannelState::Closed => None,
    });
    let changes = books.parameters.iter().flat_map(|Parameters::V1 { queued, .. }| queued);
    let cases = cases(books, now);
    // Cases and pools take many steps in order, so they get more of the time.
    let kinds = [
        tasks.map(Task::settle_until_seconds).collect(),
        requests.collect(),
        bonds.map(|entry| entry.unlock_seconds).collect(),
        channels.collect(),
        changes.map(|change| change.apply_from_seconds).collect(),
        cases.clone(),
        cases.clone(),
        cases.clone(),
        cases,
        pools(books),
        pools(books),
        matured_works(books),
    ];
    let ahead = |dates: Vec<u64>| dates.into_iter().filter(|date| *date > now + 1).collect();
    kinds.into_iter().map(ahead).filter(|dates: &Vec<u64>| !dates.is_empty()).collect()
}

/// When pools end and their funds can be reclaimed.
fn pools(books: &Books) -> Vec<u64> {
    let of_pool = |(at, pool): (&_, &crate::records::Pool)| match pool.state {
        PoolState::Completed { ended_seconds } => {
            let fund = books.pools.funds.get(at).filter(|_| books.pools.left(at) != Ok(0));
            fund.map(|fund| ended_seconds + pool.terms.lock_seconds + fund.claim_seconds)
        }
        _ => Some(pool.terms.end_seconds),
    };
    books.pools.pools.iter().filter_map(of_pool).collect()
}

/// When nobody can object any more to the oldest work that a node waits to be paid for.
fn matured_works(books: &Books) -> Vec<u64> {
    let of_member =
        |(at, works): (&crate::books::InPool, &std::collections::BTreeMap<u64, Work>)| {
            let Work::V1 { submitted_seconds, .. } = works.values().next()?;
            Some(submitted_seconds + books.pools.pools.get(&at.0)?.terms.lock_seconds)
        };
    books.pools.waiting.iter().filter_map(of_member).collect()
}

/// Of each case the next date only, so that no phase is passed over unused.
fn cases(books: &Books, now: u64) -> Vec<u64> {
    let open = books.cases.values().filter(|case| case.outcome == 0);
    open.filter_map(|case| {
        let appeal = match &case.appeal {
            Appeal::Filed { ballot, .. } => phases(ballot),
            Appeal::None => vec![case.appeal_until_seconds],
        };
        let dates = phases(&case.ballot).into_iter().chain(appeal);
        dates.filter(|date| *date > now + 1).min()
    })
    .collect()
}

fn phases(ballot: &Ballot) -> Vec<u64> {
    let Ballot::V1 { commit_from_seconds, commit_until_seconds, reveal_until_seconds, .. } = ballot;
    vec![*commit_from_seconds, *commit_until_seconds, *reveal_until_seconds]
}
