//! Why a model directory was refused, by what the operator can do about it.
//! It never carries file contents.

use std::path::PathBuf;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Check the path: a file is missing or cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any honest file of its kind; it was not read.
    #[error("{} has {bytes} bytes; at most {limit} are allowed", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit of its kind.
        limit: u64,
    },
    /// The file is damaged or not what its name says; fetch it again.
    #[error("{} is malformed: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The weights do not have the shape that the configuration promises.
    #[error("tensor `{tensor}` should be {expected}, but {found}")]
    WrongTensor {
        /// The tensor's name.
        tensor: String,
        /// The shape or the type expected.
        expected: String,
        /// What was found instead.
        found: String,
    },
    /// A model of this kind cannot be served yet; choose another.
    #[error("unsupported model: {0}")]
    Unsupported(String),
    /// The machine cannot run it: fewer slots, a smaller model or a larger machine would.
    #[error("not enough memory: {0}")]
    OutOfMemory(String),
    /// The device that was chosen cannot be used: install what is missing or choose another.
    #[error("no such device: {0}")]
    NoDevice(String),
    /// The load options contradict each other or the model.
    #[error("invalid option: {0}")]
    InvalidOption(String),
    /// The operating system refused a thread.
    #[error("cannot start a thread: {0}")]
    Thread(String),
}
