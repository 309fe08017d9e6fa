//! Decisions about tasks' money, made durable: a task's state and the intent for the chain are
//! written in one database transaction. It never waits for the chain, and nobody waits for it
//! between a request's first and last token.

mod outcomes;
mod recovery;
mod rows;
pub mod store;
mod together;
mod writer;

pub use outcomes::follow;
pub use recovery::{recover, take_up};
pub use store::{Closing, NewTask, StoredTask};
pub use writer::{Writer, run as write};
