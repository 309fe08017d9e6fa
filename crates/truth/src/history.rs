//! What happened in pools, told from the operations that succeeded and from nothing else: who was
//! there when, what was handed in, and what each node has therefore earned. Never reads what the
//! contracts wrote, except to hold it against this.

use std::collections::{BTreeMap, BTreeSet};

use cactus_move_vm::AccountAddress as Address;

use crate::argument::Argument::{self, Address as A, Bool, Bytes, Text, U64};
use crate::books::{Books, Violation, hold};
use crate::chain::CHAIN_ID;
use crate::operation::Operation;
use crate::records::{Node, Orchestrator, PoolState, Stake, Terms};
use crate::rules::Signed;
use crate::signing::Invite;

const MIN_STAKE: usize = 0;
const REWARD_CLAIM_SECONDS: usize = 17;
/// Works that one claim passes at most.
const WORKS_PER_CLAIM: usize = 100;
/// A rate of this is one octa.
const SCALE: u128 = 1_000_000_000;

/// All pools.
#[derive(Debug, Clone, Default)]
pub struct History {
    pools: BTreeMap<Address, Pool>,
}

#[derive(Debug, Clone)]
struct Pool {
    terms: Terms,
    state: PoolState,
    members: BTreeMap<Vec<u8>, Member>,
    /// Whose work it is and its place there.
    works: BTreeMap<Vec<u8>, (Vec<u8>, usize)>,
    nonces: BTreeSet<Vec<u8>>,
    banned_operators: BTreeSet<Address>,
    banned_nodes: BTreeSet<Vec<u8>>,
    fund: Option<Fund>,
}

#[derive(Debug, Clone)]
struct Fund {
    time_rate: u64,
    work_rate: u64,
    claim_seconds: u64,
    /// What nobody was paid yet, in octas.
    octas: u64,
}

#[derive(Debug, Clone)]
struct Member {
    operator: Address,
    /// From and to; the last has no end while the node is in the pool.
    intervals: Vec<(u64, Option<u64>)>,
    works: Vec<Work>,
    /// How many of them claims have passed.
    taken: usize,
    void_after: Option<u64>,
    paid: u64,
}

#[derive(Debug, Clone)]
struct Work {
    units: u64,
    submitted_seconds: u64,
    valid: bool,
}

impl Member {
    fn is_active(&self) -> bool {
        self.intervals.last().is_some_and(|(_, to)| to.is_none())
    }

    fn end(&mut self, now: u64) {
        if let Some((_, to @ None)) = self.intervals.last_mut() {
            *to = Some(now);
        }
    }

    /// Seconds in the pool until a moment.
    fn seconds(&self, until: u64) -> u64 {
        let of =
            |(from, to): &(u64, Option<u64>)| to.unwrap_or(until).min(until).saturating_sub(*from);
        self.intervals.iter().map(of).sum()
    }
}

impl Pool {
    /// When the time began in which validators may still object.
    fn window_start(&self, now: u64) -> u64 {
        now.saturating_sub(self.terms.lock_seconds)
    }

    /// From when on nothing counts.
    fn end(&self) -> u64 {
        match self.state {
            PoolState::Completed { ended_seconds } => ended_seconds,
            _ => self.terms.end_seconds,
        }
    }

    fn is_open(&self, now: u64) -> bool {
        self.state == PoolState::Active && now < self.terms.end_seconds
    }

    fn active_nodes(&self) -> usize {
        self.members.values().filter(|member| member.is_active()).count()
    }

    fn is_banned(&self, operator: &Address, node: &[u8]) -> bool {
        self.banned_operators.contains(operator) || self.banned_nodes.contains(node)
    }
}

/// What a node has earned since it joined, at the time of a claim.
struct Earned {
    scaled: u128,
    /// Works that claims have passed with this one.
    taken: usize,
}

