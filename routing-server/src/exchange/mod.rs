//! One request from admission to its durable end: choose, reserve, send, pass on, verify, decide;
//! on failure the next node, from the start or after what the client has. It knows no HTTP.

mod attempt;
mod delivery;
mod failure;
mod launch;
mod needs;
mod plan;
mod race;
mod resume;
mod turn;

pub use delivery::{Finished, Provenance, Reply, Served};
pub use needs::Means;
pub use plan::quote;

use crate::{
    app::App,
    auth::Payer,
    batches::Line,
    error::ApiError,
    link::unix_ms,
    metrics::Metrics,
    openai::{Call, preferences::Preferences, response::Usage},
    settlement::Closing,
    streams::Stream,
    trace,
    verify::{self, Proof},
};
use attempt::{Attempt, Ended, Followed, Times};
use cactus_dispatch::{Needs, Outcome, Timing};
use cactus_protocol::{
    FinishReason, SignedOrder, TaskEvent, TaskId, TraceContext, Work, frame, task,
};
use delivery::Delivery;
use failure::Failure;
use plan::{Candidates, Choice};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tracing::Instrument;

/// Attempts at one request, however little each adds to the answer.
const MOST_ATTEMPTS: usize = 32;

/// A request on its way.
struct Exchange {
    app: Arc<App>,
    order: Arc<SignedOrder>,
    /// The whole request.
    asked: Arc<Work>,
    /// What is asked of the next node: all of it, or the rest.
    work: Arc<Work>,
    preferences: Preferences,
    needs: Needs,
    choices: VecDeque<Choice>,
    candidates: Candidates,
    previous: Vec<TaskId>,
    /// Attempts since the answer last grew.
    fruitless: usize,
    delivery: Delivery,
    /// The line of a batch that the answer is for; stored with the payment.
    line: Option<Line>,
    /// In line, while all nodes were busy.
    waited: Duration,
    /// The client's place in a trace, which goes on to nodes where nothing is recorded here.
    peer: Option<TraceContext>,
    _stream: Stream,
}

/// Starts a request. The first task is sent when this returns; the rest happens beside it.
///
/// # Errors
/// Whatever keeps the request from being sent to any node.
pub async fn start(
    app: &Arc<App>,
    payer: &Payer,
    (call, received_at): (Call, Instant),
) -> Result<mpsc::Receiver<Reply>, ApiError> {
    start_for(app, payer, (call, received_at), None).await
}

/// [`start`] for a line of a batch: its answer is stored in the transaction that decides to pay
/// for it, so that no line is ever paid for twice.
///
/// # Errors
/// As [`start`].
pub async fn start_for(
    app: &Arc<App>,
    payer: &Payer,
    (call, received_at): (Call, Instant),
    line: Option<Line>,
) -> Result<mpsc::Receiver<Reply>, ApiError> {
    if app.stopping.is_cancelled() {
        return Err(ApiError::Draining);
    }
    let order = payer.mandate()?;
    let limits = &app.config.limits;
    let limits = (limits.streams, limits.streams_per_payer);
    let stream = app.streams.enter(payer.client(), limits)?;
    let (delivery, replies) = delivery::channel(call.streams);
    let preferences = call.preferences.clone();
    let means = Means { payer: payer.client(), max_lock: order.order.max_per_task };
    let (work, needs) = turn::needs_when_served(app, call, means).await?;
    let asked = Arc::new(work);
    app.nodes.hedges.lock().request();
    let mut exchange = Exchange {
        app: Arc::clone(app),
        order,
        work: Arc::clone(&asked),
        asked,
        preferences,
        needs,
        choices: VecDeque::new(),
        candidates: Candidates::default(),
        previous: Vec::new(),
        fruitless: 0,
        delivery,
        line,
        waited: Duration::ZERO,
        peer: trace::peer(),
        _stream: stream,
    };
    let span = tracing::info_span!("exchange", model = exchange.work.model());
    let first = exchange.launch_in_turn().instrument(span.clone()).await?;
    let added = received_at.elapsed().saturating_sub(exchange.waited);
    app.metrics.added_latency.observe(added.as_secs_f64());
    // On the thread of its own request: a hop to another one costs more than all of the choosing.
    app.exchanges.spawn(exchange.run(first).instrument(span));
    Ok(replies)
}

