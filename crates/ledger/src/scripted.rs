//! A chain for tests that obeys the rules of a real one and misbehaves on demand: it loses
//! requests, answers and waiting transactions, is away, and stops a worker at a chosen request.
//! It decides what happened; tests compare that with what the outbox says.

use crate::{
    chain::{Chain, ChainError, Execution, Head, Lookup, Refusal, RefusalKind},
    event::ChainEvent,
    view::{TaskInfo, TaskStage},
};
use aptos_sdk::transaction::{EntryFunction, SignedTransaction, TransactionPayload};
use cactus_protocol::{Address, Octas, TaskId};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::Notify;

pub(crate) const CHAIN_ID: u8 = 4;
pub(crate) const CONTRACT: Address = Address([0xca; 32]);
const START_SECONDS: u64 = 1_000_000;
const POOL_LIMIT: usize = 100;

/// How often each thing goes wrong, in percent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// A request gets lost; a transaction in it may still arrive later.
    pub(crate) request_lost: u32,
    /// A request arrives and its answer gets lost.
    pub(crate) answer_lost: u32,
    /// A node drops a waiting transaction.
    pub(crate) evicted: u32,
}

/// Where a worker stops for ever: at a request counted from 0, before or after it takes effect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crash {
    pub(crate) request: u64,
    pub(crate) after_effect: bool,
}

pub(crate) struct State {
    pub(crate) seconds: u64,
    pub(crate) next_sequence: u64,
    pub(crate) offline: bool,
    pub(crate) faults: Faults,
    pub(crate) crash: Option<Crash>,
    pub(crate) requests: u64,
    /// Creations of these tasks abort.
    pub(crate) unfunded: HashSet<TaskId>,
    pub(crate) tasks: HashMap<TaskId, TaskInfo>,
    /// Each transfer that happened: recipient and octas.
    pub(crate) transfers: Vec<(Address, u64)>,
    /// Every `complete_task` and `fail_task` that took effect.
    pub(crate) closed: Vec<TaskId>,
    /// Payments of several tasks in one transaction run out of gas.
    pub(crate) spoils_batches: bool,
    /// The functions that executed, aborted ones included.
    pub(crate) executed: Vec<String>,
    pub(crate) most_waiting: usize,
    /// Blocks are made as soon as a transaction arrives.
    pub(crate) instant: bool,
    /// Nodes take transactions and forget them.
    pub(crate) forgetful: bool,
    /// A chain at rest shows the time of its newest block.
    pub(crate) frozen_seconds: Option<u64>,
    pool: BTreeMap<u64, SignedTransaction>,
    limbo: Vec<SignedTransaction>,
    committed: HashMap<String, Execution>,
    random: StdRng,
}

#[derive(Clone)]
pub(crate) struct Scripted {
    state: Arc<Mutex<State>>,
    pub(crate) stopped: Arc<Notify>,
}

impl Scripted {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            seconds: START_SECONDS,
            next_sequence: 0,
            offline: false,
            faults: Faults::default(),
            crash: None,
            requests: 0,
            unfunded: HashSet::new(),
            tasks: HashMap::new(),
            transfers: Vec::new(),
            closed: Vec::new(),
            spoils_batches: false,
            executed: Vec::new(),
            most_waiting: 0,
            instant: false,
            forgetful: false,
            frozen_seconds: None,
            pool: BTreeMap::new(),
            limbo: Vec::new(),
            committed: HashMap::new(),
            random: StdRng::seed_from_u64(seed),
        };
        Self { state: Arc::new(Mutex::new(state)), stopped: Arc::new(Notify::new()) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the state")
    }

    /// Time passes, late requests arrive, and what can execute executes.
    pub(crate) fn advance(&self, seconds: u64) {
        let mut state = self.state();
        state.seconds += seconds;
        let late = std::mem::take(&mut state.limbo);
        for transaction in late {
            if state.chance(30) {
                state.receive(&transaction).ok();
            } else {
                state.limbo.push(transaction);
            }
        }
        state.make_blocks();
    }

    async fn request<T>(
        &self,
        sends: Option<&SignedTransaction>,
        effect: impl FnOnce(&mut State) -> Result<T, ChainError>,
    ) -> Result<T, ChainError> {
        let (answer, stops) = {
            let mut state = self.state();
            let number = state.requests;
            state.requests += 1;
            let crash = state.crash.filter(|crash| crash.request == number);
            let away = |why: &str| Err(ChainError::Unavailable(why.to_owned()));
            let lost_percent = state.faults.request_lost;
            let answer = if crash.is_some_and(|crash| !crash.after_effect) {
                state.limbo.extend(sends.cloned());
                away("stopped")
            } else if state.offline {
                away("connection refused")
            } else if state.chance(lost_percent) {
                state.limbo.extend(sends.cloned());
                away("request lost")
            } else {
                let answer = effect(&mut state);
                let lost_percent = state.faults.answer_lost;
                if state.chance(lost_percent) { away("answer lost") } else { answer }
            };
            (answer, crash.is_some())
        };
        if stops {
            self.stopped.notify_one();
            pending::<()>().await;
        }
        answer
    }
}

