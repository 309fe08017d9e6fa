//! Money that requests have reserved and the chain does not show yet. A payer's spending is
//! bounded here before the first token, without asking the chain; the contract bounds it again.
//! Pure but for its maps: it sends nothing and reads no clock.

mod account;

use account::{Account, Lock, Snapshot, Spending};
use cactus_protocol::{Address, Octas, Order, OrderId, TaskId};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Payers remembered at most; beyond, those without reservations are forgotten.
const MAX_ACCOUNTS: usize = 100_000;
/// Orders remembered per payer; beyond, those without live locks are forgotten and asked for again.
const MAX_ORDERS: usize = 1_000;

/// Why money cannot be reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The payer's balance was never asked for.
    BalanceUnknown,
    /// What was spent under the order was never asked for.
    OrderUnknown,
    /// The balance does not cover the lock.
    Insufficient {
        /// What is free.
        available: Octas,
    },
    /// The order does not cover the lock.
    OrderSpent {
        /// What is left of it.
        remaining: Octas,
    },
}

/// What a server may spend of what several share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grant {
    /// With what it has spent and the pot still contains.
    pub octas: Octas,
    /// Not spent yet.
    pub free: Octas,
}

/// All payers' reservations.
#[derive(Debug, Default)]
pub struct Budget {
    accounts: HashMap<Address, Account>,
}

impl Budget {
    /// Reserves `lock` for a task under an order.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing is reserved.
    pub fn reserve(&mut self, order: &Order, task_id: TaskId, lock: Octas) -> Result<(), Refusal> {
        let account = self.accounts.get_mut(&order.client);
        let account = account.ok_or(Refusal::BalanceUnknown)?;
        let available = account.available().ok_or(Refusal::BalanceUnknown)?;
        let spending = account.orders.get_mut(&order.order_id);
        let spending = spending.ok_or(Refusal::OrderUnknown)?;
        let remaining = spending.remaining(order);
        if lock > remaining {
            return Err(Refusal::OrderSpent { remaining });
        }
        if lock > available {
            return Err(Refusal::Insufficient { available });
        }
        spending.used = spending.used.checked_add(lock).ok_or(Refusal::OrderSpent { remaining })?;
        account.touched = true;
        account.insert(task_id, Lock::new(order.order_id, lock));
        Ok(())
    }

    /// The payer made a lock impossible while a node already worked for it: nothing is reserved
    /// until then, and what was known of its balance is forgotten.
    pub fn bar(&mut self, client: Address, until: Instant) {
        let account = self.accounts.entry(client).or_default();
        (account.barred_until, account.snapshot) = (Some(until), None);
    }

    /// Whether the payer is barred.
    pub fn is_barred(&self, client: &Address, now: Instant) -> bool {
        let until = self.accounts.get(client).and_then(|account| account.barred_until);
        until.is_some_and(|until| now < until)
    }

    /// Whether the payer had money when the chain was last asked, or has a task under way.
    pub fn is_known(&self, client: &Address) -> bool {
        self.accounts.get(client).is_some_and(|account| {
            let funded = account.snapshot.is_some_and(|s| s.available > Octas::ZERO);
            funded || !account.locks.is_empty()
        })
    }

    /// What was spent under an order before this process started; ignored once it is known.
    pub fn learn_order(&mut self, client: Address, order: OrderId, used: Octas) {
        self.account_for(client).orders.entry(order).or_insert(Spending { used, allowed: None });
    }

    /// This server's part of an order that several servers share; `used` is believed if nothing is
    /// known.
    pub fn allow(&mut self, client: Address, order: OrderId, (used, allowed): (Octas, Octas)) {
        let orders = &mut self.account_for(client).orders;
        let spending = orders.entry(order).or_insert(Spending { used, allowed: None });
        spending.allowed = Some(allowed);
    }

    /// The payer's account, with room for one more order.
    fn account_for(&mut self, client: Address) -> &mut Account {
        self.make_room();
        let account = self.accounts.entry(client).or_default();
        if account.orders.len() >= MAX_ORDERS {
            let is_live = |id: &OrderId| account.locks.values().any(|lock| lock.order == *id);
            account.orders.retain(|id, _| is_live(id));
        }
        account
    }

    /// What this server spent and has locked under an order, if it is known.
    pub fn order_used(&self, client: &Address, order: &OrderId) -> Option<Octas> {
        Some(self.accounts.get(client)?.orders.get(order)?.used)
    }

    /// What a balance that is asked for at `asked_at` will not contain of this server's locks.
    pub fn outside(&self, client: &Address, asked_at: Instant) -> Octas {
        let snapshot = Some(Snapshot { available: Octas::ZERO, asked_at });
        let locks = self.accounts.get(client).map(|account| account.locks.values());
        let sum: u128 = locks.into_iter().flatten().map(|lock| lock.outside(snapshot)).sum();
        Octas(u64::try_from(sum).unwrap_or(u64::MAX))
    }

    /// Whether so much of the payer's balance is free.
    pub fn has_free(&self, client: &Address, amount: Octas) -> bool {
        let available = self.accounts.get(client).and_then(Account::available);
        available.is_some_and(|available| available >= amount)
    }

    /// Whether the balance is younger than `age`.
    pub fn is_fresh(&self, client: &Address, age: Duration, now: Instant) -> bool {
        let snapshot = self.accounts.get(client).and_then(|account| account.snapshot);
        snapshot.is_some_and(|s| now.saturating_duration_since(s.asked_at) <= age)
    }

