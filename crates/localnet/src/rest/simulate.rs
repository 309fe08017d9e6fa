//! Simulation: what a transaction would do now, without its signature and without effect.
//! Never runs a transaction whose signatures are valid: an answer's carrier could submit it.

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{self, Answer, ApiError};
use super::node::Node;
use super::{json as print, request, transactions};
use crate::authenticator::Authenticated;
use crate::chain::{Chain, SubmitError};
use crate::execution::{Executed, MAX_GAS_UNITS, MIN_GAS_PRICE};
use crate::records::{ChangeRecord, Outcome};
use crate::refusal::Refusal;
use crate::store::Snapshot;
use crate::transaction::{SignedTransaction, user_transaction_hash};

/// What the node should fill in.
#[derive(Clone, Copy, Deserialize)]
pub struct Options {
    #[serde(default)]
    estimate_gas_unit_price: bool,
    #[serde(default)]
    estimate_prioritized_gas_unit_price: bool,
    #[serde(default)]
    estimate_max_gas_amount: bool,
}

impl Options {
    fn apply(self, transaction: &mut Authenticated, balance: u64) {
        let raw = &mut transaction.transaction.raw;
        if self.estimate_gas_unit_price || self.estimate_prioritized_gas_unit_price {
            raw.gas_unit_price = MIN_GAS_PRICE;
        }
        if self.estimate_max_gas_amount {
            let affordable = balance / raw.gas_unit_price.max(1);
            raw.max_gas_amount = affordable.min(MAX_GAS_UNITS);
        }
    }
}

/// `POST /v1/transactions/simulate`
pub async fn simulate(
    chain: Node,
    http: HttpRequest,
    options: web::Query<Options>,
    body: web::Bytes,
) -> Answer {
    let snapshot = chain.snapshot();
    let body = request::signed_bytes(&chain, &snapshot, &http, &body)?;
    let (running, state, bytes) = (chain.clone(), Arc::clone(&snapshot), body.clone());
    let simulated = web::block(move || {
        running.simulate(&state, bytes, |transaction, balance| options.apply(transaction, balance))
    });
    let simulated = simulated.await.map_err(|_| ApiError::unavailable("too busy to simulate"))?;
    let mut gas_used = 0;
    let result = match simulated {
        Ok(None) => {
            let message = "Simulated transactions must not have a valid signature";
            return Err(ApiError::invalid(message));
        }
        Ok(Some((transaction, executed))) => {
            gas_used = executed.outcome.gas_used;
            executed_result(&chain, &snapshot, &transaction, &executed)
        }
        Err(SubmitError::Refused(refusal)) => refused_result(&chain, &snapshot, &body, refusal)?,
        Err(error) => return Err(error.into()),
    };
    let mut answer = answer::json(&snapshot, &[result])?;
    answer::add_gas_used(&mut answer, gas_used);
    Ok(answer)
}

fn executed_result(
    chain: &Chain,
    snapshot: &Snapshot,
    transaction: &Authenticated,
    executed: &Executed,
) -> Value {
    let signed = &transaction.transaction;
    let mut object = base(chain, snapshot, signed, &transaction.bytes);
    object.extend(transactions::outcome(&executed.outcome));
    let events = executed.events.iter().map(|event| print::event(chain, snapshot, event));
    object.insert("events".to_owned(), events.collect());
    let changes = executed
        .writes
        .iter()
        .map(|write| transactions::change(chain, snapshot, &ChangeRecord::from(write)));
    object.insert("changes".to_owned(), changes.collect());
    Value::Object(object)
}

/// A transaction that would be discarded is answered, not refused: that is what was asked.
fn refused_result(
    chain: &Chain,
    snapshot: &Snapshot,
    bytes: &[u8],
    refusal: Refusal,
) -> Result<Value, ApiError> {
    let signed = SignedTransaction::parse(bytes).map_err(ApiError::invalid)?;
    let mut object = base(chain, snapshot, &signed, bytes);
    object.extend(transactions::outcome(&Outcome {
        success: false,
        vm_status: refusal.to_string(),
        gas_used: 0,
    }));
    object.insert("events".to_owned(), json!([]));
    object.insert("changes".to_owned(), json!([]));
    Ok(Value::Object(object))
}

fn base(
    chain: &Chain,
    snapshot: &Snapshot,
    signed: &SignedTransaction,
    bytes: &[u8],
) -> Map<String, Value> {
    let ledger = snapshot.ledger();
    let zero = print::hexadecimal(&[0; 32]);
    let mut object = transactions::signed(chain, snapshot, signed);
    object.extend([
        ("type".to_owned(), json!("user_transaction")),
        ("hash".to_owned(), json!(print::hexadecimal(&user_transaction_hash(bytes)))),
        ("version".to_owned(), json!(ledger.version.to_string())),
        ("timestamp".to_owned(), json!(ledger.timestamp_us.to_string())),
        ("state_change_hash".to_owned(), json!(zero)),
        ("event_root_hash".to_owned(), json!(zero)),
        ("accumulator_root_hash".to_owned(), json!(zero)),
        ("state_checkpoint_hash".to_owned(), Value::Null),
    ]);
    object
}
