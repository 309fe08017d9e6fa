//! One task at one node, from sending it to its last frame. It judges nothing: what came back is
//! handed on.

use super::{
    delivery::{Delivery, Served, Undeliverable},
    failure::Failure,
    plan::Choice,
};
use crate::{
    app::App,
    link::{LinkEvent, Subscription},
    verify::{Assigned, Received},
};
use cactus_protocol::{
    OutputHasher, Receipt, Signed, Work,
    frame::{Delta, Done},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a node that was told to stop may take to bill what it delivered.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// When the client kept an answer waiting for more than this part of its time, in thousandths, the
/// node is not blamed for being late.
const CLIENT_SHARE_MILLI: u128 = 100;
/// When the client kept an answer waiting for more than this part of the time that it took, in
/// thousandths, its times say nothing about the node.
const MEASURABLE_MILLI: u128 = 20;

/// A task that was sent.
pub struct Attempt {
    /// Who was asked for what.
    pub assigned: Assigned,
    /// The node and its place in the ranking.
    pub choice: Choice,
    /// The prompt provably fits the node's context.
    pub fits: bool,
    /// When the task was sent.
    pub sent_at: Instant,
    /// What was asked.
    pub work: Arc<Work>,
    /// What comes back.
    pub subscription: Subscription,
    /// The first event, when somebody waited for it; `None` inside when the link closed.
    pub heard: Option<Option<LinkEvent>>,
}

/// The times of an attempt.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// From sending to the first delta.
    pub first_delta_after: Option<Duration>,
    /// From sending to the end.
    pub total: Duration,
    /// How much of it this server waited for the client.
    pub blocked: Duration,
}

impl Times {
    /// Whether the times are the node's own: a client that reads slowly must not make a node look
    /// slow.
    pub fn are_the_nodes(&self) -> bool {
        self.blocked.as_millis() * 1000 <= self.total.as_millis() * MEASURABLE_MILLI
    }
}

/// What came of an attempt.
pub struct Ended {
    /// The times so far.
    pub times: Times,
    /// Everything for verification, or why there is nothing.
    pub result: Result<(Received, Signed<Receipt>), Failure>,
}

#[derive(Default)]
struct Progress {
    output: OutputHasher,
    first_delta_after: Option<Duration>,
    blocked: Duration,
    stopped: bool,
}

impl Attempt {
    /// Who answers.
    pub fn served(&self) -> Served {
        Served { task_id: self.assigned.task_id, node: self.assigned.node }
    }

    /// Output tokens of other nodes that this attempt goes on after.
    pub fn resumed(&self) -> u32 {
        match &*self.work {
            Work::Chat(request) => u32::try_from(request.resume.len()).unwrap_or(u32::MAX),
            Work::Embed(_) => 0,
        }
    }

    /// Until the node says anything. Cancel-safe.
    pub async fn heard(&mut self) {
        if self.heard.is_none() {
            self.heard = Some(self.subscription.next().await);
        }
    }

    /// What the first event says of the attempt's end, if it ended it without an answer.
    pub fn failed_at_once(&self) -> Option<Failure> {
        match self.heard.as_ref()? {
            None => Some(Failure::LinkLost),
            Some(LinkEvent::Failed(failed)) => Some(Failure::of_frame(failed.clone(), self.fits)),
            Some(LinkEvent::Violation(violation)) => Some(Failure::Violation(violation.clone())),
            Some(_) => None,
        }
    }

    /// When nobody wants the answer any more.
    pub fn deadline(&self, app: &App) -> Instant {
        self.sent_at + Duration::from_millis(app.config.limits.task_ms.into())
    }

    /// Passes the answer on as it comes, to its end.
    pub async fn follow(&mut self, app: &App, delivery: &mut Delivery) -> Ended {
        let mut progress = Progress::default();
        let done = match self.pump(app, delivery, &mut progress).await {
            Err(failure) if failure.leaves_a_bill() && progress.first_delta_after.is_some() => {
                self.stop(&mut progress, failure).await
            }
            done => done,
        };
        let total = self.sent_at.elapsed();
        let (first_delta_after, blocked) = (progress.first_delta_after, progress.blocked);
        let result = done.map(|done| {
            let received = Received {
                output: progress.output,
                first_delta_after,
                done_after: total,
                finish_reason: done.finish_reason,
                stopped: progress.stopped,
            };
            (received, done.receipt)
        });
        let times = Times { first_delta_after, total, blocked };
        Ended { times, result }
    }

