//! Payments that share a transaction.

use super::*;

/// How many payments went alone, and how many transactions carried several.
fn payments(bench: &Bench) -> (usize, usize) {
    let state = bench.chain.state();
    let count = |name| state.executed.iter().filter(|function| *function == name).count();
    (count("complete_task"), count("complete_tasks"))
}

#[tokio::test]
async fn payments_that_are_ready_together_share_a_transaction() {
    let bench = Bench::new(1).await;
    enqueue_workload(&bench, 120, 0).await;
    bench.drain().await;
    assert_exactly_once(&bench, 120, 0, "no faults").await;
    let (alone, together) = payments(&bench);
    assert!((1..=4).contains(&together) && alone <= 2, "{alone} alone, {together} together");
    let outcome = bench.outcome(&close(0).0).await;
    let Some(Outcome::Confirmed { events, gas_octas, .. }) = outcome else { panic!("paid") };
    assert_eq!(events[0].settlement().unwrap().task_id, task(0));
    assert!(gas_octas < Octas(500), "its share of the gas");
}

#[tokio::test]
async fn a_payment_that_cannot_be_made_spoils_no_other() {
    let bench = Bench::new(1).await;
    for number in [0, 2, 4] {
        bench.enqueue(&create(number).0, &create(number).1).await;
    }
    bench.drain().await;
    // Refunded by somebody else, and paid by a transaction that this database never knew.
    bench.chain.state().tasks.get_mut(&task(2)).unwrap().stage = TaskStage::Refunded;
    bench.chain.state().tasks.get_mut(&task(4)).unwrap().stage = TaskStage::Settled;
    for number in [0, 2, 4] {
        bench.enqueue(&close(number).0, &close(number).1).await;
    }
    bench.drain().await;
    assert_eq!(payments(&bench), (0, 1));
    for (number, confirmed) in [(0, true), (2, false), (4, true)] {
        let outcome = bench.outcome(&close(number).0).await.unwrap();
        assert_eq!(matches!(outcome, Outcome::Confirmed { .. }), confirmed, "{outcome:?}");
    }
    let Some(Outcome::Failed { message, .. }) = bench.outcome(&close(2).0).await else { panic!() };
    assert_eq!(message, "passed over: Final");
}

#[tokio::test]
async fn payments_that_fail_together_are_tried_alone() {
    let bench = Bench::new(1).await;
    bench.chain.state().spoils_batches = true;
    enqueue_workload(&bench, 10, 0).await;
    bench.drain().await;
    assert_exactly_once(&bench, 10, 0, "batches run out of gas").await;
    assert_eq!(payments(&bench), (5, 1));
    assert_eq!(bench.attempts(&close(0).0).await, 2);
}
