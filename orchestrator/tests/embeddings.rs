//! Embedding tasks on a link: what is delivered, what is signed, what is refused.

mod support;

use cactus_protocol::{
    Hash, NodeFrame, OutputHasher, Receipt, ServerFrame, TaskId, Verified, Work,
    frame::{Failure, ModelKind, Task},
};
use std::time::Duration;
use support::{FakeRouter, Node, SCOPE, Setup, challenge, embed_task, task, vector};

/// The vectors, how many frames brought them, and the receipt.
async fn vectors(link: &mut support::FakeLink) -> (Vec<Vec<f32>>, usize, Verified<Receipt>) {
    let (mut vectors, mut frames, mut hasher) = (vec![], 0, OutputHasher::default());
    loop {
        match link.next_work().await {
            Some(NodeFrame::Embedded(frame)) => {
                assert!(frame.is_well_formed());
                assert_eq!(usize::try_from(frame.sequence), Ok(frames));
                hasher.update_values(&frame.values);
                vectors.extend(frame.vectors());
                frames += 1;
            }
            Some(NodeFrame::Done(done)) => {
                let node = done.receipt.body.node;
                let receipt = done.receipt.verify(SCOPE, &node).expect("a good signature");
                assert_eq!(receipt.output_hash, hasher.finish());
                return (vectors, frames, receipt);
            }
            other => panic!("expected vectors, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn every_text_gets_its_vector_and_the_receipt_bills_the_tokens_embedded() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    let task = embed_task(1, &["one", "two", "three"]);
    let hash = task.work.hash();
    link.send_task(task).await;
    let (vectors, frames, receipt) = vectors(&mut link).await;
    assert_eq!(vectors, [vector(0, "one"), vector(1, "two"), vector(2, "three")]);
    assert_eq!(frames, 1);
    assert_eq!((receipt.prompt_tokens, receipt.output_tokens), (3, 0));
    assert_eq!((receipt.request_hash, receipt.model_revision), (hash, Hash([8; 32])));
    assert_eq!(node.worker.totals().answered(), 1);
}

#[tokio::test]
async fn the_offer_tells_the_kind_and_the_dimensions() {
    let router = FakeRouter::bind().await;
    let _node = Node::start(Setup::default(), &[&router]);
    let mut link = router.accept().await;
    link.send(ServerFrame::Challenge(challenge())).await;
    let hello = link.verified_hello().await;
    let kinds: Vec<_> = hello.advert.models.iter().map(|offer| offer.kind).collect();
    assert_eq!(kinds, [ModelKind::Chat, ModelKind::Embedding { dimensions: 2 }]);
}

#[tokio::test]
async fn vectors_wait_for_credit() {
    let router = FakeRouter::bind().await;
    let _node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    let task_id = TaskId([1; 32]);
    link.send_task(Task { credits: 0, ..embed_task(1, &["one"]) }).await;
    // Another task passes; vectors before it would fail the reading of its answer.
    link.send_task(task(2, "say 3")).await;
    link.answer(TaskId([2; 32])).await;
    link.send(ServerFrame::Credit { task_id, deltas: 1 }).await;
    assert_eq!(vectors(&mut link).await.0, [vector(0, "one")]);
}

#[tokio::test]
async fn what_is_no_answer_gets_no_receipt() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    let cases = [
        (embed_task(1, &["fail"]), Failure::Internal),
        (embed_task(2, &["refuse"]), Failure::BadRequest),
        (embed_task(3, &["short", "x"]), Failure::Internal),
        (embed_task(4, &["nan"]), Failure::Internal),
        (embed_task(5, &[]), Failure::BadRequest),
        (embed_task(6, &[""]), Failure::BadRequest),
        (Task { deadline_ms: 30, ..embed_task(7, &["wait"]) }, Failure::Cancelled),
        (Task { work: task(8, "say 1").work, ..embed_task(8, &[]) }, Failure::Unsupported),
    ];
    for (mut task, reason) in cases {
        if let Work::Chat(request) = &mut task.work {
            request.model = "vectors".into();
        }
        link.send_task(task).await;
        let failed = link.next_failure().await;
        assert_eq!(failed.reason, reason, "{}", failed.message);
        assert!(!failed.message.contains("secret"));
    }
    assert_eq!(node.worker.totals().answered(), 0);
}

#[tokio::test]
async fn the_node_says_how_many_embeddings_it_is_busy_with() {
    let router = FakeRouter::bind().await;
    let _node = Node::start(Setup { slots: 3, ..Setup::default() }, &[&router]);
    let mut link = router.open().await;
    for number in [1, 2] {
        link.send_task(embed_task(number, &["wait"])).await;
    }
    heartbeat_with(&mut link, 2, 1).await;
    for number in [1, 2] {
        link.send(ServerFrame::Cancel { task_id: TaskId([number; 32]) }).await;
    }
    heartbeat_with(&mut link, 0, 3).await;
}

/// Reads until the node says so.
async fn heartbeat_with(link: &mut support::FakeLink, active: u16, free_slots: u16) {
    let reading = async {
        loop {
            match link.next().await {
                Some(NodeFrame::Heartbeat(h))
                    if (h.active, h.free_slots) == (active, free_slots) =>
                {
                    return;
                }
                Some(_) => {}
                None => panic!("the link ended"),
            }
        }
    };
    tokio::time::timeout(support::PATIENCE, reading).await.expect("such a heartbeat");
}

#[tokio::test]
async fn a_cancelled_embedding_ends_at_once_and_bills_nothing() {
    let router = FakeRouter::bind().await;
    let _node = Node::start(Setup { slots: 1, queue: 0, ..Setup::default() }, &[&router]);
    let mut link = router.open().await;
    link.send_task(embed_task(1, &["wait"])).await;
    link.send(ServerFrame::Cancel { task_id: TaskId([1; 32]) }).await;
    let failed = tokio::time::timeout(Duration::from_secs(10), link.next_failure()).await;
    assert_eq!(failed.unwrap().reason, Failure::Cancelled);
    // Its slot is free again.
    link.send_task(embed_task(2, &["one"])).await;
    vectors(&mut link).await;
}