fn earned(pool: &Pool, fund: &Fund, member: &Member, now: u64) -> Earned {
    let until = pool.window_start(now).min(member.void_after.unwrap_or(u64::MAX));
    let matured = member.works.iter().take_while(|work| work.submitted_seconds <= until).count();
    let taken = matured.min(member.taken + WORKS_PER_CLAIM).max(member.taken);
    let accepted = member.works.iter().take(taken).filter(|work| work.valid);
    let units: u128 = accepted.map(|work| u128::from(work.units)).sum();
    let seconds = u128::from(member.seconds(until.min(pool.end())));
    let scaled = seconds * u128::from(fund.time_rate) + units * u128::from(fund.work_rate);
    Earned { scaled, taken }
}

/// An operation that succeeded, and when and among what.
struct Happened<'a> {
    signer: Address,
    arguments: &'a [Argument],
    now: u64,
    books: &'a Books,
    signed: &'a Signed,
}

impl History {
    /// Enters an operation that succeeded, and checks that it was allowed and that the chain's
    /// records say the same.
    ///
    /// # Errors
    /// A rule is broken.
    pub fn note(
        &mut self,
        operation: &Operation,
        now: u64,
        (books, signed): (&Books, &Signed),
    ) -> Result<(), Violation> {
        let signer = operation.signer.unwrap_or_default();
        let happened = Happened { signer, arguments: &operation.arguments, now, books, signed };
        let at = match operation.arguments.first() {
            Some(A(address)) => *address,
            _ => Address::ZERO,
        };
        match operation.function {
            "domain::create_domain" | "domain::update_domain" => {
                hold!(books.federators().contains(&signer), "{signer} is no federator");
                return Ok(());
            }
            "pool::create_pool" => return self.create(&happened),
            name if !name.starts_with("pool::") && !name.starts_with("rewards::") => return Ok(()),
            _ => {}
        }
        let pool = self.pools.get_mut(&at);
        let pool = pool.ok_or_else(|| Violation(format!("there is no pool at {at}")))?;
        match operation.function {
            "pool::join_pool" => pool.join(at, &happened)?,
            "pool::submit_work" => pool.submit(&happened)?,
            "pool::leave_pool" | "pool::eject_node" => pool.remove(&happened)?,
            "pool::blacklist_provider" | "pool::blacklist_node" => pool.ban(&happened)?,
            "pool::start_pool" => pool.start(&happened)?,
            "pool::end_pool" => pool.complete(&happened)?,
            "rewards::open" | "rewards::open_in" | "rewards::fund" => pool.fund(&happened)?,
            "rewards::claim" => pool.claim(at, &happened)?,
            "rewards::invalidate_work" => pool.invalidate(&happened, true)?,
            "rewards::soft_invalidate_work" => pool.invalidate(&happened, false)?,
            "rewards::reclaim" => pool.reclaim(&happened)?,
            other => return Err(Violation(format!("nothing is known of {other}"))),
        }
        pool.compare(at, books)
    }

    fn create(&mut self, happened: &Happened) -> Result<(), Violation> {
        let [
            U64(domain_id),
            Text(name),
            Text(data_uri),
            Bytes(key),
            U64(nodes),
            U64(units),
            U64(lock),
            U64(end),
        ] = happened.arguments
        else {
            return Err(Violation("create_pool has other arguments".to_owned()));
        };
        let new: Vec<_> = happened
            .books
            .pools
            .pools
            .iter()
            .filter(|(at, _)| !self.pools.contains_key(*at))
            .collect();
        let [(at, record)] = new[..] else {
            return Err(Violation(format!("{} pools were created at once", new.len())));
        };
        let terms = Terms {
            creator: happened.signer,
            domain_id: *domain_id,
            name: name.clone(),
            data_uri: data_uri.clone(),
            invite_key: key.clone(),
            max_nodes: *nodes,
            max_units_per_work: *units,
            lock_seconds: *lock,
            end_seconds: *end,
        };
        hold!(record.terms == terms, "a pool has other terms than were asked: {:?}", record.terms);
        hold!(happened.books.pools.domains.contains_key(domain_id), "no domain {domain_id}");
        let pool = Pool {
            terms,
            state: PoolState::Pending,
            members: BTreeMap::new(),
            works: BTreeMap::new(),
            nonces: BTreeSet::new(),
            banned_operators: BTreeSet::new(),
            banned_nodes: BTreeSet::new(),
            fund: None,
        };
        self.pools.insert(*at, pool);
        Ok(())
    }
}

