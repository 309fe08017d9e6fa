//! Remembers the nonces of signed requests for as long as their time could still be accepted.
//! Bounded: when it is full, new signed requests must wait rather than old ones be forgotten.

use cactus_protocol::{Address, auth::CLOCK_TOLERANCE_MS};
use std::{collections::HashSet, mem};

/// Nonces per generation.
const CAPACITY: usize = 200_000;
/// Of these, for accounts that are not known to have money: anyone makes as many as they like, and
/// they must not keep those who pay from being heard.
const STRANGERS: usize = CAPACITY / 2;

type Nonce = (Address, [u8; 16]);

/// Why a nonce is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It was used already.
    Used,
    /// Too many requests lately.
    Full,
}

/// Two generations: a nonce is remembered for one to two spans in which its time is acceptable.
#[derive(Debug, Default)]
pub struct ReplayCache {
    current: HashSet<Nonce>,
    previous: HashSet<Nonce>,
    began_ms: u64,
}

impl ReplayCache {
    /// Accepts a nonce once, of an account that is or is not known to have money.
    ///
    /// # Errors
    /// [`Replay`] when it was used, or cannot be remembered.
    pub fn accept(
        &mut self,
        (client, is_known): (Address, bool),
        nonce: [u8; 16],
        now_ms: u64,
    ) -> Result<(), Replay> {
        self.turn(now_ms);
        let nonce = (client, nonce);
        if self.current.contains(&nonce) || self.previous.contains(&nonce) {
            return Err(Replay::Used);
        }
        if self.current.len() >= if is_known { CAPACITY } else { STRANGERS } {
            return Err(Replay::Full);
        }
        self.current.insert(nonce);
        Ok(())
    }

    /// A claim of time `t` is acceptable from `t - tolerance` to `t + tolerance`.
    fn turn(&mut self, now_ms: u64) {
        let span = 2 * CLOCK_TOLERANCE_MS;
        let age = now_ms.saturating_sub(self.began_ms);
        if age <= span {
            return;
        }
        let current = mem::take(&mut self.current);
        self.previous = if age > 2 * span { HashSet::new() } else { current };
        self.began_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Address = Address([1; 32]);
    const START: u64 = 1_000_000;

    #[test]
    fn a_nonce_is_refused_for_as_long_as_its_time_could_be_accepted() {
        for offset in [0, 1, 100_000, 119_999] {
            let mut cache = ReplayCache::default();
            cache.accept((CLIENT, true), [0; 16], START).unwrap();
            cache.accept((CLIENT, true), [1; 16], START + offset).unwrap();
            let last = START + offset + 2 * CLOCK_TOLERANCE_MS;
            for now in [START + offset, last - 1, last] {
                let again = cache.accept((CLIENT, true), [1; 16], now);
                assert_eq!(again, Err(Replay::Used), "{offset} {now}");
            }
        }
    }

    #[test]
    fn nonces_of_different_clients_do_not_collide_and_old_ones_are_forgotten() {
        let mut cache = ReplayCache::default();
        cache.accept((CLIENT, true), [1; 16], START).unwrap();
        cache.accept((Address([2; 32]), true), [1; 16], START).unwrap();
        for turn in 1..=3 {
            let now = START + turn * (2 * CLOCK_TOLERANCE_MS + 1);
            let _ = cache.accept((CLIENT, true), [9; 16], now);
        }
        assert_eq!(cache.previous.len() + cache.current.len(), 1);
    }

    #[test]
    fn a_full_cache_refuses_rather_than_forgets() {
        let mut cache = ReplayCache::default();
        for n in 0..CAPACITY {
            let mut nonce = [0; 16];
            nonce[..8].copy_from_slice(&n.to_le_bytes());
            cache.accept((CLIENT, true), nonce, START).unwrap();
        }
        assert_eq!(cache.accept((CLIENT, true), [255; 16], START), Err(Replay::Full));
    }

    #[test]
    fn accounts_made_for_the_purpose_do_not_crowd_out_those_that_pay() {
        let mut cache = ReplayCache::default();
        for n in 0..STRANGERS {
            let mut stranger = [0; 32];
            stranger[..8].copy_from_slice(&n.to_le_bytes());
            cache.accept((Address(stranger), false), [0; 16], START).unwrap();
        }
        let stranger = (Address([255; 32]), false);
        assert_eq!(cache.accept(stranger, [0; 16], START), Err(Replay::Full));
        assert_eq!(cache.accept((CLIENT, true), [0; 16], START), Ok(()));
    }
}
