//! Locals: nothing is read before it is set or after it was moved, and nothing without `drop` is
//! lost by overwriting or returning. Never looks at types beyond their abilities.

use super::Body;
use super::blocks::Block;
use crate::format::Bytecode;
use crate::{AbilitySet, VmError};

/// A set of locals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Set([u64; 4]);

impl Set {
    fn split(local: usize) -> (usize, u64) {
        (local / 64 % 4, 1 << (local % 64))
    }

    fn has(&self, local: usize) -> bool {
        let (word, bit) = Self::split(local);
        self.0[word] & bit != 0
    }

    fn put(&mut self, local: usize, present: bool) {
        let (word, bit) = Self::split(local);
        if present { self.0[word] |= bit } else { self.0[word] &= !bit }
    }

    fn join(self, other: Self, operation: fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|word| operation(self.0[word], other.0[word])))
    }
}

/// What is known of the locals at a point: those certainly set, and those possibly set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    certain: Set,
    possible: Set,
}

pub(super) fn check(body: &Body, blocks: &[Block], parameters: usize) -> Result<(), VmError> {
    let mut start = Known { certain: Set::default(), possible: Set::default() };
    for local in 0..parameters {
        start.certain.put(local, true);
        start.possible.put(local, true);
    }
    let droppable: Vec<bool> =
        body.locals.iter().map(|token| body.abilities(token).has(AbilitySet::DROP)).collect();
    let mut entries: Vec<Option<Known>> = vec![None; blocks.len()];
    entries[0] = Some(start);
    let mut open = vec![0];
    while let Some(index) = open.pop() {
        let Some(mut known) = entries[index] else { continue };
        let block = &blocks[index];
        for at in block.start..block.end {
            step(body, &mut known, at, &droppable)?;
        }
        for next in &block.next {
            let joined = entries[*next].map_or(known, |old| Known {
                certain: old.certain.join(known.certain, |left, right| left & right),
                possible: old.possible.join(known.possible, |left, right| left | right),
            });
            if entries[*next] != Some(joined) {
                entries[*next] = Some(joined);
                open.push(*next);
            }
        }
    }
    Ok(())
}

fn step(body: &Body, known: &mut Known, at: usize, droppable: &[bool]) -> Result<(), VmError> {
    let need = |known: &Known, local: u8, code| {
        if known.certain.has(usize::from(local)) { Ok(()) } else { Err(body.error(code, at)) }
    };
    match &body.code.code[at] {
        Bytecode::CopyLoc(local) => need(known, *local, "COPYLOC_UNAVAILABLE_ERROR"),
        Bytecode::BorrowLoc(_, local) => need(known, *local, "BORROWLOC_UNAVAILABLE_ERROR"),
        Bytecode::MoveLoc(local) => {
            need(known, *local, "MOVELOC_UNAVAILABLE_ERROR")?;
            known.certain.put(usize::from(*local), false);
            known.possible.put(usize::from(*local), false);
            Ok(())
        }
        Bytecode::StLoc(local) => {
            let local = usize::from(*local);
            if known.possible.has(local) && !droppable[local] {
                return Err(body.error("STLOC_UNSAFE_TO_DESTROY_ERROR", at));
            }
            known.certain.put(local, true);
            known.possible.put(local, true);
            Ok(())
        }
        Bytecode::Ret => {
            let lost =
                (0..droppable.len()).any(|local| known.possible.has(local) && !droppable[local]);
            if lost { Err(body.error("UNSAFE_RET_UNUSED_VALUES_WITHOUT_DROP", at)) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}
