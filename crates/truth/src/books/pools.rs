//! What the chain's state says about domains, pools and reward funds. Never works out what anyone
//! earned; see `history`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cactus_move_vm::{AccountAddress as Address, Effects, TypeTag};

use super::{Violation, hold, read};
use crate::records::{
    Account, Domain, Domains, Fund, FundRecord, Invites, Member, MemberRecord, Pool, PoolRecord,
    PoolState, Reclaimed, Work, WorkPlace,
};

/// A pool and a public key or an id in it.
pub type InPool = (Address, Vec<u8>);

/// Which table a handle stands for.
#[derive(Debug, Clone)]
enum TableOf {
    Domains,
    Members(Address),
    Works(Address),
    Nonces(Address),
    BannedOperators(Address),
    BannedNodes(Address),
    Accounts(Address),
    /// Works of one node that are not taken, by number.
    Waiting(InPool),
}

/// All about pools.
#[derive(Debug, Clone, Default)]
pub struct Pools {
    pub domains: BTreeMap<u64, Domain>,
    pub pools: BTreeMap<Address, Pool>,
    pub members: BTreeMap<InPool, Member>,
    pub works: BTreeMap<InPool, WorkPlace>,
    pub waiting: BTreeMap<InPool, BTreeMap<u64, Work>>,
    /// Invites that were used.
    pub nonces: BTreeSet<InPool>,
    pub banned_operators: BTreeMap<(Address, Address), bool>,
    pub banned_nodes: BTreeMap<InPool, bool>,
    pub funds: BTreeMap<Address, Fund>,
    pub accounts: BTreeMap<InPool, Account>,
    /// Octas that went back to a pool's creator.
    pub reclaimed: BTreeMap<Address, u64>,
    next_domain: u64,
    tables: HashMap<Address, TableOf>,
}

impl Pools {
    pub(super) fn enter_domains(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let Domains::V1 { next_id, domains, .. } = read(bytes)?;
        hold!(next_id >= self.next_domain, "an id of a domain is used again");
        self.next_domain = next_id;
        self.tables.insert(domains, TableOf::Domains);
        Ok(())
    }

    pub(super) fn enter_pool(&mut self, at: Address, bytes: &[u8]) -> Result<(), Violation> {
        let PoolRecord::V1(pool) = read(bytes)?;
        let Invites::V1 { key, used } = &pool.invites;
        hold!(*key == pool.terms.invite_key, "pool {at} checks invites by another key");
        hold!(pool.active_nodes <= pool.terms.max_nodes, "pool {at} is more than full");
        if let Some(old) = self.pools.get(&at) {
            hold!(old.terms == pool.terms, "the terms of pool {at} changed");
            let fits = match (old.state, pool.state) {
                (PoolState::Pending, _) => true,
                (PoolState::Active, new) => new != PoolState::Pending,
                (old, new) => old == new,
            };
            hold!(fits, "pool {at} went from {:?} to {:?}", old.state, pool.state);
        }
        let tables = [
            (pool.members, TableOf::Members(at)),
            (pool.works, TableOf::Works(at)),
            (*used, TableOf::Nonces(at)),
            (pool.banned_operators, TableOf::BannedOperators(at)),
            (pool.banned_nodes, TableOf::BannedNodes(at)),
        ];
        self.tables.extend(tables);
        self.pools.insert(at, pool);
        Ok(())
    }

    pub(super) fn enter_fund(&mut self, at: Address, bytes: &[u8]) -> Result<(), Violation> {
        let FundRecord::V1(fund) = read(bytes)?;
        if let Some(old) = self.funds.get(&at) {
            let rates = |fund: &Fund| (fund.time_rate, fund.work_rate, fund.claim_seconds);
            hold!(rates(old) == rates(&fund), "the rates of pool {at} changed");
            hold!(old.funded <= fund.funded, "the fund of pool {at} forgot money");
        }
        self.tables.insert(fund.accounts, TableOf::Accounts(at));
        self.funds.insert(at, fund);
        Ok(())
    }

