//! Answers that survive their nodes: streams that go on elsewhere, first tokens that come from a
//! second node. The client sees each token once and pays for none twice.

use crate::support::{
    TestApp,
    chain::Closed,
    client::{Client, EventReader, text_of},
    limits,
    node::{Identity, Node, linked},
    spawn_app, spawn_app_with,
};
use cactus_protocol::{ChatRequest, Fault, ServerFrame, Work, frame::Failure, frame::Task};
use cactus_routing_server::Limits;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};

fn request(task: &Task) -> &ChatRequest {
    match &task.work {
        Work::Chat(request) => request,
        Work::Embed(_) => panic!("not a chat"),
    }
}

async fn able(app: &TestApp) -> Node {
    Node::link_as(app, Identity::able(app)).await
}

/// Whichever of two nodes is asked first, its task, and the other one.
async fn first_asked(mut a: Node, mut b: Node) -> (Node, Task, Node) {
    tokio::select! {
        task = a.task() => (a, task, b),
        task = b.task() => (b, task, a),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_node_dies_goes_on_at_another_with_each_token_once() {
    let app = spawn_app();
    let (a, b) = (able(&app).await, able(&app).await);
    linked(&app, 2).await;
    let client = Client::funded(&app);
    let fields = json!({"stream": true, "stream_options": {"include_usage": true}, "seed": 7});
    let (response, (failed, served, _good)) = tokio::join!(client.chat(fields), async {
        let (mut bad, task, mut good) = first_asked(a, b).await;
        bad.delta(&task, 0, "one ").await;
        bad.delta(&task, 1, "two ").await;
        drop(bad);
        let second = good.task().await;
        good.answer(&app, &second, &["three ", "four"]).await;
        (task, second, good)
    });
    let (asked, rest) = (request(&failed), request(&served));
    assert_eq!((&rest.resume, rest.max_tokens), (&vec![0, 1], asked.max_tokens - 2));
    assert_eq!((&rest.prompt, rest.sampling), (&asked.prompt, asked.sampling));
    let events = EventReader::new(response).rest().await;
    assert_eq!(text_of(&events), "one two three four");
    let usage = &events[events.len() - 2]["usage"];
    // The double bills five tokens of prompt, two of which the client got as output.
    assert_eq!(
        (usage["prompt_tokens"].as_u64(), usage["completion_tokens"].as_u64()),
        (Some(3), Some(4))
    );
    app.settled(&failed.task_id.to_string()).await;
    app.settled(&served.task_id.to_string()).await;
    let mut closed = app.chain.closed();
    closed.sort_by_key(|(id, _)| *id != failed.task_id);
    let unpaid = (failed.task_id, Closed::Failed(Fault::Provider));
    let paid = (served.task_id, Closed::Paid { prompt: 5, output: 2 });
    assert_eq!(closed, [unpaid, paid]);
}

/// The first node says two words and is lost; the second ends the answer with `more`.
async fn broken_after_two(more: &[&str], fields: Value) -> (TestApp, Value, [Task; 2]) {
    let app = spawn_app();
    let (a, b) = (able(&app).await, able(&app).await);
    linked(&app, 2).await;
    let client = Client::funded(&app);
    let serving = async {
        let (mut bad, failed, mut good) = first_asked(a, b).await;
        bad.delta(&failed, 0, "one ").await;
        bad.delta(&failed, 1, "two").await;
        drop(bad);
        let served = good.task().await;
        good.answer(&app, &served, more).await;
        // A node that leaves at once may take its last frames with it.
        ([failed, served], good)
    };
    let (response, (tasks, _good)) = tokio::join!(client.chat(fields), serving);
    let answer: Value = response.json().await.unwrap();
    app.settled(&tasks[1].task_id.to_string()).await;
    (app, answer, tasks)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_streamed_goes_on_too_and_is_paid_once() {
    let (app, answer, [_, served]) = broken_after_two(&[" three"], json!({})).await;
    assert_eq!(request(&served).resume, [0, 1]);
    assert_eq!(answer["choices"][0]["message"]["content"], "one two three");
    assert_eq!(answer["usage"]["completion_tokens"], 3);
    let paid = (served.task_id, Closed::Paid { prompt: 5, output: 1 });
    assert!(app.chain.closed().contains(&paid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_lost_between_its_last_token_and_the_end_costs_the_client_nothing() {
    let (app, answer, [_, served]) = broken_after_two(&[], json!({"max_tokens": 2})).await;
    assert_eq!((request(&served).resume.len(), request(&served).max_tokens), (2, 0));
    assert_eq!(answer["choices"][0]["message"]["content"], "one two");
    assert_eq!(answer["usage"]["completion_tokens"], 2);
    let paid = (served.task_id, Closed::Paid { prompt: 5, output: 0 });
    assert!(app.chain.closed().contains(&paid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_go_on_is_not_asked_to() {
    let app = spawn_app();
    let (a, b) = (Node::link(&app).await, Node::link(&app).await);
    linked(&app, 2).await;
    let client = Client::funded(&app);
    let (response, _other) = tokio::join!(client.chat(json!({"stream": true})), async {
        let (mut bad, task, other) = first_asked(a, b).await;
        bad.delta(&task, 0, "half").await;
        other
    });
    let events = EventReader::new(response).rest().await;
    assert_eq!(text_of(&events), "half");
    assert_eq!(events.last().unwrap()["error"]["code"], "node_lost");
}

const COUNTED: u32 = 20;

/// Counts on from where others stopped, and breaks off now and then.
async fn count_flakily(mut node: Node, server: cactus_protocol::Address, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    while let Some(frame) = node.recv_forever().await {
        let ServerFrame::Task(task) = frame else { continue };
        let start = u32::try_from(request(&task).resume.len()).unwrap();
        let breaks_at = rng.random_ratio(1, 3).then(|| rng.random_range(start..COUNTED));
        let mut words = Vec::new();
        for number in start..breaks_at.unwrap_or(COUNTED) {
            let word = format!("{number} ");
            node.delta(&task, number - start, &word).await;
            words.push(word);
        }
        if breaks_at.is_some() {
            node.fail(&task, Failure::Internal).await;
            continue;
        }
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let receipt = node.receipt(&task, &words);
        node.done(cactus_protocol::Receipt { server, ..receipt }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn among_nodes_that_break_off_at_random_every_stream_is_whole_and_paid_once() {
    let app = spawn_app_with(Limits { attempts: 20, ..limits() });
    for seed in 0..8 {
        let node = able(&app).await;
        tokio::spawn(count_flakily(node, app.server, seed));
    }
    linked(&app, 8).await;
    let client = Client::funded(&app);
    let expected: String = (0..COUNTED).map(|number| format!("{number} ")).collect();
    let stream = async || {
        let response = client.chat(json!({"stream": true})).await;
        let events = EventReader::new(response).rest().await;
        assert_eq!(text_of(&events), expected, "{:?}", events.last());
        let task = events[events.len() - 2]["cactus"]["task"].as_str().unwrap().to_owned();
        app.settled(&task).await;
    };
    for _ in 0..8 {
        tokio::join!(stream(), stream(), stream(), stream());
    }
    let paid = app.chain.closed().into_iter().filter(|(_, how)| matches!(how, Closed::Paid { .. }));
    assert_eq!(paid.count(), 32);
}

/// Enough answers to know what is usual, and to have earned a second attempt.
async fn warm_up(app: &TestApp, client: &Client, node: &mut Node) {
    for _ in 0..60 {
        let (response, ()) = tokio::join!(client.chat(json!({})), async {
            let task = node.task().await;
            node.answer(app, &task, &["x"]).await;
        });
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_first_token_comes_from_a_second_node_and_the_late_one_is_not_paid() {
    let app = spawn_app();
    let mut a = Node::link(&app).await;
    let client = Client::funded(&app);
    warm_up(&app, &client, &mut a).await;
    let b = Node::link(&app).await;
    linked(&app, 2).await;
    let (response, (late, served, _good)) =
        tokio::join!(client.chat(json!({"stream": true})), async {
            let (mut silent, task, mut good) = first_asked(a, b).await;
            let second = good.task().await;
            good.answer(&app, &second, &["quick"]).await;
            silent.cancelled(task.task_id).await;
            (task, second, good)
        });
    let header = response.headers()["x-cactus-task"].to_str().unwrap();
    assert_eq!(header, served.task_id.to_string());
    assert_eq!(text_of(&EventReader::new(response).rest().await), "quick");
    let settled = app.settled(&served.task_id.to_string()).await;
    assert_eq!(settled["state"], "settled");
    let refunded = app.settled(&late.task_id.to_string()).await;
    assert_eq!(refunded["payment"]["refund_octas"], refunded["lock_octas"]);
    assert!(app.chain.closed().contains(&(late.task_id, Closed::Failed(Fault::Nobody))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_pauses_far_longer_than_its_rhythm_goes_on_at_another_node() {
    let app = spawn_app();
    let mut a = able(&app).await;
    let client = Client::funded(&app);
    warm_up(&app, &client, &mut a).await;
    let b = able(&app).await;
    linked(&app, 2).await;
    let fields = json!({"stream": true});
    let (response, (paused, served, _good)) = tokio::join!(client.chat(fields), async {
        let (mut silent, task, mut good) = first_asked(a, b).await;
        for (sequence, word) in (0..).zip(["a ", "b ", "c "]) {
            silent.delta(&task, sequence, word).await;
        }
        let rest = good.task().await;
        good.answer(&app, &rest, &["d"]).await;
        silent.cancelled(task.task_id).await;
        (task, rest, good)
    });
    assert_eq!(request(&served).resume, [0, 1, 2]);
    assert_eq!(text_of(&EventReader::new(response).rest().await), "a b c d");
    for task in [&paused, &served] {
        app.settled(&task.task_id.to_string()).await;
    }
    let closed = app.chain.closed();
    assert!(closed.contains(&(paused.task_id, Closed::Failed(Fault::Nobody))), "{closed:?}");
    assert!(closed.contains(&(served.task_id, Closed::Paid { prompt: 5, output: 1 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_that_is_not_needed_is_told_to_stop_and_is_not_paid() {
    let app = spawn_app();
    let mut a = Node::link(&app).await;
    let client = Client::funded(&app);
    warm_up(&app, &client, &mut a).await;
    let b = Node::link(&app).await;
    linked(&app, 2).await;
    let (response, (served, unneeded)) = tokio::join!(client.chat(json!({})), async {
        let (mut late, task, mut second) = first_asked(a, b).await;
        let unneeded = second.task().await;
        late.answer(&app, &task, &["late"]).await;
        second.cancelled(unneeded.task_id).await;
        (task, unneeded)
    });
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body["choices"][0]["message"]["content"], "late");
    assert_eq!(body["cactus"]["task"], served.task_id.to_string());
    app.settled(&unneeded.task_id.to_string()).await;
    assert!(app.chain.closed().contains(&(unneeded.task_id, Closed::Failed(Fault::Nobody))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fails_again_and_again_is_left_alone() {
    let app = spawn_app_with(Limits { attempts: 1, ..limits() });
    let mut node = Node::link(&app).await;
    let client = Client::funded(&app);
    for _ in 0..3 {
        let (response, ()) = tokio::join!(client.chat(json!({})), async {
            let task = node.task().await;
            node.fail(&task, Failure::Internal).await;
        });
        assert_eq!(response.status(), 502);
    }
    assert_eq!(app.nodes().await[0]["status"], "paused");
    assert_eq!(client.chat(json!({})).await.status(), 429);
}
