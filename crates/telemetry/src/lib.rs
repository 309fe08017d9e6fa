//! Logs and traces of the daemons: lines for people, and spans for an OpenTelemetry collector when
//! one is named. It never makes a request wait, and no text of a request or an answer passes here.
#![warn(missing_docs)]

mod args;
mod collector;
mod ids;
mod sampler;
mod span;
mod start;

pub use args::{BadTraceArgs, TraceArgs, TraceConfig};
pub use span::{begin, context_of, go_on};
pub use start::{StartError, Traces, start};
