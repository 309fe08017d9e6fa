//! Whole networks, and what happens to money and answers when a part of one fails.
#![allow(clippy::unwrap_used)] // a failed step fails the test

mod support;

use cactus_cli::account::ChatEvent;
use cactus_devnet::OrchestratorPlan;
use cactus_ledger::TaskStage;
use cactus_protocol::Octas;
use futures::StreamExt;
use serde_json::json;
use std::{pin::pin, time::Duration};
use support::{DEPOSIT, MAX_COST, World, answer, at_rest, orchestrator, question};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_verified_and_paid_and_every_coin_is_accounted_for() {
    let world = World::start(OrchestratorPlan::variety(2)).await;
    let client = world.funded_client().await;
    let before = world.network.balances(client.key.address()).await.unwrap();
    assert!(before.conserved(), "{before:?}");

    let (text, task) = answer(&client, "What is 12 + 30?").await.unwrap();
    assert!(text.contains("42"), "{text}");
    let view = at_rest(&client, task).await;
    assert_eq!((view.state.as_str(), view.verdict.as_deref()), ("settled", Some("verified")));
    assert_eq!(view.candidates.len(), 2);

    let after = world.network.balances(client.key.address()).await.unwrap();
    assert!(after.conserved(), "{after:?}");
    let on_chain = world.network.ledger().task(client.key.address(), task).await.unwrap();
    let paid = view.payment.unwrap();
    assert_eq!(on_chain.stage, TaskStage::Settled);
    assert_eq!(on_chain.orchestrator_paid, paid.orchestrator_octas);
    assert!(paid.orchestrator_octas > Octas::ZERO);
    let deposit = world.network.ledger().client_balance(client.key.address()).await.unwrap();
    let cost = paid.orchestrator_octas.checked_add(paid.fee_octas).unwrap();
    assert_eq!(deposit.available.checked_add(cost), Some(DEPOSIT));
    assert_eq!(deposit.locked, Octas::ZERO);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_go_on_while_the_chain_is_away_and_are_paid_once_it_is_back() {
    let world = World::start(vec![orchestrator("agave", None)]).await;
    let client = world.funded_client().await;
    let (_, first) = answer(&client, "What is 1 + 1?").await.unwrap();
    at_rest(&client, first).await;

    world.network.chain().set_online(false);
    let (text, second) = answer(&client, "What is 12 + 30?").await.unwrap();
    assert!(text.contains("42"), "{text}");
    let (_, third) = answer(&client, "What is 3 + 4?").await.unwrap();
    world.network.chain().set_online(true);

    for task in [second, third] {
        assert_eq!(at_rest(&client, task).await.state, "settled");
    }
    let operator = world.network.operators()[0].address;
    assert_eq!(world.network.ledger().reputation(operator).await.unwrap().served, 3);
    assert!(world.network.balances(client.key.address()).await.unwrap().conserved());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_dies_in_mid_answer_is_not_paid_and_the_client_is() {
    let mut world = World::start(vec![orchestrator("agave", Some(4.0))]).await;
    let client = world.funded_client().await;
    let request = question("Count from 1 to 20.", 64);
    let mut events = pin!(client.chat(request, MAX_COST).await.unwrap());
    assert!(matches!(events.next().await, Some(Ok(ChatEvent::Text(_)))));

    world.network.kill_orchestrator("agave");
    let mut end = None;
    while let Some(event) = events.next().await {
        end = Some(event);
    }
    let error = end.unwrap().err().expect("the stream ends with an error event");
    assert!(error.to_string().contains("broke off"), "{error:#}");

    let ledger = world.network.ledger();
    let address = client.key.address();
    let operator = world.network.operators()[0].address;
    let blamed = async {
        while ledger.reputation(operator).await.unwrap().failed_by_provider == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), blamed).await.unwrap();
    assert_eq!(ledger.reputation(operator).await.unwrap().served, 0);
    let deposit = ledger.client_balance(address).await.unwrap();
    assert_eq!((deposit.available, deposit.locked), (DEPOSIT, Octas::ZERO));
    assert!(world.network.balances(address).await.unwrap().conserved());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_is_an_error_that_says_what_to_do() {
    let world = World::start(vec![orchestrator("agave", None)]).await;
    let poor = world.poor_client().await;
    let refused = answer(&poor, "What is 1 + 1?").await.unwrap_err();
    assert!(format!("{refused:#}").contains("402"), "{refused:#}");

    let client = world.funded_client().await;
    let mut unknown = question("What is 1 + 1?", 8);
    unknown["model"] = json!("no-such-model");
    let cases = [
        (unknown, "model_not_found"),
        (question(&"word ".repeat(4_000), 8), "context_length_exceeded"),
    ];
    for (request, code) in cases {
        let error = client.chat(request, MAX_COST).await.err().expect(code);
        assert!(format!("{error:#}").contains(code), "{error:#}");
    }
    let (text, _) = answer(&client, "What is 12 + 30?").await.unwrap();
    assert!(text.contains("42"), "{text}");
    world.stop().await;
}
