//! The simulation itself: events in simulated time, and what follows from each. It decides nothing
//! that a routing server decides; it asks the same code.

mod server;
mod tasks;

use crate::{
    measure::{Measured, PATIENCE},
    node::{Conduct, TaskId, Truth, Work},
    policy::{self, Policy, Seen},
    scenario::{Setting, spread},
};
use cactus_dispatch::{Candidate, InFlight, Member, Needs, Outcome, Ticket, Turn};
use cactus_protocol::{Address, Octas, frame::HEARTBEAT_SECONDS};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use server::{Server, key_of, new_member, node_of};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Seconds to wait for a first token.
const FIRST_TOKEN: f64 = 10.0;
/// Nodes that one request may fail at.
const ATTEMPTS: usize = 3;
/// Seconds until a simple policy asks again when everyone refused.
const RETRY: f64 = 0.25;
/// Seconds that a broken link stays broken.
const BROKEN: f64 = 10.0;
/// A node whose receipt did not stand gets nothing for so many seconds.
const QUARANTINE: u64 = 600;
/// Honest tasks that fail, in thousandths.
const HONEST_FAILURE_MILLI: u32 = 5;
const MODEL: &str = "model";

/// Microseconds of simulated time.
type Time = u64;
type NodeId = usize;
type RequestId = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    Heartbeat(NodeId),
    Refresh,
    First(TaskId),
    Done(TaskId),
    Late(TaskId),
    NoFirstToken(TaskId),
    Retry(RequestId),
    Patience(RequestId),
    Unlink(NodeId),
    Link(NodeId),
}

struct Request {
    server: usize,
    payer: Address,
    arrived: Time,
    prompt_tokens: u32,
    output_tokens: u32,
    tried: Vec<NodeId>,
    failures: usize,
    tasks: Vec<TaskId>,
    place: Option<Turn>,
    over: bool,
}

/// What will come of a task.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Answer,
    Nothing,
    Failure,
    BadReceipt,
}

struct Task {
    request: RequestId,
    node: NodeId,
    sent: Time,
    started: Option<Time>,
    first: Option<Time>,
    at_once: u32,
    fate: Fate,
    /// Gone when the task is over.
    in_flight: Option<InFlight>,
}

struct Node {
    truth: Truth,
    work: Work,
    used_seconds: f64,
}

/// A network under load.
pub struct World<'a> {
    setting: &'a Setting,
    policy: Policy,
    origin: Instant,
    now: Time,
    /// Arrivals and sizes; the same for every policy.
    workload: SmallRng,
    /// What becomes of tasks.
    fates: SmallRng,
    /// What policies draw with.
    dice: SmallRng,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    event_count: u64,
    nodes: Vec<Node>,
    servers: Vec<Server>,
    requests: Vec<Request>,
    tasks: Vec<Task>,
    measured: Measured,
}

impl<'a> World<'a> {
    /// At its beginning.
    pub fn new(setting: &'a Setting, policy: Policy) -> Self {
        // Only differences from it matter, so the result does not depend on when this runs.
        let origin = Instant::now();
        let node = |truth: &Truth| Node { truth: *truth, work: Work::default(), used_seconds: 0.0 };
        let seeded = |salt| SmallRng::seed_from_u64(setting.seed ^ salt);
        let mut world = Self {
            setting,
            policy,
            origin,
            now: 0,
            workload: seeded(0x5eed_0001),
            fates: seeded(0x5eed_0002),
            dice: seeded(0x5eed_0003),
            events: BinaryHeap::new(),
            event_count: 0,
            nodes: setting.nodes.iter().map(node).collect(),
            servers: (0..setting.servers).map(|_| Server::new(setting, origin)).collect(),
            requests: Vec::new(),
            tasks: Vec::new(),
            measured: Measured { length: f64::from(setting.seconds), ..Measured::default() },
        };
        world.schedule_beginning();
        world
    }

    fn schedule_beginning(&mut self) {
        self.after(0.0, Event::Arrive);
        self.after(1.0, Event::Refresh);
        for node in 0..self.nodes.len() {
            let first = self.fates.random_range(0.0..f64::from(HEARTBEAT_SECONDS));
            self.after(first, Event::Heartbeat(node));
            if self.nodes[node].truth.conduct == Conduct::Dies {
                let when = self.fates.random_range(0.0..f64::from(self.setting.seconds));
                self.after(when, Event::Unlink(node));
            }
        }
    }

