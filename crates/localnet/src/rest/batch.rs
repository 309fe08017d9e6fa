//! Several transactions in one submission; each is taken in or refused on its own.
//! Never stops at the first one that is refused.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use serde_json::{Value, json};

use super::answer::{self, Answer, ApiError};
use super::node::Node;
use super::request::{SIGNED_BCS, body_type};
use crate::transaction::parse_batch;

/// Most transactions in one submission, as on Aptos' nodes.
const MAX_TRANSACTIONS: usize = 10;

/// `POST /v1/transactions/batch`: 202 when all were taken in, 206 when some were not.
pub async fn submit(chain: Node, request: HttpRequest, body: web::Bytes) -> Answer {
    if body_type(&request) != Some(SIGNED_BCS) {
        return Err(ApiError::unsupported_body(SIGNED_BCS));
    }
    let transactions = parse_batch(&body).map_err(ApiError::invalid)?;
    if transactions.len() > MAX_TRANSACTIONS {
        let count = transactions.len();
        return Err(ApiError::invalid(format!(
            "{count} transactions are too many for one submission: {MAX_TRANSACTIONS} fit"
        )));
    }
    let mut failures = Vec::new();
    for (index, transaction) in transactions.iter().enumerate() {
        let bytes = transaction.to_bytes().map_err(ApiError::internal)?;
        if let Err(error) = chain.submit(bytes) {
            failures.push(failure(index, error.into()));
        }
    }
    let status =
        if failures.is_empty() { StatusCode::ACCEPTED } else { StatusCode::PARTIAL_CONTENT };
    answer::json_with(&chain.snapshot(), status, &json!({ "transaction_failures": failures }))
}

fn failure(index: usize, error: ApiError) -> Value {
    json!({ "error": error.body(), "transaction_index": index })
}
