//! What the chain and the databases hold in the end, compared with what was decided. Counts from
//! the chain's own list of transactions, not from what the outbox believes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cactus_ledger::{Ledger, TaskStage, outbox, outbox::Outcome};
use cactus_protocol::{Address, Octas, SecretKey};
use serde_json::Value;

use super::lane::{DEPOSIT, Lane};
use super::plan::Plan;
use super::{child, world::World};

/// Transactions in one answer.
const PAGE: u64 = 100;

/// Of one lane, before anybody was killed.
pub struct Balances {
    server: Octas,
    operator: Octas,
    /// The server's next sequence number.
    sequence_number: u64,
}

impl Balances {
    pub async fn read(world: &World, lanes: &[Lane]) -> Vec<Self> {
        let ledger = world.ledger().await;
        let mut all = Vec::new();
        for lane in lanes {
            let server = lane.cast.server().address();
            all.push(Self {
                server: ledger.coin_balance(server).await.unwrap(),
                operator: ledger.coin_balance(lane.cast.operator().address()).await.unwrap(),
                sequence_number: u64::try_from(sent(world, server, 0).await.len()).unwrap(),
            });
        }
        all
    }
}

/// What happened in all lanes.
#[derive(Default)]
pub struct Summary {
    decisions: u32,
    intents: usize,
    transactions: usize,
    payments: usize,
    /// Transactions that carried them.
    paying: usize,
    /// What those burnt, in units of gas.
    gas: u64,
}

impl Summary {
    /// Whether some payments went together.
    pub fn shares_transactions(&self) -> bool {
        self.paying < self.payments
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { decisions, intents, transactions, payments, paying, gas } = self;
        write!(f, "{decisions} decisions, {intents} intents, {transactions} transactions; ")?;
        write!(f, "{payments} payments in {paying} of them, with {gas} units of gas")
    }
}

/// Asserts that nothing was lost and nothing happened twice.
pub async fn reach(world: &World, lanes: &[Lane], before: Vec<Balances>) -> Summary {
    let ledger = world.ledger().await;
    let mut summary = Summary::default();
    for (lane, before) in lanes.iter().zip(before) {
        let sent = sent(world, lane.cast.server().address(), before.sequence_number).await;
        let outcomes = outcomes(world, lane).await;
        check_outcomes(lane, &outcomes, &sent);
        check_effects(lane, &outcomes, &sent);
        check_balances(&ledger, lane, &outcomes, (&before, &sent)).await;
        summary.decisions += outcomes.decisions;
        summary.intents += outcomes.of_intents.len();
        summary.transactions += sent.len();
        for one in sent.iter().filter(|one| !paid(one).is_empty()) {
            summary.payments += paid(one).len();
            summary.paying += 1;
            summary.gas += one["gas_used"].as_str().unwrap().parse::<u64>().unwrap();
        }
    }
    summary
}

/// Every transaction of an account from a sequence number on, as the chain tells it.
async fn sent(world: &World, account: Address, first: u64) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let start = first + u64::try_from(all.len()).unwrap();
        let url =
            format!("{}/accounts/{account}/transactions?start={start}&limit={PAGE}", world.url());
        let page: Vec<Value> = reqwest::get(url).await.unwrap().json().await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

struct Outcomes {
    decisions: u32,
    /// Name, function, outcome.
    of_intents: Vec<(String, Outcome)>,
}

async fn outcomes(world: &World, lane: &Lane) -> Outcomes {
    let pool = child::open(&lane.database()).await;
    let plan = Plan {
        url: world.url(),
        contract: world.contract(),
        database: lane.database(),
        lane: lane.number,
        decisions: 0,
        dies_at: None,
        now_seconds: 0,
    };
    let decisions = child::decided(&pool).await;
    let mut of_intents = Vec::new();
    for number in 0..decisions {
        for (id, _) in lane.cast.decision(&plan, number) {
            let outcome = outbox::outcome(&pool, &id).await.unwrap();
            let outcome =
                outcome.unwrap_or_else(|| panic!("{id} of server {} is lost", lane.number));
            of_intents.push((id.to_string(), outcome));
        }
    }
    Outcomes { decisions, of_intents }
}

/// Each intent is confirmed by a transaction of its own, or by one of several payments, and there
/// are no others.
fn check_outcomes(lane: &Lane, outcomes: &Outcomes, sent: &[Value]) {
    let on_chain: BTreeMap<&str, &Value> =
        sent.iter().map(|one| (one["hash"].as_str().unwrap(), one)).collect();
    let mut used = BTreeSet::new();
    for (id, outcome) in &outcomes.of_intents {
        let Outcome::Confirmed { hash, version, .. } = outcome else {
            panic!("{id} of server {}: {outcome:?}", lane.number);
        };
        let transaction = on_chain.get(hash.as_str());
        let transaction = transaction.unwrap_or_else(|| panic!("{id}: {hash} never happened"));
        assert_eq!(transaction["version"], version.to_string(), "{id}");
        let is_new = used.insert(hash.clone());
        assert!(
            is_new || paid(transaction).len() > 1,
            "{id} is confirmed by another's transaction"
        );
    }
    let extra: Vec<_> =
        sent.iter().filter(|one| !used.contains(one["hash"].as_str().unwrap())).collect();
    assert!(extra.is_empty(), "server {} also sent {extra:#?}", lane.number);
    let failed = sent.iter().find(|one| one["success"] != Value::Bool(true));
    assert!(failed.is_none(), "server {}: {failed:#?}", lane.number);
}

