//! Money that requests have reserved and the chain does not show yet. A payer's spending is
//! bounded here before the first token, without asking the chain; the contract bounds it again.
//! Pure but for its maps: it sends nothing and reads no clock.

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

/// A balance as the chain showed it.
#[derive(Debug, Clone, Copy)]
struct Snapshot {
    available: Octas,
    /// When the question was sent: what the chain confirmed before is inside.
    asked_at: Instant,
}

/// A lock that the snapshot may not contain.
#[derive(Debug, Clone, Copy)]
struct Lock {
    amount: Octas,
    order: OrderId,
    /// When the chain was seen to hold the lock.
    landed_at: Option<Instant>,
    /// The task is over; `amount` is what was paid.
    finished: bool,
}

impl Lock {
    fn new(order: OrderId, amount: Octas) -> Self {
        Self { amount, order, landed_at: None, finished: false }
    }

    fn is_inside(&self, snapshot: Snapshot) -> bool {
        self.landed_at.is_some_and(|at| at < snapshot.asked_at)
    }

    /// What the snapshot does not contain of it, in octas.
    fn outside(&self, snapshot: Option<Snapshot>) -> u128 {
        let is_inside = snapshot.is_some_and(|snapshot| self.is_inside(snapshot));
        if is_inside { 0 } else { u128::from(self.amount.0) }
    }
}

#[derive(Debug, Default)]
struct Account {
    snapshot: Option<Snapshot>,
    locks: HashMap<TaskId, Lock>,
    /// The sum of the locks that the snapshot does not contain, in octas; kept, because requests
    /// ask for it far more often than locks come and go. Means nothing without a snapshot.
    outside: u128,
    orders: HashMap<OrderId, Spending>,
    /// Whether anything was reserved since the last look for idle payers.
    touched: bool,
    /// Whether somebody asks the chain now.
    refreshing: bool,
    /// Until when nothing is reserved, after a lock that the payer made impossible.
    barred_until: Option<Instant>,
}

impl Account {
    /// What is free: the snapshot less every lock that it does not contain.
    fn available(&self) -> Option<Octas> {
        let snapshot = self.snapshot?;
        let outside = u64::try_from(self.outside).unwrap_or(u64::MAX);
        Some(snapshot.available.saturating_sub(Octas(outside)))
    }

    fn insert(&mut self, task_id: TaskId, lock: Lock) {
        self.remove(&task_id);
        self.outside = self.outside.saturating_add(lock.outside(self.snapshot));
        self.locks.insert(task_id, lock);
    }

    fn remove(&mut self, task_id: &TaskId) -> Option<Lock> {
        let lock = self.locks.remove(task_id)?;
        self.outside = self.outside.saturating_sub(lock.outside(self.snapshot));
        Some(lock)
    }

    /// A new snapshot contains what landed before it was asked for.
    fn show(&mut self, snapshot: Snapshot) {
        self.snapshot = Some(snapshot);
        self.locks.retain(|_, lock| !lock.finished || !lock.is_inside(snapshot));
        self.outside = self.locks.values().map(|lock| lock.outside(self.snapshot)).sum();
    }
}

/// What a server may spend of what several share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grant {
    /// With what it has spent and the pot still contains.
    pub octas: Octas,
    /// Not spent yet.
    pub free: Octas,
}

/// What an order has been used for.
#[derive(Debug, Clone, Copy)]
struct Spending {
    /// Live locks and settled amounts.
    used: Octas,
    /// This server's part of the order, where several share it; `None` stands for all of it.
    allowed: Option<Octas>,
}

impl Spending {
    fn remaining(&self, order: &Order) -> Octas {
        self.allowed.unwrap_or(order.max_total).saturating_sub(self.used)
    }
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIENT: Address = Address([1; 32]);

    fn order(max_total: u64) -> Order {
        Order {
            chain_id: 4,
            client: CLIENT,
            server: Address([2; 32]),
            order_id: OrderId([3; 32]),
            max_total: Octas(max_total),
            max_per_task: Octas(max_total),
            expires_seconds: u64::MAX,
        }
    }

    fn task(n: u8) -> TaskId {
        TaskId([n; 32])
    }

    fn funded(available: u64, now: Instant) -> Budget {
        let mut budget = Budget::default();
        budget.learn_balance(CLIENT, Octas(available), now);
        budget.learn_order(CLIENT, OrderId([3; 32]), Octas::ZERO);
        budget
    }

    #[test]
    fn nothing_is_reserved_before_balance_and_order_are_known() {
        let mut budget = Budget::default();
        let refusal = budget.reserve(&order(9), task(1), Octas(1));
        assert_eq!(refusal, Err(Refusal::BalanceUnknown));
        budget.learn_balance(CLIENT, Octas(5), Instant::now());
        let refusal = budget.reserve(&order(9), task(1), Octas(1));
        assert_eq!(refusal, Err(Refusal::OrderUnknown));
    }

    #[test]
    fn reservations_add_up_against_balance_and_order() {
        let mut budget = funded(100, Instant::now());
        assert_eq!(budget.reserve(&order(150), task(1), Octas(60)), Ok(()));
        let refusal = budget.reserve(&order(150), task(2), Octas(60));
        let available = Octas(40);
        assert_eq!(refusal, Err(Refusal::Insufficient { available }));
        let refusal = budget.reserve(&order(90), task(2), Octas(40));
        let remaining = Octas(30);
        assert_eq!(refusal, Err(Refusal::OrderSpent { remaining }));
    }

