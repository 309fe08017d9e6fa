//! The line of requests that wait for a busy model: by priority, fairly among payers, then by
//! deadline. Pure: it wakes nobody and takes the moment from its caller.

use cactus_protocol::Address;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    ops::Bound,
    time::{Duration, Instant},
};

/// How much the newest pause between two departures counts.
const SMOOTHING: f64 = 0.2;
/// What a client is told to wait when nothing is known of how fast the line moves.
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);
/// The longest that a client is told to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A request that wants to wait.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    /// Who pays.
    pub payer: Address,
    /// Higher is more urgent.
    pub priority: u8,
    /// When nobody wants the answer any more.
    pub deadline: Instant,
}

/// A place in the line. Smaller is sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn {
    priority: Reverse<u8>,
    /// How many turns the payer had before, counted from when it last had none waiting.
    round: u64,
    deadline: Instant,
    number: u64,
}

/// There is no place, or none that would be served in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// When it may be worth to come back.
    pub retry_after: Duration,
}

/// The line of one model.
#[derive(Debug, Clone)]
pub struct WaitingLine {
    capacity: usize,
    places: BTreeMap<Turn, Address>,
    /// The next round of each payer that waits.
    rounds: HashMap<Address, (u64, usize)>,
    /// The round of the last departure: a payer that comes anew starts there.
    round: u64,
    number: u64,
    last_departure: Option<Instant>,
    pause_seconds: Option<f64>,
}

