//! Which places of the chain's state two operations both write: none if their parties are
//! unrelated, and a known few if they share a server or a pool, so that an executor such as
//! Block-STM can run them side by side. Never judges reads: state that is only read does not
//! hinder anyone.

mod scene;

use std::collections::BTreeSet;
use std::fmt;

use cactus_move_vm::StateKey;

use self::scene::Scene;
use crate::books::Violation;
use crate::operation::Step;

/// What the parties of two operations have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Common {
    /// Nothing: client, server, operator, channel, case and pool are each one's own.
    Nothing,
    /// The routing server.
    Server,
    /// The pool, in which each has a node.
    Pool,
}

impl fmt::Display for Common {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nothing => "nothing",
            Self::Server => "the server",
            Self::Pool => "the pool",
        })
    }
}

/// Two operations from the same state.
#[derive(Debug, Clone)]
pub struct AccessPair {
    /// What both call.
    pub function: &'static str,
    /// What their parties have in common.
    pub common: Common,
    /// How many places each writes.
    pub writes: (usize, usize),
    /// Places that both write.
    pub shared: Vec<String>,
    /// The kinds of places that both may write, for a reason that `contracts/README.md` or the
    /// module's doc gives.
    pub may_share: &'static [&'static str],
}

impl AccessPair {
    /// Places that both write and should not.
    pub fn surprises(&self) -> Vec<&String> {
        let known = |place: &&String| self.may_share.iter().any(|kind| place.starts_with(kind));
        self.shared.iter().filter(|place| !known(place)).collect()
    }
}

/// One line of the story that is told twice, side by side.
struct Act {
    function: &'static str,
    common: Common,
    may_share: &'static [&'static str],
    /// Seconds that pass before it.
    wait: u64,
}

const fn act(function: &'static str) -> Act {
    Act { function, common: Common::Nothing, may_share: &[], wait: 0 }
}

const fn later(function: &'static str, wait: u64) -> Act {
    Act { wait, ..act(function) }
}

const fn shared(function: &'static str, common: Common, may_share: &'static [&'static str]) -> Act {
    Act { common, may_share, ..act(function) }
}

/// A server's wallet, and where the protocol's fees of its settlements accrue, are one store each.
const STORE: &str = "0x1::fungible_asset::FungibleStore";
const SERVER: &str = "server_registry::Server";
const POOL: &str = "pool::Pool";

/// In an order in which each builds on those before it.
const ACTS: &[Act] = &[
    act("payment::deposit"),
    act("payment::create_task"),
    act("payment::deliver_task"),
    act("payment::complete_task"),
    act("payment::request_withdraw"),
    later("payment::withdraw", 300),
    act("stake::bond"),
    act("stake::begin_unbond"),
    act("stake::rebond"),
    act("channel::open"),
    act("channel::top_up"),
    act("channel::redeem"),
    act("channel::request_close"),
    act("channel::close_by_payee"),
    act("pool::create_pool"),
    act("rewards::open"),
    act("rewards::fund"),
    act("pool::start_pool"),
    act("pool::join_pool"),
    act("pool::submit_work"),
    later("rewards::claim", 700),
    act("dispute::accuse"),
    act("dispute::respond"),
    later("dispute::commit_vote", 86_400),
    later("dispute::reveal_vote", 86_400),
    later("dispute::finalize", 3 * 86_400),
    shared("payment::create_task", Common::Server, &[]),
    shared("payment::complete_task", Common::Server, &[STORE, SERVER]),
    shared("channel::open", Common::Server, &[]),
    shared("channel::redeem", Common::Server, &[STORE]),
    shared("pool::create_pool", Common::Pool, &[]),
    shared("pool::start_pool", Common::Pool, &[]),
    shared("pool::join_pool", Common::Pool, &[POOL]),
    shared("pool::submit_work", Common::Pool, &[]),
];

/// For each hot entry function, what two parties write in common.
///
/// # Errors
/// The committed bytecode does not start or refuses the operations.
pub fn access_report() -> Result<Vec<AccessPair>, Violation> {
    let mut scene = Scene::new()?;
    let mut pairs = Vec::new();
    for act in ACTS {
        scene.step(&Step::Wait(act.wait))?;
        let one = scene.operation(act.function, act.common, 0)?;
        let other = scene.operation(act.function, act.common, 1)?;
        let (written, others) = (scene.written(&one)?, scene.written(&other)?);
        pairs.push(AccessPair {
            function: act.function,
            common: act.common,
            writes: (written.len(), others.len()),
            shared: in_common(&written, &others),
            may_share: act.may_share,
        });
        // What comes later builds on both.
        scene.keep(one)?;
        scene.keep(other)?;
    }
    Ok(pairs)
}

fn in_common(one: &BTreeSet<StateKey>, other: &BTreeSet<StateKey>) -> Vec<String> {
    let place = |key: &StateKey| match key {
        StateKey::Resource(at, tag) if tag.address == cactus_move_vm::AccountAddress::ONE => {
            format!("{tag} at {at}")
        }
        StateKey::Resource(at, tag) => format!("{}::{} at {at}", tag.module, tag.name),
        other => format!("{other:?}"),
    };
    one.intersection(other).map(place).collect()
}
