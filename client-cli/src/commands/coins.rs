//! `cactus faucet` and `cactus deposit`: coins to the wallet and into the contract.

use crate::{helpful::Helpful, session::Session};
use anyhow::{Context, Result};
use cactus_ledger::{Call, ClientBalance, Ledger, SubmitError};
use cactus_protocol::{Octas, SecretKey};
use serde_json::json;

pub async fn faucet(session: &Session, amount: Octas) -> Result<()> {
    let (key, ledger) = (session.wallet()?, session.ledger().await?);
    ledger.fund(key.address(), amount).await.map_err(|e| {
        Helpful::error(
            e.to_string(),
            "faucets exist on test networks only; elsewhere send APT to your address",
        )
    })?;
    let balance = ledger.coin_balance(key.address()).await?;
    if session.network.json {
        println!(
            "{}",
            json!({ "address": key.address(), "octas": amount, "balance_octas": balance })
        );
    } else {
        println!("received {amount}; you have {balance}");
    }
    Ok(())
}

pub async fn deposit(session: &Session, amount: Octas) -> Result<()> {
    let (key, ledger) = (session.wallet()?, session.ledger().await?);
    let help =
        "get test coins with `cactus faucet`, or send APT to the address of `cactus wallet show`";
    report(session, &submit(&ledger, &key, Call::Deposit { amount }, help).await?);
    Ok(())
}

/// What a call about the deposit did.
pub(super) struct Moved {
    transaction: String,
    pub(super) balance: ClientBalance,
}

/// Sends a call about the deposit.
pub(super) async fn submit(
    ledger: &Ledger,
    key: &SecretKey,
    call: Call,
    help: &str,
) -> Result<Moved> {
    let committed = ledger.submit_and_wait(key, call).await.map_err(|error| match error {
        SubmitError::Aborted { .. } | SubmitError::Unfunded { .. } => {
            Helpful::error(error.to_string(), help)
        }
        other => other.into(),
    })?;
    let balance =
        ledger.client_balance(key.address()).await.context("cannot read the new balance")?;
    Ok(Moved { transaction: committed.hash, balance })
}

/// Says what a call did.
pub(super) fn report(session: &Session, Moved { transaction, balance }: &Moved) {
    if session.network.json {
        println!("{}", json!({ "transaction": transaction, "deposit": balance }));
    } else {
        println!("done in transaction {transaction}");
        println!("deposited: {} available, {} locked", balance.available, balance.locked);
    }
}
