//! The rows of `tasks`, written many at once. It trusts what a caller says of a task's state and
//! counts whether the table agrees; it never reads.

use super::store::{Closing, NewTask, StoreError, to_json};
use cactus_database::{ManyRows, to_sql};
use cactus_ledger::Call;
use cactus_protocol::{
    Address, TaskId, TaskState,
    task::{Illegal, TaskEffect, step},
};
use sqlx::{AnyConnection, Arguments, any::AnyArguments, error::BoxDynError};

static OPEN: ManyRows = ManyRows::new(
    "INSERT INTO tasks (task_id, client, order_id, operator, node, model, lock, prompt_price,
         output_price, deadline_seconds, candidates, previous, created_ms,
         instance, state, verdict, receipt, ttft_ms, total_ms, closed_ms) VALUES",
    20,
    // Ids are drawn once: a row with the same one was written by an attempt whose end was not heard.
    "ON CONFLICT (task_id) DO NOTHING",
);

/// Both databases call the columns of a list of values so. The state is that of a task which nobody
/// has decided yet.
static CLOSE: ManyRows = ManyRows::new(
    "UPDATE tasks SET state = decided.column2, verdict = decided.column3,
         receipt = decided.column4, ttft_ms = decided.column5, total_ms = decided.column6,
         closed_ms = decided.column7 FROM (VALUES",
    7,
    r#") AS decided WHERE tasks.task_id = decided.column1
         AND tasks.state = '{"state":"assigned"}'"#,
);

/// A new task, with its end if that came together with it.
#[derive(Debug)]
pub(super) struct Opened<'a> {
    pub(super) task: &'a NewTask,
    pub(super) decided: Option<Decided<'a>>,
}

/// The end of a task that was assigned.
#[derive(Debug)]
pub(super) struct Decided<'a> {
    pub(super) task_id: TaskId,
    pub(super) closing: &'a Closing,
    state: TaskState,
    effect: Option<TaskEffect>,
}

impl<'a> Decided<'a> {
    /// # Errors
    /// [`Illegal`] when this cannot happen to an assigned task.
    pub(super) fn new(task_id: TaskId, closing: &'a Closing) -> Result<Self, Illegal> {
        let (state, effect) = step(TaskState::Assigned, closing.event)?;
        Ok(Self { task_id, closing, state, effect })
    }

    /// What the chain is to be told.
    pub(super) fn call(&self, client: Address) -> Option<Call> {
        self.effect.map(|effect| call_of((client, self.task_id), effect))
    }

    fn bind(&self, arguments: &mut AnyArguments) -> Result<(), BoxDynError> {
        let closing = self.closing;
        arguments.add(to_json(&self.state)?)?;
        arguments.add(closing.verdict.as_str())?;
        arguments.add(closing.receipt.as_deref())?;
        arguments.add(closing.ttft_ms.map(to_sql).transpose()?)?;
        arguments.add(Some(to_sql(closing.total_ms)?))?;
        arguments.add(Some(to_sql(closing.closed_ms)?))
    }
}

/// What the protocol's step asks for, as a call of the contract.
pub(super) fn call_of((client, task_id): (Address, TaskId), effect: TaskEffect) -> Call {
    match effect {
        TaskEffect::Complete(work) => Call::CompleteTask {
            client,
            task_id,
            prompt_tokens: work.prompt_tokens,
            output_tokens: work.output_tokens,
            compute_ms: work.compute_ms,
            receipt_hash: work.receipt_hash,
        },
        TaskEffect::Fail(fault) => Call::FailTask { client, task_id, fault },
    }
}

/// Stores new tasks that `instance` looks after; says whether all of them were new.
///
/// # Errors
/// Those of the database.
pub(super) async fn open(
    connection: &mut AnyConnection,
    instance: &str,
    opened: &[Opened<'_>],
) -> Result<bool, StoreError> {
    let bind = |arguments: &mut AnyArguments, opened: &Opened<'_>| {
        bind_opened(arguments, instance, opened)
    };
    let met = OPEN.execute(connection, opened, bind).await?;
    Ok(usize::try_from(met) == Ok(opened.len()))
}

fn bind_opened(
    arguments: &mut AnyArguments,
    instance: &str,
    opened: &Opened<'_>,
) -> Result<(), BoxDynError> {
    let (task, order) = (opened.task, &opened.task.order.order);
    arguments.add(task.task_id.to_string())?;
    arguments.add(order.client.to_string())?;
    arguments.add(order.order_id.to_string())?;
    arguments.add(task.operator.to_string())?;
    arguments.add(task.node.to_string())?;
    arguments.add(task.model.as_str())?;
    arguments.add(to_sql(task.lock.0)?)?;
    arguments.add(to_sql(task.price.prompt.0)?)?;
    arguments.add(to_sql(task.price.output.0)?)?;
    arguments.add(to_sql(task.deadline_seconds)?)?;
    arguments.add(task.candidates.as_str())?;
    arguments.add(to_json(&task.previous)?)?;
    arguments.add(to_sql(task.created_ms)?)?;
    arguments.add(instance)?;
    match &opened.decided {
        Some(decided) => decided.bind(arguments),
        None => {
            arguments.add(to_json(&TaskState::Assigned)?)?;
            arguments.add(None::<&str>)?;
            arguments.add(None::<&str>)?;
            arguments.add(None::<i64>)?;
            arguments.add(None::<i64>)?;
            arguments.add(None::<i64>)
        }
    }
}

/// Decides assigned tasks; says whether all of them were assigned.
///
/// # Errors
/// Those of the database.
pub(super) async fn close(
    connection: &mut AnyConnection,
    decided: &[Decided<'_>],
) -> Result<bool, StoreError> {
    let bind = |arguments: &mut AnyArguments, decided: &Decided<'_>| {
        arguments.add(decided.task_id.to_string())?;
        decided.bind(arguments)
    };
    let met = CLOSE.execute(connection, decided, bind).await?;
    Ok(usize::try_from(met) == Ok(decided.len()))
}
