//! Tasks on a link: what is delivered, what is signed, what is refused.

mod support;

use cactus_protocol::{
    Address, ChatRequest, EmbedRequest, FinishReason, Hash, NodeFrame, Octas, Price, Prompt,
    ResponseFormat, SecretKey, ServerFrame, TaskId, Work,
    frame::{Delta, Failure, Task},
};
use std::sync::atomic::Ordering;
use support::{FakeRouter, Node, PRICE, SERVER, Setup, asking, task};

async fn check_failure(task: Task, reason: Failure) -> String {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    let task_id = task.task_id;
    link.send_task(task).await;
    let failed = link.next_failure().await;
    assert_eq!((failed.task_id, failed.reason), (task_id, reason));
    assert_eq!(node.worker.totals().answered(), 0);
    // The node lives on.
    link.send_task(support::task(200, "say 1")).await;
    link.answer(TaskId([200; 32])).await;
    failed.message
}

#[tokio::test]
async fn a_receipt_covers_exactly_what_was_asked_and_delivered() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    let task = task(1, "say 5");
    let request_hash = task.work.hash();
    link.send_task(task).await;
    let answer = link.answer(TaskId([1; 32])).await;
    assert_eq!(answer.text, "é0 é1 é2 é3 é4 ");
    let receipt = &answer.receipt;
    assert_eq!(receipt.output_hash, answer.output_hash);
    assert_eq!(receipt.request_hash, request_hash);
    assert_eq!((receipt.prompt_tokens, receipt.output_tokens), (7, 5));
    assert_eq!(receipt.server, SERVER);
    assert_eq!(receipt.operator, SecretKey::from_seed(&[1; 32]).address());
    assert_eq!(receipt.node, node.worker.node());
    assert_eq!(receipt.model, "scripted");
    assert_eq!(receipt.model_revision, Hash([9; 32]));
    assert_eq!(receipt.price, PRICE);
    assert_eq!(receipt.evidence_root, Hash::default());
    assert!(receipt.ttft_ms <= receipt.total_ms);
    assert_eq!(node.worker.totals().output_tokens(), 5);
}

#[tokio::test]
async fn log_probabilities_come_with_their_tokens_when_asked_for() {
    let router = FakeRouter::bind().await;
    let _node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    link.send_task(asking(1, "say 3", |request| request.logprobs = Some(1))).await;
    let mut read = vec![];
    while read.iter().map(|delta: &Delta| delta.token_ids.len()).sum::<usize>() < 3 {
        read.push(link.next_delta().await);
    }
    assert!(read.iter().all(|delta| delta.is_well_formed(Some(1))));
    let first = &read[0].logprobs[0];
    assert_eq!((first.logprob_micro, first.top[0].token_id), (-250_000, 0));
    link.answer_after(TaskId([1; 32]), read).await;
}

#[tokio::test]
async fn a_done_carries_the_reason() {
    let router = FakeRouter::bind().await;
    let _node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    link.send_task(task(1, "say 1")).await;
    link.next_delta().await;
    let Some(NodeFrame::Done(done)) = link.next_work().await else {
        panic!("expected the end");
    };
    assert_eq!(done.finish_reason, FinishReason::Stop);
}

#[tokio::test]
async fn no_more_deltas_are_sent_than_granted_and_others_are_not_held_up() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    let slow = TaskId([1; 32]);
    link.send_task(Task { credits: 2, ..task(1, "say 50") }).await;
    let mut read = vec![link.next_delta().await, link.next_delta().await];
    assert!(read.iter().all(|delta| delta.task_id == slow));
    // The slow client's engine is not held up either.
    node.model.idle().await;
    // Ten other answers pass; a third delta of the slow one would fail the reading of theirs.
    for number in 10..20 {
        link.send_task(task(number, "say 20")).await;
        link.answer(TaskId([number; 32])).await;
    }
    for deltas in [0, 1] {
        let task_id = slow;
        link.send(ServerFrame::Credit { task_id, deltas }).await;
    }
    read.push(link.next_delta().await);
    assert!(read[2].token_ids.len() > 1, "what waited was joined");
    let answer = link.answer_after(slow, read).await;
    assert_eq!(answer.receipt.output_tokens, 50);
    assert_eq!(answer.receipt.output_hash, answer.output_hash);
    assert!(answer.deltas <= 3);
}