/// Tasks that a transaction pays for.
fn paid(transaction: &Value) -> Vec<String> {
    let payload = &transaction["payload"];
    let function = payload["function"].as_str().unwrap().rsplit("::").next().unwrap();
    let text = |task: &Value| task.as_str().unwrap().to_owned();
    match function {
        "complete_task" => vec![text(&payload["arguments"][1])],
        "complete_tasks" => payload["arguments"][1].as_array().unwrap().iter().map(text).collect(),
        _ => Vec::new(),
    }
}

/// The chain did what was decided, each once: by recipient and amount, by task and call.
fn check_effects(lane: &Lane, outcomes: &Outcomes, sent: &[Value]) {
    let effect = |one: &Value| {
        let (function, arguments) = (&one["payload"]["function"], &one["payload"]["arguments"]);
        let function = function.as_str().unwrap().rsplit("::").next().unwrap().to_owned();
        // The task's id among a call's arguments.
        let task = |at: usize| arguments[at].as_str().unwrap().to_owned();
        match function.as_str() {
            "transfer" => (function, task(0), task(1)),
            "create_task" => (function, task(7), String::new()),
            _ => (function, task(1), String::new()),
        }
    };
    let payment = |task: String| ("complete_task".to_owned(), task, String::new());
    let (paying, others): (Vec<_>, Vec<_>) = sent.iter().partition(|one| !paid(one).is_empty());
    let payments = paying.into_iter().flat_map(paid).map(payment);
    let mut happened: Vec<_> = payments.chain(others.into_iter().map(effect)).collect();
    let mut wanted = Vec::new();
    for number in 0..outcomes.decisions {
        if number.is_multiple_of(2) {
            let (recipient, amount) = lane.cast.payment(number);
            wanted.push(("transfer".to_owned(), recipient.to_string(), amount.0.to_string()));
            continue;
        }
        let task = lane.cast.task(number).to_string();
        let close = if number % 4 == 1 { "complete_task" } else { "fail_task" };
        for function in ["create_task", close] {
            wanted.push((function.to_owned(), task.clone(), String::new()));
        }
    }
    happened.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(happened, wanted, "server {}", lane.number);
}

/// The money is where the outcomes say, to the octa.
async fn check_balances(
    ledger: &Ledger,
    lane: &Lane,
    outcomes: &Outcomes,
    (before, sent): (&Balances, &[Value]),
) {
    let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
    let gas: u64 =
        sent.iter().map(|one| number(&one["gas_used"]) * number(&one["gas_unit_price"])).sum();
    let client = lane.cast.client().address();
    let (mut paid_out, mut operator, mut server_fees, mut charged) = (0, 0, 0, 0);
    for decision in 0..outcomes.decisions {
        if decision.is_multiple_of(2) {
            let (recipient, amount) = lane.cast.payment(decision);
            assert_eq!(ledger.coin_balance(recipient).await.unwrap(), amount, "pay:{decision}");
            paid_out += amount.0;
            continue;
        }
        let task = ledger.task(client, lane.cast.task(decision)).await.unwrap();
        let stage = if decision % 4 == 1 { TaskStage::Settled } else { TaskStage::Refunded };
        assert_eq!(task.stage, stage, "task {decision}");
        operator += task.orchestrator_paid.0;
        charged += task.orchestrator_paid.0 + task.fee_paid.0;
    }
    let confirmed = outcomes.of_intents.iter().filter_map(|(_, outcome)| match outcome {
        Outcome::Confirmed { events, .. } => Some(events),
        Outcome::Failed { .. } => None,
    });
    for settlement in confirmed.flatten().filter_map(cactus_ledger::ChainEvent::settlement) {
        server_fees += settlement.server_fee_octas.0;
    }
    let coins = async |key: SecretKey| ledger.coin_balance(key.address()).await.unwrap().0;
    let server = coins(lane.cast.server()).await;
    assert_eq!(server, before.server.0 - gas - paid_out + server_fees, "the server's coins");
    let worker = coins(lane.cast.operator()).await;
    assert_eq!(worker, before.operator.0 + operator, "the operator's coins");
    let escrow = ledger.client_balance(client).await.unwrap();
    assert_eq!((escrow.available.0, escrow.locked.0), (DEPOSIT.0 - charged, 0), "the escrow");
}