    #[test]
    fn a_lock_inside_the_snapshot_is_not_subtracted_twice() {
        let start = Instant::now();
        let mut budget = funded(100, start);
        budget.reserve(&order(1_000), task(1), Octas(60)).unwrap();
        budget.landed(CLIENT, &task(1), start + Duration::from_secs(1));
        budget.learn_balance(CLIENT, Octas(40), start + Duration::from_secs(2));
        assert_eq!(budget.reserve(&order(1_000), task(2), Octas(40)), Ok(()));
    }

    #[test]
    fn a_refund_restores_the_order_and_the_balance() {
        let start = Instant::now();
        let mut budget = funded(100, start);
        budget.reserve(&order(100), task(1), Octas(100)).unwrap();
        budget.finish(CLIENT, &task(1), (Octas(100), start));
        assert_eq!(budget.reserve(&order(100), task(2), Octas(100)), Ok(()));
    }

    #[test]
    fn what_was_paid_stays_subtracted_until_the_chain_shows_it() {
        let start = Instant::now();
        let mut budget = funded(100, start);
        budget.reserve(&order(1_000), task(1), Octas(60)).unwrap();
        budget.finish(CLIENT, &task(1), (Octas(50), start + Duration::from_secs(1)));
        let refusal = budget.reserve(&order(1_000), task(2), Octas(91));
        let available = Octas(90);
        assert_eq!(refusal, Err(Refusal::Insufficient { available }));
        budget.learn_balance(CLIENT, Octas(90), start + Duration::from_secs(2));
        assert_eq!(budget.reserve(&order(1_000), task(2), Octas(90)), Ok(()));
    }

    #[test]
    fn one_question_at_a_time_is_sent_for_an_old_balance() {
        let start = Instant::now();
        let mut budget = funded(1, start);
        let (age, later) = (Duration::from_secs(5), start + Duration::from_secs(6));
        assert!(!budget.start_refresh(CLIENT, age, start));
        assert!(budget.start_refresh(CLIENT, age, later));
        assert!(!budget.start_refresh(CLIENT, age, later));
        budget.learn_balance(CLIENT, Octas(1), later);
        assert!(!budget.start_refresh(CLIENT, age, later));
    }

    #[test]
    fn a_balance_that_may_have_left_since_is_not_spent() {
        let start = Instant::now();
        let mut budget = funded(100, start);
        budget.expire(&CLIENT, start);
        assert_eq!(budget.reserve(&order(9), task(1), Octas(1)), Ok(()));
        budget.expire(&CLIENT, start + Duration::from_secs(1));
        let refusal = budget.reserve(&order(9), task(2), Octas(1));
        assert_eq!(refusal, Err(Refusal::BalanceUnknown));
    }

    #[test]
    fn a_bar_ends_and_makes_the_balance_unknown() {
        let start = Instant::now();
        let mut budget = funded(100, start);
        assert!(budget.is_known(&CLIENT));
        let until = start + Duration::from_secs(60);
        budget.bar(CLIENT, until);
        assert!(budget.is_barred(&CLIENT, start) && !budget.is_barred(&CLIENT, until));
        assert!(!budget.is_known(&CLIENT) && !budget.is_known(&Address([9; 32])));
        let refusal = budget.reserve(&order(9), task(1), Octas(1));
        assert_eq!(refusal, Err(Refusal::BalanceUnknown));
    }

    proptest! {
        #[test]
        fn locks_never_exceed_the_balance_or_the_order(
            balance in 0u64..1_000,
            total in 0u64..1_000,
            steps in prop::collection::vec((0u8..12, 0u64..300, any::<bool>()), 0..60),
        ) {
            let now = Instant::now();
            let mut budget = funded(balance, now);
            let mut live: HashMap<u8, u64> = HashMap::new();
            for (id, amount, finish) in steps {
                if amount == 0 {
                    budget.landed(CLIENT, &task(id), now);
                }
                if finish {
                    if let Some(lock) = live.remove(&id) {
                        budget.finish(CLIENT, &task(id), (Octas(lock), now));
                    }
                } else if !live.contains_key(&id)
                    && budget.reserve(&order(total), task(id), Octas(amount)).is_ok()
                {
                    live.insert(id, amount);
                }
                let locked: u64 = live.values().sum();
                prop_assert!(locked <= balance && locked <= total);
                let used = budget.order_used(&CLIENT, &OrderId([3; 32])).unwrap();
                prop_assert_eq!(used.0, locked);
                let (kept, summed) = budget.sums(&CLIENT);
                prop_assert_eq!(kept, summed);
            }
        }

        #[test]
        fn the_kept_sum_is_the_sum_whatever_the_chain_shows_when(
            steps in prop::collection::vec((0u8..8, 0u8..4, 0u64..9, 0u64..50), 0..80),
        ) {
            let start = Instant::now();
            let mut budget = funded(1_000, start);
            for (what, id, at, amount) in steps {
                let (id, at) = (task(id), start + Duration::from_secs(at));
                match what {
                    // Err: not enough is left.
                    0 | 1 => drop(budget.reserve(&order(u64::MAX), id, Octas(amount)).ok()),
                    2 => budget.landed(CLIENT, &id, at),
                    3 => budget.finish(CLIENT, &id, (Octas(amount), at)),
                    4 => budget.learn_balance(CLIENT, Octas(1_000), at),
                    5 => budget.inherit(CLIENT, id, (OrderId([3; 32]), Octas(amount))),
                    6 => drop(budget.give_balance(&CLIENT, at)),
                    _ => budget.expire(&CLIENT, at),
                }
                if budget.accounts[&CLIENT].snapshot.is_some() {
                    let (kept, summed) = budget.sums(&CLIENT);
                    prop_assert_eq!(kept, summed);
                }
            }
        }
    }
}
