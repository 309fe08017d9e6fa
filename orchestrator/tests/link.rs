//! A node's link against a routing server that may misbehave.

mod support;

use cactus_orchestrator::Timing;
use cactus_protocol::{
    Address, NodeFrame, SecretKey, ServerFrame, TaskId,
    frame::{Challenge, Failure, MAX_FRAME_BYTES, PROTOCOL_VERSION, Refusal, Refused, Welcome},
};
use std::time::Duration;
use support::{FakeRouter, Node, SERVER, Setup, challenge, nobody_can_pay, quick, task, welcome};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn a_hello_says_who_the_node_is_and_what_it_sells() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.accept().await;
    link.send(ServerFrame::Challenge(challenge())).await;
    let hello = link.verified_hello().await;
    assert_eq!(hello.nonce, challenge().nonce);
    assert_eq!(hello.server, SERVER);
    assert_eq!(hello.node, node.worker.node());
    assert_eq!(hello.operator, SecretKey::from_seed(&[1; 32]).address());
    assert_eq!(hello.advert.slots, 4);
    assert_eq!(hello.advert.models[0].id, "scripted");
    assert_eq!(hello.advert.models[0].price, support::PRICE);
    assert_eq!(hello.protocol_version, PROTOCOL_VERSION);
}

#[tokio::test]
async fn a_challenge_for_another_network_is_never_signed() {
    let router = FakeRouter::bind().await;
    let _node = Node::start(Setup::default(), &[&router]);
    let others = [
        Challenge { chain_id: 1, ..challenge() },
        Challenge { contract: Address([8; 32]), ..challenge() },
        Challenge { protocol_version: 99, ..challenge() },
    ];
    for other in others {
        let mut link = router.accept().await;
        link.send(ServerFrame::Challenge(other)).await;
        assert!(link.next().await.is_none(), "nothing is said, the link closes");
    }
    router.open().await;
}

#[tokio::test]
async fn a_server_that_cannot_pay_gets_no_hello() {
    let router = FakeRouter::bind().await;
    let setup = Setup { server_check: nobody_can_pay(), ..Setup::default() };
    let _node = Node::start(setup, &[&router]);
    for _ in 0..2 {
        let mut link = router.accept().await;
        link.send(ServerFrame::Challenge(challenge())).await;
        assert!(link.next().await.is_none());
    }
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_loses_the_link_and_gets_a_new_one() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let broken = [
        Message::binary(vec![0xff; 40]),
        Message::binary(vec![]),
        Message::text("hello"),
        Message::binary(vec![0; MAX_FRAME_BYTES + 1]),
        Message::binary(cactus_protocol::frame::encode(&ServerFrame::Welcome(welcome())).unwrap()),
    ];
    for message in broken {
        let mut link = router.open().await;
        link.send_raw(message).await;
        assert!(link.next_work().await.is_none(), "the link closes");
    }
    let mut link = router.open().await;
    link.send_task(task(1, "say 3")).await;
    link.answer(TaskId([1; 32])).await;
    assert_eq!(node.worker.totals().answered(), 1);
}

#[tokio::test]
async fn a_task_before_the_welcome_is_a_breach() {
    let router = FakeRouter::bind().await;
    let _node = Node::start(Setup::default(), &[&router]);
    let mut link = router.accept().await;
    link.send_task(task(1, "say 1")).await;
    assert!(link.next().await.is_none());
    let mut link = router.accept().await;
    link.send(ServerFrame::Challenge(challenge())).await;
    link.verified_hello().await;
    link.send_task(task(1, "say 1")).await;
    assert!(link.next().await.is_none());
}

