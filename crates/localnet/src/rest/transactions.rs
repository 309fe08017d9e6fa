//! Transactions: submission, look-ups, lists.
//! Never reports a transaction as committed before it is durable.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use cactus_move_vm::StateKey;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::accounts::{parse_address, printed_module};
use super::answer::{self, Answer, ApiError, EPOCH};
use super::node::Node;
use super::{batch, encoding, json as print, request, simulate};
use crate::authenticator::Authenticated;
use crate::chain::{Chain, Lookup};
use crate::records::{ChangeRecord, Outcome, TransactionBody, TransactionRecord};
use crate::state::decode_key;
use crate::store::Snapshot;
use crate::transaction::{Hash, SignedTransaction, sha3};

/// Transactions in a list when the client names no number.
const DEFAULT_ITEMS: usize = 25;
/// Most transactions in a list.
const MAX_ITEMS: usize = 100;
/// How long `wait_by_hash` waits; as in Aptos, less than most clients' time-outs.
const WAIT: Duration = Duration::from_secs(1);

/// Adds the routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/transactions", web::post().to(submit))
        .route("/transactions", web::get().to(list))
        .route("/transactions/encode_submission", web::post().to(encoding::encode))
        .route("/transactions/batch", web::post().to(batch::submit))
        .route("/transactions/simulate", web::post().to(simulate::simulate))
        .route("/transactions/by_hash/{hash}", web::get().to(by_hash))
        .route("/transactions/wait_by_hash/{hash}", web::get().to(wait_by_hash))
        .route("/transactions/by_version/{version}", web::get().to(by_version));
}

/// Which page of a list of transactions.
#[derive(Deserialize)]
pub struct Page {
    start: Option<u64>,
    limit: Option<usize>,
}

impl Page {
    fn limit(&self) -> Result<usize, ApiError> {
        match self.limit.unwrap_or(DEFAULT_ITEMS) {
            0 => Err(ApiError::invalid("limit must not be 0")),
            limit => Ok(limit.min(MAX_ITEMS)),
        }
    }
}

async fn submit(chain: Node, http: HttpRequest, body: web::Bytes) -> Answer {
    let bytes = request::signed_bytes(&chain, &chain.snapshot(), &http, &body)?;
    let submitted = chain.submit(bytes)?;
    let snapshot = chain.snapshot();
    let body = pending(&chain, &snapshot, &submitted);
    answer::json_with(&snapshot, StatusCode::ACCEPTED, &body)
}

async fn by_hash(chain: Node, hash: web::Path<String>) -> Answer {
    let hash = parse_hash(&hash)?;
    found(&chain, &hash, chain.look_up(&hash)?)
}

async fn wait_by_hash(chain: Node, hash: web::Path<String>) -> Answer {
    let hash = parse_hash(&hash)?;
    let lookup = chain.wait_for(&hash, WAIT).await?;
    found(&chain, &hash, lookup)
}

fn parse_hash(text: &str) -> Result<Hash, ApiError> {
    let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(ApiError::invalid)?;
    let wrong = |_| ApiError::invalid("a transaction hash has 32 bytes");
    Hash::try_from(bytes.as_slice()).map_err(wrong)
}

fn found(chain: &Chain, hash: &Hash, lookup: Lookup) -> Answer {
    let snapshot = chain.snapshot();
    let body = match lookup {
        Lookup::Pending(transaction) => pending(chain, &snapshot, &transaction),
        Lookup::Committed(version) => committed(chain, &snapshot, version)?,
        Lookup::Unknown => {
            let message =
                format!("Transaction not found by Transaction hash({})", print::hexadecimal(hash));
            return Err(ApiError::not_found("transaction_not_found", message));
        }
    };
    answer::json(&snapshot, &body)
}

async fn by_version(chain: Node, version: web::Path<u64>) -> Answer {
    let snapshot = chain.snapshot();
    let body = committed(&chain, &snapshot, *version)?;
    answer::json(&snapshot, &body)
}

async fn list(chain: Node, page: web::Query<Page>) -> Answer {
    let snapshot = chain.snapshot();
    let limit = page.limit()?;
    let count = u64::try_from(limit).unwrap_or(u64::MAX);
    let last = snapshot.ledger().version;
    let start = page.start.unwrap_or((last + 1).saturating_sub(count));
    if start > last {
        return Err(version_not_found(start, last));
    }
    let versions = (start..=last).take(limit);
    let body: Result<Vec<Value>, ApiError> =
        versions.map(|version| committed(&chain, &snapshot, version)).collect();
    answer::json(&snapshot, &body?)
}

/// `GET /v1/accounts/{address}/transactions`; `start` is a sequence number.
pub async fn of_account(chain: Node, address: web::Path<String>, page: web::Query<Page>) -> Answer {
    let snapshot = chain.snapshot();
    let address = parse_address(&address)?;
    let limit = page.limit()?;
    let newest = u64::try_from(limit).unwrap_or(u64::MAX);
    let next = snapshot.last_sequence_number(&address)?.map_or(0, |last| last + 1);
    let start = page.start.unwrap_or(next.saturating_sub(newest));
    let versions = snapshot.account_versions(&address, start, limit)?;
    let body: Result<Vec<Value>, ApiError> =
        versions.into_iter().map(|version| committed(&chain, &snapshot, version)).collect();
    answer::json(&snapshot, &body?)
}

