//! Evidence in, verdict out. Pure: no IO, no clock, no model; re-execution will come in as a trait.
//! It never decides what a verdict costs: slashing is the contract's.
#![warn(missing_docs)]

mod receipt;

pub use receipt::{Observation, ReceiptFault, check_receipt};