fn refused(kind: RefusalKind) -> ChainError {
    ChainError::Refused(Refusal { kind, message: format!("{kind:?}") })
}

impl State {
    fn chance(&mut self, percent: u32) -> bool {
        percent > 0 && self.random.random_range(0..100) < percent
    }

    /// A node forgets the transaction with this sequence number.
    pub(crate) fn evict(&mut self, sequence_number: u64) {
        assert!(self.pool.remove(&sequence_number).is_some(), "nothing to evict");
    }

    /// Another sender with the same key uses the next sequence number.
    pub(crate) fn take_number(&mut self) {
        self.pool.remove(&self.next_sequence);
        self.next_sequence += 1;
    }

    fn receive(&mut self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        let raw = &transaction.raw_txn;
        assert_eq!(raw.chain_id.id(), CHAIN_ID);
        assert!(transaction.verify_signature().is_ok(), "a transaction nobody signed");
        if raw.expiration_timestamp_secs <= self.seconds {
            return Err(refused(RefusalKind::Expired));
        }
        if raw.sequence_number < self.next_sequence {
            return Err(refused(RefusalKind::SequenceTaken));
        }
        if let Some(waiting) = self.pool.get(&raw.sequence_number) {
            let same = waiting == transaction;
            return if same { Ok(()) } else { Err(refused(RefusalKind::SequenceTaken)) };
        }
        if self.pool.len() >= POOL_LIMIT {
            return Err(ChainError::Unavailable("mempool is full".into()));
        }
        if self.forgetful {
            return Ok(());
        }
        self.pool.insert(raw.sequence_number, transaction.clone());
        self.most_waiting = self.most_waiting.max(self.pool.len());
        if self.instant {
            self.make_blocks();
        }
        Ok(())
    }

    fn make_blocks(&mut self) {
        let now = self.seconds;
        self.pool.retain(|_, waiting| waiting.raw_txn.expiration_timestamp_secs > now);
        let evicted = self.faults.evicted;
        let numbers: Vec<_> = self.pool.keys().copied().collect();
        for number in numbers {
            if self.chance(evicted) {
                self.pool.remove(&number);
            }
        }
        while let Some(transaction) = self.pool.remove(&self.next_sequence) {
            self.next_sequence += 1;
            let version = 10 + u64::try_from(self.committed.len()).unwrap();
            let TransactionPayload::EntryFunction(call) = &transaction.raw_txn.payload else {
                panic!("not an entry function");
            };
            let result = self.execute(call, &transaction);
            let (success, vm_status, events) = match result {
                Ok(events) => (true, "Executed successfully".to_owned(), events),
                Err(status) => (false, status, Vec::new()),
            };
            let execution = Execution { version, success, vm_status, gas: Octas(500), events };
            self.committed.insert(transaction.hash().unwrap().to_hex(), execution);
        }
    }

