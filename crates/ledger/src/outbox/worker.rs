//! The worker of an outbox: one pass looks at what is in flight, then signs and sends what is
//! ready. Dropping it at any moment loses nothing: what matters is in the table before the chain
//! hears of it.

use super::{
    IntentId, Outcome, Settled,
    batch::{self, Batch, Room},
    decide::{self, Action, Around, Flight},
    judge,
    leader::Leader,
    pacing::Pacing,
    probe::{Point, Probe},
    store::{self, Carried, Ready, Stored},
};
use crate::{
    chain::{Chain, ChainError, Execution, Lookup, RefusalKind},
    transaction::{Signer, Terms},
};
use futures::{StreamExt, stream};
use sqlx::AnyPool;
use std::collections::HashSet;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

/// Transactions in flight at once. Aptos nodes hold at most 100 per account.
const MAX_IN_FLIGHT: usize = 64;
/// Intents that one pass looks at.
const MAX_READY: usize = 512;
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
    /// Another process leads.
    Elsewhere,
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
    /// Payments that shared a transaction which failed as a whole: each is tried by itself.
    alone: HashSet<IntentId>,
    /// The claim to lead, where there may be other workers.
    leader: Option<Leader>,
}

impl<C: Chain> Worker<C> {
    pub(crate) fn new(
        chain: C,
        pool: AnyPool,
        signer: Signer,
        settled: broadcast::Sender<Settled>,
    ) -> Self {
        Self {
            chain,
            probe: (),
            pool,
            signer,
            settled,
            in_flight: None,
            floor: 0,
            alone: HashSet::new(),
            leader: None,
        }
    }
}

impl<C: Chain, P: Probe> Worker<C, P> {
    /// The same worker, which works only while it leads.
    pub(crate) fn led(self, leader: Leader) -> Self {
        Self { leader: Some(leader), ..self }
    }

    /// The same worker, watched.
    pub(crate) fn probed<Q: Probe>(self, probe: Q) -> Worker<C, Q> {
        let Self { chain, probe: _, pool, signer, settled, in_flight, floor, alone, leader } = self;
        Worker { chain, probe, pool, signer, settled, in_flight, floor, alone, leader }
    }

