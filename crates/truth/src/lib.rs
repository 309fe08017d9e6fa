//! Proofs by trial that the contracts lose no coin: random sequences over their entry functions,
//! run on the committed bytecode, with the rules of money checked after each operation.
//! Never part of a product, and never a second source of those rules: it looks for contradictions.
#![warn(missing_docs)]

mod accesses;
mod argument;
mod books;
mod cast;
mod chain;
mod differential;
mod exits;
mod generate;
mod history;
mod operation;
mod random;
mod records;
mod rules;
mod run;
mod shrink;
mod signing;
mod views;

pub use accesses::{AccessPair, Common, access_report};
pub use argument::Argument;
pub use cast::{Actor, Cast, NOW_SECONDS, WALLET_OCTAS};
pub use chain::{CHAIN_ID, CONTRACT, Chain};
pub use differential::{Differential, TestModule, differential};
pub use generate::Generator;
pub use operation::{Operation, Step};
pub use random::Random;
pub use run::{Failure, Report, Settings, Tally, run};

#[cfg(test)]
mod tests;
