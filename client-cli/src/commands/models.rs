//! `cactus models`: what can be asked.

use crate::session::Session;
use anyhow::Result;
use serde_json::Value;

pub async fn run(session: &Session) -> Result<()> {
    let models: Value = session.public_router()?.get("/v1/models").await?;
    if session.network.json {
        println!("{models}");
        return Ok(());
    }
    let entries = models["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    if entries.is_empty() {
        println!("no model is on offer now; `cactus nodes` lists the orchestrators");
    }
    for model in entries {
        println!("{}", model["id"].as_str().unwrap_or("unnamed"));
    }
    Ok(())
}