#[tokio::test]
async fn endless_credit_does_not_overflow() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    let task_id = TaskId([1; 32]);
    link.send_task(Task { credits: u32::MAX, ..task(1, "wait 3") }).await;
    for _ in 0..5 {
        let deltas = u32::MAX;
        link.send(ServerFrame::Credit { task_id, deltas }).await;
    }
    node.model.releases.add_permits(3);
    assert_eq!(link.answer(task_id).await.receipt.output_tokens, 3);
}

#[tokio::test]
async fn a_cancelled_task_stops_within_one_step_and_bills_what_it_delivered() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    let task_id = TaskId([1; 32]);
    link.send_task(task(1, "wait 1000")).await;
    node.model.releases.add_permits(3);
    let mut read = vec![];
    for _ in 0..3 {
        read.push(link.next_delta().await);
    }
    link.send(ServerFrame::Cancel { task_id }).await;
    let answer = link.answer_after(task_id, read).await;
    assert_eq!((answer.receipt.prompt_tokens, answer.receipt.output_tokens), (7, 3));
    assert_eq!(answer.receipt.output_hash, answer.output_hash);
    node.model.releases.add_permits(1000);
    node.model.idle().await;
    let produced = node.model.produced.load(Ordering::SeqCst);
    assert!(produced <= 4, "{produced} tokens were made");
}

#[tokio::test]
async fn a_task_that_is_cancelled_before_its_first_delta_bills_nothing() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    let task_id = TaskId([1; 32]);
    link.send_task(task(1, "wait 1000")).await;
    link.send(ServerFrame::Cancel { task_id }).await;
    assert_eq!(link.next_failure().await.reason, Failure::Cancelled);
    assert_eq!(node.worker.totals().answered(), 0);
}

#[tokio::test]
async fn credits_and_cancels_of_unknown_tasks_do_nothing() {
    let router = FakeRouter::bind().await;
    let _node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    let task_id = TaskId([77; 32]);
    link.send(ServerFrame::Cancel { task_id }).await;
    link.send(ServerFrame::Credit { task_id, deltas: 5 }).await;
    link.send_task(task(1, "say 1")).await;
    link.answer(TaskId([1; 32])).await;
}

#[tokio::test]
async fn a_task_past_its_deadline_is_given_up() {
    let task = Task { deadline_ms: 30, ..task(1, "wait 5") };
    let message = check_failure(task, Failure::Cancelled).await;
    assert!(message.contains("deadline"), "{message}");
}

#[tokio::test]
async fn a_price_below_the_advert_is_refused_with_both_prices() {
    let cheap = Price { output: Octas(1999), ..PRICE };
    let task = Task { price: cheap, ..task(1, "say 1") };
    let message = check_failure(task, Failure::ModelNotLoaded).await;
    assert!(message.contains("1999") && message.contains("2000"), "{message}");
}

#[tokio::test]
async fn a_higher_price_is_taken_and_named_in_the_receipt() {
    let router = FakeRouter::bind().await;
    let _node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    let price = Price { prompt: Octas(5000), output: Octas(9000) };
    link.send_task(Task { price, ..task(1, "say 1") }).await;
    assert_eq!(link.answer(TaskId([1; 32])).await.receipt.price, price);
}

#[tokio::test]
async fn requests_that_cannot_be_served_fail_with_their_reason() {
    let other_model = asking(1, "say 1", |request| request.model = "other".into());
    check_failure(other_model, Failure::ModelNotLoaded).await;
    let nothing_asked = asking(1, "say 1", |r| r.prompt = Prompt::Messages(vec![]));
    check_failure(nothing_asked, Failure::BadRequest).await;
    let no_tokens = asking(1, "say 1", |request| request.max_tokens = 0);
    check_failure(no_tokens, Failure::BadRequest).await;
}

#[tokio::test]
async fn what_the_engine_does_not_do_is_refused_so_that_another_node_may() {
    let changes: [fn(&mut ChatRequest); 4] = [
        |r| r.prompt = Prompt::Text("say 1".into()),
        |r| r.response_format = ResponseFormat::JsonObject,
        |r| r.response_format = ResponseFormat::JsonSchema("{}".into()),
        |r| r.resume = vec![1],
    ];
    for change in changes {
        check_failure(asking(1, "say 1", change), Failure::Unsupported).await;
    }
    assert!(Failure::Unsupported.can_move());
    let inputs = vec!["text".into()];
    let embed = Work::Embed(EmbedRequest { model: "scripted".into(), inputs });
    check_failure(Task { work: embed, ..task(1, "") }, Failure::Unsupported).await;
}

