//! `cactus balance`: what the wallet has, and where.

use crate::session::Session;
use anyhow::Result;
use serde_json::json;

pub async fn run(session: &Session) -> Result<()> {
    let (key, ledger) = (session.wallet()?, session.ledger().await?);
    let address = key.address();
    let coins = ledger.coin_balance(address).await?;
    let deposit = ledger.client_balance(address).await?;
    if session.network.json {
        println!("{}", json!({ "address": address, "coins_octas": coins, "deposit": deposit }));
        return Ok(());
    }
    println!("address    {address}");
    println!("coins      {coins}");
    println!(
        "deposited  {} available, {} locked in running tasks",
        deposit.available, deposit.locked
    );
    if let Some(announcement) = super::withdraw::announcement(&deposit) {
        println!("           {announcement}");
    }
    Ok(())
}