    /// Passes until `shutdown`, which may cut a pass short.
    pub(crate) async fn run(mut self, bell: &Notify, shutdown: CancellationToken) {
        let mut pacing = Pacing::default();
        loop {
            let result = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                result = self.turn() => result,
            };
            if let Err(error) = &result {
                tracing::warn!(%error, "the outbox waits before it tries again");
            }
            let pause = pacing.after(result.unwrap_or(Pass::Troubled));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = bell.notified(), if pause.interruptible => {}
                () = tokio::time::sleep(pause.length) => {}
            }
        }
        if let Some(leader) = self.leader
            && let Err(error) = leader.leave().await
        {
            tracing::warn!(%error, "others wait until the lease on the outbox ends");
        }
    }

    /// A pass, if this process leads.
    pub(crate) async fn turn(&mut self) -> Result<Pass, PassError> {
        if let Some(leader) = &mut self.leader {
            let before = leader.epoch();
            let now = leader.hold().await?;
            if now != before {
                // Another one may have worked meanwhile.
                self.in_flight = None;
            }
            if now.is_none() {
                return Ok(Pass::Elsewhere);
            }
        }
        self.pass().await
    }

    /// One round. Not cancel-safe for `self`, which is to be dropped with the future; the table
    /// always is.
    pub(crate) async fn pass(&mut self) -> Result<Pass, PassError> {
        let mut in_flight = match self.in_flight.take() {
            Some(in_flight) => in_flight,
            None => self.read_table().await?,
        };
        let full = in_flight.len() >= MAX_IN_FLIGHT;
        let most = if full { 0 } else { MAX_READY };
        let (ready, mut moved) = self.drop_orphans(store::ready(&self.pool, most).await?).await?;
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
    async fn drop_orphans(&mut self, ready: Vec<Ready>) -> Result<(Vec<Ready>, bool), sqlx::Error> {
        let (orphans, ready): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|intent| intent.orphaned);
        for orphan in &orphans {
            let message = "the task was never created".to_owned();
            self.finish(vec![(orphan.id.clone(), Outcome::Failed { abort: None, message })])
                .await?;
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
                    effect.trouble(one.stored.name(), &error);
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
                self.release(&one.stored).await?;
                tracing::info!(id = %one.stored.name(), hash = one.stored.hash, "expired, will be signed anew");
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
        if !execution.success && one.stored.intents.len() > 1 {
            // Nothing of it happened. Whatever stopped it concerns at most some of them.
            let message = execution.vm_status;
            tracing::warn!(
                hash = one.stored.hash,
                message,
                "payments failed together; each is tried alone"
            );
            self.release(&one.stored).await?;
            self.alone.extend(one.stored.intents.iter().map(|intent| intent.id.clone()));
            self.floor = self.floor.max(one.stored.sequence_number.saturating_add(1));
            effect.moved = true;
            return Ok(None);
        }
        match judge::judge(&self.chain, self.signer.address(), (&one.stored, execution)).await {
            Ok(outcomes) => {
                self.finish(outcomes).await?;
                self.floor = self.floor.max(one.stored.sequence_number.saturating_add(1));
                effect.moved = true;
                Ok(None)
            }
            Err(error) => {
                effect.trouble(one.stored.name(), &error);
                Ok(Some(one))
            }
        }
    }

    /// A transaction that did not happen and will not: its intents are open again.
    async fn release(&self, stored: &Stored) -> Result<(), sqlx::Error> {
        self.probe.reached(Point::BeforeReleasing);
        store::mark_pending(&self.pool, stored).await?;
        self.probe.reached(Point::AfterReleasing);
        Ok(())
    }

    /// Stores how intents ended, all or none, and tells.
    async fn finish(&mut self, outcomes: Vec<(IntentId, Outcome)>) -> Result<(), sqlx::Error> {
        self.probe.reached(Point::BeforeSettling);
        store::mark_final(&self.pool, &outcomes, &self.probe).await?;
        self.probe.reached(Point::AfterSettling);
        for (id, outcome) in outcomes {
            match &outcome {
                Outcome::Confirmed { hash, version, .. } => {
                    tracing::info!(%id, hash, version, "confirmed");
                }
                Outcome::Failed { message, .. } => tracing::warn!(%id, message, "failed"),
            }
            self.alone.remove(&id);
            // Nobody listening is fine: the table has it.
            self.settled.send(Settled { id, outcome }).ok();
        }
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
        let pays = |one: &&InFlight| one.stored.intents.iter().any(|i| batch::is_payment(&i.call));
        let room = Room {
            transactions: MAX_IN_FLIGHT.saturating_sub(in_flight.len()),
            paying: in_flight.iter().filter(pays).count(),
        };
        let batches = batch::gather(ready, &self.alone, room);
        if batches.is_empty() {
            return Ok(effect);
        }
        let taken: Vec<_> = in_flight.iter().map(|one| one.stored.sequence_number).collect();
        let signed = self.sign_all(batches, &taken, around).await?;
        self.probe.reached(Point::BeforeStoring);
        let epoch = self.leader.as_ref().and_then(Leader::epoch);
        store::mark_submitted((&self.pool, epoch), &signed, &self.probe).await?;
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
        &mut self,
        batches: Vec<Batch>,
        taken: &[u64],
        around: Around,
    ) -> Result<Vec<Stored>, PassError> {
        let gas_unit_price = self.chain.gas_unit_price().await?;
        // What settled since `around` was read has moved the floor.
        let mut numbers = decide::free_numbers(self.floor, taken).peekable();
        let mut signed = Vec::with_capacity(batches.len());
        for batch in batches {
            let Some(&sequence_number) = numbers.peek() else {
                break;
            };
            let terms = Terms {
                sequence_number,
                expires_seconds: around.head.expiry(EXPIRY_SECONDS),
                gas_unit_price,
            };
            match self.sign(&batch, terms) {
                Ok(stored) => {
                    numbers.next();
                    signed.push(stored);
                }
                Err(outcome) => {
                    let failed = batch.into_iter().map(|intent| (intent.id, outcome.clone()));
                    self.finish(failed.collect()).await?;
                }
            }
        }
        Ok(signed)
    }

    fn sign(&self, batch: &Batch, terms: Terms) -> Result<Stored, Outcome> {
        let failed = |message: String| Outcome::Failed { abort: None, message };
        let call = batch::call_of(batch.iter().map(|intent| &intent.call));
        let call = call.ok_or_else(|| failed("calls that cannot share were batched".to_owned()))?;
        let signed = self.signer.sign(&call, terms).map_err(|error| failed(error.to_string()))?;
        let carried = |intent: &Ready| Carried {
            id: intent.id.clone(),
            call: intent.call.clone(),
            attempts: intent.attempts.saturating_add(1),
        };
        Ok(Stored {
            intents: batch.iter().map(carried).collect(),
            hash: signed.hash,
            transaction: signed.transaction,
            sequence_number: terms.sequence_number,
            expires_seconds: terms.expires_seconds,
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
    fn trouble(&mut self, id: &str, error: &ChainError) {
        self.troubled = true;
        tracing::debug!(id, %error, "the chain is in the way");
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
            tracing::warn!(id = %one.stored.name(), %error, "the chain does not take a transaction");
            effect.troubled = true;
        }
    }
}
