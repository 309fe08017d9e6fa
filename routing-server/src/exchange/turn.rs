//! Waiting for one's turn while every node that could answer is busy, or none is there yet. Bounded
//! in time; whoever leaves gives up the place.

use super::{Exchange, Means, attempt::Attempt, needs::needs_of, plan};
use crate::{
    app::App,
    error::ApiError,
    lines::{Call as Room, Place},
    openai::{Call, preferences::Preferences},
};
use cactus_dispatch::{Needs, Ticket};
use cactus_protocol::{Address, Work};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The needs, once a node offers the model: for a model that was here before, or that this server
/// names, a node is waited for.
///
/// # Errors
/// As [`needs_of`], or nobody came in time.
pub async fn needs_when_served(
    app: &App,
    call: Call,
    means: Means,
) -> Result<(Work, Needs), ApiError> {
    let model = call.work().model().to_owned();
    let known = needs_of(app, call.clone(), means);
    let may_come = app.nodes.lines.knows(&model) || app.config.models.contains_key(&model);
    if !matches!(known, Err(ApiError::UnknownModel(_))) || !may_come || !waits(app) {
        return known;
    }
    let ticket = ticket(app, means.payer, &call.preferences);
    let mut place = app.nodes.lines.join(&model, ticket)?;
    loop {
        let room = called(app, &mut place, ticket.deadline).await?;
        match needs_of(app, call.clone(), means) {
            Err(ApiError::UnknownModel(_)) => place.pass_on(room),
            known => {
                place.depart();
                return known;
            }
        }
    }
}

impl Exchange {
    /// Sends the request to the first node that takes it, in its turn when others wait.
    pub(super) async fn launch_in_turn(&mut self) -> Result<Attempt, ApiError> {
        if self.app.nodes.lines.is_waited_for(&self.needs.model) {
            return self.wait_for_turn().await;
        }
        self.launch_or_wait().await
    }

    /// Sends the request to the first node that takes it, or waits for one.
    pub(super) async fn launch_or_wait(&mut self) -> Result<Attempt, ApiError> {
        match self.launch().await {
            Err(error) if is_busy(&error) && waits(&self.app) => self.wait_for_turn().await,
            launched => launched,
        }
    }

    /// Who failed may be asked again: it may be well by then.
    async fn wait_for_turn(&mut self) -> Result<Attempt, ApiError> {
        let app = Arc::clone(&self.app);
        let ticket = ticket(&app, self.order.order.client, &self.preferences);
        let mut place = app.nodes.lines.join(&self.needs.model, ticket)?;
        let joined_at = Instant::now();
        loop {
            let room = called(&app, &mut place, ticket.deadline).await?;
            self.needs.except.clear();
            self.choices.clear();
            self.needs.hint = room.node;
            let launched = self.launch().await;
            self.needs.hint = None;
            match launched {
                Err(error) if is_busy(&error) => place.pass_on(room),
                launched => {
                    place.depart();
                    let waited = joined_at.elapsed();
                    self.waited += waited;
                    app.metrics.queue_time.observe(waited.as_secs_f64());
                    return launched;
                }
            }
        }
    }
}

async fn called(app: &App, place: &mut Place, deadline: Instant) -> Result<Room, ApiError> {
    tokio::select! {
        room = place.called() => Ok(room),
        () = tokio::time::sleep_until(deadline.into()) => Err(plan::all_busy()),
        () = app.stopping.cancelled() => Err(ApiError::Draining),
    }
}

fn ticket(app: &App, payer: Address, wishes: &Preferences) -> Ticket {
    let longest = app.config.limits.queue_ms;
    let wait_ms = wishes.deadline_ms.map_or(longest, |wished| longest.min(wished.into()));
    let deadline = Instant::now() + Duration::from_millis(wait_ms);
    Ticket { payer, priority: wishes.priority, deadline }
}

fn waits(app: &App) -> bool {
    app.config.limits.queue_ms > 0
}

fn is_busy(error: &ApiError) -> bool {
    matches!(error, ApiError::Busy { code: plan::OVERLOADED, .. })
}
