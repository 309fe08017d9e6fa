//! The routing server over its public surfaces: HTTP on one side, the real link protocol spoken
//! by fake nodes on the other, the chain behind its seam. No fixed port, no waiting by the clock.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

mod answers;
mod api;
mod batches;
mod chaos;
mod continuity;
mod embeddings;
mod faults;
mod files;
mod fleet;
mod hostile;
mod keys;
mod mayhem;
mod money;
mod queue;
mod restart;
mod several;
mod stopped;
mod support;
mod texts;
