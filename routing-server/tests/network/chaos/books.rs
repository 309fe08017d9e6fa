//! What must hold when everything has come to rest: billed is delivered, whoever lost is unpaid, no
//! money is held back, lost or made.

use super::{
    Shared,
    clients::Seen,
    script::{Answer, Asked, PROMPT_TOKENS},
};
use crate::support::{
    apt,
    chain::Closed,
    client::Client,
    eventually,
    node::{Identity, Node},
};
use cactus_protocol::Octas;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Octas per 1,000 tokens at every node.
pub const PRICE: u64 = 1_000_000;

/// What was paid for one request.
#[derive(Debug, Clone, Copy, Default)]
struct Paid {
    tasks: u32,
    /// Tokens of the answer that the payment stands for: those that were gone on after, as the
    /// prompt that they were billed as, and those that were made.
    tokens: u32,
}

/// Until no task is open anywhere: the chain settles in its own time, but it must get on.
pub async fn at_rest(shared: &Shared) {
    let mut open = u64::MAX;
    while open > 0 {
        open = eventually(async || Some(still_open(shared).await).filter(|now| *now < open)).await;
    }
}

/// What is locked or under way at all nodes; something too while one of them is away.
async fn still_open(shared: &Shared) -> u64 {
    let nodes = shared.app.nodes().await;
    let of = |node: &Value, field: &str| node["measured"][field].as_u64().unwrap();
    let locked = nodes.iter().map(|node| of(node, "unsettled_octas") + of(node, "in_flight"));
    let away = shared.plan.nodes.abs_diff(u64::try_from(nodes.len()).unwrap());
    locked.sum::<u64>() + away
}

/// Checks every payment against what its node did and its client saw; octas paid in all.
pub fn check_payments(shared: &Shared, seen: &[(Asked, Seen)]) -> u64 {
    let works = shared.works.lock().unwrap();
    let mut paid: HashMap<u64, Paid> = HashMap::new();
    let mut octas = 0;
    for (task_id, closed) in shared.app.chain.closed() {
        let Closed::Paid { prompt, output } = closed else { continue };
        let effort = works[&task_id];
        assert_eq!(output, effort.sent, "billed is delivered");
        assert_eq!(prompt, PROMPT_TOKENS + effort.resumed);
        octas += u64::from(prompt + output) * PRICE / 1000;
        let paid = paid.entry(effort.seed).or_default();
        paid.tasks += 1;
        paid.tokens += output + effort.resumed;
    }
    for (asked, seen) in seen {
        let paid = paid.remove(&asked.seed).unwrap_or_default();
        assert!(paid.tasks <= 1, "{asked:?} was paid {} times", paid.tasks);
        match seen {
            Seen::Whole => assert_eq!(paid.tokens, Answer::of(asked.seed).length, "{asked:?}"),
            Seen::Left(read) => assert!(paid.tasks == 0 || paid.tokens >= *read, "{asked:?}"),
            Seen::Error(error) => assert_eq!(paid.tasks, 0, "{asked:?}: {error}"),
        }
    }
    assert!(paid.is_empty(), "paid for what nobody asked for: {paid:?}");
    octas
}

/// The client has what it paid in less than it had, and nothing is locked or reserved any more: a
/// request that may cost all that is left is taken, one that may cost an octa more is not.
pub async fn check_money(shared: &Shared, (deposit, spent): (Octas, u64)) {
    let balance = shared.app.chain.balance_of(shared.client.key.address());
    let left = deposit.0 - spent;
    assert_eq!((balance.locked, balance.available), (Octas(0), Octas(left)));
    assert_eq!(ask_for_all(shared, left + 1).await, 402);
    assert_eq!(ask_for_all(shared, left).await, 200);
}

/// The status of a request that locks so much.
async fn ask_for_all(shared: &Shared, octas: u64) -> u16 {
    // With the template's 32 and one token of output this is 1,000 tokens.
    const CONTENT: usize = 1000 - 32 - 1;
    let identity = Identity { price: Octas(octas), ..Identity::able(&shared.app) };
    let (operator, node) = (identity.operator.address(), identity.node.public());
    shared.app.chain.register(operator, node, apt(1 << 20));
    let mut dear = Node::link_as(&shared.app, identity).await;
    let request = json!({
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "x".repeat(CONTENT)}],
        "cactus": {"node": node},
    });
    let asking = shared.client.chat(request);
    tokio::pin!(asking);
    tokio::select! {
        response = &mut asking => response.status().as_u16(),
        task = dear.task() => {
            dear.answer(&shared.app, &task, &["all"]).await;
            asking.await.status().as_u16()
        }
    }
}

/// An API key of the client's.
pub async fn api_key(client: &Client) -> String {
    let response = client.signed(Method::POST, "/v1/keys", vec![]).send().await.unwrap();
    let body: Value = response.json().await.unwrap();
    body["api_key"].as_str().unwrap().to_owned()
}