impl WaitingLine {
    /// Room for so many.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            places: BTreeMap::new(),
            rounds: HashMap::new(),
            round: 0,
            number: 0,
            last_departure: None,
            pause_seconds: None,
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`Full`]: there is none, or by how the line moves the deadline passes before its turn.
    pub fn join(&mut self, ticket: Ticket, now: Instant) -> Result<Turn, Full> {
        let (next, _) = self.rounds.get(&ticket.payer).copied().unwrap_or((self.round, 0));
        let turn = Turn {
            priority: Reverse(ticket.priority),
            round: next.max(self.round),
            deadline: ticket.deadline,
            number: self.number,
        };
        let ahead = self.places.range(..turn).count();
        let wait = self.wait(ahead + 1);
        let too_late = wait.is_some_and(|wait| now + wait > ticket.deadline);
        if self.places.len() >= self.capacity || too_late {
            let wait = self.wait(self.places.len() + 1).unwrap_or(UNKNOWN_WAIT);
            return Err(Full { retry_after: wait.min(LONGEST_WAIT) });
        }
        self.number += 1;
        let rounds = self.rounds.entry(ticket.payer).or_default();
        *rounds = (turn.round + 1, rounds.1 + 1);
        self.places.insert(turn, ticket.payer);
        Ok(turn)
    }

    /// Whose turn it is, at most so many.
    pub fn first(&self, count: usize) -> Vec<Turn> {
        self.places.keys().take(count).copied().collect()
    }

    /// Who is next after a turn, or the first.
    pub fn next_after(&self, turn: Option<Turn>) -> Option<Turn> {
        let after = turn.map_or(Bound::Unbounded, Bound::Excluded);
        self.places.range((after, Bound::Unbounded)).next().map(|(turn, _)| *turn)
    }

    /// A request is served.
    pub fn depart(&mut self, turn: Turn, now: Instant) {
        if !self.leave(turn) {
            return;
        }
        self.round = self.round.max(turn.round);
        // A line that was empty for long says nothing of how fast it moves.
        if let Some(last) = self.last_departure {
            let pause = now.saturating_duration_since(last).as_secs_f64();
            let known = self.pause_seconds.unwrap_or(pause);
            self.pause_seconds = Some(known + SMOOTHING * (pause - known));
        }
        self.last_departure = (!self.places.is_empty()).then_some(now);
    }

    /// A request is not wanted any more; whether it waited.
    pub fn leave(&mut self, turn: Turn) -> bool {
        let Some(payer) = self.places.remove(&turn) else { return false };
        if let Some((_, waiting)) = self.rounds.get_mut(&payer) {
            *waiting -= 1;
            if *waiting == 0 {
                self.rounds.remove(&payer);
            }
        }
        true
    }

    /// How long until so many have departed, as far as it is known.
    fn wait(&self, departures: usize) -> Option<Duration> {
        let departures = f64::from(u32::try_from(departures).unwrap_or(u32::MAX));
        let seconds = self.pause_seconds? * departures;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ticket(payer: u8, priority: u8, deadline: Instant) -> Ticket {
        Ticket { payer: Address([payer; 32]), priority, deadline }
    }

    /// Lets everyone depart; the payers in order.
    fn order(line: &mut WaitingLine, now: Instant) -> Vec<u8> {
        let mut order = Vec::new();
        while let Some(turn) = line.first(1).first().copied() {
            order.push(line.places[&turn].0[0]);
            line.depart(turn, now);
        }
        order
    }

    #[test]
    fn the_urgent_go_first_and_then_payers_take_turns() {
        let now = Instant::now();
        let later = now + 100 * SECOND;
        let mut line = WaitingLine::new(100);
        for _ in 0..3 {
            line.join(ticket(1, 5, later), now).unwrap();
        }
        line.join(ticket(2, 5, later), now).unwrap();
        line.join(ticket(3, 9, later), now).unwrap();
        line.join(ticket(2, 5, later), now).unwrap();
        assert_eq!(order(&mut line, now), [3, 1, 2, 1, 2, 1]);
    }

    #[test]
    fn within_a_payers_turn_the_earlier_deadline_goes_first() {
        let now = Instant::now();
        let mut line = WaitingLine::new(100);
        line.join(ticket(1, 5, now + 9 * SECOND), now).unwrap();
        line.join(ticket(2, 5, now + 3 * SECOND), now).unwrap();
        assert_eq!(order(&mut line, now), [2, 1]);
    }

    #[test]
    fn who_comes_later_does_not_overtake_by_having_waited_less() {
        let now = Instant::now();
        let later = now + 100 * SECOND;
        let mut line = WaitingLine::new(100);
        for _ in 0..10 {
            line.join(ticket(1, 5, later), now).unwrap();
        }
        for turn in line.first(5) {
            line.depart(turn, now);
        }
        for _ in 0..3 {
            line.join(ticket(2, 5, later), now).unwrap();
        }
        let order = order(&mut line, now);
        assert_eq!(order.len(), 8);
        let newcomers = order.iter().take(4).filter(|payer| **payer == 2).count();
        assert!((1..=3).contains(&newcomers), "{order:?}");
    }

    #[test]
    fn a_full_line_says_when_to_come_back() {
        let now = Instant::now();
        let later = now + 100 * SECOND;
        let mut line = WaitingLine::new(3);
        for _ in 0..3 {
            line.join(ticket(1, 5, later), now).unwrap();
        }
        let full = line.join(ticket(2, 5, later), now).unwrap_err();
        assert_eq!(full.retry_after, UNKNOWN_WAIT);
        for (turn, second) in line.first(2).into_iter().zip([0, 4]) {
            line.depart(turn, now + second * SECOND);
        }
        line.join(ticket(2, 5, later), now).unwrap();
        line.join(ticket(2, 5, later), now).unwrap();
        let full = line.join(ticket(3, 5, later), now).unwrap_err();
        assert_eq!(full.retry_after, 16 * SECOND);
    }

    #[test]
    fn what_cannot_be_served_in_time_is_refused_at_once() {
        let now = Instant::now();
        let mut line = WaitingLine::new(100);
        for _ in 0..4 {
            line.join(ticket(1, 5, now + 100 * SECOND), now).unwrap();
        }
        for (turn, second) in line.first(2).into_iter().zip([0, 2]) {
            line.depart(turn, now + second * SECOND);
        }
        assert!(line.join(ticket(2, 5, now + SECOND), now).is_err());
        assert!(line.join(ticket(2, 5, now + 7 * SECOND), now).is_ok());
        assert!(line.join(ticket(3, 9, now + 3 * SECOND), now).is_ok(), "nobody is ahead of it");
    }

    proptest! {
        #[test]
        fn nobody_is_lost_and_no_memory_of_payers_stays(
            joins in prop::collection::vec((0u8..5, 0u8..3, 1u32..50), 0..40),
            leaves in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let now = Instant::now();
            let mut line = WaitingLine::new(30);
            let mut turns = Vec::new();
            for (payer, priority, seconds) in joins {
                turns.extend(line.join(ticket(payer, priority, now + seconds * SECOND), now));
            }
            for place in leaves {
                if !turns.is_empty() {
                    let turn = turns.swap_remove(place.index(turns.len()));
                    prop_assert!(line.leave(turn));
                    prop_assert!(!line.leave(turn));
                }
            }
            prop_assert_eq!(line.len(), turns.len());
            turns.sort();
            prop_assert_eq!(line.first(usize::MAX), turns);
            order(&mut line, now);
            prop_assert!(line.rounds.is_empty());
        }
    }
}
