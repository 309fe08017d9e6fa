//! Why an attempt brought no answer, and what follows from it: who is to blame, whether another
//! node may try, what the client reads. A table, and nothing else.

use crate::{
    error::{ApiError, Invalid},
    link::Violation,
};
use cactus_protocol::{
    Fault,
    frame::{self, Failed},
};
use cactus_verification::ReceiptFault;

/// Characters of a node's message that a client gets to see at most.
const MESSAGE_CHARS: usize = 300;

/// Why an attempt brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The node said no.
    #[error("the node refused: {reason:?}")]
    Refused {
        /// The node's reason.
        reason: frame::Failure,
        /// The node's words.
        message: String,
        /// The prompt provably fits: a complaint about the request is untrue.
        fits: bool,
    },
    /// The link broke.
    #[error("the node's link broke")]
    LinkLost,
    /// This server cut the link because it stops.
    #[error("this server stopped before the answer ended")]
    ServerStopped,
    /// The node broke the rules of the link.
    #[error("the node broke the protocol: {0}")]
    Violation(Violation),
    /// The first token is overdue.
    #[error("the first token did not come in time")]
    NoFirstToken,
    /// The next token is overdue.
    #[error("the node stalled")]
    Stalled,
    /// The whole answer is overdue.
    #[error("the answer did not end in time")]
    Overdue,
    /// The receipt does not stand.
    #[error("not verified: {0}")]
    NotVerified(ReceiptFault),
    /// Another node was faster.
    #[error("another node was faster")]
    Outrun,
    /// The client left.
    #[error("the client left")]
    ClientGone,
    /// The client does not read.
    #[error("the client read too slowly")]
    ClientSlow,
}

impl Failure {
    /// Of a node's frame.
    pub fn of_frame(failed: Failed, fits: bool) -> Self {
        Self::Refused {
            reason: failed.reason,
            // It may end up in a terminal.
            message: failed
                .message
                .chars()
                .filter(|c| !c.is_control())
                .take(MESSAGE_CHARS)
                .collect(),
            fits,
        }
    }

    /// Whether the node complains, perhaps rightly, about the request.
    pub fn is_bad_request(&self) -> bool {
        let bad = frame::Failure::BadRequest;
        matches!(self, Self::Refused { reason, fits: false, .. } if *reason == bad)
    }

    /// Who is to blame, on the chain.
    pub fn fault(&self) -> Fault {
        match self {
            Self::ClientGone | Self::ClientSlow => Fault::User,
            _ if self.is_bad_request() => Fault::User,
            Self::ServerStopped | Self::Outrun => Fault::Nobody,
            Self::Refused { reason: frame::Failure::Overloaded, .. } => Fault::Nobody,
            _ => Fault::Provider,
        }
    }

    /// Whether the node's success rate suffers.
    pub fn counts_against_node(&self) -> bool {
        self.fault() != Fault::User && !matches!(self, Self::ServerStopped | Self::Outrun)
    }

    /// Whether another node may succeed.
    pub fn can_move(&self) -> bool {
        self.fault() != Fault::User && *self != Self::ServerStopped
    }

    /// Whether the node did its work until then, so that what it delivered is paid for.
    pub fn leaves_a_bill(&self) -> bool {
        matches!(self, Self::ClientGone | Self::ClientSlow | Self::Overdue)
    }

    /// For metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::LinkLost => "link_lost",
            Self::ServerStopped => "server_stopped",
            Self::Violation(_) => "violation",
            Self::NoFirstToken => "no_first_token",
            Self::Stalled => "stalled",
            Self::Overdue => "overdue",
            Self::NotVerified(_) => "not_verified",
            Self::Outrun => "outrun",
            Self::ClientGone => "client_gone",
            Self::ClientSlow => "client_slow",
        }
    }

    /// What the client reads.
    pub fn into_api_error(self) -> ApiError {
        if self.is_bad_request() {
            return ApiError::Invalid(Invalid {
                code: "context_length_exceeded",
                param: Some("messages"),
                message: format!("the request does not fit the model: {}", self.words()),
            });
        }
        if self == Self::ServerStopped {
            return ApiError::Draining;
        }
        let code = match &self {
            Self::NotVerified(_) | Self::Violation(_) => "answer_not_verified",
            Self::NoFirstToken | Self::Stalled | Self::Overdue => "timeout",
            Self::LinkLost => "node_lost",
            _ => "node_failed",
        };
        ApiError::NodesFailed { code, message: self.to_string() }
    }

    fn words(&self) -> &str {
        match self {
            Self::Refused { message, .. } => message,
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: frame::Failure, fits: bool) -> Failure {
        Failure::Refused { reason, message: "prompt of 900 tokens".into(), fits }
    }

    #[test]
    fn a_complaint_about_a_request_that_provably_fits_is_the_providers_fault() {
        let honest = refused(frame::Failure::BadRequest, false);
        assert_eq!(honest.fault(), Fault::User);
        assert!(!honest.can_move());
        assert!(matches!(honest.into_api_error(), ApiError::Invalid(_)));
        let untrue = refused(frame::Failure::BadRequest, true);
        assert_eq!(untrue.fault(), Fault::Provider);
        assert!(untrue.can_move() && untrue.counts_against_node());
    }

    #[test]
    fn a_nodes_words_cannot_steer_a_terminal() {
        let message = format!("\u{1b}[2Jx\n\r{}", "y".repeat(2 * MESSAGE_CHARS));
        let task_id = cactus_protocol::TaskId([1; 32]);
        let failed = Failed { task_id, reason: frame::Failure::BadRequest, message };
        let words = Failure::of_frame(failed, false).words().to_owned();
        assert!(words.starts_with("[2Jxyy") && words.len() == MESSAGE_CHARS, "{words}");
    }

    #[test]
    fn only_clients_who_leave_keep_the_task_from_moving() {
        for failure in [
            Failure::LinkLost,
            Failure::Stalled,
            Failure::NotVerified(ReceiptFault::BadSignature),
            refused(frame::Failure::Overloaded, true),
        ] {
            assert!(failure.can_move() && failure.counts_against_node());
        }
        assert!(!Failure::ClientGone.can_move());
        assert!(!Failure::ClientGone.counts_against_node());
    }
}
