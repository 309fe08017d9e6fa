//! `cactus admin`: what the contracts' admin and validators do. The key is theirs to name; only on
//! a local network, where it is public, is it known here.

use crate::{
    args::{AdminArgs, AdminCommand},
    helpful::Helpful,
    session::Session,
};
use anyhow::{Context, Result};
use cactus_ledger::{
    Admin, AdminError, Done, LOCALNET_CHAIN_ID, LOCALNET_CONTRACT, Ledger, SubmitError, key_file,
};
use cactus_protocol::{Address, Octas, SecretKey};
use serde_json::{Map, Value, json};
use std::{path::Path, time::Duration};

/// What the admin of a local network is given when it has less than gas.
const PURSE: Octas = Octas(1_000_000_000);
const GAS_IN_HAND: Octas = Octas(100_000_000);
/// The parameters that matter for who may take part and what it costs.
const PARAMETERS: [&str; 11] = [
    "min_stake",
    "min_server_bond",
    "unbonding_seconds",
    "server_fee_bps",
    "treasury_fee_bps",
    "quality_floor_bps",
    "max_task_seconds",
    "review_seconds",
    "withdrawal_delay_seconds",
    "slash_bounty_cap_bps",
    "parameter_delay_seconds",
];

pub async fn run(session: &Session, args: AdminArgs) -> Result<()> {
    let ledger = session.ledger().await?;
    let key_file = args.admin_key_file.as_deref();
    match args.command {
        AdminCommand::Show { address: None } => show(session, &ledger).await,
        AdminCommand::Show { address: Some(account) } => {
            print(session, &standing(&ledger, account).await?);
            Ok(())
        }
        AdminCommand::AuthorizeServer { address, wait } => {
            let admin = admin(session, &ledger, key_file).await?;
            let done = admin.authorize_server(address, Duration::from_secs(wait)).await;
            finish(session, (&ledger, address), done).await
        }
        AdminCommand::RevokeServer { address } => {
            let done = admin(session, &ledger, key_file).await?.revoke_server(address).await;
            finish(session, (&ledger, address), done).await
        }
        AdminCommand::AdmitOperator { address, wait } => {
            let admin = admin(session, &ledger, key_file).await?;
            let done = admin.admit_operator(address, Duration::from_secs(wait)).await;
            finish(session, (&ledger, address), done).await
        }
    }
}

/// Whoever acts: the named key, or on a local network the well-known one, with gas in its purse.
async fn admin(session: &Session, ledger: &Ledger, key_file: Option<&Path>) -> Result<Admin> {
    if let Some(path) = key_file {
        return Ok(Admin::new(ledger.clone(), key_file::load(path)?));
    }
    if (ledger.chain_id(), session.contract) != (LOCALNET_CHAIN_ID, LOCALNET_CONTRACT) {
        return Err(Helpful::error(
            format!(
                "this takes the key of the admin of {} on chain {}",
                session.contract,
                ledger.chain_id()
            ),
            "name it with --admin-key-file; `cactus admin show` says who the admin is",
        ));
    }
    let key = SecretKey::from_seed(&cactus_localnet::admin_seed());
    if ledger.coin_balance(key.address()).await? < GAS_IN_HAND {
        ledger.fund(key.address(), PURSE).await.context("the admin has no coins for gas")?;
    }
    Ok(Admin::new(ledger.clone(), key))
}

/// Says what was done and how the account stands now.
async fn finish(
    session: &Session,
    (ledger, account): (&Ledger, Address),
    done: Result<Vec<Done>, AdminError>,
) -> Result<()> {
    let done = done.map_err(helpful)?;
    let mut document = standing(ledger, account).await?;
    if session.network.json {
        document["done"] = json!(done);
        println!("{document}");
        return Ok(());
    }
    for Done { action, transaction } in &done {
        println!("done: {action}, in {transaction}");
    }
    if done.is_empty() {
        println!("nothing to do: it is so already");
    }
    print(session, &document);
    Ok(())
}

fn helpful(error: AdminError) -> anyhow::Error {
    let help = match &error {
        AdminError::NotAdmin { .. } => "name the admin's key with --admin-key-file",
        AdminError::NotValidator { .. } => {
            "name a validator's key with --admin-key-file, or the admin's, who becomes one"
        }
        AdminError::NotRegistered { .. } | AdminError::NoNode { .. } => {
            "its daemon registers it when it starts: check the address and the daemon's log, or \
             wait for it with --wait 60"
        }
        AdminError::Submit { source: SubmitError::Unfunded { .. }, .. } => {
            "send some APT to the account that signs"
        }
        AdminError::Submit { source: SubmitError::Aborted { .. }, .. } => {
            "the name of the refusal is explained at the top of that contract"
        }
        AdminError::Submit { .. } => "run it again: it does only what is still missing",
        AdminError::View(_) => "check --chain and --contract",
    };
    Helpful::error(error.to_string(), help)
}

async fn show(session: &Session, ledger: &Ledger) -> Result<()> {
    let admin = ledger.admin().await?;
    let mut parameters = Map::new();
    for name in PARAMETERS {
        parameters.insert(name.to_owned(), ledger.parameter(name).await?.into());
    }
    let document = json!({
        "contract": session.contract,
        "chain_id": ledger.chain_id(),
        "admin": admin,
        "admin_is_validator": ledger.is_validator(admin).await?,
        "admin_coins_octas": ledger.coin_balance(admin).await?,
        "treasury_octas": ledger.treasury().await?,
        "parameters": parameters,
    });
    print(session, &document);
    Ok(())
}

/// All that the contracts hold about an account.
async fn standing(ledger: &Ledger, account: Address) -> Result<Value> {
    let orchestrator = match ledger.orchestrator(account).await? {
        None => Value::Null,
        Some(info) => {
            let mut document = serde_json::to_value(info)?;
            document["stake"] = json!(ledger.stake(account).await?);
            document["reputation"] = json!(ledger.reputation(account).await?);
            document
        }
    };
    Ok(json!({
        "account": account,
        "coins_octas": ledger.coin_balance(account).await?,
        "validator": ledger.is_validator(account).await?,
        "server": ledger.server(account).await?,
        "orchestrator": orchestrator,
    }))
}

/// Prints a document: for people, one named value per line.
pub(super) fn print(session: &Session, document: &Value) {
    if session.network.json {
        println!("{document}");
    } else {
        for line in lines(document, "") {
            println!("{line}");
        }
    }
}

/// One line per value, named by the way to it.
fn lines(value: &Value, name: &str) -> Vec<String> {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, field)| lines(field, &below(key))).collect()
        }
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            numbered.flat_map(|(index, item)| lines(item, &below(&index.to_string()))).collect()
        }
        Value::Null => vec![format!("{name:<36} none")],
        Value::String(text) => vec![format!("{name:<36} {text}")],
        other => vec![format!("{name:<36} {other}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_one_named_value_per_line() {
        let document =
            json!({ "server": null, "orchestrator": { "nodes": [{ "validated": true }] } });
        let shown: Vec<String> =
            lines(&document, "").iter().map(|line| line.replace("  ", "")).collect();
        assert_eq!(shown, ["server none", "orchestrator.nodes.0.validated true"]);
    }
}