#[tokio::test]
async fn terms_that_cannot_be_kept_and_refusals_end_the_link() {
    let router = FakeRouter::bind().await;
    let _node = Node::start(Setup::default(), &[&router]);
    let answers = [
        ServerFrame::Welcome(Welcome { heartbeat_seconds: 0, ..welcome() }),
        ServerFrame::Refused(Refused {
            reason: Refusal::StakeTooLow,
            message: "bond 10 APT".into(),
        }),
    ];
    for answer in answers {
        let mut link = router.accept().await;
        link.send(ServerFrame::Challenge(challenge())).await;
        link.verified_hello().await;
        link.send(answer).await;
        assert_eq!(link.goodbye().await, Some(1001));
    }
    router.open().await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left() {
    let router = FakeRouter::bind().await;
    let setup = Setup {
        timing: Timing { answer: Duration::from_millis(50), ..quick() },
        ..Setup::default()
    };
    let _node = Node::start(setup, &[&router]);
    let mut silent = router.accept().await;
    assert!(silent.next().await.is_none());
    router.accept().await;
}

#[tokio::test]
async fn a_server_that_falls_silent_loses_its_tasks_and_is_dialled_again() {
    let router = FakeRouter::bind().await;
    let setup = Setup {
        timing: Timing { idle: Duration::from_millis(300), ..quick() },
        ..Setup::default()
    };
    let node = Node::start(setup, &[&router]);
    let mut link = router.open().await;
    link.send_task(task(1, "wait 5")).await;
    // Nobody reads `link` from here on, so no ping is answered.
    let mut again = router.open().await;
    node.model.idle().await;
    again.send_task(task(2, "say 2")).await;
    again.answer(TaskId([2; 32])).await;
}

#[tokio::test]
async fn heartbeats_tell_the_load() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    link.send_task(task(1, "wait 1")).await;
    loop {
        let Some(NodeFrame::Heartbeat(heartbeat)) = link.next().await else {
            panic!("expected heartbeats");
        };
        if heartbeat.active == 1 {
            assert_eq!(heartbeat.free_slots, 3);
            break;
        }
    }
    node.model.releases.add_permits(1);
    link.answer(TaskId([1; 32])).await;
}

#[tokio::test]
async fn a_draining_node_finishes_its_tasks_takes_no_new_ones_and_leaves() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let mut link = router.open().await;
    link.send_task(task(1, "wait 2")).await;
    node.model.releases.add_permits(1);
    let first = link.next_delta().await;
    node.shutdown.cancel();
    loop {
        let Some(NodeFrame::Heartbeat(heartbeat)) = link.next().await else {
            panic!("expected a heartbeat");
        };
        if heartbeat.free_slots == 0 {
            break;
        }
    }
    link.send_task(task(2, "say 1")).await;
    let refused = link.next_failure().await;
    assert_eq!(refused.task_id, TaskId([2; 32]));
    assert_eq!(refused.reason, Failure::Overloaded);
    node.model.releases.add_permits(1);
    let answer = link.answer_after(TaskId([1; 32]), vec![first]).await;
    assert_eq!(answer.text, "é0 é1 ");
    assert_eq!(link.goodbye().await, Some(1001), "the node says goodbye");
    node.ended().await;
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline_and_hands_the_task_to_others() {
    let router = FakeRouter::bind().await;
    let setup = Setup {
        timing: Timing { drain: Duration::from_millis(50), ..quick() },
        ..Setup::default()
    };
    let node = Node::start(setup, &[&router]);
    let mut link = router.open().await;
    link.send_task(task(1, "wait 2")).await;
    node.model.releases.add_permits(1);
    link.next_delta().await;
    node.shutdown.cancel();
    let failed = link.next_failure().await;
    assert_eq!(failed.reason, Failure::Overloaded);
    assert!(failed.reason.can_move());
    assert!(link.next_work().await.is_none());
    node.model.idle().await;
    node.ended().await;
}

#[tokio::test]
async fn a_node_that_is_not_linked_stops_at_once() {
    let router = FakeRouter::bind().await;
    let node = Node::start(Setup::default(), &[&router]);
    let _waits_for_a_challenge = router.accept().await;
    node.shutdown.cancel();
    node.ended().await;
}
