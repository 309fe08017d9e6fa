//! The way out: with everything paused, everyone takes home what is theirs, and nothing but the
//! treasury's part stays. Never uses a role's power, except to pause and, last, to sweep.

use cactus_move_vm::AccountAddress as Address;

use crate::argument::Argument::{self, Address as A, Bytes, U64};
use crate::books::{Books, Violation, hold};
use crate::cast::Cast;
use crate::operation::{Operation, Step};
use crate::records::{
    ChannelState, ClientAccount, Escrow, PoolState, Server, Stake, TaskState, VaultOnly,
};
use crate::run::Trial;

/// Longer than any deadline, channel, case, pool or period may be: the largest maxima of `config`
/// and of a pool's terms added up.
const LONG_ENOUGH_SECONDS: u64 = 63_072_000 + 31_536_000 + 5_184_000 + 2_592_000 + 5 * 604_800;
const PAUSE_ALL: u64 = 63;

/// Ends everything that a sequence left open.
///
/// # Errors
/// Something cannot be ended, or coins are left behind.
pub fn leave(trial: &mut Trial, cast: &Cast) -> Result<u64, Violation> {
    let mut way = Way { trial, steps: 0 };
    let admin = way.trial.books.admin();
    way.must("config::pause", admin, vec![U64(PAUSE_ALL)])?;
    way.wait()?;
    let stranger = cast.strangers.first().map_or(admin, |actor| actor.address);
    way.end_all(stranger)?;
    way.take_home()?;
    way.wait()?;
    way.withdraw()?;
    way.reclaim(stranger)?;
    way.sweep(admin, stranger)?;
    let empty = |books: &Books| {
        books.vaults.keys().all(|store| books.stores.get(store).is_none_or(|octas| *octas == 0))
    };
    hold!(empty(&way.trial.books), "coins are left in vaults after everyone left");
    way.trial.books.audit()?;
    Ok(way.steps)
}

struct Way<'a> {
    trial: &'a mut Trial,
    steps: u64,
}

impl Way<'_> {
    fn wait(&mut self) -> Result<(), Violation> {
        self.trial.step(&Step::Wait(LONG_ENOUGH_SECONDS)).map(drop)
    }

    fn must(
        &mut self,
        function: &'static str,
        signer: Address,
        arguments: Vec<Argument>,
    ) -> Result<(), Violation> {
        self.steps += 1;
        // Above all nonces of a sequence, so that no address is made twice.
        let nonce = u64::MAX - self.steps;
        let operation = Operation { nonce, function, signer: Some(signer), arguments };
        let step = Step::Call(operation);
        match self.trial.step(&step)? {
            None => Ok(()),
            Some(status) => Err(Violation(format!("an exit is blocked: {step}: {status}"))),
        }
    }

    /// Ends by time-out what is not final: anyone can.
    fn end_all(&mut self, anyone: Address) -> Result<(), Violation> {
        for (at, case) in self.trial.books.cases.clone() {
            if case.outcome == 0 {
                self.must("dispute::finalize", anyone, vec![A(at)])?;
            }
        }
        for id in self.trial.books.assigned.clone() {
            let task = self.trial.books.tasks.get(&id);
            let delivered =
                task.is_some_and(|task| matches!(task.state, TaskState::Delivered { .. }));
            let exit =
                if delivered { "payment::release_expired" } else { "payment::refund_expired" };
            self.must(exit, anyone, vec![A(id.0), Bytes(id.1)])?;
        }
        for (at, channel) in self.trial.books.channels.clone() {
            if channel.state != ChannelState::Closed {
                self.must("channel::finalize", anyone, vec![A(at)])?;
            }
        }
        for (at, pool) in self.trial.books.pools.pools.clone() {
            if !matches!(pool.state, PoolState::Completed { .. }) {
                self.must("pool::end_pool", anyone, vec![A(at)])?;
            }
        }
        self.end_memberships()
    }

    /// Every node leaves and claims until nothing of it waits; what the fund cannot pay is lost.
    fn end_memberships(&mut self) -> Result<(), Violation> {
        for ((at, node), member) in self.trial.books.pools.members.clone() {
            let arguments = || vec![A(at), Bytes(node.clone())];
            if member.active {
                self.must("pool::leave_pool", member.operator, arguments())?;
            }
            if !self.trial.books.pools.funds.contains_key(&at) {
                continue;
            }
            let waits = |books: &Books| {
                let member = books.pools.members.get(&(at, node.clone()));
                member.is_some_and(|member| {
                    member.first_work < member.next_work && member.void_after_seconds == u64::MAX
                })
            };
            while waits(&self.trial.books) {
                self.must("rewards::claim", member.operator, arguments())?;
            }
        }
        Ok(())
    }

    fn reclaim(&mut self, anyone: Address) -> Result<(), Violation> {
        for at in self.trial.books.pools.funds.clone().into_keys() {
            if self.trial.books.pools.left(&at)? > 0 {
                self.must("rewards::reclaim", anyone, vec![A(at)])?;
            }
        }
        Ok(())
    }

    fn take_home(&mut self) -> Result<(), Violation> {
        for (client, ClientAccount::V1 { escrow, .. }) in self.trial.books.clients.clone() {
            let Escrow::V1 { available, locked, .. } = escrow;
            hold!(locked == 0, "{client} has {locked} locked without a task");
            if available > 0 {
                self.must("payment::request_withdraw", client, vec![U64(available)])?;
            }
        }
        for (server, Server::V1 { registered, .. }) in self.trial.books.servers.clone() {
            if registered {
                self.must("server_registry::remove_server", server, vec![])?;
            }
        }
        for (operator, Stake::V1 { bonded, unbonding, .. }) in self.trial.books.stakes.clone() {
            if !unbonding.is_empty() {
                self.must("stake::withdraw", operator, vec![])?;
            }
            if bonded > 0 {
                self.must("stake::begin_unbond", operator, vec![U64(bonded)])?;
            }
        }
        Ok(())
    }

    fn withdraw(&mut self) -> Result<(), Violation> {
        for (client, ClientAccount::V1 { escrow, .. }) in self.trial.books.clients.clone() {
            let Escrow::V1 { available, requested, .. } = escrow;
            if requested > 0 && available > 0 {
                self.must("payment::withdraw", client, vec![])?;
            }
        }
        for (operator, Stake::V1 { unbonding, .. }) in self.trial.books.stakes.clone() {
            if !unbonding.is_empty() {
                self.must("stake::withdraw", operator, vec![])?;
            }
        }
        Ok(())
    }

    fn sweep(&mut self, admin: Address, recipient: Address) -> Result<(), Violation> {
        for (at, VaultOnly::V1 { vault }) in self.trial.books.shares.clone() {
            let held = self.trial.books.stores.get(&vault.store()).copied().unwrap_or(0);
            if held == 0 {
                continue;
            }
            if at == crate::chain::CONTRACT {
                self.must("treasury::sweep_slashed", admin, vec![A(recipient)])?;
            } else {
                self.must("treasury::sweep", admin, vec![A(at), A(recipient)])?;
            }
            let left = self.trial.books.stores.get(&vault.store()).copied().unwrap_or(0);
            hold!(left == 0, "{left} octas stay with the treasury's share at {at}");
        }
        Ok(())
    }
}
