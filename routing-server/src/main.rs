//! The `cactus-router` daemon.
fn main() {}
