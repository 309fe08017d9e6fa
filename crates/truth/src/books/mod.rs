//! What the chain's state says about money, kept up to date from each operation's writes: every
//! store, and every record that claims a part of one. Never asks a contract; views could err in the
//! same way as what they look at.

mod pools;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cactus_move_vm::{AccountAddress as Address, Effects, StateKey, StructTag};
use serde::de::DeserializeOwned;
use sha3::{Digest, Sha3_256};

pub use self::pools::{InPool, Pools};
use crate::chain::CONTRACT;
use crate::records::{
    CaseHolder, CaseRecord, ChannelRecord, ClientAccount, Delegates, Escrow, FungibleStore,
    Orchestrator, Parameters, Pauses, Report, Reputation, Roles, Server, Stake, Supply, TaskRecord,
    TaskState, Vault, VaultOnly,
};

/// The metadata object of APT.
pub(crate) const APT: Address = Address::small(10);
/// Ends the preimage of primary stores' addresses.
const DERIVED_OBJECT: u8 = 0xFC;

/// What a rule of money says is impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);

/// Fails with a [`Violation`] unless the condition holds.
macro_rules! hold {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err($crate::books::Violation(format!($($text)*)));
        }
    };
}
pub(crate) use hold;

/// Client and id.
pub type Id = (Address, Vec<u8>);

/// Which table of a client a handle stands for.
#[derive(Debug, Clone, Copy)]
enum TableOf {
    Orders(Address),
    Tasks(Address),
}

/// All books.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// What the coin's own record says exists.
    pub supply: u128,
    /// Octas in all stores together.
    pub total: u128,
    /// Octas by store.
    pub stores: HashMap<Address, u64>,
    /// What the records say that a vault's store holds.
    pub vaults: HashMap<Address, u64>,
    pub clients: BTreeMap<Address, ClientAccount>,
    pub tasks: BTreeMap<Id, crate::records::Task>,
    /// What orchestrators delivered on chain, whatever became of it.
    pub deliveries: BTreeMap<Id, Report>,
    /// Octas used by order.
    pub orders: BTreeMap<Id, u64>,
    pub stakes: BTreeMap<Address, Stake>,
    pub servers: BTreeMap<Address, Server>,
    pub shares: BTreeMap<Address, VaultOnly>,
    pub channels: BTreeMap<Address, crate::records::Channel>,
    pub cases: BTreeMap<Address, crate::records::Case>,
    pub orchestrators: BTreeMap<Address, Orchestrator>,
    pub reputations: BTreeMap<Address, Reputation>,
    /// Who may run whose tasks.
    pub delegates: BTreeMap<Address, Vec<Address>>,
    pub parameters: Option<Parameters>,
    pub pauses: Option<Pauses>,
    pub roles: Option<Roles>,
    pub pools: Pools,
    /// Tasks that are not final.
    pub assigned: BTreeSet<Id>,
    /// Octas of live tasks' locks, by client.
    locks: BTreeMap<Address, u64>,
    /// Octas of live locks and of charges, by order.
    spent: BTreeMap<Id, u64>,
    tables: HashMap<Address, TableOf>,
}

/// What one operation touched.
#[derive(Debug, Default)]
pub struct Touched {
    /// Octas before, by store.
    pub stores: BTreeMap<Address, u64>,
    /// Tasks that became final, and what they were before.
    pub ended_tasks: Vec<(Id, TaskState)>,
    vaults: BTreeSet<Address>,
    clients: BTreeSet<Address>,
    orders: BTreeSet<Id>,
}

impl Books {
    /// Enters an operation's writes and checks what holds after any operation whatever.
    ///
    /// # Errors
    /// A rule is broken.
    pub fn enter(&mut self, effects: &Effects) -> Result<Touched, Violation> {
        let mut touched = Touched::default();
        let mut funds = self.pools.enter_events(effects)?;
        // Resources first: they name the tables whose items follow.
        for (key, bytes) in &effects.writes {
            if let StateKey::Resource(address, tag) = key {
                self.enter_resource(*address, tag, bytes.as_deref(), &mut touched)?;
                let is_fund = tag.module == "rewards" && tag.name == "Fund";
                funds.extend(is_fund.then_some(*address));
            }
        }
        for (key, bytes) in &effects.writes {
            if let StateKey::TableItem(handle, item) = key {
                self.enter_item(handle, item, bytes.as_deref(), &mut touched)?;
                funds.extend(self.pools.enter_item(handle, item, bytes.as_deref())?);
            }
        }
        for pool in funds {
            let left = self.pools.left(&pool)?;
            let vault = self.pools.funds.get(&pool).map(|fund| fund.vault.clone());
            if let Some(vault) = vault {
                self.claim(&vault, left, &mut touched);
            }
        }
        self.check(&touched)?;
        Ok(touched)
    }

