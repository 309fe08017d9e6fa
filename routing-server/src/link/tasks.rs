//! The tasks that are open on one link, and what each frame about them means. Pure but for the
//! channels it feeds, which it never waits for.

use super::{
    LinkEvent, Start,
    flow::{Flow, Violation},
};
use cactus_protocol::{
    TaskId,
    frame::{Delta, Done, Embedded, Failed},
};
use std::collections::{HashMap, HashSet, VecDeque};
use tokio::sync::mpsc::{Sender, error::TrySendError};

/// Ended tasks remembered: frames about them may still be under way.
const REMEMBERED: usize = 4096;

/// What the loop must do after a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Then {
    /// Go on.
    Continue,
    /// Tell the node to stop a task.
    Cancel(TaskId),
    /// The frame is about a task that was never here: the node is broken or lies.
    Close,
}

struct Open {
    flow: Flow,
    events: Sender<LinkEvent>,
}

/// The tasks of one link.
#[derive(Default)]
pub struct Tasks {
    open: HashMap<TaskId, Open>,
    ended: HashSet<TaskId>,
    ended_order: VecDeque<TaskId>,
}

impl Tasks {
    /// A task is about to be sent.
    pub fn start(&mut self, start: Start) {
        let open = Open { flow: Flow::new(&start), events: start.events };
        self.open.insert(start.task_id, open);
    }

    /// Credit is about to be sent; `false` when the task is over.
    pub fn grant(&mut self, task_id: &TaskId, deltas: u32) -> bool {
        let open = self.open.get_mut(task_id);
        open.map(|open| open.flow.grant(deltas)).is_some()
    }

    /// Whether more may come of a task.
    pub fn is_open(&self, task_id: &TaskId) -> bool {
        self.open.contains_key(task_id)
    }

    /// A cancellation is about to be sent; `false` when the task is over.
    pub fn cancel(&mut self, task_id: TaskId) -> bool {
        self.end(task_id).is_some()
    }

    /// A delta came.
    pub fn delta(&mut self, delta: Delta) -> Then {
        let task_id = delta.task_id;
        self.part(task_id, |flow| flow.accept(&delta).map(|()| LinkEvent::Delta(delta)))
    }

    /// Vectors came.
    pub fn embedded(&mut self, vectors: Embedded) -> Then {
        let task_id = vectors.task_id;
        self.part(task_id, |flow| {
            flow.accept_vectors(&vectors).map(|()| LinkEvent::Embedded(vectors))
        })
    }

    fn part(
        &mut self,
        task_id: TaskId,
        accept: impl FnOnce(&mut Flow) -> Result<LinkEvent, Violation>,
    ) -> Then {
        let Some(open) = self.open.get_mut(&task_id) else {
            return self.of_unknown(&task_id);
        };
        let sent = match accept(&mut open.flow) {
            Ok(event) => open.events.try_send(event),
            Err(violation) => return self.violate(task_id, violation),
        };
        match sent {
            Ok(()) => Then::Continue,
            // Credit bounds what is under way below the channel's room.
            Err(TrySendError::Full(_)) => self.violate(task_id, Violation::NoCredit),
            Err(TrySendError::Closed(_)) => {
                self.end(task_id);
                Then::Cancel(task_id)
            }
        }
    }

    /// The end of the task that the receipt names.
    pub fn done(&mut self, done: Box<Done>) -> Then {
        let task_id = done.receipt.body.task_id;
        let open = self.open.get(&task_id);
        if open.is_some_and(|open| !open.flow.may_end(done.finish_reason)) {
            return self.violate(task_id, Violation::VectorsMissing);
        }
        self.last(task_id, LinkEvent::Done(done))
    }

    /// The node gave up.
    pub fn failed(&mut self, failed: Failed) -> Then {
        self.last(failed.task_id, LinkEvent::Failed(failed))
    }

    fn last(&mut self, task_id: TaskId, event: LinkEvent) -> Then {
        match self.end(task_id) {
            Some(open) => {
                let _ = open.events.try_send(event);
                Then::Continue
            }
            None => self.of_unknown(&task_id),
        }
    }

    fn violate(&mut self, task_id: TaskId, violation: Violation) -> Then {
        if let Some(open) = self.end(task_id) {
            let _ = open.events.try_send(LinkEvent::Violation(violation));
        }
        Then::Cancel(task_id)
    }

    fn of_unknown(&self, task_id: &TaskId) -> Then {
        if self.ended.contains(task_id) { Then::Continue } else { Then::Close }
    }

    fn end(&mut self, task_id: TaskId) -> Option<Open> {
        let open = self.open.remove(&task_id)?;
        if self.ended_order.len() == REMEMBERED
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
        self.ended.insert(task_id);
        self.ended_order.push_back(task_id);
        Some(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Wanted;
    use bytes::Bytes;
    use cactus_protocol::frame::Failure;
    use tokio::sync::mpsc::{self, Receiver};

    const TASK: TaskId = TaskId([1; 32]);

    fn started() -> (Tasks, Receiver<LinkEvent>) {
        let (events, receiver) = mpsc::channel(4);
        let mut tasks = Tasks::default();
        tasks.start(Start {
            task_id: TASK,
            frame: Bytes::new(),
            credits: 2,
            wanted: Wanted::Text { max_tokens: 9, logprobs: None },
            events,
        });
        (tasks, receiver)
    }

    fn delta(task_id: TaskId, sequence: u32) -> Delta {
        Delta { task_id, sequence, text: "x".into(), token_ids: vec![1], logprobs: vec![] }
    }

    fn failed(task_id: TaskId) -> Failed {
        Failed { task_id, reason: Failure::Internal, message: String::new() }
    }

    #[test]
    fn a_frame_about_a_task_that_was_never_here_closes_the_link() {
        let (mut tasks, _receiver) = started();
        assert_eq!(tasks.delta(delta(TaskId([2; 32]), 0)), Then::Close);
        assert_eq!(tasks.failed(failed(TaskId([2; 32]))), Then::Close);
    }

    #[test]
    fn frames_that_cross_a_cancel_are_ignored() {
        let (mut tasks, _receiver) = started();
        assert!(tasks.cancel(TASK));
        assert!(!tasks.cancel(TASK));
        assert_eq!(tasks.delta(delta(TASK, 0)), Then::Continue);
        assert_eq!(tasks.failed(failed(TASK)), Then::Continue);
    }

    #[test]
    fn a_violation_ends_the_task_and_cancels_it() {
        let (mut tasks, mut receiver) = started();
        assert_eq!(tasks.delta(delta(TASK, 5)), Then::Cancel(TASK));
        assert!(matches!(
            receiver.try_recv(),
            Ok(LinkEvent::Violation(Violation::SequenceGap { .. }))
        ));
        assert!(!tasks.grant(&TASK, 1));
    }

    #[test]
    fn a_task_that_nobody_awaits_is_cancelled() {
        let (mut tasks, receiver) = started();
        drop(receiver);
        assert_eq!(tasks.delta(delta(TASK, 0)), Then::Cancel(TASK));
    }
}
