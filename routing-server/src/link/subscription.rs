//! One task on one link, as the request that awaits it sees it. Dropping it cancels the task.

use super::{Command, LinkEvent, Start, Wanted};
use crate::nodes::Node;
use bytes::Bytes;
use cactus_dispatch::InFlight;
use cactus_protocol::{
    ServerFrame, TaskId,
    frame::{self, BadFrame, INITIAL_CREDITS, Task},
};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Credit is granted in parts of this many deltas, to save frames.
const GRANT: u32 = INITIAL_CREDITS / 2;
/// Room for every delta that may be under way, and the end.
const EVENT_CAPACITY: usize = 2 * 64 + 2;

/// The link cannot take a task now.
#[derive(Debug, thiserror::Error)]
pub enum LinkBusy {
    /// It is full or gone: take another node.
    #[error("the link is full or gone")]
    Unavailable,
    /// The task does not fit a frame: the request is too long.
    #[error(transparent)]
    TooLong(#[from] BadFrame),
}

/// A task that was sent.
#[derive(Debug)]
pub struct Subscription {
    task_id: TaskId,
    node: Arc<Node>,
    events: mpsc::Receiver<LinkEvent>,
    consumed: u32,
    ended: bool,
    in_flight: Option<InFlight>,
}

/// Sends a task to a node, without waiting.
///
/// # Errors
/// [`LinkBusy`]; then nothing was sent.
pub fn submit(node: &Arc<Node>, task: Task) -> Result<Subscription, LinkBusy> {
    let (sender, events) = mpsc::channel(EVENT_CAPACITY);
    let (task_id, credits) = (task.task_id, task.credits);
    let wanted = Wanted::of(&task.work, &node.advert.models);
    let frame = frame::encode(&ServerFrame::Task(Box::new(task)))?;
    let start = Start { task_id, frame: Bytes::from(frame), credits, wanted, events: sender };
    // Counted before it is sent: whoever chooses next must see it.
    let in_flight = node.member.start_task().ok_or(LinkBusy::Unavailable)?;
    let sent = node.commands.try_send(Command::Start(start));
    sent.map_err(|_| LinkBusy::Unavailable)?;
    Ok(Subscription {
        task_id,
        node: Arc::clone(node),
        events,
        consumed: 0,
        ended: false,
        in_flight: Some(in_flight),
    })
}

impl Subscription {
    /// The next event; `None` when the link is gone. Grants credit for what was consumed.
    /// Cancel-safe: credit is counted down only once it was sent.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        if self.consumed >= GRANT {
            let credit = Command::Credit { task_id: self.task_id, deltas: self.consumed };
            if self.node.commands.send(credit).await.is_ok() {
                self.consumed = 0;
            }
        }
        let event = self.events.recv().await;
        match &event {
            Some(LinkEvent::Delta(_) | LinkEvent::Embedded(_)) => self.consumed += 1,
            _ => self.ended = true,
        }
        event
    }
}

impl Subscription {
    /// Tasks on the node when this one was sent, itself included.
    pub fn at_once(&self) -> u32 {
        self.in_flight.as_ref().map_or(1, |task| task.at_once)
    }

    /// Tells the node to stop. What it delivered until then and its bill still come.
    pub async fn stop(&self) {
        // A link that is gone closes the events as well.
        let _ = self.node.commands.send(Command::Stop { task_id: self.task_id }).await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if !self.ended {
            let task_id = self.task_id;
            // When the queue is full, the loop finds the closed channel with the next delta.
            let _ = self.node.commands.try_send(Command::Cancel { task_id });
        }
        self.in_flight = None;
        self.node.has_room();
    }
}