    fn enter_resource(
        &mut self,
        at: Address,
        tag: &StructTag,
        bytes: Option<&[u8]>,
        touched: &mut Touched,
    ) -> Result<(), Violation> {
        let name = (tag.module.as_str(), tag.name.as_str());
        if tag.address == Address::ONE {
            return self.enter_coin(at, name, bytes, touched);
        }
        let Some(bytes) = bytes else {
            hold!(name == ("registry", "Orchestrator"), "{tag} at {at} was deleted");
            self.orchestrators.remove(&at);
            return Ok(());
        };
        match name {
            ("client_account", "ClientAccount") => self.enter_client(at, read(bytes)?, touched),
            ("stake", "Stake") => self.enter_stake(at, read(bytes)?, touched)?,
            ("server_registry", "Server") => {
                let server: Server = read(bytes)?;
                let Server::V1 { bond, vault, .. } = &server;
                self.claim(vault, *bond, touched);
                self.servers.insert(at, server);
            }
            ("treasury", "ServerShare" | "Treasury") => {
                let VaultOnly::V1 { vault } = read(bytes)?;
                self.shares.insert(at, VaultOnly::V1 { vault });
            }
            ("channel", "Channel") => self.enter_channel(at, read(bytes)?, touched)?,
            ("dispute", "Record") => {
                let CaseHolder::V1 { case } = read(bytes)?;
                self.enter_case(at, case, touched)?;
            }
            ("domain", "Domains") => self.pools.enter_domains(bytes)?,
            ("pool", "Pool") => self.pools.enter_pool(at, bytes)?,
            ("rewards", "Fund") => self.pools.enter_fund(at, bytes)?,
            ("registry", "Orchestrator") => drop(self.orchestrators.insert(at, read(bytes)?)),
            ("delegation", "Delegates") => {
                let Delegates::V1 { operators } = read(bytes)?;
                self.delegates.insert(at, operators);
            }
            ("reputation", "Reputation") => drop(self.reputations.insert(at, read(bytes)?)),
            ("parameters", "Parameters") => self.parameters = Some(read(bytes)?),
            ("config", "Pauses") => self.pauses = Some(read(bytes)?),
            ("config", "Roles") => self.roles = Some(read(bytes)?),
            _ => {}
        }
        Ok(())
    }

    fn enter_coin(
        &mut self,
        at: Address,
        name: (&str, &str),
        bytes: Option<&[u8]>,
        touched: &mut Touched,
    ) -> Result<(), Violation> {
        match (name, bytes) {
            (("fungible_asset", "FungibleStore"), Some(bytes)) => {
                let store: FungibleStore = read(bytes)?;
                let before = self.stores.insert(at, store.balance).unwrap_or(0);
                touched.stores.insert(at, before);
                self.total = self.total + u128::from(store.balance) - u128::from(before);
            }
            (("fungible_asset", "FungibleStore" | "Supply"), None) => {
                hold!(false, "{name:?} at {at} was deleted");
            }
            (("fungible_asset", "Supply"), Some(bytes)) => {
                self.supply = read::<Supply>(bytes)?.current;
            }
            _ => {}
        }
        Ok(())
    }

    fn enter_client(&mut self, at: Address, account: ClientAccount, touched: &mut Touched) {
        let ClientAccount::V1 { escrow, orders, tasks } = &account;
        let Escrow::V1 { vault, available, locked, .. } = escrow;
        self.tables.insert(*orders, TableOf::Orders(at));
        self.tables.insert(*tasks, TableOf::Tasks(at));
        self.claim(vault, available.saturating_add(*locked), touched);
        touched.clients.insert(at);
        self.clients.insert(at, account);
    }

    fn enter_stake(
        &mut self,
        at: Address,
        stake: Stake,
        touched: &mut Touched,
    ) -> Result<(), Violation> {
        let Stake::V1 { vault, unbonding, .. } = &stake;
        hold!(unbonding.len() <= 16, "{at} has {} amounts unbonding", unbonding.len());
        hold!(unbonding.iter().all(|entry| entry.octas > 0), "{at} unbonds nothing");
        self.claim(vault, total_stake(&stake), touched);
        self.stakes.insert(at, stake);
        Ok(())
    }

