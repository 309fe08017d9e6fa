//! The faucet's two calls: the old `/mint` and the new `/fund`.
//! Never answers before the coins are there.

use std::sync::LazyLock;
use std::time::Duration;

use actix_web::web;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use super::accounts::parse_address;
use super::answer::{self, Answer, ApiError};
use super::json::hexadecimal;
use super::node::Node;
use crate::chain::{Chain, Lookup};

/// Octas given when the request names no amount: one APT.
const DEFAULT_OCTAS: u64 = 100_000_000;
/// How long a gift may take to be committed.
const WAIT: Duration = Duration::from_secs(20);
/// Gifts under way at once: fewer than the mempool takes from one account.
static UNDER_WAY: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(64));

/// Adds the routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/mint", web::post().to(mint)).route("/fund", web::post().to(fund));
}

#[derive(Deserialize)]
struct Mint {
    address: Option<String>,
    auth_key: Option<String>,
    amount: Option<u64>,
}

#[derive(Deserialize)]
struct Fund {
    address: String,
    amount: Option<u64>,
}

async fn mint(chain: Node, gift: web::Query<Mint>) -> Answer {
    let recipient = gift.address.as_ref().or(gift.auth_key.as_ref());
    let recipient = recipient.ok_or_else(|| ApiError::invalid("address is missing"))?;
    let hash = give(&chain, recipient, gift.amount).await?;
    answer::json(&chain.snapshot(), &[hash])
}

async fn fund(chain: Node, gift: web::Json<Fund>) -> Answer {
    let hash = give(&chain, &gift.address, gift.amount).await?;
    answer::json(&chain.snapshot(), &json!({ "txn_hashes": [hash] }))
}

async fn give(chain: &Chain, recipient: &str, octas: Option<u64>) -> Result<String, ApiError> {
    let recipient = parse_address(recipient)?;
    let busy = |_| ApiError::unavailable("the faucet has closed");
    let _turn = UNDER_WAY.acquire().await.map_err(busy)?;
    let gift = chain.faucet.give(chain, recipient, octas.unwrap_or(DEFAULT_OCTAS))?;
    match chain.wait_for(&gift.hash, WAIT).await? {
        Lookup::Committed(version) => {
            let record = chain.snapshot().transaction(version)?;
            match record.map(|record| record.outcome) {
                Some(outcome) if !outcome.success => Err(ApiError::invalid(outcome.vm_status)),
                _ => Ok(hexadecimal(&gift.hash)),
            }
        }
        _ => Err(ApiError::unavailable("the gift was not committed in time")),
    }
}
