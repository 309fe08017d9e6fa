//! What a server's frame means in each phase of a link. Pure: it performs no IO, signs nothing and
//! reads no clock.

use cactus_protocol::{
    Address, Scope, ServerFrame, TaskId,
    frame::{Challenge, MAX_FRAME_BYTES, PROTOCOL_VERSION, Refused, Task, Welcome},
};

/// A server that reads shorter frames than this cannot be served, in bytes.
pub(crate) const MIN_FRAME_BYTES: usize = 64 * 1024;
/// The longest pause between heartbeats that a server may ask for, in seconds.
const MAX_HEARTBEAT_SECONDS: u16 = 60;

/// How far a link has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Connected; the server speaks first.
    AwaitChallenge,
    /// Our `Hello` is out.
    AwaitVerdict,
    /// Tasks may come.
    Open,
}

/// What is to be done about a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Sign and send a `Hello` for this challenge. Its network is ours.
    SayHello(Challenge),
    /// The link is open.
    Opened(Welcome),
    /// The server does not want us.
    GiveUp(Refused),
    /// Run this task.
    Run(Box<Task>),
    /// Send up to so many deltas more.
    Grant { task_id: TaskId, deltas: u32 },
    /// Stop this task.
    Stop(TaskId),
}

/// The server broke the protocol or is not of our network; the link closes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The configuration or the server's is for another network. Nothing was signed.
    #[error(
        "the server settles on chain {chain_id} with contract {contract}; this node is configured for chain {our_chain_id} with contract {our_contract}"
    )]
    OtherNetwork {
        /// The server's chain.
        chain_id: u8,
        /// The server's contract.
        contract: Address,
        /// Our chain.
        our_chain_id: u8,
        /// Our contract.
        our_contract: Address,
    },
    /// One of the two needs an update.
    #[error("the server speaks protocol version {theirs}, this node {PROTOCOL_VERSION}")]
    OtherVersion {
        /// The server's version.
        theirs: u16,
    },
    /// A frame that has no place in this phase.
    #[error("unexpected {frame} frame")]
    Unexpected {
        /// The frame's name.
        frame: &'static str,
    },
    /// A `Welcome` with terms that no link can keep.
    #[error("impossible terms: {0}")]
    ImpossibleTerms(String),
    /// A task with the id of one that runs on this link.
    #[error("task {0} is already running")]
    DuplicateTask(TaskId),
}

/// The next phase and what to do.
pub(crate) fn step(
    phase: Phase,
    frame: ServerFrame,
    ours: Scope,
) -> Result<(Phase, Effect), Violation> {
    match (phase, frame) {
        (Phase::AwaitChallenge, ServerFrame::Challenge(challenge)) => {
            check_challenge(&challenge, ours)?;
            Ok((Phase::AwaitVerdict, Effect::SayHello(challenge)))
        }
        // A server that is full or draining may refuse before it asks.
        (Phase::AwaitChallenge | Phase::AwaitVerdict, ServerFrame::Refused(refused)) => {
            Ok((phase, Effect::GiveUp(refused)))
        }
        (Phase::AwaitVerdict, ServerFrame::Welcome(welcome)) => {
            check_terms(&welcome)?;
            Ok((Phase::Open, Effect::Opened(welcome)))
        }
        (Phase::Open, ServerFrame::Task(task)) => Ok((phase, Effect::Run(task))),
        (Phase::Open, ServerFrame::Credit { task_id, deltas }) => {
            Ok((phase, Effect::Grant { task_id, deltas }))
        }
        (Phase::Open, ServerFrame::Cancel { task_id }) => Ok((phase, Effect::Stop(task_id))),
        (_, frame) => Err(Violation::Unexpected { frame: name(&frame) }),
    }
}

fn check_challenge(challenge: &Challenge, ours: Scope) -> Result<(), Violation> {
    if challenge.protocol_version != PROTOCOL_VERSION {
        return Err(Violation::OtherVersion { theirs: challenge.protocol_version });
    }
    if (challenge.chain_id, challenge.contract) != (ours.chain_id, ours.contract) {
        return Err(Violation::OtherNetwork {
            chain_id: challenge.chain_id,
            contract: challenge.contract,
            our_chain_id: ours.chain_id,
            our_contract: ours.contract,
        });
    }
    Ok(())
}

