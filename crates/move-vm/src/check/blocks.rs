//! Basic blocks of a function.
//! Never lets control run off the end.

use super::Body;
use crate::VmError;
use crate::format::Bytecode;

/// A run of instructions entered only at its start.
#[derive(Debug)]
pub(super) struct Block {
    pub start: usize,
    /// One past the last instruction.
    pub end: usize,
    /// The blocks that may follow.
    pub next: Vec<usize>,
}

/// The blocks in code order. The first is the entry.
pub(super) fn find(body: &Body) -> Result<Vec<Block>, VmError> {
    let code = &body.code.code;
    let ends = |op: &Bytecode| matches!(op, Bytecode::Ret | Bytecode::Abort | Bytecode::Branch(_));
    if !code.last().is_some_and(ends) {
        return Err(body.error("INVALID_FALL_THROUGH", code.len()));
    }
    let mut leaders = vec![false; code.len() + 1];
    leaders[0] = true;
    for (at, op) in code.iter().enumerate() {
        if let Some(to) = target(op) {
            leaders[to] = true;
        }
        if ends(op) || target(op).is_some() {
            leaders[at + 1] = true;
        }
    }
    leaders[code.len()] = false;
    let starts: Vec<usize> = (0..code.len()).filter(|at| leaders[*at]).collect();
    let block_at = |at: usize| starts.binary_search(&at).ok();
    let block = |(index, start): (usize, &usize)| {
        let end = starts.get(index + 1).copied().unwrap_or(code.len());
        let last = &code[end - 1];
        let branch = target(last).and_then(block_at);
        let through = if ends(last) { None } else { block_at(end) };
        Block { start: *start, end, next: branch.into_iter().chain(through).collect() }
    };
    Ok(starts.iter().enumerate().map(block).collect())
}

fn target(op: &Bytecode) -> Option<usize> {
    match op {
        Bytecode::Branch(to) | Bytecode::BrTrue(to) | Bytecode::BrFalse(to) => {
            Some(usize::from(*to))
        }
        _ => None,
    }
}
