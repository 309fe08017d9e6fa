//! The times at which the state's meaning changes by itself: deadlines, ends of phases, maturities.
//! Never more than the state says.

use crate::books::Books;
use crate::records::{Appeal, Ballot, ChannelState, Parameters, Stake};

/// Unix seconds after `now`, by kind of thing; kinds without any date are left out.
pub fn all(books: &Books, now: u64) -> Vec<Vec<u64>> {
    let tasks = books.assigned.iter().filter_map(|id| books.tasks.get(id));
    let bonds = books.stakes.values().flat_map(|Stake::V1 { unbonding, .. }| unbonding);
    let channels = books.channels.values().filter_map(|channel| match channel.state {
        ChannelState::Open => Some(channel.expires_seconds),
        ChannelState::Closing { from_seconds } => Some(from_seconds),
        ChannelState::Closed => None,
    });
    let changes = books.parameters.iter().flat_map(|Parameters::V1 { queued, .. }| queued);
    let cases = cases(books, now);
    // Cases take many steps in order, so they get more of the time.
    let kinds = [
        tasks.map(|task| task.deadline_seconds).collect(),
        bonds.map(|entry| entry.unlock_seconds).collect(),
        channels.collect(),
        changes.map(|change| change.apply_from_seconds).collect(),
        cases.clone(),
        cases.clone(),
        cases,
    ];
    let ahead = |dates: Vec<u64>| dates.into_iter().filter(|date| *date > now + 1).collect();
    kinds.into_iter().map(ahead).filter(|dates: &Vec<u64>| !dates.is_empty()).collect()
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
