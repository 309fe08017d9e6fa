//! Blocks, by height and by the version of a transaction in them.
//! Never shows a block that is not durable.

use actix_web::web;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{self, Answer, ApiError};
use super::node::Node;
use super::{json as print, transactions};
use crate::chain::Chain;

/// Adds the routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/blocks/by_height/{height}", web::get().to(by_height))
        .route("/blocks/by_version/{version}", web::get().to(by_version));
}

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    with_transactions: bool,
}

async fn by_height(chain: Node, height: web::Path<u64>, options: web::Query<Options>) -> Answer {
    block(&chain, *height, &options)
}

async fn by_version(chain: Node, version: web::Path<u64>, options: web::Query<Options>) -> Answer {
    let record = chain.snapshot().transaction(*version)?;
    let missing = || {
        let message = format!("Block not found by Ledger version({version})");
        ApiError::not_found("block_not_found", message)
    };
    block(&chain, record.ok_or_else(missing)?.block_height, &options)
}

fn block(chain: &Chain, height: u64, options: &Options) -> Answer {
    let snapshot = chain.snapshot();
    let Some(block) = snapshot.block(height)? else {
        let message = format!("Block not found by Block height({height})");
        return Err(ApiError::not_found("block_not_found", message));
    };
    let transactions: Option<Vec<Value>> = if options.with_transactions {
        let versions = block.first_version..=block.last_version;
        let printed = versions.map(|version| transactions::committed(chain, &snapshot, version));
        Some(printed.collect::<Result<_, _>>()?)
    } else {
        None
    };
    let body = json!({
        "block_height": height.to_string(),
        "block_hash": print::hexadecimal(&block.hash),
        "block_timestamp": block.timestamp_us.to_string(),
        "first_version": block.first_version.to_string(),
        "last_version": block.last_version.to_string(),
        "transactions": transactions,
    });
    answer::json(&snapshot, &body)
}
