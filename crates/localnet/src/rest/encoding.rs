//! `encode_submission`: what a client without BCS has to sign.
//! Never signs and never submits.

use actix_web::web;
use serde::Deserialize;
use serde_json::json;

use super::accounts::parse_address;
use super::answer::{self, Answer, ApiError};
use super::json::hexadecimal;
use super::node::Node;
use super::request::TransactionRequest;
use crate::transaction::{multi_agent_signing_message, single_signing_message};

/// A transaction and who else will sign it.
#[derive(Deserialize)]
pub struct Request {
    #[serde(flatten)]
    transaction: TransactionRequest,
    #[serde(default)]
    secondary_signers: Vec<String>,
}

/// `POST /v1/transactions/encode_submission`
pub async fn encode(chain: Node, request: web::Json<Request>) -> Answer {
    let snapshot = chain.snapshot();
    let Request { transaction, secondary_signers } = request.into_inner();
    let raw = transaction.raw(&chain, &snapshot)?;
    let others: Result<Vec<_>, _> =
        secondary_signers.iter().map(|one| parse_address(one)).collect();
    let others = others?;
    let message = if others.is_empty() {
        single_signing_message(&raw)
    } else {
        multi_agent_signing_message(&raw, &others)
    };
    answer::json(&snapshot, &json!(hexadecimal(&message.map_err(ApiError::internal)?)))
}
