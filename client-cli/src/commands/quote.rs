//! `cactus quote`: what a question would cost at most, without asking it.

use crate::{
    account::Account,
    args::QuoteArgs,
    commands::chat::{first_model, shorten},
    session::Session,
};
use anyhow::Result;
use cactus_protocol::Octas;
use reqwest::Method;
use serde_json::{Value, json};

pub async fn run(session: &Session, args: QuoteArgs) -> Result<()> {
    let account = Account::open(session).await?;
    let model = match args.model {
        Some(model) => model,
        None => first_model(&account).await?,
    };
    let body = json!({
        "model": model,
        "max_tokens": args.max_tokens,
        "messages": [{"role": "user", "content": args.prompt}],
    });
    let body = serde_json::to_vec(&body)?;
    let quote = account.call(Method::POST, "/v1/quote", body, None).await?;
    if session.network.json {
        println!("{quote}");
        return Ok(());
    }
    let choice = &quote["choices"][0];
    println!(
        "{model}: at most {} prompt and {} output tokens",
        choice["prompt_tokens_at_most"], choice["max_tokens"]
    );
    let list = |field: &str| choice[field].as_array().cloned().unwrap_or_default();
    let name = |node: &Value| shorten(node["operator"].as_str().unwrap_or("unknown"));
    for node in list("eligible") {
        let most = Octas(node["lock_octas"].as_u64().unwrap_or_default());
        let score = node["score"].as_f64().unwrap_or_default();
        println!("{}  at most {most}  score {score:.3}", name(&node));
    }
    for node in list("ineligible") {
        println!("{}  not now: {}", name(&node), node["reason"].as_str().unwrap_or("unknown"));
    }
    Ok(())
}