    async fn pump(
        &mut self,
        app: &App,
        delivery: &mut Delivery,
        progress: &mut Progress,
    ) -> Result<Box<Done>, Failure> {
        loop {
            let event = self.wait(app, delivery, progress).await?;
            match event {
                Some(LinkEvent::Delta(delta)) => {
                    self.pass_on(app, delivery, (progress, delta)).await?;
                }
                Some(LinkEvent::Embedded(embedded)) => {
                    progress.first_delta_after.get_or_insert_with(|| self.sent_at.elapsed());
                    progress.output.update_values(&embedded.values);
                    delivery.vectors(&embedded.values);
                }
                Some(LinkEvent::Done(done)) => return Ok(done),
                Some(LinkEvent::Failed(failed)) => {
                    return Err(Failure::of_frame(failed, self.fits));
                }
                Some(LinkEvent::Violation(violation)) => {
                    return Err(Failure::Violation(violation));
                }
                None if app.links_stop.is_cancelled() => return Err(Failure::ServerStopped),
                None => return Err(Failure::LinkLost),
            }
        }
    }

    /// Tells the node to stop and waits for its bill: what a client got is paid for, though it
    /// leaves or never reads the end. Without a bill the task ended by `why`.
    async fn stop(&mut self, progress: &mut Progress, why: Failure) -> Result<Box<Done>, Failure> {
        progress.stopped = true;
        let subscription = &mut self.subscription;
        let ending = async {
            subscription.stop().await;
            loop {
                match subscription.next().await {
                    Some(LinkEvent::Delta(delta)) => {
                        progress.output.update(&delta.token_ids, &delta.text);
                    }
                    Some(LinkEvent::Embedded(embedded)) => {
                        progress.output.update_values(&embedded.values);
                    }
                    Some(LinkEvent::Done(done)) => return Ok(done),
                    Some(LinkEvent::Violation(violation)) => {
                        return Err(Failure::Violation(violation));
                    }
                    Some(LinkEvent::Failed(_)) | None => return Err(why.clone()),
                }
            }
        };
        let ended = tokio::time::timeout(STOP_LIMIT, ending).await;
        ended.unwrap_or(Err(why))
    }

    /// The next event, within the limits. Both branches are cancel-safe.
    async fn wait(
        &mut self,
        app: &App,
        delivery: &Delivery,
        progress: &Progress,
    ) -> Result<Option<LinkEvent>, Failure> {
        let limits = &app.config.limits;
        let (pause, late) = match progress.first_delta_after {
            None => (limits.first_token_ms, Failure::NoFirstToken),
            Some(_) => (limits.stall_ms, Failure::Stalled),
        };
        let since =
            if progress.first_delta_after.is_none() { self.sent_at } else { Instant::now() };
        let pause_ends = since + Duration::from_millis(pause);
        let deadline = self.deadline(app);
        let allowed = u128::from(limits.task_ms) * CLIENT_SHARE_MILLI;
        let kept_waiting = progress.blocked.as_millis() * 1000 > allowed;
        let overdue = if kept_waiting { Failure::ClientSlow } else { Failure::Overdue };
        let (limit, late) =
            if deadline < pause_ends { (deadline, overdue) } else { (pause_ends, late) };
        if let Some(event) = self.heard.take() {
            return Ok(event);
        }
        tokio::select! {
            () = delivery.client_gone() => Err(Failure::ClientGone),
            event = tokio::time::timeout_at(limit.into(), self.subscription.next()) => {
                event.map_err(|_| late)
            }
        }
    }

    async fn pass_on(
        &self,
        app: &App,
        delivery: &mut Delivery,
        (progress, delta): (&mut Progress, Delta),
    ) -> Result<(), Failure> {
        progress.first_delta_after.get_or_insert_with(|| self.sent_at.elapsed());
        progress.output.update(&delta.token_ids, &delta.text);
        let waiting_since = Instant::now();
        let part = (delta.text, delta.logprobs, delta.token_ids.as_slice());
        let passed = delivery.part(self.served(), part, self.deadline(app)).await;
        progress.blocked += waiting_since.elapsed();
        passed.map_err(|undeliverable| match undeliverable {
            Undeliverable::Gone => Failure::ClientGone,
            Undeliverable::Slow => Failure::ClientSlow,
        })
    }
}
