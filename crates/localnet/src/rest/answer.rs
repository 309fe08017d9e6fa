//! Answers in Aptos' shape: JSON with ledger headers, and errors with codes.
//! Never tells a client about the host: internal causes go to the log.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use cactus_move_vm::{StorageError, VmStatus};
use serde::Serialize;

use crate::chain::SubmitError;
use crate::mempool::NotAdmitted;
use crate::records::Ledger;
use crate::store::{Snapshot, StoreError};

/// The type of answers in BCS.
const BCS: &str = "application/x-bcs";

/// What a handler returns.
pub type Answer = Result<HttpResponse, ApiError>;

/// An error in Aptos' shape.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    message: String,
    error_code: &'static str,
    vm_error_code: Option<u64>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
    error_code: &'a str,
    vm_error_code: Option<u64>,
}

impl ApiError {
    /// The request makes no sense.
    pub fn invalid(message: impl fmt::Display) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.to_string(),
            error_code: "invalid_input",
            vm_error_code: None,
        }
    }

    /// There is no such thing.
    pub fn not_found(error_code: &'static str, message: String) -> Self {
        Self { status: StatusCode::NOT_FOUND, message, error_code, vm_error_code: None }
    }

    /// There was such a thing.
    pub fn gone(error_code: &'static str, message: String) -> Self {
        Self { status: StatusCode::GONE, ..Self::not_found(error_code, message) }
    }

    /// The chain's fault; `cause` goes to the log only.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: "internal error".to_owned(),
            error_code: "internal_error",
            vm_error_code: None,
        }
    }

    /// Not now.
    pub fn unavailable(message: &str) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: message.to_owned(),
            error_code: "service_unavailable",
            vm_error_code: None,
        }
    }

    /// The request took too long.
    pub fn timed_out() -> Self {
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            message: "the request took too long".to_owned(),
            error_code: "web_framework_error",
            vm_error_code: None,
        }
    }

    /// The body has a type that the call does not take.
    pub fn unsupported_body(expected: &str) -> Self {
        Self {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            message: format!("the body must be {expected}"),
            error_code: "web_framework_error",
            vm_error_code: None,
        }
    }

    /// An error that the HTTP framework raised: a body too large, a malformed query.
    pub fn of_framework(error: &actix_web::Error) -> Self {
        let status = error.as_response_error().status_code();
        if status.is_server_error() {
            return Self::internal(error);
        }
        Self {
            status,
            message: error.to_string(),
            error_code: "web_framework_error",
            vm_error_code: None,
        }
    }

    /// A view or argument that the machine did not accept.
    pub fn of_execution(status: &VmStatus) -> Self {
        if let VmStatus::Storage(error) = status {
            return Self::internal(error);
        }
        Self {
            status: StatusCode::BAD_REQUEST,
            message: status.vm_status(),
            error_code: "invalid_input",
            vm_error_code: execution_code(status),
        }
    }

    /// The HTTP answer.
    pub fn answer(&self) -> HttpResponse {
        HttpResponse::build(self.status).json(self.body())
    }

    /// What the answer says.
    pub fn body(&self) -> impl Serialize + '_ {
        ErrorBody {
            message: &self.message,
            error_code: self.error_code,
            vm_error_code: self.vm_error_code,
        }
    }
}

/// Aptos' number for an execution status, where clients look at it.
fn execution_code(status: &VmStatus) -> Option<u64> {
    match status {
        VmStatus::MoveAbort { .. } => Some(4016),
        VmStatus::OutOfGas => Some(4002),
        _ => None,
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.answer()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(error)
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        Self::internal(error)
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let message = error.to_string();
        match error {
            SubmitError::Malformed(_) => Self::invalid(message),
            SubmitError::Refused(refusal) => Self {
                status: StatusCode::BAD_REQUEST,
                message,
                error_code: "vm_error",
                vm_error_code: Some(refusal.code()),
            },
            SubmitError::NotAdmitted(NotAdmitted::Conflict) => {
                Self { error_code: "invalid_transaction_update", ..Self::invalid(message) }
            }
            SubmitError::NotAdmitted(_) => Self {
                status: StatusCode::INSUFFICIENT_STORAGE,
                error_code: "mempool_is_full",
                ..Self::invalid(message)
            },
            SubmitError::Stopped => Self::unavailable(&message),
            SubmitError::State(error) => Self::internal(error),
            SubmitError::Framework(status) => Self::internal(status),
        }
    }
}

/// 200 with JSON, as of a snapshot.
pub fn json<T: Serialize>(snapshot: &Snapshot, body: &T) -> Answer {
    json_with(snapshot, StatusCode::OK, body)
}

/// A status with JSON, as of a snapshot.
pub fn json_with<T: Serialize>(snapshot: &Snapshot, status: StatusCode, body: &T) -> Answer {
    let mut response = HttpResponse::build(status).json(body);
    add_ledger_headers(response.headers_mut(), snapshot.ledger());
    Ok(response)
}

/// Whether the client asks for BCS.
pub fn wants_bcs(request: &HttpRequest) -> bool {
    let accepted = request.headers().get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok());
    accepted.is_some_and(|kinds| kinds.contains(BCS))
}

/// Bytes, with the ledger's headers.
pub fn bcs(snapshot: &Snapshot, body: Vec<u8>) -> Answer {
    let mut response = HttpResponse::Ok().content_type(BCS).body(body);
    add_ledger_headers(response.headers_mut(), snapshot.ledger());
    Ok(response)
}

/// Adds what an execution cost.
pub fn add_gas_used(answer: &mut HttpResponse, gas_units: u64) {
    let name = HeaderName::from_static("x-aptos-gas-used");
    answer.headers_mut().insert(name, HeaderValue::from(gas_units));
}

/// Adds what every answer of a node carries, unless it is there.
pub fn add_ledger_headers(headers: &mut HeaderMap, ledger: &Ledger) {
    let values = [
        ("x-aptos-chain-id", u64::from(ledger.chain_id)),
        ("x-aptos-ledger-version", ledger.version),
        ("x-aptos-ledger-oldest-version", 0),
        ("x-aptos-ledger-timestampusec", ledger.timestamp_us),
        ("x-aptos-epoch", EPOCH),
        ("x-aptos-block-height", ledger.height),
        ("x-aptos-oldest-block-height", 0),
    ];
    for (name, value) in values {
        let name = HeaderName::from_static(name);
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from(value));
        }
    }
}

/// Lets web pages of any origin call and read the node, as Aptos' nodes do: nothing here is secret
/// and nothing has value.
pub fn allow_any_origin(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "*, authorization"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "*"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// This chain has one validator set, so one epoch.
pub const EPOCH: u64 = 1;
