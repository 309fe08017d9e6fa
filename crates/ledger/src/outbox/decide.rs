//! What to do about one transaction in flight, given what the chain said. Pure.

use crate::chain::{Execution, Head, Lookup};

/// How long after a node called a transaction expired another node may still know less. Only
/// then does an unknown transaction count as never happening.
pub(crate) const LAG_SECONDS: u64 = 5;
/// How far the chain's time must be past an expiry to do without a node's word for it.
pub(crate) const LONG_PAST_SECONDS: u64 = 120;
/// When the transaction that all others wait for has not moved for this long, look at it.
pub(crate) const STALL_SECONDS: u64 = 2;

/// What is known of a transaction in flight without asking about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) sequence_number: u64,
    pub(crate) expires_seconds: u64,
    /// When a node last had it, by our clock; `None` while that is in doubt.
    pub(crate) accepted_seconds: Option<u64>,
    /// When a node first called it expired, by our clock.
    pub(crate) expired_seconds: Option<u64>,
}

/// The chain and the time around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Around {
    /// The chain's time and ours, read before anything else.
    pub(crate) head: Head,
    /// The sender's next sequence number.
    pub(crate) next_sequence: u64,
}

/// What to do after a look.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// It is in the chain.
    Settle(Execution),
    /// It waits at a node, or for the nodes to agree.
    Wait,
    /// Hand in the same bytes again: that cannot happen twice, and a node says if it is too late.
    Resend,
    /// It never happened and never will: sign anew.
    Release,
}

/// Whether it is worth asking about this transaction now.
pub(crate) fn deserves_look(flight: Flight, around: Around) -> bool {
    let numbered = flight.sequence_number < around.next_sequence;
    let overdue = around.head.expiry(0) > flight.expires_seconds;
    let stalled = flight.accepted_seconds.is_none_or(|accepted| {
        flight.sequence_number == around.next_sequence
            && around.head.local_seconds >= accepted.saturating_add(STALL_SECONDS)
    });
    numbered || overdue || stalled
}

/// What the answer means. `around` must have been read before the look.
pub(crate) fn after_look(flight: Flight, around: Around, lookup: Lookup) -> Action {
    let long_past = flight.expires_seconds.saturating_add(LONG_PAST_SECONDS);
    match (lookup, flight.expired_seconds) {
        (Lookup::Committed(execution), _) => Action::Settle(execution),
        (Lookup::Pending, _) => Action::Wait,
        (Lookup::Unknown, _) if around.head.seconds > long_past => Action::Release,
        (Lookup::Unknown, Some(since)) => {
            if around.head.local_seconds >= since.saturating_add(LAG_SECONDS) {
                Action::Release
            } else {
                Action::Wait
            }
        }
        (Lookup::Unknown, None) => Action::Resend,
    }
}

/// The lowest numbers that the sender may use next: from the chain's on, without those that are
/// taken by transactions that may still happen. So a gap, which holds up all later transactions,
/// is filled first.
pub(crate) fn free_numbers(next_sequence: u64, taken: &[u64]) -> impl Iterator<Item = u64> {
    (next_sequence..).filter(|number| !taken.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLIGHT: Flight = Flight {
        sequence_number: 7,
        expires_seconds: 130,
        accepted_seconds: Some(100),
        expired_seconds: None,
    };

    fn around(seconds: u64, next_sequence: u64) -> Around {
        let head = Head { chain_id: 4, seconds, local_seconds: seconds };
        Around { head, next_sequence }
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
        assert!(deserves_look(FLIGHT, around(131, 5)));
        let doubtful = Flight { accepted_seconds: None, ..FLIGHT };
        assert!(deserves_look(doubtful, around(101, 5)));
    }

    #[test]
    fn an_unknown_transaction_is_signed_anew_only_when_the_chain_called_it_expired() {
        let unknown = |flight, around| after_look(flight, around, Lookup::Unknown);
        // Neither our clock nor another transaction with its number is proof enough.
        assert_eq!(unknown(FLIGHT, around(200, 9)), Action::Resend);
        let expired = Flight { expired_seconds: Some(131), ..FLIGHT };
        assert_eq!(unknown(expired, around(135, 7)), Action::Wait);
        assert_eq!(unknown(expired, around(136, 7)), Action::Release);
        let waiting = after_look(expired, around(999, 7), Lookup::Pending);
        assert_eq!(waiting, Action::Wait);
    }

    #[test]
    fn a_chain_whose_time_is_long_past_the_expiry_need_not_say_so() {
        let far = 130 + LONG_PAST_SECONDS;
        let unknown = |seconds| after_look(FLIGHT, around(seconds, 7), Lookup::Unknown);
        assert_eq!(unknown(far), Action::Resend);
        assert_eq!(unknown(far + 1), Action::Release);
    }

    #[test]
    fn gaps_are_filled_first() {
        let first =
            |next, taken: &[u64], count| free_numbers(next, taken).take(count).collect::<Vec<_>>();
        assert_eq!(first(5, &[6, 8], 4), [5, 7, 9, 10]);
        assert_eq!(first(5, &[], 2), [5, 6]);
        assert_eq!(first(9, &[5, 6], 1), [9]);
    }
}
