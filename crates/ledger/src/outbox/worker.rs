//! The worker of an outbox: one pass looks at what is in flight, then signs and sends what is
//! ready. Dropping it at any moment loses nothing: what matters is in the table before the chain
//! hears of it.

use super::{
    IntentId, Outcome, Settled,
    decide::{self, Action, Around, Flight},
    pacing::Pacing,
    probe::{Point, Probe},
    store::{self, Ready, Stored},
};
use crate::{
    call::Call,
    chain::{Chain, ChainError, Execution, Lookup, RefusalKind},
    event::Abort,
    transaction::{Signer, Terms},
    view::{TaskInfo, TaskStage},
};
use cactus_protocol::Address;
use futures::{StreamExt, stream};
use sqlx::AnyPool;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

/// Transactions in flight at once. Aptos nodes hold at most 100 per account.
const MAX_IN_FLIGHT: usize = 64;
/// Requests at the node at once.
const MAX_REQUESTS: usize = 16;
/// Chain time that a transaction has to commit. Short, because a lost one is signed anew only
/// after it.
const EXPIRY_SECONDS: u64 = 30;

/// What a pass came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Nothing is open.
    Idle,
    /// Something was sent or settled.
    Moved,
    /// All that is open waits for the chain.
    Waiting,
    /// The chain did not take or answer everything.
    Troubled,
}

/// Why a pass broke off. The next one takes up where it ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("the node is of chain {found}, not {expected}")]
    WrongChain { expected: u8, found: u8 },
}

/// A transaction in flight, and what nodes said about it since this worker started.
struct InFlight {
    stored: Stored,
    accepted_seconds: Option<u64>,
    expired_seconds: Option<u64>,
}

impl InFlight {
    /// In doubt until a node says something.
    fn doubtful(stored: Stored) -> Self {
        Self { stored, accepted_seconds: None, expired_seconds: None }
    }

    fn flight(&self) -> Flight {
        Flight {
            sequence_number: self.stored.sequence_number,
            expires_seconds: self.stored.expires_seconds,
            accepted_seconds: self.accepted_seconds,
            expired_seconds: self.expired_seconds,
        }
    }
}

pub(crate) struct Worker<C, P = ()> {
    chain: C,
    probe: P,
    pool: AnyPool,
    signer: Signer,
    settled: broadcast::Sender<Settled>,
    /// The table's submitted rows; `None` until read, and again after any doubt about them.
    in_flight: Option<Vec<InFlight>>,
    /// One past the highest sequence number seen in the chain.
    floor: u64,
}

impl<C: Chain> Worker<C> {
    pub(crate) fn new(
        chain: C,
        pool: AnyPool,
        signer: Signer,
        settled: broadcast::Sender<Settled>,
    ) -> Self {
        Self { chain, probe: (), pool, signer, settled, in_flight: None, floor: 0 }
    }
}

impl<C: Chain, P: Probe> Worker<C, P> {
    /// The same worker, watched.
    pub(crate) fn probed<Q: Probe>(self, probe: Q) -> Worker<C, Q> {
        let Self { chain, probe: _, pool, signer, settled, in_flight, floor } = self;
        Worker { chain, probe, pool, signer, settled, in_flight, floor }
    }

