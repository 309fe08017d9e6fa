//! `cactus embed`: texts as vectors.

use crate::{account::Account, args::EmbedArgs, helpful::Helpful, session::Session};
use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

/// How long the order for the request stays good, in seconds.
const ORDER_SECONDS: u64 = 600;

pub async fn run(session: &Session, args: EmbedArgs) -> Result<()> {
    let account = Account::open(session).await?;
    let model = match args.model {
        Some(model) => model,
        None => first_embedding_model(&account).await?,
    };
    let body = json!({"model": model, "input": args.texts});
    let order = account.order(args.max_cost, args.max_cost, ORDER_SECONDS)?;
    let body = serde_json::to_vec(&body)?;
    let answer = account.call(Method::POST, "/v1/embeddings", body, Some(&order)).await?;
    if session.network.json {
        println!("{answer}");
        return Ok(());
    }
    for entry in answer["data"].as_array().map(Vec::as_slice).unwrap_or_default() {
        println!("{}", entry["embedding"]);
    }
    Ok(())
}

/// The first model on offer that makes vectors.
async fn first_embedding_model(account: &Account) -> Result<String> {
    let models: Value = account.router.get("/v1/models").await?;
    let models = models["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let first = models.iter().find(|model| model["kind"]["embedding"].is_object());
    let id = first.and_then(|model| model["id"].as_str());
    id.map(str::to_owned).ok_or_else(|| {
        let help = "`cactus models` lists what is on offer";
        Helpful::error("no orchestrator offers a model that makes vectors", help)
    })
}
