//! What to do about one transaction in flight, given what the chain said. Pure.

use crate::chain::Lookup;

/// How far a node may lag behind the one that told us the time, in chain seconds. A transaction
/// counts as never happening only once it is unknown this long after its expiry.
pub(crate) const LAG_SECONDS: u64 = 5;
/// When the transaction that all others wait for has not moved for this long, look at it.
pub(crate) const STALL_SECONDS: u64 = 2;

/// What is known of a transaction in flight without asking about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) sequence_number: u64,
    pub(crate) expires_seconds: u64,
    /// When a node last took it, in chain time; `None` while that is in doubt.
    pub(crate) accepted_seconds: Option<u64>,
}

/// The chain around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Around {
    /// The chain's time, read before anything else.
    pub(crate) now: u64,
    /// The sender's next sequence number.
    pub(crate) next_sequence: u64,
}

/// What to do after a look.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// It is in the chain.
    Settle(crate::chain::Execution),
    /// It waits at a node.
    Wait,
    /// Hand in the same bytes again: that cannot happen twice.
    Resend,
    /// It never happened and never will: sign anew.
    Release,
}

/// Whether it is worth asking about this transaction now.
pub(crate) fn deserves_look(flight: Flight, around: Around) -> bool {
    let numbered = flight.sequence_number < around.next_sequence;
    let overdue = is_dead(flight, around);
    let stalled = flight.accepted_seconds.is_none_or(|accepted| {
        flight.sequence_number == around.next_sequence
            && around.now >= accepted.saturating_add(STALL_SECONDS)
    });
    numbered || overdue || stalled
}

/// What the answer means. `around` must have been read before the look.
pub(crate) fn after_look(flight: Flight, around: Around, lookup: Lookup) -> Action {
    match lookup {
        Lookup::Committed(execution) => Action::Settle(execution),
        // A node may keep an expired transaction in its pool; the chain discards it all the same.
        Lookup::Pending | Lookup::Unknown if is_dead(flight, around) => Action::Release,
        Lookup::Pending => Action::Wait,
        Lookup::Unknown if around.now > flight.expires_seconds => Action::Wait,
        Lookup::Unknown => Action::Resend,
    }
}

fn is_dead(flight: Flight, around: Around) -> bool {
    around.now > flight.expires_seconds.saturating_add(LAG_SECONDS)
}

/// The lowest numbers that the sender may use next: from the chain's on, without those that are
/// taken by transactions that may still happen. So a gap, which holds up all later transactions,
/// is filled first.
pub(crate) fn free_numbers(next_sequence: u64, taken: &[u64], count: usize) -> Vec<u64> {
    (next_sequence..).filter(|number| !taken.contains(number)).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLIGHT: Flight =
        Flight { sequence_number: 7, expires_seconds: 130, accepted_seconds: Some(100) };

    fn around(now: u64, next_sequence: u64) -> Around {
        Around { now, next_sequence }
    }

    #[test]
    fn a_transaction_that_waits_its_turn_is_left_alone() {
        assert!(!deserves_look(FLIGHT, around(125, 5)));
        assert!(!deserves_look(FLIGHT, around(101, 7)));
    }

    #[test]
    fn a_transaction_is_looked_at_when_its_number_passed_or_it_stalls_or_is_in_doubt() {
        assert!(deserves_look(FLIGHT, around(101, 8)));
        assert!(deserves_look(FLIGHT, around(102, 7)));
        assert!(deserves_look(FLIGHT, around(136, 5)));
        let doubtful = Flight { accepted_seconds: None, ..FLIGHT };
        assert!(deserves_look(doubtful, around(101, 5)));
    }

    #[test]
    fn an_unknown_transaction_is_signed_anew_only_well_past_its_expiry() {
        for (now, expected) in [
            (130, Action::Resend),
            (131, Action::Wait),
            (135, Action::Wait),
            (136, Action::Release),
        ] {
            let action = after_look(FLIGHT, around(now, 7), Lookup::Unknown);
            assert_eq!(action, expected, "{now}");
        }
        // Even when another transaction took its number.
        assert_eq!(after_look(FLIGHT, around(120, 9), Lookup::Unknown), Action::Resend);
        let waiting = |now| after_look(FLIGHT, around(now, 7), Lookup::Pending);
        assert_eq!(waiting(135), Action::Wait);
        assert_eq!(waiting(136), Action::Release);
    }

    #[test]
    fn gaps_are_filled_first() {
        assert_eq!(free_numbers(5, &[6, 8], 4), [5, 7, 9, 10]);
        assert_eq!(free_numbers(5, &[], 2), [5, 6]);
        assert_eq!(free_numbers(9, &[5, 6], 1), [9]);
    }
}
