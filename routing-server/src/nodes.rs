//! The nodes that are linked now: for each what it said, and the way to its link. What is known of
//! how well they work is the fleet's; this decides nothing.

use crate::{lines::Lines, link::Command};
use cactus_dispatch::{Fleet, HedgeBudget, Member, NewMember, Prefix, Rules};
use cactus_protocol::{
    Address, Octas, PublicKey,
    frame::{Advert, HardwareReport, Heartbeat, Hello},
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Instant,
};
use tokio::sync::mpsc;

/// One linked node.
#[derive(Debug)]
pub struct Node {
    /// Its key.
    pub key: PublicKey,
    /// Its operator.
    pub operator: Address,
    /// What it sells.
    pub advert: Advert,
    /// What it says that it runs on.
    pub hardware: HardwareReport,
    /// Name and version of its software.
    pub software: String,
    /// Names the link in logs.
    pub session_id: u64,
    /// To the link's loop.
    pub commands: mpsc::Sender<Command>,
    /// Its place in the fleet.
    pub member: Arc<Member>,
    heartbeat: Mutex<Heartbeat>,
    lines: Arc<Lines>,
}

impl Node {
    /// A heartbeat came.
    pub fn hear(&self, heartbeat: Heartbeat, now: Instant) {
        let reported = u32::from(heartbeat.active) + u32::from(heartbeat.queued);
        self.member.hear(reported, &heartbeat.unavailable, now);
        *self.heartbeat.lock() = heartbeat;
        self.has_room();
    }

    /// The ids of its models.
    fn models(&self) -> impl Iterator<Item = &str> {
        self.advert.models.iter().map(|offer| offer.id.as_str())
    }

    /// Tells those who wait that a task here ended, or that the node said how busy it is.
    pub fn has_room(&self) {
        self.lines.wake(self.key, self.models());
    }

    /// The last heartbeat.
    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.lock().clone()
    }
}

/// All linked nodes.
#[derive(Debug)]
pub struct Nodes {
    /// How well they work, and who is chosen.
    pub fleet: Fleet,
    /// Who waits for one of them.
    pub lines: Arc<Lines>,
    /// Second attempts that may be made for first tokens that are late.
    pub hedges: Mutex<HedgeBudget>,
    linked: RwLock<HashMap<PublicKey, Arc<Node>>>,
    prefix_salt: RandomState,
}

/// Why a link cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotLinked {
    /// The node is linked already.
    Already,
    /// As many as this server takes.
    Full,
}

/// A link about to be added.
#[derive(Debug)]
pub struct NewLink {
    /// What the node said, verified.
    pub hello: Hello,
    /// What the chain says.
    pub stake: Octas,
    /// Names the link.
    pub session_id: u64,
    /// To the link's loop.
    pub commands: mpsc::Sender<Command>,
}

impl Nodes {
    /// Nobody yet; so many may wait for each model.
    pub fn new(rules: Rules, queue: usize, now: Instant) -> Self {
        Self {
            fleet: Fleet::new(rules, now),
            lines: Arc::new(Lines::new(queue)),
            hedges: Mutex::default(),
            linked: RwLock::default(),
            prefix_salt: RandomState::new(),
        }
    }

    /// Adds a link.
    ///
    /// # Errors
    /// [`NotLinked`]; the older link stays.
    pub fn link(
        &self,
        new: NewLink,
        max_links: usize,
        now: Instant,
    ) -> Result<Arc<Node>, NotLinked> {
        let mut linked = self.linked.write();
        if linked.contains_key(&new.hello.node) {
            return Err(NotLinked::Already);
        }
        if linked.len() >= max_links {
            return Err(NotLinked::Full);
        }
        let member = self.fleet.link(new_member(&new), now);
        let node = Arc::new(Node {
            key: new.hello.node,
            operator: new.hello.operator,
            advert: new.hello.advert,
            hardware: new.hello.hardware,
            software: new.hello.software,
            session_id: new.session_id,
            commands: new.commands,
            member,
            heartbeat: Mutex::default(),
            lines: Arc::clone(&self.lines),
        });
        linked.insert(node.key, Arc::clone(&node));
        drop(linked);
        self.lines.learn(node.models());
        node.has_room();
        Ok(node)
    }

    /// Removes a link.
    pub fn unlink(&self, node: &Node) {
        let mut linked = self.linked.write();
        self.fleet.unlink(&node.member);
        linked.remove(&node.key);
    }

    /// A linked node.
    pub fn get(&self, key: &PublicKey) -> Option<Arc<Node>> {
        self.linked.read().get(key).cloned()
    }

    /// How many are linked.
    pub fn len(&self) -> usize {
        self.linked.read().len()
    }

    /// All nodes, in the order of their keys.
    pub fn all(&self) -> Vec<Arc<Node>> {
        let mut nodes: Vec<_> = self.linked.read().values().cloned().collect();
        nodes.sort_by_key(|node| node.key.0);
        nodes
    }

    /// The nodes that offer a model.
    pub fn of_model(&self, model: &str) -> Vec<Arc<Node>> {
        let linked = self.linked.read();
        let offers = |node: &&Arc<Node>| node.advert.models.iter().any(|offer| offer.id == model);
        linked.values().filter(offers).cloned().collect()
    }

    /// The beginning of a payer's prompt, as the fleet may remember it.
    pub fn prefix<'a>(
        &self,
        (payer, model): (&Address, &str),
        parts: impl IntoIterator<Item = &'a str>,
    ) -> Prefix {
        Prefix::of(self.prefix_salt.hash_one((payer, model)), parts)
    }
}

fn new_member(new: &NewLink) -> NewMember {
    let Hello { node, operator, advert, hardware, .. } = &new.hello;
    NewMember {
        key: *node,
        operator: *operator,
        stake: new.stake,
        slots: advert.slots,
        queue: advert.queue,
        region: advert.region.clone(),
        gpus: hardware.gpus.iter().map(|gpu| gpu.name.clone()).collect(),
        offers: advert.models.clone(),
    }
}
