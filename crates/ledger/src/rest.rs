//! The chain behind a node's REST API, through aptos-sdk. Retries nothing by itself: whoever asks
//! knows better what a lost answer means.

use crate::{
    chain::{Chain, ChainError, Execution, Head, Lookup, Refusal, RefusalKind},
    event::ChainEvent,
    transaction::account_address,
    view::TaskInfo,
    view_wire,
};
use aptos_sdk::{
    AptosConfig, AptosError, api::FullnodeClient, transaction::SignedTransaction, types::HashValue,
};
use cactus_protocol::{Address, Octas, TaskId};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::{Duration, UNIX_EPOCH};

/// How long one request may take. Nodes answer in milliseconds; a slow one is as good as none.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// One node and the account of the contracts.
#[derive(Debug, Clone)]
pub(crate) struct Rest {
    client: FullnodeClient,
    contract: Address,
}

/// One argument of a view in the form that the node reads as the Move type: hex of the bytes is
/// right for an address and for a `vector<u8>`, and for nothing else.
pub(crate) type HexArgument = Vec<u8>;

impl Rest {
    pub(crate) fn new(url: &str, contract: Address) -> Result<Self, AptosError> {
        let config = AptosConfig::custom(url)?.with_timeout(REQUEST_TIMEOUT).without_retry();
        Ok(Self { client: FullnodeClient::new(config)?, contract })
    }

    pub(crate) fn contract(&self) -> Address {
        self.contract
    }

    /// Calls a view of the contracts that returns one value.
    pub(crate) async fn view<T: DeserializeOwned>(
        &self,
        function: &str,
        arguments: Vec<HexArgument>,
    ) -> Result<T, ChainError> {
        let function = format!("{}::{function}", self.contract);
        self.view_at(&function, Vec::new(), arguments).await
    }

    /// Calls any view that returns one value. The answer is a ULEB128 count and then the values,
    /// which is the BCS form of a vector.
    pub(crate) async fn view_at<T: DeserializeOwned>(
        &self,
        function: &str,
        type_arguments: Vec<String>,
        arguments: Vec<HexArgument>,
    ) -> Result<T, ChainError> {
        let answer = self.client.view_bcs(function, type_arguments, arguments);
        let bytes = answer.await.map_err(chain_error)?.data;
        let unreadable = |why: String| ChainError::Unreadable(format!("{function}: {why}"));
        let values: Vec<T> =
            aptos_bcs::from_bytes(&bytes).map_err(|error| unreadable(error.to_string()))?;
        let count = values.len();
        let mut values = values.into_iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            _ => Err(unreadable(format!("{count} values instead of one"))),
        }
    }

    /// Calls a view of the contracts with arguments in BCS; the one value comes as JSON.
    pub(crate) async fn view_json(
        &self,
        function: &str,
        arguments: Vec<Vec<u8>>,
    ) -> Result<Value, ChainError> {
        let function = format!("{}::{function}", self.contract);
        let answer = self.client.view_bcs_args(&function, Vec::new(), arguments);
        let values = answer.await.map_err(chain_error)?.data;
        let missing = || ChainError::Unreadable(format!("{function}: no value"));
        values.into_iter().next().ok_or_else(missing)
    }
}

