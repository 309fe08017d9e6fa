//! How an instruction or native function fails, before the place is known.
//! Never leaves the crate: the machine adds the place and makes a [`crate::VmStatus`] of it.

use crate::{StorageError, VmError};

/// A failure without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// `abort code`.
    Abort(u64),
    /// An instruction failed, by the status name in Aptos.
    Execution(&'static str),
    /// The gas limit was reached.
    OutOfGas,
    /// Not a matter of one instruction, by the status name in Aptos.
    Other(&'static str),
    /// Bytecode was refused.
    Rejected(Box<VmError>),
    /// The state could not be read.
    Storage(StorageError),
}

/// The result of anything that can fail while executing.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<VmError> for Failure {
    fn from(error: VmError) -> Self {
        Self::Rejected(Box::new(error))
    }
}

/// A value was not of the kind that the checker proved. Only a fault in this crate gets here.
pub(crate) const TYPE_CONFUSION: Failure = Failure::Other("UNKNOWN_INVARIANT_VIOLATION_ERROR");
