//! A second node for an answer that is late to begin or to go on: whoever speaks first goes on, the
//! other is told to stop and is not paid. A budget keeps second attempts rare; only a node that has
//! stopped saying anything is overtaken without it, since it does no work twice.

use super::{
    Exchange,
    attempt::{Attempt, Times},
    closing,
    failure::Failure,
    record_failure,
};
use crate::{app::App, metrics::Metrics};
use cactus_dispatch::Outcome;
use cactus_protocol::{Fault, TaskEvent, frame::Feature};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A first token is never late before this: below it, timing is noise.
const LEAST_PATIENCE: Duration = Duration::from_millis(20);

/// Who is heard first.
enum First {
    Earlier,
    Later,
}

/// How much an answer is late.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Late {
    ALittle,
    Much,
}

impl Exchange {
    /// Waits for the first sign of the answer. When it is later than 19 of 20 answers of this node
    /// are, another node is asked as well, now or when it is twice as late.
    pub(super) async fn race(&mut self, mut attempt: Attempt) -> Attempt {
        let usual = attempt.choice.candidate.usual_ttft.filter(|_| attempt.has_not_begun());
        let Some(usual) = usual else { return attempt };
        let limit = Duration::from_millis(self.app.config.limits.first_token_ms);
        let (mut patience, mut late) = (usual.max(LEAST_PATIENCE), Late::ALittle);
        while patience < limit {
            let late_at = attempt.sent_at + patience;
            tokio::select! {
                biased;
                () = attempt.heard() => return attempt,
                () = self.delivery.client_gone() => return attempt,
                () = tokio::time::sleep_until(late_at.into()) => {}
            }
            if late_at.elapsed() > LEAST_PATIENCE {
                // This server was late itself: what the node said may wait to be read.
                patience = attempt.sent_at.elapsed() + LEAST_PATIENCE;
                continue;
            }
            if late == Late::ALittle {
                self.note_silence(&attempt);
            }
            if self.may_ask_another(&attempt, late) {
                let give_up_at = attempt.sent_at + limit;
                return self.ask_another(attempt, give_up_at).await;
            }
            (patience, late) = (patience.saturating_mul(2), Late::Much);
        }
        attempt
    }

    /// The answer has paused for much longer than its rhythm: another node is asked for the rest.
    pub(super) async fn overtake(&mut self, paused: Attempt) -> Attempt {
        self.note_silence(&paused);
        // Its like are the ones who would go on.
        let resumable = paused.assigned.offer.features.contains(&Feature::Resume);
        if !resumable || !self.can_resume() || !self.may_ask_another(&paused, Late::Much) {
            return paused;
        }
        self.ask_for_the_rest(&paused);
        let limit = Duration::from_millis(self.app.config.limits.stall_ms);
        let give_up_at = paused.quiet_since() + limit;
        self.ask_another(paused, give_up_at).await
    }

    /// A node that was told of several tasks and has said nothing since counts as failing.
    fn note_silence(&self, attempt: &Attempt) {
        let member = &attempt.choice.candidate.member;
        if !member.has_spoken_since(attempt.quiet_since()) {
            self.app.nodes.fleet.record(member, Outcome::Silent, Instant::now());
        }
    }

    fn may_ask_another(&self, attempt: &Attempt, late: Late) -> bool {
        let member = &attempt.choice.candidate.member;
        let hangs =
            member.is_paused(Instant::now()) && !member.has_spoken_since(attempt.quiet_since());
        if hangs {
            return true;
        }
        let mut budget = self.app.nodes.hedges.lock();
        match late {
            Late::ALittle => budget.take(),
            Late::Much => budget.take_urgent(),
        }
    }

    async fn ask_another(&mut self, earlier: Attempt, give_up_at: Instant) -> Attempt {
        let task_id = earlier.assigned.task_id;
        self.previous.push(task_id);
        match self.launch().await {
            Ok(later) => self.hear_both((earlier, later), give_up_at).await,
            // Nobody else has room: there is nothing better than to wait.
            Err(_) => {
                self.previous.retain(|previous| *previous != task_id);
                earlier
            }
        }
    }

    async fn hear_both(
        &mut self,
        (mut earlier, mut later): (Attempt, Attempt),
        give_up_at: Instant,
    ) -> Attempt {
        tracing::info!(
            task_id = %earlier.assigned.task_id,
            second = %later.assigned.task_id,
            "the answer is late: another node is asked as well"
        );
        let first = tokio::select! {
            biased;
            () = earlier.heard() => First::Earlier,
            () = later.heard() => First::Later,
            () = self.delivery.client_gone() => First::Earlier,
            () = tokio::time::sleep_until(give_up_at.into()) => First::Later,
        };
        // Whoever failed leaves the race to the other.
        let first = match first {
            First::Earlier if earlier.failed_at_once().is_some() => First::Later,
            First::Later if later.failed_at_once().is_some() => First::Earlier,
            first => first,
        };
        let (winner, loser) = match first {
            First::Earlier => (earlier, later),
            First::Later => (later, earlier),
        };
        let winners_id = winner.assigned.task_id;
        self.previous.retain(|previous| *previous != winners_id);
        if !self.previous.contains(&loser.assigned.task_id) {
            self.previous.push(loser.assigned.task_id);
        }
        lose(&self.app, loser, matches!(first, First::Later));
        winner
    }
}

/// Decides the slower attempt's task: nothing is paid. Its node counts as slow if it was asked
/// first.
fn lose(app: &Arc<App>, loser: Attempt, was_late: bool) {
    let member = Arc::clone(&loser.choice.candidate.member);
    let waited = loser.sent_at.elapsed();
    let (event, verdict) = match loser.failed_at_once() {
        Some(failure) => {
            record_failure(app, &loser, &failure);
            (TaskEvent::GiveUp(failure.fault()), failure.to_string())
        }
        None => {
            Metrics::count(&app.metrics.attempts, "outrun");
            if was_late && loser.has_not_begun() {
                app.nodes.fleet.record(&member, Outcome::Late(waited), Instant::now());
            }
            (TaskEvent::GiveUp(Fault::Nobody), Failure::Outrun.to_string())
        }
    };
    let closing = closing(event, &verdict, Times { total: waited, ..Default::default() });
    let (task_id, writer) = (loser.assigned.task_id, app.writer.clone());
    // Cancels the task.
    drop(loser);
    // Not durable: logged there; a restart gives the task up as well.
    let decide = async move {
        let _ = writer.close(task_id, closing).await;
    };
    app.exchanges.spawn(decide);
}
