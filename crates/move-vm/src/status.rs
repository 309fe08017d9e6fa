//! How execution can end other than well, in the words of Aptos.
//! Never carries internals of the host.

use std::fmt;

use crate::{ModuleId, StorageError};

/// Bytecode that is not accepted: malformed, unsafe or unlinkable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct VmError {
    /// The name of the status in Aptos, such as `MALFORMED` or `TYPE_MISMATCH`.
    pub code: &'static str,
    /// What and where, for people.
    pub detail: String,
}

impl VmError {
    pub(crate) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// The name and doc comment of an abort code, from the module's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbortReason {
    /// The constant's name, such as `E_NOT_ADMIN`.
    pub name: String,
    /// Its doc comment.
    pub description: String,
}

/// Why a transaction or view did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VmStatus {
    /// The code said `abort`, or a native function aborted.
    MoveAbort {
        /// The module that aborted.
        module: ModuleId,
        /// The function that aborted.
        function: String,
        /// The abort code.
        code: u64,
        /// Its name, if the module's metadata has one.
        reason: Option<Box<AbortReason>>,
    },
    /// The gas limit was reached.
    OutOfGas,
    /// An instruction failed: arithmetic, a missing resource, a bad vector index.
    ExecutionFailure {
        /// The status name in Aptos, such as `ARITHMETIC_ERROR`.
        status: &'static str,
        /// The module.
        module: ModuleId,
        /// The function.
        function: String,
        /// Index of the instruction.
        offset: u16,
    },
    /// Anything else, by the status name in Aptos, such as `FUNCTION_NOT_FOUND`.
    MiscellaneousError(&'static str),
    /// Bytecode was refused at publication.
    Rejected(VmError),
    /// The state could not be read.
    Storage(StorageError),
}

impl VmStatus {
    /// The text of `vm_status` in Aptos' REST answers.
    pub fn vm_status(&self) -> String {
        self.to_string()
    }

    /// The status name in Aptos, as in `vm_error_code` look-ups.
    pub fn code_name(&self) -> &'static str {
        match self {
            Self::MoveAbort { .. } => "ABORTED",
            Self::OutOfGas => "OUT_OF_GAS",
            Self::ExecutionFailure { status, .. } => status,
            Self::MiscellaneousError(status) => status,
            Self::Rejected(error) => error.code,
            Self::Storage(_) => "STORAGE_ERROR",
        }
    }
}

impl fmt::Display for VmStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MoveAbort { module, code, reason: Some(reason), .. } => {
                let AbortReason { name, description } = reason.as_ref();
                write!(formatter, "Move abort in {module}: {name}({code:#x}): {description}")
            }
            Self::MoveAbort { module, code, .. } => {
                write!(formatter, "Move abort in {module}: {code:#x}")
            }
            Self::OutOfGas => formatter.write_str("Out of gas"),
            Self::ExecutionFailure { module, function, offset, .. } => {
                write!(
                    formatter,
                    "Execution failed in {module}::{function} at code offset {offset}"
                )
            }
            Self::MiscellaneousError(status) => formatter.write_str(status),
            Self::Rejected(error) => error.fmt(formatter),
            Self::Storage(error) => error.fmt(formatter),
        }
    }
}

impl From<VmError> for VmStatus {
    fn from(error: VmError) -> Self {
        Self::Rejected(error)
    }
}

impl From<StorageError> for VmStatus {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}
