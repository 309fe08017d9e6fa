//! What a committed transaction means for each of its intents. It stores nothing: where the
//! transaction does not tell, it asks the chain about the task itself, and it never guesses.

use super::{
    IntentId, Outcome,
    batch::{self, Part},
    store::{Carried, Stored},
};
use crate::{
    call::Call,
    chain::{Chain, ChainError, Execution},
    event::Abort,
    view::{TaskInfo, TaskStage},
};
use cactus_protocol::Address;

/// How the intents of a transaction of `sender` ended.
pub(crate) async fn judge(
    chain: &impl Chain,
    sender: Address,
    (stored, execution): (&Stored, Execution),
) -> Result<Vec<(IntentId, Outcome)>, ChainError> {
    if let [only] = stored.intents.as_slice() {
        let outcome = judge_only(chain, sender, (only, &stored.hash, execution)).await?;
        return Ok(vec![(only.id.clone(), outcome)]);
    }
    let count = stored.intents.len();
    let mut outcomes = Vec::with_capacity(count);
    for (place, intent) in stored.intents.iter().enumerate() {
        let part = (intent, stored.hash.as_str(), &execution);
        let outcome = judge_part(chain, sender, (part, (place, count))).await?;
        outcomes.push((intent.id.clone(), outcome));
    }
    Ok(outcomes)
}

/// What the contract said about one of several payments. Where it said nothing, or that the task
/// was final before, the task itself tells.
async fn judge_part(
    chain: &impl Chain,
    sender: Address,
    ((intent, hash, execution), share): ((&Carried, &str, &Execution), (usize, usize)),
) -> Result<Outcome, ChainError> {
    let no_task = || ChainError::Unreadable(format!("{} pays for no task", intent.id));
    let (client, task_id) = intent.call.task().ok_or_else(no_task)?;
    let reason = match batch::part_of((client, task_id), (hash, execution), share) {
        Part::Paid(outcome) => return Ok(outcome),
        Part::PassedOver(reason) => Some(reason),
        Part::Silent => None,
    };
    let task = chain.task(client, task_id).await?;
    if already_done(&intent.call, &task, sender) {
        return Ok(Outcome::Confirmed {
            hash: hash.to_owned(),
            version: execution.version,
            gas_octas: batch::gas_share(execution.gas, share),
            events: Vec::new(),
        });
    }
    match reason {
        Some(message) => Ok(Outcome::Failed { abort: None, message }),
        // A node that lags behind the one that told of the transaction.
        None => {
            Err(ChainError::Unreadable(format!("{hash} succeeded and says nothing of {task_id}")))
        }
    }
}

/// What a transaction means for its one intent. A contract's no may mean that the chain has the
/// effect already; then the intent is confirmed.
async fn judge_only(
    chain: &impl Chain,
    sender: Address,
    (intent, hash, execution): (&Carried, &str, Execution),
) -> Result<Outcome, ChainError> {
    let abort = Abort::parse(&execution.vm_status);
    let done = execution.success
        || match (&abort, intent.call.task()) {
            (Some(_), Some((client, task_id))) => {
                let task = chain.task(client, task_id).await?;
                already_done(&intent.call, &task, sender)
            }
            _ => false,
        };
    Ok(if done {
        Outcome::Confirmed {
            hash: hash.to_owned(),
            version: execution.version,
            gas_octas: execution.gas,
            events: execution.events,
        }
    } else {
        Outcome::Failed { abort, message: execution.vm_status }
    })
}

/// Whether the chain shows the effect that the call wanted.
fn already_done(call: &Call, task: &TaskInfo, sender: Address) -> bool {
    match call {
        Call::CreateTask { orchestrator, lock, deadline_seconds, .. } => {
            task.stage != TaskStage::Unknown
                && task.server == sender
                && task.orchestrator == *orchestrator
                && task.lock == *lock
                && task.deadline_seconds == *deadline_seconds
        }
        Call::CompleteTask { .. } => task.stage == TaskStage::Settled && task.server == sender,
        Call::FailTask { .. } | Call::RefundExpired { .. } => task.stage == TaskStage::Refunded,
        Call::DeliverTask { .. } => {
            matches!(task.stage, TaskStage::Delivered | TaskStage::Disputed)
                && task.orchestrator == sender
        }
        Call::ReleaseExpired { .. } => task.stage == TaskStage::Settled,
        _ => false,
    }
}
