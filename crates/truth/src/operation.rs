//! What a sequence consists of. Never refers to a state: a step means the same when others are
//! left out, so that a failing sequence can be shortened.

use std::fmt;

use cactus_move_vm::AccountAddress;

use crate::argument::{Argument, move_address};

/// A call of an entry function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Seeds the addresses of objects that the call creates; unique in its sequence.
    pub nonce: u64,
    /// `module::function` of the contracts.
    pub function: &'static str,
    /// Who calls; `None` if the function takes no signer.
    pub signer: Option<AccountAddress>,
    /// Without the signer.
    pub arguments: Vec<Argument>,
}

/// One step of a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Somebody calls something.
    Call(Operation),
    /// Time passes, in seconds.
    Wait(u64),
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signer =
            self.signer.iter().map(|signer| format!("&world::sign_as({})", move_address(signer)));
        let arguments = self.arguments.iter().map(Argument::to_move);
        let all: Vec<String> = signer.chain(arguments).collect();
        write!(formatter, "{}({})", self.function, all.join(", "))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(operation) => operation.fmt(formatter),
            Self::Wait(seconds) => write!(formatter, "world::wait({seconds})"),
        }
    }
}
