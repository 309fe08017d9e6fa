//! The life of a task's money, as the routing server keeps it. The states mirror the contract's:
//! `Assigned`, `Delivered` and `Disputed` there cover `Assigned`, `Delivered` and `Refunding` here,
//! which differ only in what the server has decided and not yet seen confirmed. Never knows what
//! the orchestrator puts on the chain itself. `tests/task_states.txt` holds both sides together.

use crate::id::Hash;
use serde::{Deserialize, Serialize};

/// Who is to blame for a task that was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The orchestrator.
    Provider,
    /// The client, who left or asked for the impossible.
    User,
    /// Nobody.
    Nobody,
}

impl Fault {
    /// The contract's code.
    pub fn code(self) -> u8 {
        match self {
            Self::Provider => 1,
            Self::User => 2,
            Self::Nobody => 3,
        }
    }
}

/// Work that was delivered and verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Prompt length in tokens.
    pub prompt_tokens: u32,
    /// Output length in tokens.
    pub output_tokens: u32,
    /// Milliseconds of compute.
    pub compute_ms: u32,
    /// Of the signed receipt.
    pub receipt_hash: Hash,
}

/// Where a task's money is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum TaskState {
    /// Locked; the orchestrator works.
    Assigned,
    /// Verified; payment is on its way to the chain.
    Delivered(Delivery),
    /// Given up; the refund is on its way to the chain.
    Refunding {
        /// Who is to blame.
        fault: Fault,
    },
    /// Paid. Final.
    Settled,
    /// Returned to the client. Final.
    Refunded,
}

/// What happens to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEvent {
    /// The answer was delivered and verified.
    Deliver(Delivery),
    /// The answer will not come, or did not stand up.
    GiveUp(Fault),
    /// The chain confirmed the payment.
    PaymentConfirmed,
    /// The chain confirmed the refund, or found the lock never made or already returned.
    RefundConfirmed,
}

/// What a step asks to be carried out, in the transaction that stores the new state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEffect {
    /// Enqueue `complete_task`.
    Complete(Delivery),
    /// Enqueue `fail_task`.
    Fail(Fault),
}

/// The event cannot happen in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen in {state:?}")]
pub struct Illegal {
    /// The state, which stays.
    pub state: TaskState,
    /// The event, which is dropped.
    pub event: TaskEvent,
}

/// The only way a task's state changes. Total and pure.
///
/// # Errors
/// [`Illegal`] leaves the state as it is; in particular nothing is decided twice.
pub fn step(
    state: TaskState,
    event: TaskEvent,
) -> Result<(TaskState, Option<TaskEffect>), Illegal> {
    use TaskEvent as E;
    use TaskState as S;
    match (state, event) {
        (S::Assigned, E::Deliver(work)) => {
            Ok((S::Delivered(work), Some(TaskEffect::Complete(work))))
        }
        (S::Assigned, E::GiveUp(fault)) => {
            Ok((S::Refunding { fault }, Some(TaskEffect::Fail(fault))))
        }
        // What was given up is paid if the orchestrator had put its delivery on record and the
        // server's word came after the review.
        (S::Delivered(_) | S::Refunding { .. }, E::PaymentConfirmed) => Ok((S::Settled, None)),
        // The lock timed out on the chain before the payment arrived there.
        (S::Delivered(_) | S::Refunding { .. }, E::RefundConfirmed) => Ok((S::Refunded, None)),
        (state, event) => Err(Illegal { state, event }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORK: Delivery =
        Delivery { prompt_tokens: 1, output_tokens: 2, compute_ms: 3, receipt_hash: Hash([0; 32]) };

    fn event() -> impl Strategy<Value = TaskEvent> {
        prop_oneof![
            Just(TaskEvent::Deliver(WORK)),
            prop_oneof![Just(Fault::Provider), Just(Fault::User), Just(Fault::Nobody)]
                .prop_map(TaskEvent::GiveUp),
            Just(TaskEvent::PaymentConfirmed),
            Just(TaskEvent::RefundConfirmed),
        ]
    }

    proptest! {
        #[test]
        fn money_is_decided_at_most_once(events in prop::collection::vec(event(), 0..12)) {
            let (mut state, mut decisions) = (TaskState::Assigned, 0);
            for event in events {
                if let Ok((next, effect)) = step(state, event) {
                    prop_assert_ne!(next, state);
                    decisions += usize::from(effect.is_some());
                    state = next;
                }
            }
            prop_assert!(decisions <= 1);
            prop_assert_eq!(decisions == 0, state == TaskState::Assigned);
        }
    }

    /// What the contract does, as the tests of its bytecode hold it to.
    const CONTRACT: &str = include_str!("../tests/task_states.txt");

    /// Final states that the contract can reach from one, by whichever calls.
    fn ends(from: &str) -> Vec<&'static str> {
        let rows = CONTRACT.lines().filter(|line| !line.starts_with('#'));
        let rows = rows.map(|row| row.split_whitespace().collect::<Vec<_>>());
        let (mut seen, mut ends) = (vec![from.to_owned()], Vec::new());
        for row in rows.filter(|row| row.len() == 5) {
            if !seen.contains(&row[0].to_owned()) {
                continue;
            }
            match row[4] {
                "refused" => {}
                "settled" | "refunded" => ends.push(row[4]),
                other => seen.push(other.to_owned()),
            }
        }
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    #[test]
    fn whatever_the_contract_ends_in_the_server_can_learn() {
        assert_eq!(ends("assigned"), ["refunded", "settled"]);
        assert_eq!(ends("delivered"), ["refunded", "settled"]);
        assert_eq!(ends("settled"), [""; 0], "final there");
        // Whatever was decided here, the chain may have ended the task otherwise: by time, or
        // because its word came too late.
        for decided in [TaskState::Delivered(WORK), TaskState::Refunding { fault: Fault::User }] {
            for (end, event, state) in [
                ("settled", TaskEvent::PaymentConfirmed, TaskState::Settled),
                ("refunded", TaskEvent::RefundConfirmed, TaskState::Refunded),
            ] {
                assert_eq!(step(decided, event), Ok((state, None)), "{end} from {decided:?}");
                assert!(step(state, event).is_err(), "{end} is final here too");
            }
        }
    }

    #[test]
    fn a_delivered_task_cannot_be_given_up() {
        let illegal = step(TaskState::Delivered(WORK), TaskEvent::GiveUp(Fault::Provider));
        assert!(illegal.is_err());
    }
}