impl Pool {
    fn join(&mut self, at: Address, happened: &Happened) -> Result<(), Violation> {
        let (operator, now) = (happened.signer, happened.now);
        let [_, Bytes(node), Bytes(nonce), U64(expires_seconds), _] = happened.arguments else {
            return Err(Violation("join_pool has other arguments".to_owned()));
        };
        let invite = Invite {
            chain_id: CHAIN_ID,
            pool: at,
            operator,
            node_public_key: node.clone(),
            nonce: nonce.clone(),
            expires_seconds: *expires_seconds,
        };
        let by_key = (self.terms.invite_key.clone(), invite);
        hold!(happened.signed.invites.contains(&by_key), "an invite counted that nobody signed");
        hold!(now < *expires_seconds, "an invite counted after its end");
        hold!(self.nonces.insert(nonce.clone()), "an invite let someone in twice");
        hold!(self.is_open(now), "a node joined a pool that is not open");
        hold!(!self.is_banned(&operator, node), "a banned node joined");
        hold!(may_work(happened.books, &operator, node), "a node joined that may not work");
        let new = Member {
            operator,
            intervals: Vec::new(),
            works: Vec::new(),
            taken: 0,
            void_after: None,
            paid: 0,
        };
        let member = self.members.entry(node.clone()).or_insert(new);
        hold!(member.operator == operator, "a node joined for another operator");
        hold!(!member.is_active(), "a node joined twice");
        hold!(member.void_after.is_none(), "a node came back that was put out for good");
        member.intervals.push((now, None));
        Ok(())
    }

    fn member(&mut self, node: &Argument) -> Result<&mut Member, Violation> {
        let Bytes(node) = node else { return Err(Violation("no node is named".to_owned())) };
        let member = self.members.get_mut(node);
        member.ok_or_else(|| Violation("the node never joined".to_owned()))
    }

    fn submit(&mut self, happened: &Happened) -> Result<(), Violation> {
        let [_, node @ Bytes(key), Bytes(id), U64(units)] = happened.arguments else {
            return Err(Violation("submit_work has other arguments".to_owned()));
        };
        hold!(self.is_open(happened.now), "work was taken in a pool that is not open");
        hold!(!self.is_banned(&happened.signer, key), "a banned node handed work in");
        let most = self.terms.max_units_per_work;
        hold!((1..=most).contains(units), "{units} units of work where {most} is the limit");
        let submitted_seconds = happened.now;
        let member = self.member(node)?;
        hold!(member.operator == happened.signer, "work was handed in for another's node");
        hold!(member.is_active(), "work of a node that is not in the pool");
        member.works.push(Work { units: *units, submitted_seconds, valid: true });
        let place = (key.clone(), member.works.len() - 1);
        hold!(self.works.insert(id.clone(), place).is_none(), "an id of work was used twice");
        Ok(())
    }

    /// A node leaves, or the creator puts it out.
    fn remove(&mut self, happened: &Happened) -> Result<(), Violation> {
        let [_, node] = happened.arguments else {
            return Err(Violation("a removal has other arguments".to_owned()));
        };
        let (end, creator) = (happened.now.min(self.end()), self.terms.creator);
        let member = self.member(node)?;
        hold!(member.is_active(), "a node left that was not there");
        let may = [member.operator, creator].contains(&happened.signer);
        hold!(may, "{} took another's node out", happened.signer);
        member.end(end);
        Ok(())
    }