fn check_terms(welcome: &Welcome) -> Result<(), Violation> {
    let seconds = welcome.heartbeat_seconds;
    if !(1..=MAX_HEARTBEAT_SECONDS).contains(&seconds) {
        return Err(Violation::ImpossibleTerms(format!("a heartbeat every {seconds} s")));
    }
    let bytes = welcome.max_frame_bytes;
    let enough = usize::try_from(bytes).is_ok_and(|bytes| bytes >= MIN_FRAME_BYTES);
    if !enough {
        return Err(Violation::ImpossibleTerms(format!(
            "frames of at most {bytes} bytes; this node needs {MIN_FRAME_BYTES} of {MAX_FRAME_BYTES}"
        )));
    }
    Ok(())
}

fn name(frame: &ServerFrame) -> &'static str {
    match frame {
        ServerFrame::Challenge(_) => "Challenge",
        ServerFrame::Welcome(_) => "Welcome",
        ServerFrame::Refused(_) => "Refused",
        ServerFrame::Task(_) => "Task",
        ServerFrame::Credit { .. } => "Credit",
        ServerFrame::Cancel { .. } => "Cancel",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cactus_protocol::frame::Refusal;
    use proptest::prelude::*;

    const OURS: Scope = Scope { chain_id: 4, contract: Address([7; 32]) };

    fn challenge() -> Challenge {
        Challenge {
            protocol_version: PROTOCOL_VERSION,
            chain_id: OURS.chain_id,
            contract: OURS.contract,
            server: Address([1; 32]),
            nonce: [2; 32],
            server_time_ms: 0,
        }
    }

    fn welcome() -> Welcome {
        Welcome { session_id: 1, heartbeat_seconds: 5, max_frame_bytes: 1 << 20 }
    }

    #[test]
    fn a_challenge_of_another_network_or_version_gets_no_hello() {
        let others = [
            Challenge { chain_id: 1, ..challenge() },
            Challenge { contract: Address([8; 32]), ..challenge() },
            Challenge { protocol_version: PROTOCOL_VERSION + 1, ..challenge() },
        ];
        for other in others {
            assert!(step(Phase::AwaitChallenge, ServerFrame::Challenge(other), OURS).is_err());
        }
        let good = ServerFrame::Challenge(challenge());
        assert!(matches!(
            step(Phase::AwaitChallenge, good, OURS),
            Ok((Phase::AwaitVerdict, Effect::SayHello(_)))
        ));
    }

    #[test]
    fn terms_that_no_link_can_keep_are_refused() {
        for seconds in [0, 61, u16::MAX] {
            let terms = Welcome { heartbeat_seconds: seconds, ..welcome() };
            assert!(step(Phase::AwaitVerdict, ServerFrame::Welcome(terms), OURS).is_err());
        }
        let terms = Welcome { max_frame_bytes: 1000, ..welcome() };
        assert!(step(Phase::AwaitVerdict, ServerFrame::Welcome(terms), OURS).is_err());
    }

    fn any_frame() -> impl Strategy<Value = ServerFrame> {
        let id = TaskId([3; 32]);
        let refused = Refused { reason: Refusal::Unavailable, message: String::new() };
        prop_oneof![
            Just(ServerFrame::Challenge(challenge())),
            Just(ServerFrame::Welcome(welcome())),
            Just(ServerFrame::Refused(refused)),
            any::<u32>().prop_map(move |deltas| ServerFrame::Credit { task_id: id, deltas }),
            Just(ServerFrame::Cancel { task_id: id }),
        ]
    }

    proptest! {
        #[test]
        fn no_order_of_frames_opens_a_link_without_exactly_one_hello(
            frames in prop::collection::vec(any_frame(), 0..12),
        ) {
            let (mut phase, mut hellos) = (Phase::AwaitChallenge, 0);
            for frame in frames {
                let Ok((next, effect)) = step(phase, frame, OURS) else { break };
                hellos += usize::from(matches!(effect, Effect::SayHello(_)));
                if matches!(effect, Effect::Opened(_)) {
                    prop_assert_eq!(hellos, 1);
                }
                if matches!(effect, Effect::GiveUp(_)) {
                    prop_assert_ne!(phase, Phase::Open);
                    break;
                }
                phase = next;
            }
            prop_assert!(hellos <= 1);
        }
    }
}
