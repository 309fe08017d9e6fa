//! Several workers on one outbox: one leads, and who led before does no harm.

use super::*;
use crate::outbox::leader::Leader;
use rand::seq::IndexedMutRandom;

/// Ends the leader's lease, as its time would.
async fn end_lease(bench: &Bench) {
    let end = "UPDATE outbox_leader SET until_ms = 0";
    sqlx::query(end).execute(&bench.pool).await.unwrap();
}

impl Bench {
    async fn contender(&self) -> Worker<Scripted> {
        self.worker().await.0.led(Leader::new(self.pool.clone()))
    }
}

#[tokio::test]
async fn one_leads_and_a_leader_that_was_paused_stores_nothing_more() {
    let bench = Bench::new(1).await;
    let (mut old, mut other) = (bench.contender().await, bench.contender().await);
    assert_eq!(old.turn().await.unwrap(), Pass::Idle);
    assert_eq!(other.turn().await.unwrap(), Pass::Elsewhere);
    end_lease(&bench).await;
    let mut new = bench.contender().await;
    assert_eq!(new.turn().await.unwrap(), Pass::Idle);
    enqueue_workload(&bench, 0, 3).await;
    // It has not looked since.
    assert!(matches!(old.turn().await, Err(PassError::Database(_))));
    assert!(bench.chain.state().transfers.is_empty());
    assert_eq!(bench.attempts(&transfer(0).0).await, 0);
    for _ in 0..MOST_ROUNDS {
        if new.turn().await.unwrap() == Pass::Idle {
            break;
        }
        bench.chain.advance(1);
    }
    assert_exactly_once(&bench, 0, 3, "the new leader").await;
}

#[tokio::test]
async fn leaders_that_take_over_from_each_other_in_mid_pass_double_nothing() {
    for seed in 0..if Scratch::is_postgres() { 5 } else { 40 } {
        let mut random = StdRng::seed_from_u64(seed);
        let bench = Bench::new(seed).await;
        enqueue_workload(&bench, 6, 6).await;
        bench.chain.state().faults = Faults { request_lost: 10, answer_lost: 10, evicted: 5 };
        let mut old: Vec<Worker<Scripted>> = Vec::new();
        for _ in 0..8 {
            end_lease(&bench).await;
            let mut leader = bench.contender().await;
            for _ in 0..random.random_range(1..4) {
                leader.turn().await.ok();
                // Those before it wake up late and go on where they were.
                if let Some(paused) = old.choose_mut(&mut random) {
                    paused.turn().await.ok();
                }
                bench.chain.advance(random.random_range(0..12));
            }
            old.push(leader);
        }
        bench.drain().await;
        assert_exactly_once(&bench, 6, 6, &format!("seed {seed}")).await;
    }
}
