//! `encode_submission`: what a client without BCS has to sign.
//! Never signs and never submits.

use actix_web::web;
use serde::Deserialize;
use serde_json::json;

use super::accounts::parse_address;
use super::answer::{self, Answer, ApiError};
use super::json::hexadecimal;
use super::node::Node;
use super::view::{CallRequest, parse_call};
use crate::transaction::{
    RawTransaction, TransactionPayload, multi_agent_signing_message, single_signing_message,
};

/// A transaction in JSON; counters are text.
#[derive(Deserialize)]
pub struct Request {
    sender: String,
    sequence_number: String,
    max_gas_amount: String,
    gas_unit_price: String,
    expiration_timestamp_secs: String,
    payload: CallRequest,
    #[serde(default)]
    secondary_signers: Vec<String>,
}

/// `POST /v1/transactions/encode_submission`
pub async fn encode(chain: Node, request: web::Json<Request>) -> Answer {
    let snapshot = chain.snapshot();
    let request = request.into_inner();
    let number = |text: &str| text.parse::<u64>().map_err(ApiError::invalid);
    let raw = RawTransaction {
        sender: parse_address(&request.sender)?,
        sequence_number: number(&request.sequence_number)?,
        max_gas_amount: number(&request.max_gas_amount)?,
        gas_unit_price: number(&request.gas_unit_price)?,
        expiration_timestamp_secs: number(&request.expiration_timestamp_secs)?,
        chain_id: chain.chain_id(),
        payload: TransactionPayload::EntryFunction(parse_call(&chain, &snapshot, request.payload)?),
    };
    let others: Result<Vec<_>, _> =
        request.secondary_signers.iter().map(|one| parse_address(one)).collect();
    let others = others?;
    let message = if others.is_empty() {
        single_signing_message(&raw)
    } else {
        multi_agent_signing_message(&raw, &others)
    };
    answer::json(&snapshot, &json!(hexadecimal(&message.map_err(ApiError::internal)?)))
}
