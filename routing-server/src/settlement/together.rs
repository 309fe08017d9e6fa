//! Many decisions in one transaction, one statement per kind: what the writer gathered. It decides
//! nothing and gives up, having written nothing, when the table is not as expected.

use super::{
    rows::{self, Decided, Opened},
    store::{self, Closing, NewTask, StoreError},
};
use crate::batches;
use cactus_ledger::{Call, IntentId, outbox};
use cactus_protocol::{Address, TaskId};
use sqlx::AnyConnection;
use std::collections::HashMap;

/// Payers of the tasks that this process opened and has not closed, so that closing reads nothing.
#[derive(Debug, Default)]
pub(super) struct Payers(HashMap<TaskId, Address>);

impl Payers {
    pub(super) fn opened(&mut self, task: &NewTask) {
        self.0.insert(task.task_id, task.order.order.client);
    }

    pub(super) fn closed(&mut self, task_id: &TaskId) {
        self.0.remove(task_id);
    }
}

/// What a transaction comes to.
#[derive(Debug, Default)]
pub(super) struct Together<'a> {
    opened: Vec<Opened<'a>>,
    /// Places in `opened`.
    places: HashMap<TaskId, usize>,
    decided: Vec<Decided<'a>>,
    intents: Vec<(IntentId, Call)>,
}

impl<'a> Together<'a> {
    pub(super) fn open(&mut self, task: &'a NewTask) {
        self.intents.push(task.intent());
        self.places.insert(task.task_id, self.opened.len());
        self.opened.push(Opened { task, decided: None });
    }

    /// # Errors
    /// When the task is not one that this process has open: it is to be looked up.
    pub(super) fn close(
        &mut self,
        (task_id, closing): (TaskId, &'a Closing),
        payers: &Payers,
    ) -> Result<(), StoreError> {
        let decided = Decided::new(task_id, closing)?;
        let opened = self.places.get(&task_id).map(|place| &mut self.opened[*place]);
        let client = match &opened {
            Some(opened) => Some(opened.task.order.order.client),
            None => payers.0.get(&task_id).copied(),
        };
        let client = client.ok_or(StoreError::Unknown(task_id))?;
        let call = decided.call(client);
        self.intents.extend(call.map(|call| (IntentId::close(task_id), call)));
        match opened {
            Some(Opened { decided: Some(_), .. }) => return Err(StoreError::Unexpected),
            Some(opened) => opened.decided = Some(decided),
            None => self.decided.push(decided),
        }
        Ok(())
    }

    /// Writes everything, in a transaction that the caller commits.
    ///
    /// # Errors
    /// Also when a task or a line of a batch was decided before.
    pub(super) async fn write(
        &self,
        connection: &mut AnyConnection,
        instance: &str,
    ) -> Result<(), StoreError> {
        if !self.opened.is_empty() {
            store::fence(connection, instance).await?;
        }
        let is_new = rows::open(connection, instance, &self.opened).await?;
        if !is_new || !rows::close(connection, &self.decided).await? {
            return Err(StoreError::Unexpected);
        }
        let ended = self.opened.iter().filter_map(|opened| opened.decided.as_ref());
        for decided in ended.chain(&self.decided) {
            if let Some(line) = &decided.closing.line
                && !batches::answered(connection, line).await?
            {
                return Err(StoreError::Answered(decided.task_id));
            }
        }
        Ok(outbox::enqueue_all(connection, &self.intents).await?)
    }
}
