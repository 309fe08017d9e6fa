//! What happens to tasks: sent, started, first token, end. The nodes' side of the simulation.

use super::{
    ATTEMPTS, Event, FIRST_TOKEN, Fate, HONEST_FAILURE_MILLI, NodeId, QUARANTINE, RequestId, Task,
    World,
};
use crate::{
    node::{Conduct, TaskId},
    policy::Policy,
    scenario::spread,
};
use cactus_dispatch::{Candidate, Outcome, Timing};
use rand::RngExt;
use std::time::Duration;

impl World<'_> {
    /// Sends a request to a node; `false` when the node says that it is full.
    pub(super) fn send(
        &mut self,
        request: RequestId,
        node: NodeId,
        candidate: Option<&Candidate>,
    ) -> bool {
        self.measured.attempts += 1;
        self.measured.attempts_at_bad += usize::from(self.nodes[node].truth.is_bad());
        self.requests[request].tried.push(node);
        let server = self.requests[request].server;
        let Some(member) = self.servers[server].members[node].clone() else { return false };
        let truth = self.nodes[node].truth;
        let room = usize::from(truth.claimed_slots) + usize::from(truth.queue);
        let has_room = self.nodes[node].work.count() < room;
        let Some(in_flight) = member.start_task().filter(|_| has_room) else {
            let now = self.instant();
            self.servers[server].fleet.record(&member, Outcome::Overloaded, now);
            self.requests[request].failures += 1;
            return false;
        };
        let fate = self.fate_at(node);
        let task = self.tasks.len();
        self.tasks.push(Task {
            request,
            node,
            sent: self.now,
            started: None,
            first: None,
            at_once: in_flight.at_once,
            fate,
            in_flight: Some(in_flight),
        });
        self.requests[request].tasks.push(task);
        self.nodes[node].work.waiting.push_back(task);
        self.start_next(node);
        self.after(FIRST_TOKEN, Event::NoFirstToken(task));
        let usual = candidate.and_then(|candidate| candidate.usual_ttft);
        if let Some(usual) = usual.filter(|_| self.policy == Policy::Cactus) {
            self.after(usual.as_secs_f64(), Event::Late(task));
        }
        true
    }

    pub(super) fn fate_at(&mut self, node: NodeId) -> Fate {
        let elapsed_milli = self.now / u64::from(self.setting.seconds.max(1)) / 1000;
        match self.nodes[node].truth.conduct {
            Conduct::Hangs { from_milli } if elapsed_milli >= from_milli.into() => Fate::Nothing,
            Conduct::Bad { milli } if self.fates.random_ratio(milli, 1000) => {
                if self.fates.random() { Fate::Nothing } else { Fate::BadReceipt }
            }
            _ if self.fates.random_ratio(HONEST_FAILURE_MILLI, 1000) => Fate::Failure,
            _ => Fate::Answer,
        }
    }

    /// Starts tasks that wait at a node, as far as it has slots.
    pub(super) fn start_next(&mut self, node: NodeId) {
        while self.nodes[node].work.running.len() < usize::from(self.nodes[node].truth.slots) {
            let Some(task) = self.nodes[node].work.waiting.pop_front() else { return };
            self.nodes[node].work.running.push(task);
            self.tasks[task].started = Some(self.now);
            let request = &self.requests[self.tasks[task].request];
            let (ttft, decode) =
                self.nodes[node].truth.seconds(request.prompt_tokens, request.output_tokens);
            let noise = spread(0.15, &mut self.fates);
            if self.tasks[task].fate != Fate::Nothing {
                self.after(ttft * noise, Event::First(task));
                self.after((ttft + decode) * noise, Event::Done(task));
            }
        }
    }

    pub(super) fn first_token(&mut self, task: TaskId) {
        if !self.is_open(task) {
            return;
        }
        if self.tasks[task].fate == Fate::Failure {
            return self.fail(task, Outcome::Failed);
        }
        self.tasks[task].first = Some(self.now);
        let request = self.tasks[task].request;
        for other in self.requests[request].tasks.clone() {
            if other != task && self.is_open(other) {
                if other < task {
                    let waited = Duration::from_micros(self.now - self.tasks[other].sent);
                    self.record(other, Outcome::Late(waited));
                }
                self.end(other);
            }
        }
    }

    /// The first token is later than it usually is there: a second node is asked.
    pub(super) fn late(&mut self, task: TaskId) {
        let request = self.tasks[task].request;
        let open = self.requests[request].tasks.iter().filter(|task| self.is_open(**task)).count();
        let server = self.requests[request].server;
        if !self.is_open(task) || self.tasks[task].first.is_some() || open > 1 {
            return;
        }
        if !self.servers[server].hedges.take() {
            return;
        }
        if let Some((node, candidate)) = self.choose(request) {
            self.measured.second_attempts += 1;
            self.send(request, node, candidate.as_ref());
        }
    }

    pub(super) fn done(&mut self, task: TaskId) {
        if !self.is_open(task) {
            return;
        }
        if self.tasks[task].fate == Fate::BadReceipt {
            let until = self.instant() + Duration::from_secs(QUARANTINE);
            return self.fail(task, Outcome::Fault { until });
        }
        let request = self.tasks[task].request;
        let timing = Timing {
            ttft: Duration::from_micros(
                self.tasks[task].first.unwrap_or(self.now) - self.tasks[task].sent,
            ),
            total: Duration::from_micros(self.now - self.tasks[task].sent),
            prompt_tokens: self.requests[request].prompt_tokens,
            output_tokens: self.requests[request].output_tokens,
            at_once: self.tasks[task].at_once,
        };
        self.record(task, Outcome::Verified(Some(timing)));
        self.requests[request].over = true;
        self.measured.answered += 1;
        let seconds = self.seconds_since(self.requests[request].arrived);
        self.measured.seconds.push(seconds);
        self.end(task);
    }

    /// A task ended without an answer: the request goes on at another node.
    pub(super) fn fail(&mut self, task: TaskId, outcome: Outcome) {
        self.record(task, outcome);
        self.end(task);
        let request = self.tasks[task].request;
        let goes_on = self.requests[request].tasks.iter().any(|task| self.is_open(*task));
        if self.requests[request].over || goes_on {
            return;
        }
        self.requests[request].failures += 1;
        if self.requests[request].failures < ATTEMPTS {
            self.dispatch(request);
        } else {
            self.give_up(request);
        }
    }

    pub(super) fn record(&mut self, task: TaskId, outcome: Outcome) {
        let (request, node) = (self.tasks[task].request, self.tasks[task].node);
        let now = self.instant();
        let server = &self.servers[self.requests[request].server];
        if let Some(member) = &server.members[node] {
            server.fleet.record(member, outcome, now);
        }
    }

    /// A task leaves its node.
    pub(super) fn end(&mut self, task: TaskId) {
        let node = self.tasks[task].node;
        self.tasks[task].in_flight = None;
        if let Some(started) = self.tasks[task].started {
            let used = self.seconds_since(started);
            self.nodes[node].used_seconds += used;
        }
        self.nodes[node].work.remove(task);
        self.start_next(node);
        self.call_next(self.requests[self.tasks[task].request].server);
    }
}