    fn enter_channel(
        &mut self,
        at: Address,
        record: ChannelRecord,
        touched: &mut Touched,
    ) -> Result<(), Violation> {
        use crate::records::ChannelState::Closed;
        let ChannelRecord::V1(channel) = record;
        hold!(channel.settled <= channel.deposited, "channel {at} settled more than its deposit");
        if let Some(old) = self.channels.get(&at) {
            hold!(old.settled <= channel.settled, "channel {at} took a settlement back");
            hold!(old.deposited <= channel.deposited, "channel {at} forgot a deposit");
            hold!(old.state != Closed, "channel {at} changed after it was closed");
            hold!((old.payer, old.payee) == (channel.payer, channel.payee), "channel {at} moved");
        }
        let held = if channel.state == Closed { 0 } else { channel.deposited - channel.settled };
        self.claim(&channel.vault, held, touched);
        self.channels.insert(at, channel);
        Ok(())
    }

    fn enter_case(
        &mut self,
        at: Address,
        record: CaseRecord,
        touched: &mut Touched,
    ) -> Result<(), Violation> {
        let CaseRecord::V1(case) = record;
        if let Some(old) = self.cases.get(&at) {
            hold!(old.outcome == 0, "case {at} changed after it was closed");
            hold!(old.quarantined == case.quarantined, "case {at} changed what it holds back");
        }
        let appeal_bond = match case.appeal {
            crate::records::Appeal::Filed { bond, .. } => bond,
            crate::records::Appeal::None => 0,
        };
        let held = if case.outcome == 0 { case.bond.saturating_add(appeal_bond) } else { 0 };
        self.claim(&case.vault, held, touched);
        self.cases.insert(at, case);
        Ok(())
    }

