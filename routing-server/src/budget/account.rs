//! One payer's money: what the chain showed last, less the locks that it cannot contain yet. It
//! knows no other payer and reads no clock.

use cactus_protocol::{Octas, Order, OrderId, TaskId};
use std::{collections::HashMap, time::Instant};

/// A balance as the chain showed it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot {
    pub(super) available: Octas,
    /// When the question was sent: what the chain confirmed before is inside.
    pub(super) asked_at: Instant,
}

/// A lock that the snapshot may not contain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lock {
    pub(super) amount: Octas,
    pub(super) order: OrderId,
    /// When the chain was seen to hold the lock.
    pub(super) landed_at: Option<Instant>,
    /// The task is over; `amount` is what was paid.
    pub(super) finished: bool,
}

impl Lock {
    pub(super) fn new(order: OrderId, amount: Octas) -> Self {
        Self { amount, order, landed_at: None, finished: false }
    }

    pub(super) fn is_inside(&self, snapshot: Snapshot) -> bool {
        self.landed_at.is_some_and(|at| at < snapshot.asked_at)
    }

    /// What the snapshot does not contain of it, in octas.
    pub(super) fn outside(&self, snapshot: Option<Snapshot>) -> u128 {
        let is_inside = snapshot.is_some_and(|snapshot| self.is_inside(snapshot));
        if is_inside { 0 } else { u128::from(self.amount.0) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) snapshot: Option<Snapshot>,
    pub(super) locks: HashMap<TaskId, Lock>,
    /// The sum of the locks that the snapshot does not contain, in octas; kept, because requests
    /// ask for it far more often than locks come and go. Means nothing without a snapshot.
    pub(super) outside: u128,
    pub(super) orders: HashMap<OrderId, Spending>,
    /// Whether anything was reserved or asked for since the last look for idle payers.
    pub(super) touched: bool,
    /// Whether somebody asks the chain now.
    pub(super) refreshing: bool,
    /// Until when nothing is reserved, after a lock that the payer made impossible.
    pub(super) barred_until: Option<Instant>,
}

impl Account {
    /// What is free: the snapshot less every lock that it does not contain.
    pub(super) fn available(&self) -> Option<Octas> {
        let snapshot = self.snapshot?;
        let outside = u64::try_from(self.outside).unwrap_or(u64::MAX);
        Some(snapshot.available.saturating_sub(Octas(outside)))
    }

    pub(super) fn insert(&mut self, task_id: TaskId, lock: Lock) {
        self.remove(&task_id);
        self.outside = self.outside.saturating_add(lock.outside(self.snapshot));
        self.locks.insert(task_id, lock);
    }

    pub(super) fn remove(&mut self, task_id: &TaskId) -> Option<Lock> {
        let lock = self.locks.remove(task_id)?;
        self.outside = self.outside.saturating_sub(lock.outside(self.snapshot));
        Some(lock)
    }

    /// A new snapshot contains what landed before it was asked for.
    pub(super) fn show(&mut self, snapshot: Snapshot) {
        self.snapshot = Some(snapshot);
        self.locks.retain(|_, lock| !lock.finished || !lock.is_inside(snapshot));
        self.outside = self.locks.values().map(|lock| lock.outside(self.snapshot)).sum();
    }
}

/// What an order has been used for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spending {
    /// Live locks and settled amounts.
    pub(super) used: Octas,
    /// This server's part of the order, where several share it; `None` stands for all of it.
    pub(super) allowed: Option<Octas>,
}

impl Spending {
    pub(super) fn remaining(&self, order: &Order) -> Octas {
        self.allowed.unwrap_or(order.max_total).saturating_sub(self.used)
    }
}