    /// Spends no more of a balance than what is locked and the chain did not show at `now`. The next
    /// reservation asks.
    pub fn give_balance(&mut self, client: &Address, now: Instant) -> Grant {
        let octas = self.outside(client, now);
        if let Some(account) = self.accounts.get_mut(client) {
            account.show(Snapshot { available: octas, asked_at: now });
        }
        Grant { octas, free: Octas::ZERO }
    }

    /// The same of an order; `None` when nothing is known of it.
    pub fn give_order(&mut self, client: &Address, order: &OrderId) -> Option<Grant> {
        let spending = self.accounts.get_mut(client)?.orders.get_mut(order)?;
        spending.allowed = Some(spending.used);
        Some(Grant { octas: spending.used, free: Octas::ZERO })
    }

    /// Payers of whom nothing was reserved since the last look and nothing is locked outside their
    /// balance: their free money may serve others.
    pub fn idle(&mut self) -> Vec<Address> {
        let mut idle = Vec::new();
        for (client, account) in &mut self.accounts {
            let is_free = account.available().is_some_and(|free| free > Octas::ZERO);
            if !account.touched && is_free && account.outside == 0 {
                idle.push(*client);
            }
            account.touched = false;
        }
        idle
    }

    /// A lock that another server made, taken over with the grant that it was made from.
    pub fn inherit(&mut self, client: Address, task_id: TaskId, (order, lock): (OrderId, Octas)) {
        let account = self.accounts.entry(client).or_default();
        if let Some(snapshot) = &mut account.snapshot {
            snapshot.available = Octas(snapshot.available.0.saturating_add(lock.0));
        }
        if let Some(spending) = account.orders.get_mut(&order) {
            spending.used = Octas(spending.used.0.saturating_add(lock.0));
            let allowed = spending.allowed.map(|allowed| allowed.0.saturating_add(lock.0));
            spending.allowed = allowed.map(Octas);
        }
        account.insert(task_id, Lock::new(order, lock));
    }

    /// A lock of an earlier process that is still live; [`Self::learn_order`] counts it already.
    pub fn recover(&mut self, client: Address, task_id: TaskId, (order, lock): (OrderId, Octas)) {
        let account = self.accounts.entry(client).or_default();
        account.insert(task_id, Lock::new(order, lock));
    }

    /// The chain answered a question that was sent at `asked_at`: `available` is what the payer
    /// has free and has not announced to withdraw.
    pub fn learn_balance(&mut self, client: Address, available: Octas, asked_at: Instant) {
        self.make_room();
        let account = self.accounts.entry(client).or_default();
        account.refreshing = false;
        // Somebody asked in order to spend.
        account.touched = true;
        if account.snapshot.is_none_or(|s| s.asked_at <= asked_at) {
            account.show(Snapshot { available, asked_at });
        }
    }

    /// Forgets a balance that was asked for before `oldest`: the payer may have announced a
    /// withdrawal since then and taken its money.
    pub fn expire(&mut self, client: &Address, oldest: Instant) {
        if let Some(account) = self.accounts.get_mut(client) {
            account.snapshot = account.snapshot.filter(|s| s.asked_at >= oldest);
        }
    }

    /// Whether the balance is older than `age` and nobody asks yet; the caller then asks.
    pub fn start_refresh(&mut self, client: Address, age: Duration, now: Instant) -> bool {
        let Some(account) = self.accounts.get_mut(&client) else {
            return false;
        };
        let is_old = |s: Snapshot| now.saturating_duration_since(s.asked_at) > age;
        let start = !account.refreshing && account.snapshot.is_none_or(is_old);
        account.refreshing |= start;
        start
    }

    /// The question was not answered.
    pub fn end_refresh(&mut self, client: Address) {
        if let Some(account) = self.accounts.get_mut(&client) {
            account.refreshing = false;
        }
    }

    /// The chain holds the task's lock.
    pub fn landed(&mut self, client: Address, task_id: &TaskId, now: Instant) {
        if let Some(account) = self.accounts.get_mut(&client)
            && let Some(mut lock) = account.remove(task_id)
        {
            lock.landed_at.get_or_insert(now);
            account.insert(*task_id, lock);
        }
    }

    /// The task is over on the chain: `refund` of its lock is the payer's again. What was paid
    /// stays subtracted until the next snapshot shows it.
    pub fn finish(&mut self, client: Address, task_id: &TaskId, (refund, now): (Octas, Instant)) {
        let Some(account) = self.accounts.get_mut(&client) else {
            return;
        };
        let Some(mut lock) = account.remove(task_id) else {
            return;
        };
        if let Some(spending) = account.orders.get_mut(&lock.order) {
            spending.used = spending.used.saturating_sub(refund);
        }
        lock.landed_at.get_or_insert(now);
        lock.finished = true;
        lock.amount = lock.amount.saturating_sub(refund);
        let is_shown = account.snapshot.is_some_and(|snapshot| lock.is_inside(snapshot));
        if lock.amount > Octas::ZERO && !is_shown {
            account.insert(*task_id, lock);
        }
    }

    /// The sum that is kept and the sum over the locks, which are the same.
    #[cfg(test)]
    fn sums(&self, client: &Address) -> (u128, u128) {
        let account = &self.accounts[client];
        let sum = account.locks.values().map(|lock| lock.outside(account.snapshot)).sum();
        (account.outside, sum)
    }

    fn make_room(&mut self) {
        if self.accounts.len() >= MAX_ACCOUNTS {
            // Bars stay: each cost its payer a deposit.
            let is_needed =
                |a: &Account| !a.locks.is_empty() || a.refreshing || a.barred_until.is_some();
            self.accounts.retain(|_, account| is_needed(account));
        }
    }
}

#[cfg(test)]
mod tests;
