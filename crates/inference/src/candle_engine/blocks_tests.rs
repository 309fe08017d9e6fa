//! The block book: nothing is lost, nothing is shared that should not be.

use proptest::prelude::*;

use super::*;

fn tokens(range: std::ops::Range<u32>) -> Vec<u32> {
    range.collect()
}

/// A sequence with these tokens; returns how many of them it found.
fn fill(blocks: &mut Blocks, id: u64, salt: u64, tokens: &[u32]) -> usize {
    let found = blocks.adopt(SequenceId(id), salt, tokens);
    blocks.reserve(SequenceId(id), tokens.len()).unwrap();
    blocks.append(SequenceId(id), &tokens[found..]);
    found
}

fn table(blocks: &Blocks, id: u64) -> Vec<usize> {
    blocks.get(SequenceId(id)).unwrap().table.clone()
}

#[test]
fn every_block_comes_back_and_none_is_shared_without_a_salt() {
    let mut blocks = Blocks::new(8);
    blocks.reserve(SequenceId(1), 33).unwrap();
    blocks.reserve(SequenceId(2), 80).unwrap();
    blocks.append(SequenceId(1), &[7; 33]);
    blocks.append(SequenceId(2), &[7; 80]);
    let mut held = [table(&blocks, 1), table(&blocks, 2)].concat();
    held.sort_unstable();
    assert_eq!(held, (0..8).collect::<Vec<_>>());
    let refused = blocks.reserve(SequenceId(3), 1);
    assert_eq!(refused, Err(EngineError::OutOfMemory { wanted: 16, free: 0 }));
    blocks.free(SequenceId(1));
    blocks.free(SequenceId(1));
    blocks.free(SequenceId(2));
    assert_eq!(blocks.free_positions(), 128);
}

#[test]
fn a_sequence_grows_as_it_needs_to_and_keeps_what_it_has() {
    let mut blocks = Blocks::new(4);
    blocks.reserve(SequenceId(1), 10).unwrap();
    let first = table(&blocks, 1);
    blocks.reserve(SequenceId(1), 40).unwrap();
    assert_eq!(table(&blocks, 1)[..1], first);
    assert_eq!(table(&blocks, 1).len(), 3);
    blocks.reserve(SequenceId(1), 5).unwrap();
    assert_eq!(blocks.get(SequenceId(1)).unwrap().limit, 40);
    assert!(blocks.reserve(SequenceId(1), 65).is_err());
    assert_eq!(table(&blocks, 1).len(), 3);
}

#[test]
fn the_same_beginning_is_the_same_blocks_while_and_after_it_is_used() {
    let mut blocks = Blocks::new(16);
    let (long, other) = (tokens(0..50), [tokens(0..32), tokens(90..110)].concat());
    assert_eq!(fill(&mut blocks, 1, 5, &long), 0);
    assert_eq!(fill(&mut blocks, 2, 5, &other), 32);
    assert_eq!(table(&blocks, 1)[..2], table(&blocks, 2)[..2]);
    blocks.free(SequenceId(1));
    blocks.free(SequenceId(2));
    assert_eq!(blocks.free_positions(), 256);
    assert_eq!(fill(&mut blocks, 3, 5, &long), 48);
    assert_eq!(fill(&mut blocks, 4, 6, &long), 0, "another salt shares nothing");
    assert_eq!(fill(&mut blocks, 5, 5, &tokens(1..50)), 0, "nor does another position");
}

#[test]
fn blocks_that_two_sequences_computed_side_by_side_become_one() {
    let mut blocks = Blocks::new(8);
    let long = tokens(0..32);
    for id in [1, 2] {
        assert_eq!(blocks.adopt(SequenceId(id), 5, &long), 0);
        blocks.reserve(SequenceId(id), 40).unwrap();
    }
    assert_eq!(blocks.free_positions(), 2 * 16);
    blocks.append(SequenceId(1), &long);
    blocks.append(SequenceId(2), &long[..16]);
    assert_eq!(blocks.free_positions(), 3 * 16);
    assert_eq!(blocks.adopt(SequenceId(2), 5, &long), 32, "found before it was computed again");
    assert_eq!(blocks.free_positions(), 4 * 16);
    assert_eq!(table(&blocks, 1)[..2], table(&blocks, 2)[..2]);
    assert_ne!(table(&blocks, 1)[2], table(&blocks, 2)[2], "what is not full is nobody else's");
}

#[test]
fn the_end_that_was_not_used_for_longest_is_forgotten_first() {
    let mut blocks = Blocks::new(4);
    fill(&mut blocks, 1, 5, &tokens(0..32));
    blocks.free(SequenceId(1));
    fill(&mut blocks, 2, 5, &tokens(50..82));
    blocks.free(SequenceId(2));
    blocks.reserve(SequenceId(3), 16).unwrap();
    blocks.free(SequenceId(3));
    assert_eq!(blocks.adopt(SequenceId(4), 5, &tokens(0..32)), 16);
    blocks.free(SequenceId(4));
    assert_eq!(blocks.adopt(SequenceId(5), 5, &tokens(50..82)), 32);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A model of the cache's memory beside the book: a block must never be written by one
    /// sequence while it is part of another, and what is adopted must hold the adopted tokens.
    #[test]
    fn what_is_adopted_was_written_with_those_tokens_and_no_block_is_lost(
        steps in prop::collection::vec((0_u64..6, 0_u64..2, 0_u32..3, 1_usize..70, any::<bool>()), 1..80),
    ) {
        let mut blocks = Blocks::new(12);
        let mut memory = vec![None; 12 * BLOCK];
        for (id, salt, kind, length, free) in steps {
            if free || blocks.get(SequenceId(id)).is_some() {
                blocks.free(SequenceId(id));
                continue;
            }
            let wanted: Vec<u32> = (0..).map(|position| position / 20 * kind).take(length).collect();
            let found = blocks.adopt(SequenceId(id), salt, &wanted);
            if blocks.reserve(SequenceId(id), length).is_err() {
                blocks.free(SequenceId(id));
                continue;
            }
            let place = |position: usize| {
                blocks.get(SequenceId(id)).unwrap().table[position / BLOCK] * BLOCK + position % BLOCK
            };
            for position in 0..found {
                prop_assert_eq!(memory[place(position)], Some((salt, wanted[position])));
            }
            for position in found..length {
                let block = place(position) / BLOCK;
                let holders = blocks.sequences.values().filter(|held| held.table.contains(&block));
                prop_assert_eq!(holders.count(), 1, "block {} is written while shared", block);
                memory[place(position)] = Some((salt, wanted[position]));
            }
            blocks.append(SequenceId(id), &wanted[found..]);
        }
        (0..6).for_each(|id| blocks.free(SequenceId(id)));
        prop_assert_eq!(blocks.free_positions(), 12 * BLOCK);
    }
}