    fn execute(
        &mut self,
        call: &EntryFunction,
        transaction: &SignedTransaction,
    ) -> Result<Vec<ChainEvent>, String> {
        self.executed.push(call.function.clone());
        let address = |i: usize| Address(call.args[i].as_slice().try_into().unwrap());
        let task_id = |i: usize| TaskId(call.args[i][1..].try_into().unwrap());
        let number = |i: usize| u64::from_le_bytes(call.args[i].as_slice().try_into().unwrap());
        let server = Address(transaction.raw_txn.sender.to_bytes());
        match call.function.as_str() {
            "transfer" => {
                self.transfers.push((address(0), number(1)));
                Ok(Vec::new())
            }
            "create_task" => {
                let info = TaskInfo {
                    stage: TaskStage::Assigned,
                    server,
                    orchestrator: address(8),
                    lock: Octas(number(10)),
                    deadline_seconds: number(13),
                    ..TaskInfo::UNKNOWN
                };
                self.create(task_id(7), info).map(|()| Vec::new())
            }
            "complete_task" => self.close(task_id(1), TaskStage::Settled).map(|()| Vec::new()),
            "fail_task" => self.close(task_id(1), TaskStage::Refunded).map(|()| Vec::new()),
            "complete_tasks" if self.spoils_batches => Err("Out of gas".to_owned()),
            "complete_tasks" => {
                let clients: Vec<[u8; 32]> = aptos_bcs::from_bytes(&call.args[0]).unwrap();
                let tasks: Vec<Vec<u8>> = aptos_bcs::from_bytes(&call.args[1]).unwrap();
                let pay = |(client, task): (_, Vec<u8>)| {
                    self.pay(Address(client), TaskId(task.try_into().unwrap()))
                };
                Ok(clients.into_iter().zip(tasks).map(pay).collect())
            }
            other => panic!("the scripted chain knows no {other}"),
        }
    }

    /// One entry of a batch: paid, or passed over.
    fn pay(&mut self, client: Address, task: TaskId) -> ChainEvent {
        let reason = match self.tasks.get(&task).map(|info| info.stage) {
            None => 1,
            Some(TaskStage::Assigned) => 0,
            Some(_) => 3,
        };
        let mut data =
            json!({"client": client, "task_id": task, "server": client, "reason": reason});
        let (module, name) = if self.close(task, TaskStage::Settled).is_ok() {
            for amount in
                ["orchestrator_octas", "server_fee_octas", "treasury_fee_octas", "refund_octas"]
            {
                data[amount] = json!("1");
            }
            data["orchestrator"] = json!(client);
            ("settlement", "TaskSettled")
        } else {
            ("payment", "TaskSkipped")
        };
        ChainEvent { module: module.into(), name: name.into(), data }
    }

    fn create(&mut self, task: TaskId, info: TaskInfo) -> Result<(), String> {
        if self.unfunded.contains(&task) {
            return abort("EINSUFFICIENT_BALANCE", 0x3_0002);
        }
        if self.tasks.contains_key(&task) {
            return abort("ETASK_EXISTS", 0x8_000a);
        }
        self.tasks.insert(task, info);
        Ok(())
    }

    fn close(&mut self, task: TaskId, stage: TaskStage) -> Result<(), String> {
        match self.tasks.get_mut(&task) {
            None => abort("ETASK_NOT_FOUND", 0x6_000e),
            Some(info) if info.stage != TaskStage::Assigned => abort("ETASK_FINAL", 0x3_0010),
            Some(info) => {
                info.stage = stage;
                self.closed.push(task);
                Ok(())
            }
        }
    }
}

fn abort(name: &str, code: u64) -> Result<(), String> {
    Err(format!("Move abort in {CONTRACT}::payment: {name}({code:#x}): no"))
}

impl Chain for Scripted {
    async fn head(&self) -> Result<Head, ChainError> {
        self.request(None, |state| {
            let seconds = state.frozen_seconds.unwrap_or(state.seconds);
            Ok(Head { chain_id: CHAIN_ID, seconds, local_seconds: state.seconds })
        })
        .await
    }

    async fn sequence_number(&self, _: Address) -> Result<u64, ChainError> {
        self.request(None, |state| Ok(state.next_sequence)).await
    }

    async fn gas_unit_price(&self) -> Result<u64, ChainError> {
        self.request(None, |_| Ok(100)).await
    }

    async fn submit(&self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        self.request(Some(transaction), |state| state.receive(transaction)).await
    }

    async fn look_up(&self, hash: &str) -> Result<Lookup, ChainError> {
        self.request(None, |state| {
            if let Some(execution) = state.committed.get(hash) {
                return Ok(Lookup::Committed(execution.clone()));
            }
            let waits = state.pool.values().any(|one| one.hash().unwrap().to_hex() == hash);
            Ok(if waits { Lookup::Pending } else { Lookup::Unknown })
        })
        .await
    }

    async fn task(&self, _: Address, task_id: TaskId) -> Result<TaskInfo, ChainError> {
        let found = |state: &mut State| Ok(state.tasks.get(&task_id).copied());
        Ok(self.request(None, found).await?.unwrap_or(TaskInfo::UNKNOWN))
    }
}