    fn enter_item(
        &mut self,
        handle: &Address,
        key: &[u8],
        bytes: Option<&[u8]>,
        touched: &mut Touched,
    ) -> Result<(), Violation> {
        match (self.tables.get(handle).copied(), bytes) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(Violation("an order or a task was forgotten".to_owned())),
            (Some(TableOf::Orders(client)), Some(bytes)) => {
                let id = (client, read(key)?);
                self.orders.insert(id.clone(), read(bytes)?);
                touched.orders.insert(id);
                Ok(())
            }
            (Some(TableOf::Tasks(client)), Some(bytes)) => {
                let TaskRecord::V1(task) = read(bytes)?;
                self.enter_task((client, read(key)?), task, touched)
            }
        }
    }

    fn enter_task(
        &mut self,
        id: Id,
        task: crate::records::Task,
        touched: &mut Touched,
    ) -> Result<(), Violation> {
        let client = id.0;
        let order = (client, task.order_id.clone());
        let lock = self.locks.entry(client).or_default();
        let spent = self.spent.entry(order.clone()).or_default();
        match self.tasks.get(&id) {
            None => {
                hold!(task.state == TaskState::Assigned, "a task began as {:?}", task.state);
                *lock += task.lock;
                *spent += task.lock;
                self.assigned.insert(id.clone());
            }
            Some(old) => {
                hold!(follows(&old.state, &task.state), "a task went from {old:?} to {task:?}");
                let same =
                    crate::records::Task { state: old.state.clone(), ..task.clone() } == *old;
                hold!(same, "a task's terms changed: {old:?} to {task:?}");
                let charge = match task.state {
                    TaskState::Settled { orchestrator_octas, fee_octas } => {
                        orchestrator_octas + fee_octas
                    }
                    _ => 0,
                };
                hold!(charge <= task.lock, "a task cost more than its lock: {task:?}");
                if let TaskState::Delivered { work, .. } = &task.state {
                    self.deliveries.insert(id.clone(), work.clone());
                }
                if task.state.is_final() {
                    touched.ended_tasks.push((id.clone(), old.state.clone()));
                    *lock -= task.lock;
                    *spent -= task.lock - charge;
                    self.assigned.remove(&id);
                }
            }
        }
        touched.clients.insert(client);
        touched.orders.insert(order);
        self.tasks.insert(id, task);
        Ok(())
    }

    /// A record says that its vault holds `octas`.
    fn claim(&mut self, vault: &Vault, octas: u64, touched: &mut Touched) {
        self.vaults.insert(vault.store(), octas);
        touched.vaults.insert(vault.store());
    }

    fn check(&self, touched: &Touched) -> Result<(), Violation> {
        hold!(self.total == self.supply, "{} octas exist, {} in stores", self.supply, self.total);
        for store in touched.vaults.iter().chain(touched.stores.keys()) {
            self.check_vault(store)?;
        }
        for client in &touched.clients {
            self.check_locks(client)?;
        }
        for order in &touched.orders {
            let (used, spent) = (self.orders.get(order), self.spent.get(order));
            hold!(
                used.unwrap_or(&0) == spent.unwrap_or(&0),
                "an order says {used:?}, its tasks {spent:?}"
            );
        }
        Ok(())
    }

    fn check_vault(&self, store: &Address) -> Result<(), Violation> {
        if let Some(claimed) = self.vaults.get(store) {
            let held = self.stores.get(store).copied().unwrap_or(0);
            hold!(held == *claimed, "the vault {store} holds {held}, its record says {claimed}");
        }
        Ok(())
    }

    fn check_locks(&self, client: &Address) -> Result<(), Violation> {
        let locked = self.clients.get(client).map_or(0, |account| {
            let ClientAccount::V1 { escrow: Escrow::V1 { locked, .. }, .. } = account;
            *locked
        });
        let of_tasks = self.locks.get(client).copied().unwrap_or(0);
        hold!(locked == of_tasks, "{client} has {locked} locked, its tasks {of_tasks}");
        Ok(())
    }

    /// Checks everything, touched or not.
    ///
    /// # Errors
    /// A rule is broken.
    pub fn audit(&self) -> Result<(), Violation> {
        let counted: u128 = self.stores.values().map(|octas| u128::from(*octas)).sum();
        hold!(counted == self.supply, "{} octas exist, {counted} in stores", self.supply);
        self.vaults.keys().try_for_each(|store| self.check_vault(store))?;
        self.clients.keys().try_for_each(|client| self.check_locks(client))?;
        for (operator, stake) in &self.stakes {
            let Stake::V1 { quarantined, .. } = stake;
            let open = self.cases.values().filter(|case| case.outcome == 0);
            let of_cases: u64 =
                open.filter(|case| case.operator == *operator).map(|case| case.quarantined).sum();
            hold!(
                *quarantined == of_cases,
                "{operator}: {quarantined} held back, open cases say {of_cases}"
            );
        }
        Ok(())
    }

    /// Octas in an account's primary store.
    pub fn wallet(&self, owner: &Address) -> u64 {
        self.stores.get(&primary_store(owner)).copied().unwrap_or(0)
    }

    /// A parameter's value, by its index in `config`.
    pub fn parameter(&self, index: usize) -> u64 {
        let Some(Parameters::V1 { values, .. }) = &self.parameters else { return 0 };
        values.get(index).copied().unwrap_or(0)
    }

    /// The admin.
    pub fn admin(&self) -> Address {
        self.roles.as_ref().map_or(CONTRACT, |Roles::V1 { admin, .. }| *admin)
    }

    /// The validators.
    pub fn validators(&self) -> &[Address] {
        self.roles.as_ref().map_or(&[], |Roles::V1 { validators, .. }| validators)
    }

    /// The federators.
    pub fn federators(&self) -> &[Address] {
        self.roles.as_ref().map_or(&[], |Roles::V1 { federators, .. }| federators)
    }
}

/// Whether a task may change so: forwards only, and never out of a final state.
fn follows(old: &TaskState, new: &TaskState) -> bool {
    use TaskState::{Assigned, Delivered, Disputed};
    match new {
        Assigned => false,
        Delivered { .. } => *old == Assigned,
        Disputed { .. } => matches!(old, Delivered { .. }),
        _ => !old.is_final(),
    }
}

/// A stake's bond and what unbonds, in octas.
pub fn total_stake(stake: &Stake) -> u64 {
    let Stake::V1 { bonded, unbonding, .. } = stake;
    unbonding.iter().fold(*bonded, |sum, entry| sum.saturating_add(entry.octas))
}

/// The address of `owner`'s primary store of APT.
pub fn primary_store(owner: &Address) -> Address {
    let hash = Sha3_256::new().chain_update(owner.0).chain_update(APT.0);
    Address(hash.chain_update([DERIVED_OBJECT]).finalize().into())
}

/// Reads BCS.
///
/// # Errors
/// The contracts lay it out in another way than `records` says.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Violation> {
    let name = std::any::type_name::<T>();
    aptos_bcs::from_bytes(bytes)
        .map_err(|error| Violation(format!("{name} is laid out otherwise: {error}")))
}