    /// Passes until `shutdown`, which may cut a pass short.
    pub(crate) async fn run(mut self, bell: &Notify, shutdown: CancellationToken) {
        let mut pacing = Pacing::default();
        loop {
            let result = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                result = self.pass() => result,
            };
            if let Err(error) = &result {
                tracing::warn!(%error, "the outbox waits before it tries again");
            }
            let pause = pacing.after(result.unwrap_or(Pass::Troubled));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = bell.notified(), if pause.interruptible => {}
                () = tokio::time::sleep(pause.length) => {}
            }
        }
    }

    /// One round. Not cancel-safe for `self`, which is to be dropped with the future; the table
    /// always is.
    pub(crate) async fn pass(&mut self) -> Result<Pass, PassError> {
        let mut in_flight = match self.in_flight.take() {
            Some(in_flight) => in_flight,
            None => self.read_table().await?,
        };
        let room = MAX_IN_FLIGHT.saturating_sub(in_flight.len());
        let (ready, mut moved) = self.drop_orphans(store::ready(&self.pool, room).await?).await?;
        if in_flight.is_empty() && ready.is_empty() {
            self.in_flight = Some(in_flight);
            return Ok(if moved { Pass::Moved } else { Pass::Idle });
        }
        let around = self.look_around(in_flight.is_empty()).await?;
        let looked = self.look(&mut in_flight, around).await?;
        let sent = self.send(&mut in_flight, ready, around).await?;
        self.in_flight = Some(in_flight);
        moved |= looked.moved || sent.moved;
        Ok(match (looked.troubled || sent.troubled, moved) {
            (true, _) => Pass::Troubled,
            (false, true) => Pass::Moved,
            (false, false) => Pass::Waiting,
        })
    }

    async fn read_table(&self) -> Result<Vec<InFlight>, sqlx::Error> {
        let stored = store::submitted(&self.pool).await?;
        Ok(stored.into_iter().map(InFlight::doubtful).collect())
    }

    /// Ends intents about tasks that could not be created. Says whether there were any.
    async fn drop_orphans(&self, ready: Vec<Ready>) -> Result<(Vec<Ready>, bool), sqlx::Error> {
        let (orphans, ready): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|intent| intent.orphaned);
        for orphan in &orphans {
            let message = "the task was never created".to_owned();
            self.finish(&orphan.id, Outcome::Failed { abort: None, message }).await?;
        }
        Ok((ready, !orphans.is_empty()))
    }

    /// The chain's time first, then the sender's number: both are read before any look-up.
    async fn look_around(&mut self, nothing_in_flight: bool) -> Result<Around, PassError> {
        let head = self.chain.head().await?;
        if head.chain_id != self.signer.chain_id() {
            return Err(PassError::WrongChain {
                expected: self.signer.chain_id(),
                found: head.chain_id,
            });
        }
        let next = self.chain.sequence_number(self.signer.address()).await?;
        // A node may lag behind what another one showed us. With nothing in flight the node is
        // right: a network that was reset starts again from zero.
        self.floor = if nothing_in_flight { next } else { self.floor.max(next) };
        Ok(Around { head, next_sequence: self.floor })
    }

    /// Looks at what deserves it and acts on the answers.
    async fn look(
        &mut self,
        in_flight: &mut Vec<InFlight>,
        around: Around,
    ) -> Result<Effect, PassError> {
        let mut effect = Effect::default();
        let (doubtful, mut kept): (Vec<_>, Vec<_>) = std::mem::take(in_flight)
            .into_iter()
            .partition(|one| decide::deserves_look(one.flight(), around));
        let chain = &self.chain;
        let mut answers = stream::iter(doubtful)
            .map(async |one| {
                let answer = chain.look_up(&one.stored.hash).await;
                (one, answer)
            })
            .buffered(MAX_REQUESTS)
            .collect::<Vec<_>>()
            .await
            .into_iter();
        for (one, answer) in &mut answers {
            match answer {
                Ok(lookup) => kept.extend(self.act(one, lookup, around, &mut effect).await?),
                Err(error) => {
                    effect.trouble(&one.stored.id, &error);
                    kept.push(one);
                }
            }
        }
        kept.sort_by_key(|one| one.stored.sequence_number);
        *in_flight = kept;
        Ok(effect)
    }

    /// Does what a look-up calls for. Gives the transaction back while it is still in flight.
    async fn act(
        &mut self,
        mut one: InFlight,
        lookup: Lookup,
        around: Around,
        effect: &mut Effect,
    ) -> Result<Option<InFlight>, PassError> {
        if lookup == Lookup::Pending {
            one.accepted_seconds = Some(around.head.local_seconds);
        }
        match decide::after_look(one.flight(), around, lookup) {
            Action::Wait => Ok(Some(one)),
            Action::Resend => {
                let answer = self.submit(&one.stored).await;
                note_submission(&mut one, answer, around, effect);
                Ok(Some(one))
            }
            Action::Release => {
                self.probe.reached(Point::BeforeReleasing);
                store::mark_pending(&self.pool, &one.stored).await?;
                self.probe.reached(Point::AfterReleasing);
                tracing::info!(id = %one.stored.id, hash = one.stored.hash, "expired, will be signed anew");
                effect.moved = true;
                Ok(None)
            }
            Action::Settle(execution) => self.settle(one, execution, effect).await,
        }
    }

    async fn settle(
        &mut self,
        one: InFlight,
        execution: Execution,
        effect: &mut Effect,
    ) -> Result<Option<InFlight>, PassError> {
        match self.judge(&one.stored, execution).await {
            Ok(outcome) => {
                self.finish(&one.stored.id, outcome).await?;
                self.floor = self.floor.max(one.stored.sequence_number.saturating_add(1));
                effect.moved = true;
                Ok(None)
            }
            Err(error) => {
                effect.trouble(&one.stored.id, &error);
                Ok(Some(one))
            }
        }
    }

    /// What a committed transaction means for its intent. A contract's no may mean that the chain
    /// has the effect already; then the intent is confirmed.
    async fn judge(&self, stored: &Stored, execution: Execution) -> Result<Outcome, ChainError> {
        let abort = Abort::parse(&execution.vm_status);
        let done = execution.success
            || match (&abort, stored.call.task()) {
                (Some(_), Some((client, task_id))) => {
                    let task = self.chain.task(client, task_id).await?;
                    already_done(&stored.call, &task, self.signer.address())
                }
                _ => false,
            };
        Ok(if done {
            Outcome::Confirmed {
                hash: stored.hash.clone(),
                version: execution.version,
                gas_octas: execution.gas,
                events: execution.events,
            }
        } else {
            let message = execution.vm_status;
            Outcome::Failed { abort, message }
        })
    }

    async fn finish(&self, id: &IntentId, outcome: Outcome) -> Result<(), sqlx::Error> {
        self.probe.reached(Point::BeforeSettling);
        store::mark_final(&self.pool, id, &outcome).await?;
        self.probe.reached(Point::AfterSettling);
        match &outcome {
            Outcome::Confirmed { hash, version, .. } => {
                tracing::info!(%id, hash, version, "confirmed");
            }
            Outcome::Failed { message, .. } => tracing::warn!(%id, message, "failed"),
        }
        let id = id.clone();
        // Nobody listening is fine: the table has it.
        self.settled.send(Settled { id, outcome }).ok();
        Ok(())
    }

    /// Signs and stores what is ready, and only then sends it.
    async fn send(
        &mut self,
        in_flight: &mut Vec<InFlight>,
        ready: Vec<Ready>,
        around: Around,
    ) -> Result<Effect, PassError> {
        let mut effect = Effect::default();
        if ready.is_empty() {
            return Ok(effect);
        }
        let taken: Vec<_> = in_flight.iter().map(|one| one.stored.sequence_number).collect();
        let signed = self.sign_all(ready, &taken, around).await?;
        self.probe.reached(Point::BeforeStoring);
        store::mark_submitted(&self.pool, &signed, &self.probe).await?;
        self.probe.reached(Point::AfterStoring);
        effect.moved = true;
        let this = &*self;
        let sent: Vec<_> = stream::iter(signed)
            .map(async |stored| (this.submit(&stored).await, stored))
            .buffered(MAX_REQUESTS)
            .collect()
            .await;
        for (answer, stored) in sent {
            let mut one = InFlight::doubtful(stored);
            note_submission(&mut one, answer, around, &mut effect);
            in_flight.push(one);
        }
        Ok(effect)
    }

    async fn submit(&self, stored: &Stored) -> Result<(), ChainError> {
        self.probe.reached(Point::BeforeSubmitting);
        let answer = self.chain.submit(&stored.transaction).await;
        self.probe.reached(Point::AfterSubmitting);
        answer
    }

    /// Signs in order with the lowest free numbers. What has no form on this chain ends here.
    async fn sign_all(
        &self,
        ready: Vec<Ready>,
        taken: &[u64],
        around: Around,
    ) -> Result<Vec<Stored>, PassError> {
        let gas_unit_price = self.chain.gas_unit_price().await?;
        // What settled since `around` was read has moved the floor.
        let mut numbers = decide::free_numbers(self.floor, taken).peekable();
        let mut signed = Vec::with_capacity(ready.len());
        for intent in ready {
            let Some(&sequence_number) = numbers.peek() else {
                break;
            };
            let terms = Terms {
                sequence_number,
                expires_seconds: around.head.expiry(EXPIRY_SECONDS),
                gas_unit_price,
            };
            match self.sign(&intent, terms) {
                Ok(stored) => {
                    numbers.next();
                    signed.push(stored);
                }
                Err(outcome) => self.finish(&intent.id, outcome).await?,
            }
        }
        Ok(signed)
    }

    fn sign(&self, intent: &Ready, terms: Terms) -> Result<Stored, Outcome> {
        let signed = self
            .signer
            .sign(&intent.call, terms)
            .map_err(|error| Outcome::Failed { abort: None, message: error.to_string() })?;
        Ok(Stored {
            id: intent.id.clone(),
            call: intent.call.clone(),
            hash: signed.hash,
            transaction: signed.transaction,
            sequence_number: terms.sequence_number,
            expires_seconds: terms.expires_seconds,
            attempts: intent.attempts.saturating_add(1),
        })
    }
}

/// What part of a pass came to.
#[derive(Default)]
struct Effect {
    moved: bool,
    troubled: bool,
}

impl Effect {
    fn trouble(&mut self, id: &IntentId, error: &ChainError) {
        self.troubled = true;
        tracing::debug!(%id, %error, "the chain is in the way");
    }
}

/// Only a clear yes ends the doubt about a submission, and only a clear "expired" its hope.
fn note_submission(
    one: &mut InFlight,
    answer: Result<(), ChainError>,
    around: Around,
    effect: &mut Effect,
) {
    one.accepted_seconds = answer.is_ok().then_some(around.head.local_seconds);
    let Err(error) = answer else { return };
    let kind = match &error {
        ChainError::Refused(refusal) => Some(refusal.kind),
        ChainError::Unavailable(_) | ChainError::Unreadable(_) => None,
    };
    match kind {
        // In the chain already, or its number is lost: the next look tells.
        Some(RefusalKind::SequenceTaken) => {}
        Some(RefusalKind::Expired) => {
            one.expired_seconds.get_or_insert(around.head.local_seconds);
        }
        _ => {
            tracing::warn!(id = %one.stored.id, %error, "the chain does not take a transaction");
            effect.troubled = true;
        }
    }
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
