//! A double of the chain: balances, operators, and a carrier that executes the intents it finds
//! in the outbox, by the contract's rules for money (without fees' rounding subtleties).

use super::apt;
use cactus_ledger::{
    Abort, Call, ChainEvent, ClientBalance, IntentId, Outcome, Settled, TaskInfo, TaskStage,
};
use cactus_protocol::{Address, Fault, Octas, PublicKey, SecretKey, TaskId};
use cactus_routing_server::chain::{
    Answer, Carrier, Chain, ChainAway, Operator, OperatorNode, Parameters,
};
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use serde_json::json;
use sqlx::{AnyPool, Row};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

/// What happened to a task's money.
#[derive(Debug, Clone, PartialEq)]
pub enum Closed {
    Paid { prompt: u32, output: u32 },
    Failed(Fault),
    Expired,
}

#[derive(Default)]
struct State {
    balances: HashMap<Address, ClientBalance>,
    operators: HashMap<Address, Operator>,
    tasks: HashMap<TaskId, (TaskInfo, Octas, Octas)>,
    closed: Vec<(TaskId, Closed)>,
}

pub struct TestChain {
    state: Mutex<State>,
    parameters: Parameters,
    /// Whether carriers made from now on carry anything.
    pub carries: AtomicBool,
    /// Whether questions are answered.
    pub answers: AtomicBool,
    /// Whether servers may create tasks.
    pub authorizes: AtomicBool,
    /// Whether carriers work now.
    pub executes: AtomicBool,
    /// Whether the contract refuses to end tasks.
    pub refuses_ends: AtomicBool,
    /// Calls that it refused.
    pub refused: AtomicUsize,
    /// One carrier at a time, as one process leads in production.
    carrying: tokio::sync::Mutex<()>,
}

impl TestChain {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            parameters: Parameters {
                min_stake: apt(1),
                max_task_seconds: 3600,
                withdrawal_delay_seconds: 300,
                server_fee_bps: 500,
                treasury_fee_bps: 100,
            },
            carries: AtomicBool::new(true),
            answers: AtomicBool::new(true),
            authorizes: AtomicBool::new(true),
            executes: AtomicBool::new(true),
            refuses_ends: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
            carrying: tokio::sync::Mutex::default(),
        })
    }

    pub fn deposit(&self, client: Address, amount: Octas) {
        let mut state = self.state.lock().unwrap();
        let balance = state.balances.entry(client).or_insert(ClientBalance::EMPTY);
        balance.available.0 += amount.0;
    }

    pub fn withdraw_all(&self, client: Address) {
        let mut state = self.state.lock().unwrap();
        state.balances.get_mut(&client).unwrap().available = Octas(0);
    }

    /// The client announces that it takes `amount` back; it could still be locked.
    pub fn announce(&self, client: Address, amount: Octas) {
        let mut state = self.state.lock().unwrap();
        state.balances.get_mut(&client).unwrap().requested = amount;
    }

    pub fn balance_of(&self, client: Address) -> ClientBalance {
        self.state.lock().unwrap().balances[&client]
    }

    pub fn register(&self, operator: Address, node: PublicKey, stake: Octas) {
        let node = OperatorNode { key: node, validated: true };
        let record = Operator { online: true, whitelisted: true, nodes: vec![node], stake };
        let mut state = self.state.lock().unwrap();
        state.operators.insert(operator, record);
    }

    /// How tasks ended, in order.
    pub fn closed(&self) -> Vec<(TaskId, Closed)> {
        self.state.lock().unwrap().closed.clone()
    }

    fn answer<T: Send + 'static>(&self, value: T) -> Answer<'_, T> {
        let result =
            if self.answers.load(SeqCst) { Ok(value) } else { Err(ChainAway("unplugged".into())) };
        ready(result).boxed()
    }
}

impl State {
    fn execute(&mut self, call: Call) -> Result<Vec<ChainEvent>, String> {
        match call {
            Call::CreateTask {
                client,
                task_id,
                orchestrator,
                lock,
                prompt_price,
                output_price,
                deadline_seconds,
                ..
            } => {
                let balance = self.balances.get_mut(&client).ok_or("no account")?;
                if balance.available < lock || self.tasks.contains_key(&task_id) {
                    return Err("insufficient, or used".into());
                }
                balance.available.0 -= lock.0;
                balance.locked.0 += lock.0;
                let info = TaskInfo {
                    stage: TaskStage::Assigned,
                    orchestrator,
                    lock,
                    deadline_seconds,
                    ..TaskInfo::UNKNOWN
                };
                self.tasks.insert(task_id, (info, prompt_price, output_price));
                Ok(vec![])
            }
            Call::CompleteTask { client, task_id, prompt_tokens, output_tokens, .. } => {
                let (info, prompt, output) =
                    self.tasks.get(&task_id).copied().ok_or("no such task")?;
                let tokens = (u64::from(prompt_tokens), u64::from(output_tokens));
                let charge = (tokens.0 * prompt.0 + tokens.1 * output.0) / 1000;
                let paid = Closed::Paid { prompt: prompt_tokens, output: output_tokens };
                self.close(client, task_id, (Octas(charge.min(info.lock.0)), paid))
            }
            Call::FailTask { client, task_id, fault } => {
                self.close(client, task_id, (Octas(0), Closed::Failed(fault)))
            }
            Call::RefundExpired { client, task_id } => {
                let (info, ..) = self.tasks.get(&task_id).ok_or("no such task")?;
                if super::client::now_ms() / 1000 <= info.deadline_seconds {
                    return Err("not expired".into());
                }
                self.close(client, task_id, (Octas(0), Closed::Expired))
            }
            other => Err(format!("unexpected {other:?}")),
        }
    }