fn version_not_found(version: u64, last: u64) -> ApiError {
    let message = format!("Ledger version({version}) is not there yet: the last is {last}");
    ApiError::not_found("version_not_found", message)
}

/// A transaction that waits.
fn pending(chain: &Chain, snapshot: &Snapshot, transaction: &Authenticated) -> Value {
    let mut object = signed(chain, snapshot, &transaction.transaction);
    object.insert("type".to_owned(), json!("pending_transaction"));
    object.insert("hash".to_owned(), json!(print::hexadecimal(&transaction.hash)));
    Value::Object(object)
}

/// The parts of a transaction that came from its sender.
pub fn signed(
    chain: &Chain,
    snapshot: &Snapshot,
    transaction: &SignedTransaction,
) -> Map<String, Value> {
    let mut object = print::request(chain, snapshot, &transaction.raw);
    object.insert("signature".to_owned(), print::signature(&transaction.authenticator));
    object
}

/// The transaction at a version.
pub fn committed(chain: &Chain, snapshot: &Snapshot, version: u64) -> Result<Value, ApiError> {
    let Some(record) = snapshot.transaction(version)? else {
        return Err(version_not_found(version, snapshot.ledger().version));
    };
    let changes = snapshot.changes(version)?;
    let mut object = match &record.body {
        TransactionBody::Genesis => kind("genesis_transaction"),
        TransactionBody::BlockMetadata => block_metadata(&record),
        TransactionBody::User(bytes) => {
            let transaction = SignedTransaction::parse(&bytes.0).map_err(ApiError::internal)?;
            let mut object = signed(chain, snapshot, &transaction);
            object.extend(kind("user_transaction"));
            object
        }
    };
    object.extend(outcome(&record.outcome));
    object.extend(position(&record, version));
    let events = record.events.iter().map(|event| print::event(chain, snapshot, event));
    object.insert("events".to_owned(), events.collect());
    let changes = changes.iter().map(|one| change(chain, snapshot, one));
    object.insert("changes".to_owned(), changes.collect());
    Ok(Value::Object(object))
}

fn kind(name: &str) -> Map<String, Value> {
    Map::from_iter([("type".to_owned(), json!(name))])
}

fn block_metadata(record: &TransactionRecord) -> Map<String, Value> {
    let mut object = kind("block_metadata_transaction");
    object.insert("id".to_owned(), json!(print::hexadecimal(&record.hash)));
    object.insert("epoch".to_owned(), json!(EPOCH.to_string()));
    object.insert("round".to_owned(), json!(record.block_height.to_string()));
    object.insert("proposer".to_owned(), json!("0x0"));
    object.insert("failed_proposer_indices".to_owned(), json!([]));
    object.insert("previous_block_votes_bitvec".to_owned(), json!([]));
    object
}

/// How a transaction ended.
pub fn outcome(outcome: &Outcome) -> Map<String, Value> {
    Map::from_iter([
        ("success".to_owned(), json!(outcome.success)),
        ("vm_status".to_owned(), json!(outcome.vm_status)),
        ("gas_used".to_owned(), json!(outcome.gas_used.to_string())),
    ])
}

fn position(record: &TransactionRecord, version: u64) -> Map<String, Value> {
    let root = |hash: &Hash| json!(print::hexadecimal(hash));
    Map::from_iter([
        ("version".to_owned(), json!(version.to_string())),
        ("hash".to_owned(), root(&record.hash)),
        ("timestamp".to_owned(), json!(record.timestamp_us.to_string())),
        ("state_change_hash".to_owned(), root(&record.state_change)),
        ("event_root_hash".to_owned(), root(&record.event_root)),
        ("accumulator_root_hash".to_owned(), root(&record.accumulator)),
        ("state_checkpoint_hash".to_owned(), Value::Null),
    ])
}

/// A change of state.
pub fn change(chain: &Chain, snapshot: &Snapshot, change: &ChangeRecord) -> Value {
    let hash = print::hexadecimal(&sha3(&change.key.0));
    let value = change.value.as_ref().map(|value| value.0.as_slice());
    match (decode_key(&change.key.0), value) {
        (Some(StateKey::Resource(address, tag)), Some(bytes)) => {
            let printed = tag.to_string();
            let tag = cactus_move_vm::TypeTag::Struct(Box::new(tag));
            let data = print::value(chain, snapshot, &tag, bytes);
            json!({
                "type": "write_resource",
                "address": address.to_string(),
                "state_key_hash": hash,
                "data": { "type": printed, "data": data },
            })
        }
        (Some(StateKey::Resource(address, tag)), None) => json!({
            "type": "delete_resource",
            "address": address.to_string(),
            "state_key_hash": hash,
            "resource": tag.to_string(),
        }),
        (Some(StateKey::Module(id)), _) => json!({
            "type": "write_module",
            "address": id.address.to_string(),
            "state_key_hash": hash,
            "data": printed_module(chain, snapshot, &id),
        }),
        (Some(StateKey::TableItem(handle, key)), value) => json!({
            "type": if value.is_some() { "write_table_item" } else { "delete_table_item" },
            "state_key_hash": hash,
            "handle": handle.to_long_string(),
            "key": print::hexadecimal(&key),
            "value": value.map(print::hexadecimal),
            "data": null,
        }),
        (None, _) => Value::Null,
    }
}
