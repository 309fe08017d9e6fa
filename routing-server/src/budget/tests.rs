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
fn a_payer_whose_balance_was_just_asked_for_is_not_idle() {
    let mut budget = funded(10, Instant::now());
    assert!(budget.idle().is_empty());
    assert_eq!(budget.idle(), [CLIENT]);
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