    fn close(
        &mut self,
        client: Address,
        task_id: TaskId,
        (charge, how): (Octas, Closed),
    ) -> Result<Vec<ChainEvent>, String> {
        let (info, ..) = self.tasks.get_mut(&task_id).ok_or("no such task")?;
        if info.stage != TaskStage::Assigned {
            return Err("final already".into());
        }
        let refund = Octas(info.lock.0 - charge.0);
        let fee = charge.0 / 10;
        let is_paid = matches!(how, Closed::Paid { .. });
        info.stage = if is_paid { TaskStage::Settled } else { TaskStage::Refunded };
        (info.refunded, info.fee_paid) = (refund, Octas(fee));
        info.orchestrator_paid = Octas(charge.0 - fee);
        let balance = self.balances.get_mut(&client).unwrap();
        balance.locked.0 -= info.lock.0;
        balance.available.0 += refund.0;
        let event = ChainEvent {
            module: "settlement".into(),
            name: "TaskSettled".into(),
            data: json!({
                "client": client, "task_id": task_id.to_string(), "server": info.server,
                "orchestrator": info.orchestrator,
                "orchestrator_octas": (charge.0 - fee).to_string(),
                "server_fee_octas": fee.to_string(), "treasury_fee_octas": "0",
                "refund_octas": refund.0.to_string(),
            }),
        };
        self.closed.push((task_id, how));
        Ok(if is_paid { vec![event] } else { vec![] })
    }
}

impl Chain for TestChain {
    fn chain_id(&self) -> u8 {
        super::SCOPE.chain_id
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn balance(&self, client: Address) -> Answer<'_, ClientBalance> {
        let balance = self.state.lock().unwrap().balances.get(&client).copied();
        self.answer(balance.unwrap_or(ClientBalance::EMPTY))
    }

    fn operator(&self, operator: Address) -> Answer<'_, Option<Operator>> {
        let found = self.state.lock().unwrap().operators.get(&operator).cloned();
        self.answer(found)
    }

    fn is_authorized(&self, _: Address) -> Answer<'_, bool> {
        self.answer(self.authorizes.load(SeqCst))
    }

    fn task(&self, _: Address, task_id: TaskId) -> Answer<'_, TaskInfo> {
        let found = self.state.lock().unwrap().tasks.get(&task_id).map(|(info, ..)| *info);
        self.answer(found.unwrap_or(TaskInfo::UNKNOWN))
    }

    fn carry(self: Arc<Self>, pool: AnyPool, _: SecretKey) -> Arc<dyn Carrier> {
        Arc::new(TestCarrier {
            carries: self.carries.load(SeqCst),
            chain: self,
            pool,
            bell: Notify::new(),
            settled: broadcast::channel(1 << 14).0,
        })
    }
}

struct TestCarrier {
    chain: Arc<TestChain>,
    carries: bool,
    pool: AnyPool,
    bell: Notify,
    settled: broadcast::Sender<Settled>,
}

impl TestCarrier {
    async fn carry_pending(&self) -> Result<(), sqlx::Error> {
        let _turn = self.chain.carrying.lock().await;
        let query = "SELECT id, call FROM outbox WHERE state = 'pending' ORDER BY position";
        let rows = sqlx::query(query).fetch_all(&self.pool).await?;
        let mut transaction = cactus_database::begin(&self.pool).await?;
        let mut settled = Vec::with_capacity(rows.len());
        for row in rows {
            let id: String = row.try_get("id")?;
            let call: Call = aptos_bcs::from_bytes(row.try_get::<&[u8], _>("call")?).unwrap();
            let is_end = matches!(call, Call::CompleteTask { .. } | Call::FailTask { .. });
            let result = if is_end && self.chain.refuses_ends.load(SeqCst) {
                Err("refused".to_owned())
            } else {
                self.chain.state.lock().unwrap().execute(call)
            };
            let outcome = match result {
                Ok(events) => Outcome::Confirmed {
                    hash: format!("0xhash-of-{id}"),
                    version: 1,
                    gas_octas: Octas(1),
                    events,
                },
                Err(message) => {
                    self.chain.refused.fetch_add(1, SeqCst);
                    let abort = message.starts_with("insufficient").then(|| Abort {
                        module: "0xca::client_account".into(),
                        name: Some("EINSUFFICIENT_BALANCE".into()),
                        code: 0x10002,
                    });
                    Outcome::Failed { abort, message }
                }
            };
            let state = match outcome {
                Outcome::Confirmed { .. } => "confirmed",
                Outcome::Failed { .. } => "failed",
            };
            sqlx::query("UPDATE outbox SET state = $1, outcome = $2 WHERE id = $3")
                .bind(state)
                .bind(serde_json::to_string(&outcome).unwrap())
                .bind(&id)
                .execute(&mut *transaction)
                .await?;
            settled.push(Settled { id: IntentId::new(id), outcome });
        }
        transaction.commit().await?;
        for settled in settled {
            let _ = self.settled.send(settled);
        }
        Ok(())
    }
}

impl Carrier for TestCarrier {
    fn run(&self, shutdown: CancellationToken) -> BoxFuture<'_, ()> {
        async move {
            let mut period = tokio::time::interval(Duration::from_millis(20));
            while !shutdown.is_cancelled() {
                tokio::select! {
                    () = self.bell.notified() => {}
                    _ = period.tick() => {}
                    () = shutdown.cancelled() => return,
                }
                if self.carries && self.chain.executes.load(SeqCst) {
                    self.carry_pending().await.unwrap();
                }
            }
        }
        .boxed()
    }

    fn wake(&self) {
        self.bell.notify_one();
    }

    fn subscribe(&self) -> broadcast::Receiver<Settled> {
        self.settled.subscribe()
    }
}
