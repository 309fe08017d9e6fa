//! `cactus key`: API keys for OpenAI clients. A key is backed by a mandate that the wallet signs;
//! the routing server can never lock more than that.

use crate::{account::Account, args::KeyCommand, session::Session};
use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::Value;

const SECONDS_PER_DAY: u64 = 86_400;

pub async fn run(session: &Session, command: KeyCommand) -> Result<()> {
    let account = Account::open(session).await?;
    match command {
        KeyCommand::Create { budget, max_per_task, days } => {
            let seconds = u64::from(days) * SECONDS_PER_DAY;
            let order = account.order(budget, max_per_task.min(budget), seconds)?;
            let created = account.call(Method::POST, "/v1/keys", Vec::new(), Some(&order)).await?;
            show(session, &account, &created)
        }
        KeyCommand::Revoke { id } => {
            let path = format!("/v1/keys/{id}");
            let revoked = account.call(Method::DELETE, &path, Vec::new(), None).await?;
            if session.network.json {
                println!("{revoked}");
            } else {
                println!("revoked {id}");
            }
            Ok(())
        }
    }
}

fn show(session: &Session, account: &Account, created: &Value) -> Result<()> {
    if session.network.json {
        println!("{created}");
        return Ok(());
    }
    let key = created["api_key"].as_str().context("the routing server sent no key")?;
    println!("id  {}", created["id"].as_str().unwrap_or("unknown"));
    println!("key {key}   (shown this once)\n");
    println!("export OPENAI_BASE_URL={}/v1", account.router.url);
    println!("export OPENAI_API_KEY={key}");
    Ok(())
}
