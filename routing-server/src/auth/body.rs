//! Reads a request's body within a limit of size and time. It never holds more than the limit.

use crate::{
    args::Limits,
    error::{ApiError, Invalid},
};
use actix_web::dev::Payload;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::time::Duration;

/// How much of a body over the limit is read and thrown away, so that its sender gets to read the
/// answer; in multiples of the limit.
const DISCARD_FACTOR: usize = 32;

/// The whole body.
pub async fn read(payload: Payload, limits: &Limits) -> Result<Bytes, ApiError> {
    let time = Duration::from_millis(limits.body_ms);
    let reading = read_within(payload, limits.body_bytes);
    let body = tokio::time::timeout(time, reading).await;
    body.unwrap_or_else(|_| Err(unreadable("it did not come in time")))
}

async fn read_within(mut payload: Payload, limit: usize) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    let mut length: usize = 0;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| unreadable(&error.to_string()))?;
        length = length.saturating_add(chunk.len());
        if length <= limit {
            body.extend_from_slice(&chunk);
        } else if length > limit.saturating_mul(DISCARD_FACTOR) {
            break;
        }
    }
    if length > limit {
        return Err(ApiError::TooLarge { limit });
    }
    Ok(body.freeze())
}

fn unreadable(reason: &str) -> ApiError {
    ApiError::Invalid(Invalid {
        code: "invalid_body",
        param: None,
        message: format!("the body cannot be read: {reason}"),
    })
}