    fn ban(&mut self, happened: &Happened) -> Result<(), Violation> {
        hold!(happened.signer == self.terms.creator, "someone else than the creator banned");
        let end = happened.now.min(self.end());
        match happened.arguments {
            [_, A(operator), Bool(true)] => drop(self.banned_operators.insert(*operator)),
            [_, A(operator), Bool(false)] => drop(self.banned_operators.remove(operator)),
            [_, Bytes(node), Bool(false)] => drop(self.banned_nodes.remove(node)),
            [_, Bytes(node), Bool(true)] => {
                self.banned_nodes.insert(node.clone());
                if let Some(member) = self.members.get_mut(node) {
                    member.end(end);
                }
            }
            _ => return Err(Violation("a ban has other arguments".to_owned())),
        }
        Ok(())
    }

    fn start(&mut self, happened: &Happened) -> Result<(), Violation> {
        hold!(happened.signer == self.terms.creator, "someone else than the creator started");
        let in_time = happened.now < self.terms.end_seconds;
        hold!(in_time && self.state == PoolState::Pending, "a pool started as {:?}", self.state);
        self.state = PoolState::Active;
        Ok(())
    }

    fn complete(&mut self, happened: &Happened) -> Result<(), Violation> {
        let ended_seconds = happened.now.min(self.terms.end_seconds);
        let over = ended_seconds == self.terms.end_seconds;
        let may = over || happened.signer == self.terms.creator;
        hold!(may, "{} ended a pool too early", happened.signer);
        let completed = matches!(self.state, PoolState::Completed { .. });
        hold!(!completed, "a pool ended twice");
        self.state = PoolState::Completed { ended_seconds };
        Ok(())
    }

    fn fund(&mut self, happened: &Happened) -> Result<(), Violation> {
        match (happened.arguments, &mut self.fund) {
            ([_, U64(time_rate), U64(work_rate), ..], fund @ None) => {
                let pending = self.state == PoolState::Pending;
                hold!(pending && happened.signer == self.terms.creator, "a fund was opened late");
                let claim_seconds = happened.books.parameter(REWARD_CLAIM_SECONDS);
                let (time_rate, work_rate) = (*time_rate, *work_rate);
                *fund = Some(Fund { time_rate, work_rate, claim_seconds, octas: 0 });
            }
            ([_, U64(octas)], Some(fund)) => {
                let completed = matches!(self.state, PoolState::Completed { .. });
                hold!(!completed, "a completed pool took money in");
                fund.octas += octas;
            }
            _ => return Err(Violation("a fund was opened twice or is none".to_owned())),
        }
        Ok(())
    }

    /// Exactly what matured is earned, and what is earned is paid, rounded down, as far as the fund
    /// reaches.
    fn claim(&mut self, at: Address, happened: &Happened) -> Result<(), Violation> {
        let ([_, Bytes(node)], Some(fund)) = (happened.arguments, &self.fund) else {
            return Err(Violation("a claim has other arguments or there is no fund".to_owned()));
        };
        let member = self.members.get(node);
        let member = member.ok_or_else(|| Violation("the node never joined".to_owned()))?;
        hold!(member.operator == happened.signer, "another claimed for a node");
        let Earned { scaled, taken } = earned(self, fund, member, happened.now);
        let account = happened.books.pools.accounts.get(&(at, node.clone()));
        let account = account.copied().unwrap_or_default();
        hold!(
            account.earned_scaled == scaled,
            "earned {} instead of {scaled}",
            account.earned_scaled
        );
        let owed = scaled / SCALE - u128::from(member.paid);
        let octas = u64::try_from(owed).unwrap_or(u64::MAX).min(fund.octas);
        let paid = member.paid + octas;
        hold!(account.paid == paid, "paid {} instead of {paid}", account.paid);
        if let (Some(member), Some(fund)) = (self.members.get_mut(node), &mut self.fund) {
            (member.paid, member.taken) = (paid, taken);
            fund.octas -= octas;
        }
        Ok(())
    }

