//! A second node for a first token that is late: whoever speaks first goes on, the other is told to
//! stop and is not paid. A budget keeps second attempts rare.

use super::{Exchange, attempt::Attempt, closing, failure::Failure, record_failure};
use crate::{app::App, metrics::Metrics};
use cactus_dispatch::Outcome;
use cactus_protocol::{Fault, TaskEvent};
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

impl Exchange {
    /// Waits for the first sign of the answer. When it is later than 19 of 20 answers of this node
    /// are, another node is asked as well.
    pub(super) async fn race(&mut self, mut attempt: Attempt) -> Attempt {
        let Some(usual) = attempt.choice.candidate.usual_ttft else { return attempt };
        let late_at = attempt.sent_at + usual.max(LEAST_PATIENCE);
        tokio::select! {
            biased;
            () = attempt.heard() => return attempt,
            () = self.delivery.client_gone() => return attempt,
            () = tokio::time::sleep_until(late_at.into()) => {}
        }
        if !self.app.nodes.hedges.lock().take() {
            return attempt;
        }
        let task_id = attempt.assigned.task_id;
        self.previous.push(task_id);
        match self.launch().await {
            Ok(second) => self.hear_both(attempt, second).await,
            // Nobody else has room: there is nothing better than to wait.
            Err(_) => {
                self.previous.retain(|previous| *previous != task_id);
                attempt
            }
        }
    }

    async fn hear_both(&mut self, mut earlier: Attempt, mut later: Attempt) -> Attempt {
        tracing::info!(
            task_id = %earlier.assigned.task_id,
            second = %later.assigned.task_id,
            "the first token is late: another node is asked as well"
        );
        let limit = Duration::from_millis(self.app.config.limits.first_token_ms);
        let give_up_at = earlier.sent_at + limit;
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
            if was_late {
                app.nodes.fleet.record(&member, Outcome::Late(waited), Instant::now());
            }
            (TaskEvent::GiveUp(Fault::Nobody), Failure::Outrun.to_string())
        }
    };
    let closing = closing(event, &verdict, super::Times { total: waited, ..Default::default() });
    let (task_id, writer) = (loser.assigned.task_id, app.writer.clone());
    // Cancels the task.
    drop(loser);
    // Not durable: logged there; a restart gives the task up as well.
    let decide = async move {
        let _ = writer.close(task_id, closing).await;
    };
    app.exchanges.spawn_on(decide, &app.runtime);
}