#[tokio::test]
async fn a_model_whose_engine_is_away_is_named_in_heartbeats_and_takes_no_task() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    for (away, unavailable) in [(true, vec![0]), (false, vec![])] {
        node.model.away.store(away, Ordering::SeqCst);
        loop {
            let Some(NodeFrame::Heartbeat(heartbeat)) = link.next().await else {
                panic!("expected heartbeats");
            };
            if heartbeat.unavailable == unavailable {
                break;
            }
        }
        link.send_task(task(1, "say 1")).await;
        if away {
            assert_eq!(link.next_failure().await.reason, Failure::Overloaded);
        } else {
            link.answer(TaskId([1; 32])).await;
        }
    }
}

#[tokio::test]
async fn an_engine_that_fails_or_dies_is_a_fault_and_its_details_stay_here() {
    let message = check_failure(task(1, "fail"), Failure::Internal).await;
    assert!(!message.contains("secret"), "{message}");
    check_failure(task(1, "crash"), Failure::Internal).await;
    let message = check_failure(task(1, "refuse"), Failure::BadRequest).await;
    assert_eq!(message, "too long");
}

#[tokio::test]
async fn an_engine_that_counts_more_than_it_delivers_gets_no_receipt() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    link.send_task(task(1, "miscount 1")).await;
    link.next_delta().await;
    assert_eq!(link.next_failure().await.reason, Failure::Internal);
    assert_eq!(node.worker.totals().answered(), 0);
}

#[tokio::test]
async fn a_full_node_refuses_and_takes_again_when_there_is_room() {
    let router = FakeRouter::bind().await;
    let setup = Setup { slots: 1, queue: 1, ..Setup::default() };
    let node = Node::start(setup, &[&router]);
    let mut link = router.open().await;
    for number in 1..=2 {
        link.send_task(task(number, "wait 1")).await;
    }
    link.send_task(task(3, "say 1")).await;
    let failed = link.next_failure().await;
    assert_eq!(failed.task_id, TaskId([3; 32]));
    assert_eq!(failed.reason, Failure::Overloaded);
    let task_id = TaskId([1; 32]);
    link.send(ServerFrame::Cancel { task_id }).await;
    link.next_failure().await;
    link.send_task(task(4, "say 1")).await;
    link.answer(TaskId([4; 32])).await;
    drop(node);
}

#[tokio::test]
async fn no_task_gets_two_receipts() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    link.send_task(task(1, "say 1")).await;
    link.answer(TaskId([1; 32])).await;
    link.send_task(task(1, "say 2")).await;
    assert_eq!(link.next_failure().await.reason, Failure::Internal);
    assert_eq!(node.worker.totals().answered(), 1);

    link.send_task(task(2, "wait 1")).await;
    link.send_task(task(2, "wait 1")).await;
    assert!(link.next_work().await.is_none(), "a running id is a breach");
}

#[tokio::test]
async fn a_broken_link_stops_its_tasks() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    link.send_task(task(1, "wait 1000")).await;
    node.model.releases.add_permits(1);
    link.next_delta().await;
    drop(link);
    node.model.idle().await;
    // The same task may come again: no receipt was signed.
    let mut link = router.open().await;
    link.send_task(task(1, "say 1")).await;
    link.answer(TaskId([1; 32])).await;
}

#[tokio::test]
async fn several_routers_share_one_worker() {
    let (first, second) = (FakeRouter::bind().await, FakeRouter::bind().await);
    let setup = Setup { slots: 1, queue: 0, ..Setup::default() };
    let node = Node::start(setup, &[&first, &second]);
    let (mut one, mut two) = (first.open().await, second.open().await);
    one.send_task(task(1, "wait 1")).await;
    node.model.active.subscribe().wait_for(|n| *n == 1).await.unwrap();
    two.send_task(task(2, "say 1")).await;
    assert_eq!(two.next_failure().await.reason, Failure::Overloaded);
    node.model.releases.add_permits(1);
    one.answer(TaskId([1; 32])).await;
    two.send_task(task(2, "say 1")).await;
    two.answer(TaskId([2; 32])).await;
}

#[tokio::test]
async fn a_receipt_is_worth_nothing_on_another_network() {
    let router = FakeRouter::bind().await;
    let _node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    link.send_task(task(1, "say 1")).await;
    link.next_delta().await;
    let Some(NodeFrame::Done(done)) = link.next_work().await else {
        panic!("expected the end");
    };
    let node = done.receipt.body.node;
    let other = cactus_protocol::Scope { contract: Address([8; 32]), ..support::SCOPE };
    assert!(done.receipt.verify(other, &node).is_err());
}
