//! A simulation of whole networks in simulated time: thousands of nodes, honest and not, and the
//! very code that routing servers choose with. Everything follows from a seed. It opens no socket
//! and reads no clock.
//!
//! What is simulated: nodes with slots, queues and speeds of their own, links that break, heartbeats,
//! servers that each see only their own measurements. What is not: tokens one by one, money, the
//! network's own delays.
#![warn(missing_docs)]

mod measure;
mod node;
mod policy;
mod scenario;
mod world;

pub use measure::Row;
pub use policy::Policy;
pub use scenario::{Scale, Scenario};

/// Runs every policy through a scenario on the same workload.
pub fn compare(scenario: Scenario, scale: &Scale) -> Vec<Row> {
    Policy::ALL.iter().map(|policy| run(scenario, *policy, scale)).collect()
}

/// Runs one policy through a scenario.
pub fn run(scenario: Scenario, policy: Policy, scale: &Scale) -> Row {
    let setting = scenario.setting(scale);
    let measured = world::World::new(&setting, policy).run();
    measure::Row::new(scenario, policy, &measured)
}

#[cfg(test)]
mod tests;