    fn invalidate(&mut self, happened: &Happened, hard: bool) -> Result<(), Violation> {
        let [_, Bytes(id)] = happened.arguments else {
            return Err(Violation("an invalidation has other arguments".to_owned()));
        };
        let is_validator = happened.books.validators().contains(&happened.signer);
        hold!(is_validator, "{} invalidated work and is no validator", happened.signer);
        let (window_start, end) = (self.window_start(happened.now), happened.now.min(self.end()));
        let place = self.works.get(id);
        let Some((member, index)) =
            place.and_then(|(node, index)| Some((self.members.get_mut(node)?, *index)))
        else {
            return Err(Violation("work was invalidated that nobody handed in".to_owned()));
        };
        hold!(index >= member.taken, "work was invalidated that is claimed");
        let void_after = member.void_after.unwrap_or(u64::MAX);
        let Some(work) = member.works.get_mut(index) else { return Ok(()) };
        let counted = work.valid && work.submitted_seconds <= void_after;
        hold!(counted, "work was invalidated twice");
        hold!(work.submitted_seconds > window_start, "work was invalidated after its lock window");
        work.valid = false;
        if hard {
            member.void_after = Some(void_after.min(window_start));
            member.end(end);
        }
        Ok(())
    }

    fn reclaim(&mut self, happened: &Happened) -> Result<(), Violation> {
        let (PoolState::Completed { ended_seconds }, Some(fund)) = (self.state, &mut self.fund)
        else {
            return Err(Violation("a fund was reclaimed before the pool's end".to_owned()));
        };
        let from = ended_seconds + self.terms.lock_seconds + fund.claim_seconds;
        hold!(happened.now >= from, "a fund was reclaimed at {}, not {from}", happened.now);
        hold!(fund.octas > 0, "nothing was reclaimed");
        fund.octas = 0;
        Ok(())
    }

    /// The chain's records say the same.
    fn compare(&self, at: Address, books: &Books) -> Result<(), Violation> {
        let Some(record) = books.pools.pools.get(&at) else {
            return Err(Violation(format!("the chain has no pool at {at}")));
        };
        hold!(record.state == self.state, "{:?} instead of {:?}", record.state, self.state);
        let active = self.active_nodes();
        let same = u64::try_from(active).is_ok_and(|active| active == record.active_nodes);
        hold!(same, "{} nodes instead of {active}", record.active_nodes);
        let left = self.fund.as_ref().map_or(0, |fund| fund.octas);
        hold!(books.pools.left(&at)? == left, "a fund of {left} octas has another account");
        for (node, member) in &self.members {
            let Some(record) = books.pools.members.get(&(at, node.clone())) else {
                return Err(Violation("a member was forgotten".to_owned()));
            };
            let numbers = [record.first_work, record.next_work].map(usize::try_from);
            let same = record.active == member.is_active()
                && numbers == [Ok(member.taken), Ok(member.works.len())]
                && record.void_after_seconds == member.void_after.unwrap_or(u64::MAX);
            hold!(same, "a member is {record:?} instead of {member:?}");
        }
        Ok(())
    }
}

/// Whether an operator may let a node join any pool.
fn may_work(books: &Books, operator: &Address, node: &[u8]) -> bool {
    let Some(Orchestrator::V1 { whitelisted, nodes, .. }) = books.orchestrators.get(operator)
    else {
        return false;
    };
    let is_valid = |one: &Node| {
        let Node::V1 { public_key, validated, .. } = one;
        *validated && public_key == node
    };
    let bonded = books.stakes.get(operator).map_or(0, |Stake::V1 { bonded, .. }| *bonded);
    *whitelisted && nodes.iter().any(is_valid) && bonded >= books.parameter(MIN_STAKE)
}
