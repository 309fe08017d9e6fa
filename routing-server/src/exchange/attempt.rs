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
use tracing::Span;

/// How long a node that was told to stop may take to bill what it delivered.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// When the client kept an answer waiting for more than this part of its time, in thousandths, the
/// node is not blamed for being late.
const CLIENT_SHARE_MILLI: u128 = 100;
/// When the client kept an answer waiting for more than this part of the time that it took, in
/// thousandths, its times say nothing about the node.
const MEASURABLE_MILLI: u128 = 20;

/// A stream that pauses for so many times its usual gap may have stopped.
const PAUSE_FACTOR: u32 = 10;
/// No pause is remarkable below this: engines read others' prompts in between.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

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
    /// Under which it is recorded.
    pub span: Span,
    /// The first event, when somebody waited for it; `None` inside when the link closed.
    pub heard: Option<Option<LinkEvent>>,
    /// What came so far.
    pub progress: Progress,
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

/// Where following an answer stopped.
pub enum Followed {
    /// At its end.
    Ended(Box<Ended>),
    /// It has paused for much longer than its rhythm. Told once; it may still go on.
    Paused,
}

/// What came of an answer so far.
#[derive(Default)]
pub struct Progress {
    output: OutputHasher,
    first_delta_after: Option<Duration>,
    deltas: u32,
    /// When the last part had been passed on.
    quiet_since: Option<Instant>,
    blocked: Duration,
    paused: bool,
    stopped: bool,
}

/// What was waited for.
enum Next {
    Event(Option<LinkEvent>),
    Paused,
}

impl Progress {
    /// A part came after so long.
    fn part(&mut self, after: Duration) {
        self.first_delta_after.get_or_insert(after);
        self.deltas = self.deltas.saturating_add(1);
    }

    /// The mean time between two parts, once there are two.
    fn rhythm(&self, sent_at: Instant) -> Option<Duration> {
        let gaps = self.deltas.checked_sub(1).filter(|gaps| *gaps > 0)?;
        let first = sent_at + self.first_delta_after?;
        Some(self.quiet_since?.saturating_duration_since(first) / gaps)
    }
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

    /// Nothing of the answer came yet.
    pub fn has_not_begun(&self) -> bool {
        self.progress.quiet_since.is_none()
    }

    /// Since when nothing of the answer came.
    pub fn quiet_since(&self) -> Instant {
        self.progress.quiet_since.unwrap_or(self.sent_at)
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

    /// Passes the answer on as it comes, to its end or a long pause.
    pub async fn follow(&mut self, app: &App, delivery: &mut Delivery) -> Followed {
        let done = match self.pump(app, delivery).await {
            Ok(None) => return Followed::Paused,
            Ok(Some(done)) => Ok(done),
            Err(failure)
                if failure.leaves_a_bill() && self.progress.first_delta_after.is_some() =>
            {
                self.stop(failure).await
            }
            Err(failure) => Err(failure),
        };
        let total = self.sent_at.elapsed();
        let Progress { output, first_delta_after, blocked, stopped, .. } =
            std::mem::take(&mut self.progress);
        let result = done.map(|done| {
            let received = Received {
                output,
                first_delta_after,
                done_after: total,
                finish_reason: done.finish_reason,
                stopped,
            };
            (received, done.receipt)
        });
        let times = Times { first_delta_after, total, blocked };
        Followed::Ended(Box::new(Ended { times, result }))
    }

    /// The last frame; `None` at a long pause.
    async fn pump(
        &mut self,
        app: &App,
        delivery: &mut Delivery,
    ) -> Result<Option<Box<Done>>, Failure> {
        loop {
            let event = match self.wait(app, delivery).await? {
                Next::Event(event) => event,
                Next::Paused => return Ok(None),
            };
            match event {
                Some(LinkEvent::Delta(delta)) => self.pass_on(app, delivery, delta).await?,
                Some(LinkEvent::Embedded(embedded)) => {
                    self.progress.part(self.sent_at.elapsed());
                    self.progress.output.update_values(&embedded.values);
                    delivery.vectors(&embedded.values);
                    self.progress.quiet_since = Some(Instant::now());
                }
                Some(LinkEvent::Done(done)) => return Ok(Some(done)),
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
    async fn stop(&mut self, why: Failure) -> Result<Box<Done>, Failure> {
        self.progress.stopped = true;
        let (subscription, progress) = (&mut self.subscription, &mut self.progress);
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
    async fn wait(&mut self, app: &App, delivery: &Delivery) -> Result<Next, Failure> {
        if let Some(event) = self.heard.take() {
            return Ok(Next::Event(event));
        }
        let (limit, late) = self.limit(app);
        let pause_at = self.patience().map(|patience| self.quiet_since() + patience);
        let pause_at = pause_at.filter(|pause_at| *pause_at < limit);
        let until = pause_at.unwrap_or(limit);
        tokio::select! {
            () = delivery.client_gone() => Err(Failure::ClientGone),
            event = tokio::time::timeout_at(until.into(), self.subscription.next()) => match event {
                Ok(event) => Ok(Next::Event(event)),
                Err(_) if pause_at.is_some() => {
                    self.progress.paused = true;
                    Ok(Next::Paused)
                }
                Err(_) => Err(late),
            }
        }
    }

    /// Until when the next event must come, and what it means if none does.
    fn limit(&self, app: &App) -> (Instant, Failure) {
        let limits = &app.config.limits;
        let (pause, late) = match self.progress.quiet_since {
            None => (limits.first_token_ms, Failure::NoFirstToken),
            Some(_) => (limits.stall_ms, Failure::Stalled),
        };
        let pause_ends = self.quiet_since() + Duration::from_millis(pause);
        let deadline = self.deadline(app);
        if pause_ends <= deadline {
            return (pause_ends, late);
        }
        let allowed = u128::from(limits.task_ms) * CLIENT_SHARE_MILLI;
        let kept_waiting = self.progress.blocked.as_millis() * 1000 > allowed;
        (deadline, if kept_waiting { Failure::ClientSlow } else { Failure::Overdue })
    }

    /// How long a begun answer may pause without giving rise to doubt; `None` when nothing is known
    /// of its rhythm, or the doubt was told.
    fn patience(&self) -> Option<Duration> {
        self.progress.quiet_since.filter(|_| !self.progress.paused)?;
        let gap = self.progress.rhythm(self.sent_at).max(self.choice.candidate.usual_gap)?;
        Some(gap.saturating_mul(PAUSE_FACTOR).max(LEAST_PAUSE))
    }

    async fn pass_on(
        &mut self,
        app: &App,
        delivery: &mut Delivery,
        delta: Delta,
    ) -> Result<(), Failure> {
        let came_at = Instant::now();
        self.progress.part(came_at.saturating_duration_since(self.sent_at));
        self.progress.output.update(&delta.token_ids, &delta.text);
        let part = (delta.text, delta.logprobs, delta.token_ids.as_slice());
        let passed = delivery.part(self.served(), part, self.deadline(app)).await;
        let passed_at = Instant::now();
        self.progress.blocked += passed_at.saturating_duration_since(came_at);
        self.progress.quiet_since = Some(passed_at);
        passed.map_err(|undeliverable| match undeliverable {
            Undeliverable::Gone => Failure::ClientGone,
            Undeliverable::Slow => Failure::ClientSlow,
        })
    }
}