impl Exchange {
    async fn run(mut self, first: Attempt) {
        let app = Arc::clone(&self.app);
        app.metrics.active_requests.inc();
        let mut attempt = first;
        let outcome = loop {
            attempt = self.race(attempt).await;
            let span = attempt.span.clone();
            let ended = match attempt.follow(&app, &mut self.delivery).instrument(span).await {
                Followed::Ended(ended) => *ended,
                Followed::Paused => {
                    attempt = self.overtake(attempt).await;
                    continue;
                }
            };
            let span = attempt.span.clone();
            let failure = match self.judge(&attempt, ended).instrument(span).await {
                Ok(()) => break "verified",
                Err(failure) => failure,
            };
            match self.next_attempt(attempt, &failure).await {
                Ok(next) => attempt = next,
                Err(deadline) => {
                    let label = failure.label();
                    let error = failure.into_api_error();
                    self.delivery.fail(error, deadline).await;
                    break label;
                }
            }
        };
        app.metrics.active_requests.dec();
        Metrics::count(&app.metrics.requests, outcome);
    }

    /// Another node's attempt, or the moment until which the client may hear of the failure.
    async fn next_attempt(
        &mut self,
        failed: Attempt,
        failure: &Failure,
    ) -> Result<Attempt, Instant> {
        let deadline = failed.deadline(&self.app);
        self.needs.hint = None;
        let gained = self.delivery.token_count() > failed.resumed();
        self.fruitless = if gained { 0 } else { self.fruitless + 1 };
        if failure.is_bad_request() {
            // Too long for this node, it says; only a roomier one can prove it wrong.
            let context = failed.choice.candidate.offer().context_length;
            self.needs.min_context = self.needs.min_context.max(context.saturating_add(1));
            self.choices.retain(|choice| choice.candidate.offer().context_length > context);
        }
        let may_move = (failure.can_move() || failure.is_bad_request())
            && self.fruitless < self.app.config.limits.attempts
            && self.previous.len() < MOST_ATTEMPTS;
        let resumes = may_move && self.resume(&failed, failure);
        self.previous.push(failed.assigned.task_id);
        drop(failed);
        if !may_move || !resumes && self.delivery.is_seen() {
            return Err(deadline);
        }
        let gone = self.delivery.client_goes();
        tokio::select! {
            () = gone => Err(deadline),
            // Why there is no second node matters less than why the first failed.
            next = self.go_on(resumes) => next.map_err(|_| deadline),
        }
    }

    /// Asks for the rest of the answer if another node can go on with it, else for all of it.
    async fn go_on(&mut self, resumes: bool) -> Result<Attempt, ApiError> {
        if resumes {
            let next = self.launch_or_wait().await;
            if next.is_ok() {
                tracing::info!(after = self.delivery.token_count(), "going on elsewhere");
            }
            if next.is_ok() || self.delivery.is_seen() {
                return next;
            }
        }
        self.start_over();
        self.launch_or_wait().await
    }

    /// The end of an attempt: verify, decide durably, then tell the client.
    async fn judge(
        &mut self,
        attempt: &Attempt,
        Ended { times, result }: Ended,
    ) -> Result<(), Failure> {
        let verified = result.and_then(|(received, receipt)| {
            let reason = received.finish_reason;
            let observed = (&attempt.assigned, received);
            verify::verify(self.app.scope, &attempt.work, observed, receipt)
                .map(|proof| (proof, reason))
                .map_err(Failure::NotVerified)
        });
        let app = Arc::clone(&self.app);
        match verified {
            Ok((proof, reason)) => {
                record_success(&app, attempt, (times, &proof));
                self.finish(attempt, (times, proof, reason)).await;
                Ok(())
            }
            Err(failure) => {
                record_failure(&app, attempt, &failure);
                let closing = closing(TaskEvent::GiveUp(failure.fault()), &failure, times);
                // Not durable: logged there; a restart gives the task up as well.
                let _ = app.writer.close(attempt.assigned.task_id, closing).await;
                Err(failure)
            }
        }
    }

