//! Sends a request to the best node that takes it: reserve the money, send the task, queue the
//! lock. In this order, and undone when a step fails.

use super::{
    Exchange,
    attempt::{Attempt, Progress},
    plan::{self, Choice, Plan},
};
use crate::{
    admission::{self, Ask, NotReserved},
    error::ApiError,
    link::{self, LinkBusy, unix_ms},
    settlement::NewTask,
    verify::Assigned,
};
use cactus_protocol::{
    Address, Hash, TaskId, TraceContext, Work,
    frame::{INITIAL_CREDITS, Task},
};
use std::{sync::Arc, time::Instant};
use tracing::field;

/// How far the chain's clock may be behind this server's, in seconds.
const CLOCK_MARGIN_SECONDS: u64 = 60;

/// Nodes that one request is offered to at most.
const MOST_ASKED: usize = 32;

/// Why a choice did not take the task.
enum NotSent {
    /// Try the next one.
    Busy,
    /// No other choice would help.
    Refused(ApiError),
}

impl Exchange {
    /// Sends the request to the first choice that takes it.
    pub(super) async fn launch(&mut self) -> Result<Attempt, ApiError> {
        while self.needs.except.len() < MOST_ASKED {
            if self.choices.is_empty() {
                let Plan { choices, candidates } = plan::plan(&self.app, &self.work, &self.needs)?;
                (self.choices, self.candidates) = (choices, candidates);
            }
            while let Some(choice) = self.choices.pop_front() {
                self.needs.except.push(choice.node.key);
                match self.send_to(choice).await {
                    Ok(attempt) => return Ok(attempt),
                    Err(NotSent::Busy) => {}
                    Err(NotSent::Refused(error)) => return Err(error),
                }
            }
        }
        Err(plan::all_busy())
    }

    async fn send_to(&self, choice: Choice) -> Result<Attempt, NotSent> {
        let task_id = TaskId::fresh(unix_ms());
        let permit = self.app.writer.try_reserve();
        let permit = permit.ok_or_else(|| {
            NotSent::Refused(ApiError::Busy {
                code: "overloaded",
                message: "this server's disk does not keep up; try again".into(),
            })
        })?;
        let ask = Ask {
            task_id,
            lock: choice.candidate.lock,
            operator: choice.candidate.member.operator,
            stake: choice.candidate.member.stake(),
        };
        let reservation = admission::reserve(&self.app, &self.order, ask).await;
        let reservation = reservation.map_err(|not_reserved| match not_reserved {
            NotReserved::Exposure => NotSent::Busy,
            NotReserved::Refused(error) => NotSent::Refused(error),
        })?;
        let sent_at = Instant::now();
        let span = tracing::info_span!(
            "attempt",
            otel.kind = "client",
            %task_id,
            node_id = %choice.candidate.member.key,
            outcome = field::Empty,
        );
        let trace = cactus_telemetry::context_of(&span).or(self.peer);
        let subscription = link::submit(&choice.node, self.task(task_id, &choice, trace));
        let subscription = subscription.map_err(|busy| match busy {
            LinkBusy::Unavailable => NotSent::Busy,
            LinkBusy::TooLong(_) => NotSent::Refused(ApiError::TooLarge {
                limit: cactus_protocol::frame::MAX_FRAME_BYTES,
            }),
        })?;
        permit.open(self.new_task(task_id, &choice));
        reservation.keep();
        self.app.nodes.fleet.remember(&self.needs, &choice.candidate);
        Ok(Attempt {
            assigned: Assigned {
                task_id,
                server: self.app.server,
                operator: choice.candidate.member.operator,
                node: choice.candidate.member.key,
                offer: Arc::clone(choice.candidate.offer()),
            },
            fits: self.fits(&choice),
            work: Arc::clone(&self.work),
            heard: None,
            progress: Progress::default(),
            choice,
            sent_at,
            span,
            subscription,
        })
    }

    fn task(&self, task_id: TaskId, choice: &Choice, trace: Option<TraceContext>) -> Task {
        Task {
            task_id,
            work: Work::clone(&self.work),
            deadline_ms: self.wanted_for_ms(),
            priority: self.preferences.priority,
            price: choice.candidate.offer().price,
            credits: INITIAL_CREDITS,
            cache_scope: cache_scope(&self.order.order.client),
            trace,
        }
    }

    /// How long anybody wants the answer: as long as this server waits, or less.
    fn wanted_for_ms(&self) -> u32 {
        let longest = self.app.config.limits.task_ms;
        self.preferences.deadline_ms.map_or(longest, |wished| wished.min(longest))
    }

    fn new_task(&self, task_id: TaskId, choice: &Choice) -> NewTask {
        let created_ms = unix_ms();
        let longest = self.app.chain.parameters().max_task_seconds;
        let longest = longest.saturating_sub(CLOCK_MARGIN_SECONDS).max(1);
        let lock_seconds = self.app.config.limits.lock_seconds.min(longest);
        NewTask {
            task_id,
            order: Arc::clone(&self.order),
            operator: choice.candidate.member.operator,
            node: choice.candidate.member.key,
            model: self.work.model().to_owned(),
            lock: choice.candidate.lock,
            price: choice.candidate.offer().price,
            deadline_seconds: created_ms / 1000 + lock_seconds,
            // Plain structs of strings and numbers always have a JSON form.
            candidates: serde_json::to_string(&self.candidates).unwrap_or_default(),
            previous: self.previous.clone(),
            created_ms,
        }
    }

    /// Whether the prompt fits the node's context whatever its tokenizer does.
    fn fits(&self, choice: &Choice) -> bool {
        let bound = self.work.prompt_tokens_bound();
        bound < choice.candidate.offer().context_length
    }
}

/// Nodes share what they keep of prompts within one payer's tasks only. The chain names the payer
/// of each task to the node anyway, so the scope tells it nothing new.
fn cache_scope(client: &Address) -> u64 {
    let Hash(hash) = Hash::of(client.as_bytes());
    hash.first_chunk().copied().map_or(0, u64::from_le_bytes)
}