    /// Enters an item of a table, if it is one of these tables. Says whose fund it belongs to, if
    /// it is an account.
    pub(super) fn enter_item(
        &mut self,
        handle: &Address,
        key: &[u8],
        bytes: Option<&[u8]>,
    ) -> Result<Option<Address>, Violation> {
        let Some(table) = self.tables.get(handle).cloned() else { return Ok(None) };
        let Some(bytes) = bytes else {
            let TableOf::Waiting(member) = table else {
                return Err(Violation(format!("an item was removed from {table:?}")));
            };
            let number: u64 = read(key)?;
            self.waiting.entry(member).or_default().remove(&number);
            return Ok(None);
        };
        match table {
            TableOf::Domains => {
                let (id, domain): (u64, Domain) = (read(key)?, read(bytes)?);
                let name = |Domain::V1 { name, .. }: &Domain| name.clone();
                let old = self.domains.get(&id).map(name);
                hold!(old.is_none_or(|old| old == name(&domain)), "domain {id} was renamed");
                let others = self.domains.iter().filter(|(other, _)| **other != id);
                let taken = others.map(|(_, other)| name(other)).any(|one| one == name(&domain));
                hold!(!taken, "two domains have the name of {id}");
                self.domains.insert(id, domain);
            }
            TableOf::Members(pool) => {
                let MemberRecord::V1(member) = read(bytes)?;
                self.enter_member((pool, read(key)?), member)?;
            }
            TableOf::Works(pool) => {
                let (id, place): (Vec<u8>, WorkPlace) = (read(key)?, read(bytes)?);
                let old = self.works.insert((pool, id), place.clone());
                hold!(old.is_none_or(|old| old == place), "an id of work was used again");
            }
            TableOf::Nonces(pool) => {
                let is_new = self.nonces.insert((pool, read(key)?));
                hold!(is_new, "an invite was used again");
            }
            TableOf::BannedOperators(pool) => {
                self.banned_operators.insert((pool, read(key)?), read(bytes)?);
            }
            TableOf::BannedNodes(pool) => {
                self.banned_nodes.insert((pool, read(key)?), read(bytes)?);
            }
            TableOf::Accounts(pool) => {
                let account: Account = read(bytes)?;
                let old = self.accounts.insert((pool, read(key)?), account).unwrap_or_default();
                let grows = old.earned_scaled <= account.earned_scaled && old.paid <= account.paid;
                hold!(grows, "what a node earned or was paid became less");
                return Ok(Some(pool));
            }
            TableOf::Waiting(member) => {
                self.waiting.entry(member).or_default().insert(read(key)?, read(bytes)?);
            }
        }
        Ok(None)
    }

    fn enter_member(&mut self, at: InPool, member: Member) -> Result<(), Violation> {
        if let Some(old) = self.members.get(&at) {
            hold!(old.operator == member.operator, "a member changed its operator");
            hold!(old.first_work <= member.first_work, "taken work came back");
            hold!(old.next_work <= member.next_work, "a member's work was forgotten");
            let voided = member.void_after_seconds <= old.void_after_seconds;
            hold!(voided, "a hard invalidation was taken back");
        }
        let mut last = 0;
        for interval in &member.intervals {
            let in_order =
                last <= interval.from_seconds && interval.from_seconds < interval.to_seconds;
            hold!(in_order, "intervals overlap: {:?}", member.intervals);
            last = interval.to_seconds;
        }
        self.tables.insert(member.works, TableOf::Waiting(at.clone()));
        self.members.insert(at, member);
        Ok(())
    }

    /// What was reclaimed, of which only events tell.
    pub(super) fn enter_events(&mut self, effects: &Effects) -> Result<Vec<Address>, Violation> {
        let is_reclaim = |tag: &TypeTag| matches!(tag, TypeTag::Struct(tag) if tag.module == "rewards" && tag.name == "Reclaimed");
        let mut funds = Vec::new();
        for event in effects.events.iter().filter(|event| is_reclaim(&event.type_tag)) {
            let Reclaimed::V1 { pool, octas, .. } = read(&event.data)?;
            *self.reclaimed.entry(pool).or_default() += octas;
            funds.push(pool);
        }
        Ok(funds)
    }

    /// What a pool's fund paid to nodes, in octas.
    pub fn paid(&self, pool: &Address) -> u64 {
        let first = (*pool, Vec::new());
        let accounts = self.accounts.range(first..).take_while(|((of, _), _)| of == pool);
        accounts.map(|(_, account)| account.paid).sum()
    }

    /// What a pool's fund must hold, in octas: what came in and neither was paid nor went back.
    ///
    /// # Errors
    /// More went out than came in.
    pub fn left(&self, pool: &Address) -> Result<u64, Violation> {
        let funded = self.funds.get(pool).map_or(0, |fund| fund.funded);
        let out = self.paid(pool) + self.reclaimed.get(pool).copied().unwrap_or(0);
        let left = funded.checked_sub(out);
        left.ok_or_else(|| Violation(format!("{pool} took in {funded} and paid {out}")))
    }

    /// Whether an operator or its node is banned.
    pub fn is_banned(&self, pool: Address, operator: Address, node: &[u8]) -> bool {
        let flag = |found: Option<&bool>| found.copied().unwrap_or(false);
        flag(self.banned_operators.get(&(pool, operator)))
            || flag(self.banned_nodes.get(&(pool, node.to_vec())))
    }
}
