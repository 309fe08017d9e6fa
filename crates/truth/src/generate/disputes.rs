//! Cases. Never reveals an opinion that it did not commit to, unless spoiled.

use cactus_move_vm::AccountAddress as Address;
use sha3::{Digest, Sha3_256};

use super::{Draft, Generator, Kind};
use crate::argument::Argument::{Address as A, Bool, Bytes};
use crate::argument::bcs;
use crate::books::{Books, Id, total_stake};
use crate::chain::CHAIN_ID;
use crate::records::{Appeal, Ballot, Case, Task, TaskState, Vote};
use crate::signing::Opinion;

pub const KINDS: &[Kind] = &[
    Kind { function: "dispute::accuse", weight: 3, make: accuse },
    Kind { function: "dispute::hold_task", weight: 14, make: hold_task },
    Kind { function: "dispute::respond", weight: 3, make: respond },
    Kind { function: "dispute::commit_vote", weight: 16, make: commit_vote },
    Kind { function: "dispute::reveal_vote", weight: 16, make: reveal_vote },
    Kind { function: "dispute::appeal", weight: 12, make: appeal },
    Kind { function: "dispute::finalize", weight: 5, make: finalize },
];

const REJECTED_OR_LESS: u8 = 2;

fn accuse(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let accuser = generator.anyone()?;
    let evidence = generator.id();
    if generator.random.once_in(2) {
        // Mostly a delivered task, accused by its client or its server, if there is one.
        let delivered = |_: &Id, task: &Task| matches!(task.state, TaskState::Delivered { .. });
        let id = match generator.random.once_in(3) {
            true => None,
            false => generator.key_of(&books.tasks, delivered),
        };
        let id = id.or_else(|| generator.key_of(&books.tasks, |_, _| true))?;
        let Task { orchestrator: operator, server, .. } = *books.tasks.get(&id)?;
        let accuser = [accuser, accuser, id.0, server][generator.random.index(4)];
        return Some((Some(accuser), vec![A(operator), A(id.0), Bytes(id.1), Bytes(evidence)]));
    }
    let operator = generator.key_of(&books.stakes, |_, stake| total_stake(stake) > 0)?;
    let nobody = vec![A(operator), A(Address::ZERO), Bytes(Vec::new()), Bytes(evidence)];
    Some((Some(accuser), nobody))
}

/// The ballot that decides now, and whether it is the appeal's.
fn ballot(case: &Case) -> (&Ballot, bool) {
    match &case.appeal {
        Appeal::None => (&case.ballot, false),
        Appeal::Filed { ballot, .. } => (ballot, true),
    }
}

fn case(
    generator: &mut Generator,
    books: &Books,
    wanted: impl Fn(&Case) -> bool,
) -> Option<Address> {
    generator.key_of(&books.cases, |_, case| case.outcome == 0 && wanted(case))
}

fn hold_task(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let delivered = |case: &Case| {
        let task = books.tasks.get(&(case.client, case.task_id.clone()));
        task.is_some_and(|task| matches!(task.state, TaskState::Delivered { .. }))
    };
    let at = case(generator, books, delivered)?;
    let case = books.cases.get(&at)?;
    let server = books.tasks.get(&(case.client, case.task_id.clone()))?.server;
    let party = if generator.random.once_in(2) { case.client } else { server };
    Some((Some(party), vec![A(at)]))
}

fn respond(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let now = generator.seconds;
    let at = case(generator, books, |case| {
        let Ballot::V1 { commit_from_seconds, .. } = case.ballot;
        case.response_hash.is_empty() && now < commit_from_seconds
    })?;
    let hash = generator.id();
    Some((Some(books.cases.get(&at)?.operator), vec![A(at), Bytes(hash)]))
}

