//! What answers of all kinds share: tasks started together, replies in the order in which they
//! come, and the headers that say who served.

use crate::{
    app::App,
    auth::Payer,
    error::{ApiError, Invalid},
    exchange::{self, Finished, Provenance, Reply, Served},
    openai::Call,
};
use actix_web::{HttpResponseBuilder, web};
use serde::Serialize;
use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Instant,
};
use tokio::sync::mpsc::Receiver;

const TASK_HEADER: &str = "X-Cactus-Task";
const NODE_HEADER: &str = "X-Cactus-Node";

/// The choices of one answer. Dropping them tells their nodes to stop.
pub struct Choices {
    open: Vec<(usize, Receiver<Reply>)>,
    count: usize,
    /// Who is asked first next time, so that no choice starves another.
    turn: usize,
}

/// Starts every task of a request, or none of them goes on.
///
/// # Errors
/// Whatever keeps one of them from being sent.
pub async fn start_all(
    app: &web::Data<App>,
    payer: &Payer,
    (calls, received_at): (Vec<Call>, Instant),
) -> Result<Choices, ApiError> {
    let most = app.config.limits.streams_per_payer;
    if calls.len() > most {
        let text = format!("this server makes at most {most} choices at once: ask for fewer");
        return Err(Invalid::value("n", text).into());
    }
    let count = calls.len();
    let mut open = Vec::with_capacity(count);
    for (index, call) in calls.into_iter().enumerate() {
        open.push((index, exchange::start(app, payer, (call, received_at)).await?));
    }
    Ok(Choices { open, count, turn: 0 })
}

impl Choices {
    /// How many there are in all.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Tells the nodes of all choices to stop.
    pub fn stop(&mut self) {
        self.open.clear();
    }

    /// The next reply to any choice; `None` when one ended without an end. Cancel-safe.
    pub async fn next(&mut self) -> Option<(usize, Reply)> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, Reply)>> {
        let open = self.open.len();
        for step in 0..open {
            let place = (self.turn + step) % open;
            let (index, replies) = &mut self.open[place];
            let Poll::Ready(reply) = replies.poll_recv(context) else { continue };
            let index = *index;
            let is_last = matches!(reply, Some(Reply::Finished(_) | Reply::Failed(_)) | None);
            if is_last {
                self.open.remove(place);
            }
            self.turn = place + usize::from(!is_last);
            return Poll::Ready(reply.map(|reply| (index, reply)));
        }
        if open == 0 { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Who answers, as soon as one choice has its first token; streams only.
    pub async fn first_served(&mut self) -> Result<Served, ApiError> {
        match self.next().await {
            Some((_, Reply::Started(served))) => Ok(served),
            Some((_, Reply::Failed(error))) => Err(error),
            Some((_, Reply::Part { .. } | Reply::Finished(_))) | None => Err(ended_early()),
        }
    }
}

/// Every choice to its end, in the order of their indices.
pub async fn finish_all(mut choices: Choices) -> Result<Vec<Box<Finished>>, ApiError> {
    let mut finished = Vec::with_capacity(choices.count);
    while finished.len() < choices.count {
        match choices.next().await {
            Some((index, Reply::Finished(choice))) => finished.push((index, choice)),
            Some((_, Reply::Failed(error))) => return Err(error),
            Some((_, Reply::Started(_) | Reply::Part { .. })) => {}
            None => return Err(ended_early()),
        }
    }
    finished.sort_by_key(|(index, _)| *index);
    Ok(finished.into_iter().map(|(_, choice)| choice).collect())
}

/// The `cactus` object: of one task, or of each choice.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Cactus<'a> {
    One(&'a Provenance),
    Several { verdict: &'static str, choices: Vec<&'a Provenance> },
}

impl<'a> Cactus<'a> {
    /// Of these choices.
    pub fn of(finished: &'a [Box<Finished>]) -> Self {
        match finished {
            [only] => Self::One(&only.cactus),
            all => {
                let choices = all.iter().map(|choice| &choice.cactus).collect();
                Self::Several { verdict: "verified", choices }
            }
        }
    }
}

/// A fault of this server.
pub fn ended_early() -> ApiError {
    ApiError::Internal(anyhow::anyhow!("an exchange ended without an end"))
}

/// Says who served the first choice.
pub fn served_by(response: &mut HttpResponseBuilder, served: Served) -> &mut HttpResponseBuilder {
    response
        .insert_header((TASK_HEADER, served.task_id.to_string()))
        .insert_header((NODE_HEADER, served.node.to_string()))
}