impl Chain for Rest {
    async fn head(&self) -> Result<Head, ChainError> {
        let info = self.client.get_ledger_info().await.map_err(chain_error)?.data;
        let micros: u64 = info
            .ledger_timestamp
            .parse()
            .map_err(|_| ChainError::Unreadable("ledger_timestamp is no number".into()))?;
        Ok(Head {
            chain_id: info.chain_id,
            seconds: micros / 1_000_000,
            local_seconds: UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs()),
        })
    }

    async fn sequence_number(&self, account: Address) -> Result<u64, ChainError> {
        let answer = self.client.get_account(account_address(account)).await;
        match answer.map_err(chain_error) {
            Ok(answer) => answer
                .data
                .sequence_number()
                .map_err(|_| ChainError::Unreadable("sequence_number is no number".into())),
            Err(ChainError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    async fn gas_unit_price(&self) -> Result<u64, ChainError> {
        let answer = self.client.estimate_gas_price().await;
        Ok(answer.map_err(chain_error)?.data.recommended())
    }

    async fn submit(&self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        let answer = self.client.submit_transaction(transaction).await;
        answer.map(drop).map_err(chain_error)
    }

    async fn look_up(&self, hash: &str) -> Result<Lookup, ChainError> {
        let hash = HashValue::from_hex(hash)
            .map_err(|_| ChainError::Unreadable(format!("{hash} is no hash")))?;
        let answer = self.client.get_transaction_by_hash(&hash).await;
        match answer.map_err(chain_error) {
            Ok(answer) => read_transaction(&answer.data, self.contract),
            Err(ChainError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound => {
                Ok(Lookup::Unknown)
            }
            Err(error) => Err(error),
        }
    }

    async fn task(&self, client: Address, task_id: TaskId) -> Result<TaskInfo, ChainError> {
        let arguments = vec![client.0.to_vec(), task_id.0.to_vec()];
        let wire: view_wire::Task = self.view("payment::task", arguments).await?;
        Ok(wire.into())
    }
}

/// Reads a transaction as `by_hash` prints it. One without a version is not in the chain yet; one
/// without `success` is not taken for a success.
fn read_transaction(value: &Value, contract: Address) -> Result<Lookup, ChainError> {
    if value.get("version").is_none() {
        return Ok(Lookup::Pending);
    }
    let unreadable = |field: &str| ChainError::Unreadable(format!("transaction without {field}"));
    let number = |field: &'static str| {
        let text = value.get(field).and_then(Value::as_str);
        text.and_then(|text| text.parse::<u64>().ok()).ok_or_else(|| unreadable(field))
    };
    let success = value.get("success").and_then(Value::as_bool);
    let vm_status = value.get("vm_status").and_then(Value::as_str);
    let gas = number("gas_used")?.checked_mul(number("gas_unit_price")?);
    let events = value.get("events").and_then(Value::as_array);
    Ok(Lookup::Committed(Execution {
        version: number("version")?,
        success: success.ok_or_else(|| unreadable("success"))?,
        vm_status: vm_status.unwrap_or_default().to_owned(),
        gas: Octas(gas.ok_or_else(|| unreadable("a gas charge that fits"))?),
        events: events
            .into_iter()
            .flatten()
            .filter_map(|event| ChainEvent::parse(event, contract))
            .collect(),
    }))
}

/// The one place where the SDK's errors get a meaning.
pub(crate) fn chain_error(error: AptosError) -> ChainError {
    let refused = |kind, message| ChainError::Refused(Refusal { kind, message });
    match error {
        AptosError::Api { status_code, message, error_code, vm_error_code } => {
            let said = NodeError::read(message, error_code, vm_error_code);
            match status_code {
                408 | 425 | 500..=599 => ChainError::Unavailable(said.message),
                404 => refused(RefusalKind::NotFound, said.message),
                _ => refused(said.kind(), said.message),
            }
        }
        AptosError::RateLimited { .. } => ChainError::Unavailable("too many requests".into()),
        AptosError::Http(error) => ChainError::Unavailable(with_causes(&error)),
        AptosError::Json(error) => ChainError::Unreadable(error.to_string()),
        other => ChainError::Unreadable(other.to_string()),
    }
}

/// The HTTP client's own text says only that sending failed; its causes say why.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What a node says when it says no.
#[derive(Deserialize)]
struct NodeError {
    message: String,
    error_code: Option<String>,
    vm_error_code: Option<u64>,
}

impl NodeError {
    /// The SDK gives the fields or, from BCS views, the whole JSON body as the message.
    fn read(message: String, error_code: Option<String>, vm_error_code: Option<u64>) -> Self {
        serde_json::from_str(&message).unwrap_or(Self { message, error_code, vm_error_code })
    }

    /// By Aptos' error names and its numbers of validation failures (`StatusCode` in
    /// move-core-types).
    fn kind(&self) -> RefusalKind {
        const SEQUENCE_NUMBER_TOO_OLD: u64 = 3;
        const INSUFFICIENT_BALANCE_FOR_TRANSACTION_FEE: u64 = 5;
        const TRANSACTION_EXPIRED: u64 = 6;
        const SENDING_ACCOUNT_DOES_NOT_EXIST: u64 = 7;
        match (self.error_code.as_deref(), self.vm_error_code) {
            // The second name: another transaction with this number already waits.
            (Some("sequence_number_too_old" | "invalid_transaction_update"), _)
            | (_, Some(SEQUENCE_NUMBER_TOO_OLD)) => RefusalKind::SequenceTaken,
            (_, Some(TRANSACTION_EXPIRED)) => RefusalKind::Expired,
            (
                _,
                Some(INSUFFICIENT_BALANCE_FOR_TRANSACTION_FEE | SENDING_ACCOUNT_DOES_NOT_EXIST),
            ) => RefusalKind::Unfunded,
            _ => RefusalKind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_transaction_without_success_is_no_success() {
        let complete = json!({ "version": "7", "success": true, "vm_status": "Executed",
            "gas_used": "12", "gas_unit_price": "100", "events": [] });
        let Ok(Lookup::Committed(execution)) = read_transaction(&complete, Address::default())
        else {
            panic!("not committed");
        };
        assert_eq!((execution.version, execution.gas), (7, Octas(1_200)));
        let mut without = complete;
        without.as_object_mut().unwrap().remove("success");
        assert!(read_transaction(&without, Address::default()).is_err());
        let pending = json!({ "type": "pending_transaction", "hash": "0x1" });
        assert_eq!(read_transaction(&pending, Address::default()), Ok(Lookup::Pending));
    }

    #[test]
    fn only_a_clear_no_is_a_refusal() {
        let kind = |status, code: &str, number| {
            let error = AptosError::api_with_details(status, "m", Some(code.into()), number);
            match chain_error(error) {
                ChainError::Refused(refusal) => Some(refusal.kind),
                _ => None,
            }
        };
        assert_eq!(kind(503, "mempool_is_full", None), None);
        assert_eq!(kind(507, "mempool_is_full", None), None);
        assert_eq!(kind(400, "vm_error", Some(3)), Some(RefusalKind::SequenceTaken));
        assert_eq!(kind(400, "invalid_transaction_update", None), Some(RefusalKind::SequenceTaken));
        assert_eq!(kind(400, "vm_error", Some(6)), Some(RefusalKind::Expired));
        assert_eq!(kind(400, "vm_error", Some(5)), Some(RefusalKind::Unfunded));
        assert_eq!(kind(400, "vm_error", Some(1)), Some(RefusalKind::Other));
        assert_eq!(kind(404, "account_not_found", None), Some(RefusalKind::NotFound));
    }

    #[test]
    fn a_refused_view_says_why_and_not_in_json() {
        let body =
            r#"{"message":"no such module","error_code":"module_not_found","vm_error_code":null}"#;
        let error = chain_error(AptosError::api(400, body));
        assert_eq!(error.to_string(), "the chain refused: no such module");
    }
}