/// A voter of a case whose vote is as wanted.
fn voter(
    generator: &mut Generator,
    books: &Books,
    at: &Address,
    wanted: fn(&Vote) -> bool,
) -> Option<(Address, bool)> {
    let (Ballot::V1 { voters, votes, .. }, appeal) = ballot(books.cases.get(at)?);
    let fitting: Vec<Address> = voters
        .iter()
        .zip(votes)
        .filter(|(voter, vote)| wanted(vote) && books.validators().contains(voter))
        .map(|(voter, _)| *voter)
        .collect();
    Some((*generator.random.pick(&fitting)?, appeal))
}

fn commit_vote(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let now = generator.seconds;
    let at = case(generator, books, |case| {
        let (Ballot::V1 { commit_from_seconds, commit_until_seconds, .. }, _) = ballot(case);
        (*commit_from_seconds..*commit_until_seconds).contains(&now)
    })?;
    let (validator, appeal) = voter(generator, books, &at, |vote| matches!(vote, Vote::None))?;
    // Validators tend to agree, case by case, or nothing would ever be decided.
    let leaning = at.0[0] % 2 == u8::from(appeal && at.0[1] % 2 == 0);
    let uphold = if generator.random.once_in(6) { !leaning } else { leaning };
    let salt = generator.id();
    let opinion =
        Opinion { chain_id: CHAIN_ID, case: at, appeal, validator, uphold, salt: salt.clone() };
    generator.opinions.insert((at, appeal, validator), (uphold, salt));
    let commitment = Sha3_256::digest(bcs(&opinion)).to_vec();
    generator.commitments.insert(commitment.clone(), opinion);
    Some((Some(validator), vec![A(at), Bytes(commitment)]))
}

fn reveal_vote(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let now = generator.seconds;
    let at = case(generator, books, |case| {
        let (Ballot::V1 { commit_until_seconds, reveal_until_seconds, .. }, _) = ballot(case);
        (*commit_until_seconds..*reveal_until_seconds).contains(&now)
    })?;
    let committed = |vote: &Vote| matches!(vote, Vote::Committed { .. });
    let (validator, appeal) = voter(generator, books, &at, committed)?;
    let (uphold, salt) = generator.opinions.get(&(at, appeal, validator))?.clone();
    Some((Some(validator), vec![A(at), Bool(uphold), Bytes(salt)]))
}

/// What a ballot's votes add up to: 1 upheld, 2 rejected, 3 lapsed.
fn outcome(Ballot::V1 { voters, votes, .. }: &Ballot) -> u8 {
    let upholds = votes.iter().filter(|vote| matches!(vote, Vote::Uphold)).count();
    let rejects = votes.iter().filter(|vote| matches!(vote, Vote::Reject)).count();
    let needed = 2 * voters.len();
    match needed > 0 {
        true if 3 * upholds >= needed => 1,
        true if 3 * (upholds + rejects) >= needed => 2,
        _ => 3,
    }
}

fn appeal(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let (now, any) = (generator.seconds, generator.random.once_in(50));
    let at = case(generator, books, |case| {
        let Ballot::V1 { reveal_until_seconds, .. } = case.ballot;
        any || (reveal_until_seconds..case.appeal_until_seconds).contains(&now)
            && matches!(case.appeal, Appeal::None)
            && outcome(&case.ballot) <= REJECTED_OR_LESS
    })?;
    let record = books.cases.get(&at)?;
    // Sometimes the one who won, which must be refused.
    let upheld = (outcome(&record.ballot) == 1) != generator.random.once_in(3);
    let party = if upheld { record.operator } else { record.accuser };
    Some((Some(party), vec![A(at)]))
}

fn finalize(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let now = generator.seconds;
    let early = generator.random.once_in(12);
    let at = case(generator, books, |case| {
        let (Ballot::V1 { reveal_until_seconds, .. }, appealed) = ballot(case);
        let until = match appealed {
            false if outcome(&case.ballot) <= REJECTED_OR_LESS => case.appeal_until_seconds,
            _ => *reveal_until_seconds,
        };
        early || now >= until
    })?;
    Some((Some(generator.anyone()?), vec![A(at)]))
}
