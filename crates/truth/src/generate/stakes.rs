//! Operators' bonds. Never touches cases; see `disputes`.

use cactus_move_vm::AccountAddress as Address;

use super::{Draft, Generator, Kind};
use crate::argument::Argument::U64;
use crate::books::Books;
use crate::records::Stake;

pub const KINDS: &[Kind] = &[
    Kind { function: "stake::bond", weight: 8, make: bond },
    Kind { function: "stake::begin_unbond", weight: 5, make: begin_unbond },
    Kind { function: "stake::rebond", weight: 3, make: rebond },
    Kind { function: "stake::withdraw", weight: 6, make: withdraw },
];

fn bond(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let operator = generator.address_in(|cast| &cast.operators)?;
    // Keeps something for other purposes.
    let amount = generator.amount(books.wallet(&operator) / 4)?;
    Some((Some(operator), vec![U64(amount)]))
}

fn begin_unbond(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let operator = generator.key_of(&books.stakes, |_, Stake::V1 { bonded, .. }| *bonded > 0)?;
    let Stake::V1 { bonded, .. } = books.stakes.get(&operator)?;
    let most = if generator.random.once_in(20) { *bonded } else { (bonded / 20).max(1) };
    let amount = generator.amount(most)?;
    Some((Some(operator), vec![U64(amount)]))
}

fn rebond(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let unbonds = |_: &Address, Stake::V1 { unbonding, .. }: &Stake| !unbonding.is_empty();
    let operator = generator.key_of(&books.stakes, unbonds)?;
    let Stake::V1 { unbonding, .. } = books.stakes.get(&operator)?;
    let most = unbonding.iter().map(|entry| entry.octas).sum();
    Some((Some(operator), vec![U64(generator.amount(most)?)]))
}

fn withdraw(generator: &mut Generator, books: &Books) -> Option<Draft> {
    let now = generator.seconds;
    let matured = |_: &Address, Stake::V1 { unbonding, .. }: &Stake| {
        unbonding.iter().any(|entry| entry.unlock_seconds <= now)
    };
    Some((Some(generator.key_of(&books.stakes, matured)?), vec![]))
}
