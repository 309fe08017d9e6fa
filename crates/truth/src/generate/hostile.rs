//! One thing wrong in an otherwise sensible call: another caller, a number at its edge, a byte
//! flipped, a list too short. Never more than one, so that the other checks are reached.

use cactus_move_vm::AccountAddress;

use super::Draft;
use crate::argument::Argument;
use crate::cast::Cast;
use crate::chain::CONTRACT;
use crate::random::Random;

/// Spoils a draft.
pub fn spoil(random: &mut Random, cast: &Cast, (signer, arguments): &mut Draft) {
    if signer.is_some() && (arguments.is_empty() || random.once_in(3)) {
        *signer = Some(address(random, cast));
        return;
    }
    let index = random.index(arguments.len());
    let Some(argument) = arguments.get_mut(index) else { return };
    match argument {
        Argument::Bool(value) => *value = !*value,
        Argument::U8(value) => *value = random.number().to_le_bytes()[0],
        Argument::U64(value) => *value = number(random, *value),
        Argument::Address(value) => *value = address(random, cast),
        Argument::Bytes(value) => bytes(random, value),
        Argument::Text(value) => *value = text(random),
        Argument::Addresses(values) => list(random, values, |random| address(random, cast)),
        Argument::Numbers(values) => list(random, values, |random| number(random, 1)),
        Argument::ByteLists(values) => list(random, values, |random| random.bytes32().to_vec()),
    }
}

fn number(random: &mut Random, value: u64) -> u64 {
    match random.below(8) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => u64::MAX - value.min(1_000_000),
        4 => value.saturating_add(1),
        5 => value.saturating_sub(1),
        6 => value.saturating_mul(2),
        _ => random.number() >> random.below(64),
    }
}

fn address(random: &mut Random, cast: &Cast) -> AccountAddress {
    let everyone: Vec<AccountAddress> = cast.everyone().map(|actor| actor.address).collect();
    match random.below(12) {
        0 => AccountAddress::ZERO,
        1 => AccountAddress::ONE,
        2 => CONTRACT,
        3 => AccountAddress(random.bytes32()),
        _ => random.pick(&everyone).copied().unwrap_or(CONTRACT),
    }
}

fn bytes(random: &mut Random, value: &mut Vec<u8>) {
    let index = random.index(value.len());
    match random.below(5) {
        0 => value.clear(),
        1 => value.truncate(index),
        2 => value.push(0),
        3 => *value = random.bytes32().to_vec(),
        _ => {
            if let Some(byte) = value.get_mut(index) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

fn text(random: &mut Random) -> String {
    let length = match random.below(4) {
        0 => 0,
        1 => 513,
        2 => 257,
        _ => 30,
    };
    "é".repeat(length / 2) + &"x".repeat(length % 2)
}

fn list<T: Clone>(random: &mut Random, values: &mut Vec<T>, any: impl Fn(&mut Random) -> T) {
    let index = random.index(values.len());
    match random.below(5) {
        0 => values.clear(),
        1 => values.truncate(index),
        2 => values.push(any(random)),
        3 => values.extend(values.first().cloned()),
        _ => {
            if let Some(value) = values.get_mut(index) {
                *value = any(random);
            }
        }
    }
}