    /// Runs to the end: the last request that arrived is answered or given up.
    pub fn run(mut self) -> Measured {
        let end = microseconds(f64::from(self.setting.seconds) + PATIENCE + 1.0);
        while let Some(Reverse((time, _, event))) = self.events.pop() {
            if time > end {
                break;
            }
            self.now = time;
            self.handle(event);
        }
        for node in self.nodes.iter().filter(|node| !node.truth.is_bad()) {
            let by_slot = node.used_seconds / f64::from(node.truth.slots);
            self.measured.use_of_slots.push(by_slot);
        }
        self.measured
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::Heartbeat(node) => self.heartbeat(node),
            Event::Refresh => self.refresh(),
            Event::First(task) => self.first_token(task),
            Event::Done(task) => self.done(task),
            Event::Late(task) => self.late(task),
            Event::NoFirstToken(task) => {
                if self.is_open(task) && self.tasks[task].first.is_none() {
                    self.fail(task, Outcome::Failed);
                }
            }
            Event::Retry(request) => self.dispatch(request),
            Event::Patience(request) => self.give_up(request),
            Event::Unlink(node) => self.unlink(node),
            Event::Link(node) => self.link(node),
        }
    }

    fn after(&mut self, seconds: f64, event: Event) {
        self.event_count += 1;
        let time = self.now + microseconds(seconds);
        self.events.push(Reverse((time, self.event_count, event)));
    }

    fn instant(&self) -> Instant {
        self.origin + Duration::from_micros(self.now)
    }

    fn seconds_since(&self, time: Time) -> f64 {
        Duration::from_micros(self.now.saturating_sub(time)).as_secs_f64()
    }

    fn is_open(&self, task: TaskId) -> bool {
        self.tasks[task].in_flight.is_some()
    }

    fn arrive(&mut self) {
        let seconds = Duration::from_micros(self.now).as_secs_f64();
        let length = f64::from(self.setting.seconds);
        if seconds >= length {
            return;
        }
        let is_crowded = seconds > length / 3.0 && seconds < length / 2.0;
        let rate = self.setting.rate * if is_crowded { self.setting.crowd } else { 1.0 };
        let pause = -(1.0 - self.workload.random::<f64>()).ln() / rate;
        self.after(pause, Event::Arrive);
        let prompt = (200.0 * spread(0.8, &mut self.workload)).clamp(8.0, 2_000.0);
        let output = (100.0 * spread(0.6, &mut self.workload)).clamp(4.0, 500.0);
        let payer = self.workload.random_range(0..40u8).min(self.workload.random_range(0..40u8));
        self.requests.push(Request {
            server: self.workload.random_range(0..self.servers.len()),
            payer: Address([payer; 32]),
            arrived: self.now,
            prompt_tokens: whole(prompt),
            output_tokens: whole(output),
            tried: Vec::new(),
            failures: 0,
            tasks: Vec::new(),
            place: None,
            over: false,
        });
        let request = self.requests.len() - 1;
        self.servers[self.requests[request].server].hedges.request();
        self.after(PATIENCE, Event::Patience(request));
        self.dispatch(request);
    }

    /// Sends a request to a node, or lets it wait.
    fn dispatch(&mut self, request: RequestId) {
        while !self.requests[request].over && self.requests[request].failures < ATTEMPTS {
            let Some((node, candidate)) = self.choose(request) else {
                return self.wait(request);
            };
            if self.send(request, node, candidate.as_ref()) {
                return;
            }
        }
        if self.policy.is_ours() {
            self.wait(request);
        } else {
            self.requests[request].tried.clear();
            self.after(RETRY, Event::Retry(request));
        }
    }

    fn choose(&mut self, request: RequestId) -> Option<(NodeId, Option<Candidate>)> {
        if !self.policy.is_ours() {
            return self.choose_simply(request).map(|node| (node, None));
        }
        let needs = self.needs(request);
        let now = self.instant();
        let server = &self.servers[self.requests[request].server];
        let ranking = server.fleet.choose(&needs, now, &mut self.dice)?;
        let candidate = ranking.order.into_iter().next()?;
        Some((node_of(&candidate.member.key), Some(candidate)))
    }

    fn needs(&self, request: RequestId) -> Needs {
        let request = &self.requests[request];
        Needs {
            model: MODEL.into(),
            prompt_tokens: request.prompt_tokens,
            max_tokens: 512,
            max_lock: Octas(u64::MAX),
            except: request.tried.iter().map(|node| key_of(*node)).collect(),
            ..Needs::default()
        }
    }

    fn choose_simply(&mut self, request: RequestId) -> Option<NodeId> {
        let (server, tried) = (self.requests[request].server, &self.requests[request].tried);
        let server = &mut self.servers[server];
        let seen = |(node, member): (NodeId, &Option<Arc<Member>>)| {
            let member = member.as_ref().filter(|_| !tried.contains(&node))?;
            let slots = u32::from(member.slots).max(1);
            let load_milli = member.in_flight() * 1000 / slots;
            Some(Seen { node, stake: member.stake().0, load_milli })
        };
        let nodes: Vec<_> = server.members.iter().enumerate().filter_map(seen).collect();
        server.turn += 1;
        policy::choose(self.policy, &nodes, server.turn, &mut self.dice)
    }

    /// A request waits: in line at our servers, else it just asks again.
    fn wait(&mut self, request: RequestId) {
        if self.requests[request].over || self.requests[request].place.is_some() {
            return;
        }
        self.requests[request].tried.clear();
        self.requests[request].failures = 0;
        if !self.policy.is_ours() {
            return self.after(RETRY, Event::Retry(request));
        }
        let now = self.instant();
        let waited = self.seconds_since(self.requests[request].arrived);
        let deadline = now + Duration::from_secs_f64((PATIENCE - waited).max(0.0));
        let ticket = Ticket { payer: self.requests[request].payer, priority: 0, deadline };
        let server = &mut self.servers[self.requests[request].server];
        match server.line.join(ticket, now) {
            Ok(turn) => {
                server.waiting.insert(turn, request);
                self.requests[request].place = Some(turn);
            }
            Err(_) => self.give_up(request),
        }
    }

    /// There may be room at a server.
    fn call_next(&mut self, server: usize) {
        let Some(turn) = self.servers[server].line.first(1).first().copied() else { return };
        let Some(&request) = self.servers[server].waiting.get(&turn) else { return };
        let Some((node, candidate)) = self.choose(request) else { return };
        let now = self.instant();
        self.servers[server].line.depart(turn, now);
        self.servers[server].waiting.remove(&turn);
        self.requests[request].place = None;
        if !self.send(request, node, candidate.as_ref()) {
            self.dispatch(request);
        }
    }

    /// Nobody waits for an answer any more.
    fn give_up(&mut self, request: RequestId) {
        if self.requests[request].over {
            return;
        }
        self.requests[request].over = true;
        self.measured.failed += 1;
        self.measured.seconds.push(PATIENCE);
        let server = self.requests[request].server;
        if let Some(turn) = self.requests[request].place.take() {
            self.servers[server].line.leave(turn);
            self.servers[server].waiting.remove(&turn);
        }
        for task in self.requests[request].tasks.clone() {
            if self.is_open(task) {
                self.end(task);
            }
        }
    }

    fn heartbeat(&mut self, node: NodeId) {
        self.after(f64::from(HEARTBEAT_SECONDS), Event::Heartbeat(node));
        let now = self.instant();
        // The simple policies do not know what other servers sent there.
        let count = if self.policy.is_ours() { self.nodes[node].work.count() } else { 0 };
        let reported = u32::try_from(count).unwrap_or(u32::MAX);
        for server in 0..self.servers.len() {
            if let Some(member) = &self.servers[server].members[node] {
                member.hear(reported, &[], now);
                self.call_next(server);
            }
        }
    }

    fn refresh(&mut self) {
        self.after(1.0, Event::Refresh);
        let now = self.instant();
        for server in 0..self.servers.len() {
            self.servers[server].fleet.refresh(now);
            self.call_next(server);
        }
    }

    fn unlink(&mut self, node: NodeId) {
        self.after(BROKEN, Event::Link(node));
        let tasks: Vec<_> = {
            let work = &self.nodes[node].work;
            work.running.iter().chain(&work.waiting).copied().collect()
        };
        // Nothing starts on a node that is gone.
        self.nodes[node].work.waiting.clear();
        for task in tasks {
            self.fail(task, Outcome::Failed);
        }
        for server in &mut self.servers {
            if let Some(member) = server.members[node].take() {
                server.fleet.unlink(&member);
            }
        }
    }

    fn link(&mut self, node: NodeId) {
        let when = self.fates.random_range(0.0..f64::from(self.setting.seconds));
        self.after(when, Event::Unlink(node));
        let now = self.instant();
        for server in &mut self.servers {
            let member = server.fleet.link(new_member(node, &self.nodes[node].truth), now);
            server.members[node] = Some(member);
        }
    }
}

fn microseconds(seconds: f64) -> Time {
    let duration = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    Time::try_from(duration.as_micros()).unwrap_or(Time::MAX)
}

/// A count of tokens; far below 2³².
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped by callers")]
fn whole(tokens: f64) -> u32 {
    tokens as u32
}
