//! What goes wrong with an API call, and the one place that turns it into an HTTP answer in
//! OpenAI's shape. Internal causes go to the log under a trace id, never to the client.

use crate::trace;
use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{StatusCode, header},
};
use serde_json::{Value, json};
use std::{fmt, time::Duration};

/// A request parameter that cannot be served, in OpenAI's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// For programs.
    pub code: &'static str,
    /// Which parameter.
    pub param: Option<&'static str>,
    /// For people.
    pub message: String,
}

impl Invalid {
    /// A parameter with a value that is not allowed.
    pub fn value(param: &'static str, message: impl Into<String>) -> Self {
        Self { code: "invalid_value", param: Some(param), message: message.into() }
    }

    /// A parameter that asks for something this network does not have.
    pub fn unsupported(param: &'static str, message: impl Into<String>) -> Self {
        Self { code: "unsupported_parameter", param: Some(param), message: message.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Why an API call has no answer. Variants say what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Change the request.
    #[error("{0}")]
    Invalid(Invalid),
    /// Send less.
    #[error("the body is over the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Send another kind of body.
    #[error("the body must be {wanted}")]
    MediaType {
        /// What is read here.
        wanted: &'static str,
    },
    /// Use another method.
    #[error("this endpoint takes {allowed}")]
    Method {
        /// The methods that there are.
        allowed: String,
    },
    /// Wait until something else is over, or take something away.
    #[error("{message}")]
    Conflict {
        /// `file_in_use`, `batch_ended` …
        code: &'static str,
        /// What is in the way.
        message: String,
    },
    /// Authenticate.
    #[error("{0}")]
    Unauthenticated(String),
    /// Fund the account or the order.
    #[error("{message}")]
    PaymentRequired {
        /// `insufficient_funds`, `order_required` …
        code: &'static str,
        /// What to do.
        message: String,
    },
    /// Ask for something else.
    #[error("{0}")]
    NotFound(String),
    /// Ask for a model that is served here.
    #[error("the model `{0}` is not served here now; GET /v1/models lists what is")]
    UnknownModel(String),
    /// Come back later.
    #[error("{message}")]
    Busy {
        /// `overloaded`, `rate_limit_exceeded` …
        code: &'static str,
        /// Why.
        message: String,
    },
    /// Come back when the line is shorter.
    #[error("every node that could take this request is busy and the line is too long; try again")]
    Overloaded {
        /// By how fast the line moves.
        retry_after: Duration,
    },
    /// The server is going away: use another one.
    #[error("this routing server is shutting down")]
    Draining,
    /// Use another server, or come back when the admin has let this one in.
    #[error(
        "this routing server may not take tasks: the admin of the contracts has to authorise it"
    )]
    NotAuthorized,
    /// The chain cannot be asked: try again later.
    #[error("the chain cannot be reached now, so balances cannot be checked; try again")]
    ChainAway,
    /// Try again: the nodes that were tried failed, and nothing was charged.
    #[error("{message}; nothing was charged")]
    NodesFailed {
        /// `node_failed`, `node_lost`, `answer_not_verified`, `timeout` …
        code: &'static str,
        /// What happened.
        message: String,
    },
    /// Report the trace id.
    #[error("internal error")]
    Internal(#[source] anyhow::Error),
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(anyhow::Error::new(error).context("database"))
    }
}

/// What the client sees of an error.
struct Shape<'a> {
    status: StatusCode,
    kind: &'static str,
    code: &'a str,
    param: Option<&'a str>,
}

impl ApiError {
    /// The one mapping from causes to statuses, types and codes.
    fn shape(&self) -> Shape<'_> {
        let of = |status, kind, code| Shape { status, kind, code, param: None };
        match self {
            Self::Invalid(invalid) => Shape {
                param: invalid.param,
                ..of(StatusCode::BAD_REQUEST, "invalid_request_error", invalid.code)
            },
            Self::TooLarge { .. } => {
                of(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", "body_too_large")
            }
            Self::MediaType { .. } => of(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "invalid_request_error",
                "unsupported_media_type",
            ),
            Self::Method { .. } => {
                of(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", "method_not_allowed")
            }
            Self::Conflict { code, .. } => of(StatusCode::CONFLICT, "invalid_request_error", code),
            Self::Unauthenticated(_) => {
                of(StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key")
            }
            Self::PaymentRequired { code, .. } => {
                of(StatusCode::PAYMENT_REQUIRED, "insufficient_quota", code)
            }
            Self::NotFound(_) => of(StatusCode::NOT_FOUND, "invalid_request_error", "not_found"),
            Self::UnknownModel(_) => Shape {
                param: Some("model"),
                ..of(StatusCode::NOT_FOUND, "invalid_request_error", "model_not_found")
            },
            Self::Busy { code, .. } => of(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", code),
            Self::Overloaded { .. } => {
                of(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "overloaded")
            }
            Self::Draining => of(StatusCode::SERVICE_UNAVAILABLE, "server_error", "draining"),
            Self::NotAuthorized => {
                of(StatusCode::SERVICE_UNAVAILABLE, "server_error", "server_not_authorized")
            }
            Self::ChainAway => {
                of(StatusCode::SERVICE_UNAVAILABLE, "server_error", "chain_unreachable")
            }
            Self::NodesFailed { code, .. } => of(StatusCode::BAD_GATEWAY, "server_error", code),
            Self::Internal(_) => {
                of(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal_error")
            }
        }
    }

    /// The status, as a number.
    pub fn status(&self) -> u16 {
        self.shape().status.as_u16()
    }

    /// The JSON object under `error`, logged under its trace id: that of the request at hand, which
    /// its header X-Request-Id repeats.
    pub fn to_json(&self) -> Value {
        self.to_json_of(&trace::id())
    }

    /// [`Self::to_json`] of the request with this id.
    pub fn to_json_of(&self, trace_id: &str) -> Value {
        let shape = self.shape();
        if shape.status.is_server_error() {
            tracing::error!(trace_id, code = shape.code, cause = ?self, "request failed");
        } else {
            tracing::debug!(trace_id, code = shape.code, cause = %self, "request refused");
        }
        json!({"error": {
            "message": self.to_string(),
            "type": shape.kind,
            "param": shape.param,
            "code": shape.code,
            "trace_id": trace_id,
        }})
    }
}

impl ApiError {
    /// When to come back, in whole seconds, rounded up.
    fn retry_after_seconds(&self) -> String {
        let wait = match self {
            Self::Overloaded { retry_after } => *retry_after,
            _ => Duration::from_secs(1),
        };
        wait.as_millis().div_ceil(1000).max(1).to_string()
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.shape().status
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponseBuilder::new(status);
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, self.retry_after_seconds()));
        }
        if let Self::Method { allowed } = self {
            response.insert_header((header::ALLOW, allowed.as_str()));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer, Cactus"));
        }
        response.json(self.to_json())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_an_internal_error_stays_inside() {
        let error = ApiError::Internal(anyhow::anyhow!("/secret/path is full"));
        let text = error.to_json().to_string();
        assert!(!text.contains("secret") && text.contains("trace_id"));
        assert_eq!(error.status_code(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn an_invalid_parameter_is_named() {
        let error = ApiError::from(Invalid::value("n", "must be 1"));
        let json = error.to_json();
        assert_eq!(json["error"]["param"], "n");
        assert_eq!(json["error"]["type"], "invalid_request_error");
    }
}
