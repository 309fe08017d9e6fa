//! `cactus nodes`: who sells, and at what price.

use crate::{commands::chat::shorten, session::Session};
use anyhow::Result;
use cactus_protocol::Octas;
use serde_json::Value;

pub async fn run(session: &Session) -> Result<()> {
    let nodes: Value = session.public_router()?.get("/v1/nodes").await?;
    if session.network.json {
        println!("{nodes}");
        return Ok(());
    }
    let entries = nodes["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    if entries.is_empty() {
        println!("no orchestrator is linked to this routing server");
    }
    for node in entries {
        print_node(node);
    }
    Ok(())
}

fn print_node(node: &Value) {
    let text = |field: &str| node[field].as_str().unwrap_or("unknown").to_owned();
    let stake = Octas(node["stake_octas"].as_u64().unwrap_or_default());
    println!("{}  {}  stake {stake}", shorten(&text("operator")), text("status"));
    for model in node["models"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let octas = |field: &str| model["price"][field].as_u64().unwrap_or_default();
        println!(
            "  {}  context {}  {} + {} octas per 1,000 tokens in + out",
            model["id"].as_str().unwrap_or("unnamed"),
            model["context_length"],
            octas("prompt"),
            octas("output"),
        );
    }
}
