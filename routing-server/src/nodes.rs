//! The nodes that are linked now, and what is remembered of each between links. It decides
//! nothing: dispatch reads its views.

use crate::{
    dispatch::NodeView,
    link::Command,
    statistics::Statistics,
    sync::{lock, read, write},
};
use cactus_protocol::{
    Address, Octas, PublicKey,
    frame::{Advert, HEARTBEAT_SECONDS, HardwareReport, Heartbeat, Hello, SUSPECT_AFTER_MISSED},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// What is remembered of a node's key while this process lives.
#[derive(Debug)]
pub struct Record {
    /// What was measured.
    pub statistics: Statistics,
    /// No task before this moment.
    pub quarantined_until: Option<Instant>,
}

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
    record: Arc<Mutex<Record>>,
    in_flight: AtomicU32,
    live: Mutex<Live>,
}

#[derive(Debug)]
struct Live {
    stake: Octas,
    heartbeat: Heartbeat,
    heard_at: Instant,
}

/// One task on a node, counted while it lives.
#[derive(Debug)]
pub struct InFlight(Arc<Node>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Node {
    /// Counts a task.
    pub fn start_task(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    /// A heartbeat came.
    pub fn hear(&self, heartbeat: Heartbeat, now: Instant) {
        let mut live = lock(&self.live);
        (live.heartbeat, live.heard_at) = (heartbeat, now);
    }

    /// How long nothing was heard.
    pub fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(lock(&self.live).heard_at)
    }

    /// The chain's newest word on the stake.
    pub fn set_stake(&self, stake: Octas) {
        lock(&self.live).stake = stake;
    }

    /// Changes what is remembered of the node.
    pub fn with_record<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        change(&mut lock(&self.record))
    }

    /// The last heartbeat.
    pub fn heartbeat(&self) -> Heartbeat {
        lock(&self.live).heartbeat.clone()
    }
}

/// All linked nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    linked: RwLock<Linked>,
    records: Mutex<HashMap<PublicKey, Arc<Mutex<Record>>>>,
    exposure: Mutex<HashMap<Address, Octas>>,
}

#[derive(Debug, Default)]
struct Linked {
    by_key: HashMap<PublicKey, Arc<Node>>,
    by_model: HashMap<String, Vec<Arc<Node>>>,
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
        let node = Arc::new(Node {
            key: new.hello.node,
            operator: new.hello.operator,
            advert: new.hello.advert,
            hardware: new.hello.hardware,
            software: new.hello.software,
            session_id: new.session_id,
            commands: new.commands,
            record: self.record(new.hello.node, now),
            in_flight: AtomicU32::new(0),
            live: Mutex::new(Live {
                stake: new.stake,
                heartbeat: Heartbeat::default(),
                heard_at: now,
            }),
        });
        let mut linked = write(&self.linked);
        if linked.by_key.contains_key(&node.key) {
            return Err(NotLinked::Already);
        }
        if linked.by_key.len() >= max_links {
            return Err(NotLinked::Full);
        }
        linked.by_key.insert(node.key, Arc::clone(&node));
        for offer in &node.advert.models {
            let nodes = linked.by_model.entry(offer.id.clone()).or_default();
            nodes.push(Arc::clone(&node));
        }
        Ok(node)
    }

    /// Removes a link.
    pub fn unlink(&self, node: &Node) {
        let mut linked = write(&self.linked);
        linked.by_key.remove(&node.key);
        for offer in &node.advert.models {
            if let Some(nodes) = linked.by_model.get_mut(&offer.id) {
                nodes.retain(|other| other.key != node.key);
                if nodes.is_empty() {
                    linked.by_model.remove(&offer.id);
                }
            }
        }
    }

    /// The nodes that offer a model.
    pub fn of_model(&self, model: &str) -> Vec<Arc<Node>> {
        read(&self.linked).by_model.get(model).cloned().unwrap_or_default()
    }

    /// All nodes, in the order of their keys.
    pub fn all(&self) -> Vec<Arc<Node>> {
        let mut nodes: Vec<_> = read(&self.linked).by_key.values().cloned().collect();
        nodes.sort_by_key(|node| node.key.0);
        nodes
    }

    /// The ids of all offered models, sorted.
    pub fn models(&self) -> Vec<String> {
        let mut models: Vec<_> = read(&self.linked).by_model.keys().cloned().collect();
        models.sort();
        models
    }

    /// The node as dispatch sees it, if it offers the model.
    pub fn view(&self, node: &Node, model: &str, now: Instant) -> Option<NodeView> {
        let place = node.advert.models.iter().position(|o| o.id == model)?;
        let offer = node.advert.models.get(place)?.clone();
        let (stake, reported, engine_away) = {
            let live = lock(&node.live);
            let reported = u32::from(live.heartbeat.active) + u32::from(live.heartbeat.queued);
            let away = &live.heartbeat.unavailable;
            let engine_away = u16::try_from(place).is_ok_and(|place| away.contains(&place));
            (live.stake, reported, engine_away)
        };
        let suspect_after = u64::from(HEARTBEAT_SECONDS * (SUSPECT_AFTER_MISSED + 1));
        let (statistics, quarantined) = node.with_record(|record| {
            let quarantined = record.quarantined_until.is_some_and(|until| now < until);
            (record.statistics.clone(), quarantined)
        });
        Some(NodeView {
            node: node.key,
            operator: node.operator,
            offer,
            stake,
            exposure: self.exposure(&node.operator),
            slots: node.advert.slots,
            queue: node.advert.queue,
            in_flight: node.in_flight.load(Relaxed).max(reported),
            suspect: engine_away || node.silent_for(now) > Duration::from_secs(suspect_after),
            quarantined,
            statistics,
        })
    }

    /// The operator's unsettled locks.
    pub fn exposure(&self, operator: &Address) -> Octas {
        lock(&self.exposure).get(operator).copied().unwrap_or_default()
    }

    /// Adds a lock to what an operator owes, unless that passes `limit`, in octas.
    pub fn add_exposure(&self, operator: Address, amount: Octas, limit: u128) -> bool {
        let mut exposure = lock(&self.exposure);
        let owed = exposure.entry(operator).or_default();
        let Some(sum) = owed.checked_add(amount).filter(|s| u128::from(s.0) <= limit) else {
            return false;
        };
        *owed = sum;
        true
    }

    /// A lock is no longer unsettled.
    pub fn remove_exposure(&self, operator: &Address, amount: Octas) {
        let mut exposure = lock(&self.exposure);
        if let Some(owed) = exposure.get_mut(operator) {
            *owed = owed.saturating_sub(amount);
            if *owed == Octas::ZERO {
                exposure.remove(operator);
            }
        }
    }

    /// One record per node key that the chain knows: staking bounds their number.
    fn record(&self, key: PublicKey, now: Instant) -> Arc<Mutex<Record>> {
        let mut records = lock(&self.records);
        let new = || {
            Arc::new(Mutex::new(Record {
                statistics: Statistics::new(now),
                quarantined_until: None,
            }))
        };
        Arc::clone(records.entry(key).or_insert_with(new))
    }
}
