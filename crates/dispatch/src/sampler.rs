//! Weighted draws from a changing set in constant time: members stand in levels, each worth twice
//! the one below, and one random number picks both the level and the place in it. Pure.

use rand::{Rng, RngExt};
use std::collections::HashMap;

/// Levels. The lowest is worth 2⁻¹⁵ of the highest.
const LEVELS: usize = 16;

/// A member, as its pool numbers it.
pub type SeatId = u32;

/// A set of members with weights.
#[derive(Debug, Default)]
pub struct Sampler {
    levels: [Vec<SeatId>; LEVELS],
    places: HashMap<SeatId, Place, foldhash::fast::FixedState>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    level: usize,
    index: usize,
}

/// The level of a weight in (0, 1]; 0 is the highest.
pub fn level_of(weight: f64) -> usize {
    let mut bound = 0.5;
    let mut level = 0;
    while weight < bound && level < LEVELS - 1 {
        bound /= 2.0;
        level += 1;
    }
    level
}

impl Sampler {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// All members, in no order.
    pub fn iter(&self) -> impl Iterator<Item = SeatId> {
        self.levels.iter().flatten().copied()
    }

    /// Puts a member at a level, new or moved.
    pub fn put(&mut self, seat: SeatId, level: usize) {
        let level = level.min(LEVELS - 1);
        if self.places.get(&seat).is_some_and(|place| place.level == level) {
            return;
        }
        self.remove(seat);
        self.places.insert(seat, Place { level, index: self.levels[level].len() });
        self.levels[level].push(seat);
    }

    /// Takes a member out.
    pub fn remove(&mut self, seat: SeatId) {
        let Some(Place { level, index }) = self.places.remove(&seat) else { return };
        self.levels[level].swap_remove(index);
        if let Some(moved) = self.levels[level].get(index) {
            self.places.insert(*moved, Place { level, index });
        }
    }

    /// Draws a member with a chance in proportion to its level's worth.
    pub fn draw(&self, rng: &mut impl Rng) -> Option<SeatId> {
        let total: u64 = self.worths().sum();
        if total == 0 {
            return None;
        }
        let mut ticket = rng.random_range(0..total);
        for (level, worth) in self.worths().enumerate() {
            if ticket < worth {
                let index = usize::try_from(ticket >> shift(level)).ok()?;
                return self.levels[level].get(index).copied();
            }
            ticket -= worth;
        }
        None
    }

    fn worths(&self) -> impl Iterator<Item = u64> {
        let worth = |(level, seats): (usize, &Vec<SeatId>)| {
            u64::try_from(seats.len()).unwrap_or(u64::MAX >> LEVELS) << shift(level)
        };
        self.levels.iter().enumerate().map(worth)
    }
}

/// A member of this level is worth two to this power.
fn shift(level: usize) -> usize {
    LEVELS - 1 - level
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::SmallRng};

    #[test]
    fn each_level_is_drawn_half_as_often_as_the_one_above() {
        let mut sampler = Sampler::default();
        for seat in 0..4 {
            sampler.put(seat, usize::try_from(seat).unwrap());
        }
        let mut rng = SmallRng::seed_from_u64(1);
        let mut counts = [0_i32; 4];
        for _ in 0..15_000 {
            counts[usize::try_from(sampler.draw(&mut rng).unwrap()).unwrap()] += 1;
        }
        for (count, expected) in counts.into_iter().zip([8_000, 4_000, 2_000, 1_000]) {
            assert!((count - expected).abs() < 300, "{counts:?}");
        }
    }

    #[test]
    fn a_weight_falls_into_the_level_of_its_power_of_two() {
        for (weight, level) in [(1.0, 0), (0.5, 0), (0.49, 1), (0.25, 1), (0.0, 15)] {
            assert_eq!(level_of(weight), level, "{weight}");
        }
    }

    proptest! {
        #[test]
        fn after_any_changes_exactly_the_members_are_drawn(
            changes in prop::collection::vec((0u32..12, 0usize..LEVELS, any::<bool>()), 0..60),
            seed: u64,
        ) {
            let mut sampler = Sampler::default();
            let mut expected = std::collections::BTreeSet::new();
            for (seat, level, stays) in changes {
                if stays {
                    sampler.put(seat, level);
                    expected.insert(seat);
                } else {
                    sampler.remove(seat);
                    expected.remove(&seat);
                }
            }
            prop_assert_eq!(sampler.len(), expected.len());
            let mut rng = SmallRng::seed_from_u64(seed);
            for _ in 0..20 {
                match sampler.draw(&mut rng) {
                    Some(seat) => prop_assert!(expected.contains(&seat)),
                    None => prop_assert!(expected.is_empty()),
                }
            }
        }
    }
}
