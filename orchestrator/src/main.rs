//! The `cactus-orchestrator` daemon.
fn main() {}
