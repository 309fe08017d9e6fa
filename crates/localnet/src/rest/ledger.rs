//! Ledger info, health and the price of gas.
//! Never looks at an account.

use serde_json::json;

use super::answer::{self, Answer, EPOCH};
use super::node::Node;
use crate::execution::MIN_GAS_PRICE;

/// `GET /v1`
pub async fn info(chain: Node) -> Answer {
    let snapshot = chain.snapshot();
    let ledger = snapshot.ledger();
    let body = json!({
        "chain_id": ledger.chain_id,
        "epoch": EPOCH.to_string(),
        "ledger_version": ledger.version.to_string(),
        "oldest_ledger_version": "0",
        "ledger_timestamp": ledger.timestamp_us.to_string(),
        "node_role": "full_node",
        "oldest_block_height": "0",
        "block_height": ledger.height.to_string(),
        "git_hash": null,
    });
    answer::json(&snapshot, &body)
}

/// `GET /v1/-/healthy`
pub async fn healthy(chain: Node) -> Answer {
    let body = json!({ "message": "aptos-node:ok" });
    answer::json(&chain.snapshot(), &body)
}

/// `GET /v1/estimate_gas_price`: blocks are never full for long, so the least price is enough.
pub async fn gas_price(chain: Node) -> Answer {
    let body = json!({
        "deprioritized_gas_estimate": MIN_GAS_PRICE,
        "gas_estimate": MIN_GAS_PRICE,
        "prioritized_gas_estimate": MIN_GAS_PRICE + MIN_GAS_PRICE / 2,
    });
    answer::json(&chain.snapshot(), &body)
}