    /// The answer stands: its payment goes to disk, then the client is told.
    async fn finish(
        &mut self,
        attempt: &Attempt,
        (times, proof, reason): (Times, Proof, FinishReason),
    ) {
        // A client that read too slowly until now gets no more time than it takes to hang up.
        let patience = if reason == FinishReason::Cancelled { 1 } else { 60 };
        let deadline = Instant::now() + Duration::from_secs(patience);
        let delivery = proof.delivery;
        let finished = Finished {
            served: attempt.served(),
            reason,
            usage: usage(attempt, &delivery),
            cactus: self.provenance(attempt, times),
            output: self.delivery.take_output(),
        };
        let closing = Closing {
            receipt: Some(proof.json),
            line: self.line.as_ref().map(|line| line.answered(&self.work, &finished)),
            ..closing(TaskEvent::Deliver(delivery), &"verified", times)
        };
        let task_id = attempt.assigned.task_id;
        if self.app.writer.close(task_id, closing).await.is_err() {
            let error = ApiError::Internal(anyhow::anyhow!("the payment could not be stored"));
            return self.delivery.fail(error, deadline).await;
        }
        let lag = (attempt.sent_at + times.total).elapsed();
        self.app.metrics.verification_lag.observe(lag.as_secs_f64());
        self.delivery.finish(finished, deadline).await;
    }

    fn provenance(&mut self, attempt: &Attempt, times: Times) -> Provenance {
        let Candidates { eligible, ineligible } = std::mem::take(&mut self.candidates);
        Provenance {
            task: attempt.assigned.task_id,
            node: attempt.assigned.node,
            operator: attempt.assigned.operator,
            verdict: "verified",
            ttft_ms: milliseconds(times.first_delta_after.unwrap_or(times.total)),
            total_ms: milliseconds(times.total),
            resumed_tokens: attempt.resumed(),
            previous: std::mem::take(&mut self.previous),
            candidates: eligible,
            ineligible,
        }
    }
}

/// What another node delivered before is output, though this one had to read it.
fn usage(attempt: &Attempt, billed: &task::Delivery) -> Usage {
    let resumed = attempt.resumed();
    let output_tokens = billed.output_tokens.saturating_add(resumed);
    Usage::new(billed.prompt_tokens.saturating_sub(resumed), output_tokens)
}

fn closing(event: TaskEvent, verdict: &dyn std::fmt::Display, times: Times) -> Closing {
    Closing {
        event,
        verdict: verdict.to_string(),
        receipt: None,
        line: None,
        ttft_ms: times.first_delta_after.map(milliseconds),
        total_ms: milliseconds(times.total),
        closed_ms: unix_ms(),
    }
}

fn record_success(app: &App, attempt: &Attempt, (times, proof): (Times, &Proof)) {
    let ttft = times.first_delta_after.unwrap_or(times.total);
    let output_tokens = proof.receipt.output_tokens;
    let timing = Timing {
        ttft,
        total: times.total,
        // As needs count it, so that predictions compare like with like.
        prompt_tokens: attempt.work.prompt_tokens_bound(),
        output_tokens,
        at_once: attempt.subscription.at_once(),
    };
    let timing = times.are_the_nodes().then_some(timing);
    let member = &attempt.choice.candidate.member;
    app.nodes.fleet.record(member, Outcome::Verified(timing), Instant::now());
    app.metrics.ttft.observe(ttft.as_secs_f64());
    if output_tokens > 1 && times.are_the_nodes() {
        let decode = times.total.saturating_sub(ttft).as_secs_f64();
        app.metrics.itl.observe(decode / f64::from(output_tokens - 1));
    }
    app.metrics.output_tokens.inc_by(output_tokens.into());
    Metrics::count(&app.metrics.attempts, "verified");
    attempt.span.record("outcome", "verified");
    tracing::info!(output_tokens, ttft_ms = milliseconds(ttft), "answer verified");
}

fn record_failure(app: &App, attempt: &Attempt, failure: &Failure) {
    Metrics::count(&app.metrics.attempts, failure.label());
    attempt.span.record("outcome", failure.label());
    tracing::warn!(%failure, "attempt failed");
    if !failure.counts_against_node() {
        return;
    }
    let now = Instant::now();
    let quarantine = Duration::from_millis(app.config.limits.quarantine_ms);
    let outcome = match failure {
        Failure::NotVerified(_) | Failure::Violation(_) => {
            Outcome::Fault { until: now + quarantine }
        }
        Failure::Refused { reason: frame::Failure::Overloaded, .. } => Outcome::Overloaded,
        _ => Outcome::Failed,
    };
    app.nodes.fleet.record(&attempt.choice.candidate.member, outcome, now);
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
