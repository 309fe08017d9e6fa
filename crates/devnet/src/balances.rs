//! Where every octa of a network is. The sum over all holders is compared with the chain's own
//! supply: a coin lost, made or counted twice shows as a difference.

use anyhow::{Context, Result};
use cactus_ledger::Ledger;
use cactus_protocol::{Address, Octas};
use serde::Serialize;

/// What an account is in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Pays.
    Client,
    /// Works.
    Orchestrator,
    /// Routes.
    Server,
    /// Runs the contracts.
    Admin,
    /// Gives coins away; what it has not given is part of the supply.
    Faucet,
    /// The treasury: slashed funds, and fees not yet swept.
    Treasury,
}

/// One holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// For people.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its account; none for the treasury.
    pub address: Option<Address>,
    /// In its own store.
    pub coins: Octas,
    /// In the contracts: deposits and locks, stake and unbonding, bond, fees due.
    pub in_contract: Octas,
}

/// All holders at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balances {
    /// Everyone who has or had a coin.
    pub holders: Vec<Balance>,
    /// Their sum.
    pub total: Octas,
    /// What the chain says exists. Gas lowers it, the faucet raises it, nothing else moves it.
    pub supply: Octas,
}

impl Balances {
    /// Whether every coin that exists is accounted for, once.
    pub fn conserved(&self) -> bool {
        self.total == self.supply
    }

    /// Reads everything from the chain. Exact only while nobody transacts.
    pub(crate) async fn read(ledger: &Ledger, holders: &[(String, Role, Address)]) -> Result<Self> {
        let mut read = Vec::new();
        let mut treasury = ledger.treasury().await?;
        for (name, role, address) in holders {
            let (in_contract, due) = in_contract(ledger, *role, *address).await?;
            treasury = treasury.checked_add(due).context("the treasury overflows")?;
            let coins = ledger.coin_balance(*address).await?;
            let (name, address) = (name.clone(), Some(*address));
            read.push(Balance { name, role: *role, address, coins, in_contract });
        }
        let (name, role) = ("treasury".to_owned(), Role::Treasury);
        let in_contract = treasury;
        read.push(Balance { name, role, address: None, coins: Octas::ZERO, in_contract });
        let amounts = read.iter().flat_map(|holder| [holder.coins, holder.in_contract]);
        let total = Octas::checked_sum(amounts).context("the total overflows")?;
        Ok(Self { holders: read, total, supply: ledger.supply().await? })
    }
}

/// What the contracts hold for an account, and what of a server's they hold for the treasury.
async fn in_contract(ledger: &Ledger, role: Role, address: Address) -> Result<(Octas, Octas)> {
    let sum = |a: Octas, b: Octas| a.checked_add(b).context("a balance overflows");
    Ok(match role {
        Role::Client => {
            let deposit = ledger.client_balance(address).await?;
            (sum(deposit.available, deposit.locked)?, Octas::ZERO)
        }
        Role::Orchestrator => {
            let stake = ledger.stake(address).await?;
            (sum(stake.bonded, stake.unbonding)?, Octas::ZERO)
        }
        Role::Server => match ledger.server(address).await? {
            Some(server) => (server.bond, server.treasury_due),
            None => (Octas::ZERO, Octas::ZERO),
        },
        Role::Admin | Role::Faucet | Role::Treasury => (Octas::ZERO, Octas::ZERO),
    })
}
