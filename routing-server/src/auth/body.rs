//! Reads a request's body within a limit. It never holds more than the limit.

use crate::error::ApiError;
use actix_web::{
    HttpRequest,
    dev::Payload,
    http::header::{CONTENT_LENGTH, HeaderMap},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

/// How much of a body over the limit is read and thrown away, so that its sender gets to read the
/// answer; in multiples of the limit.
const DISCARD_FACTOR: usize = 32;

/// The whole body.
pub async fn read(
    request: &HttpRequest,
    mut payload: Payload,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let declared = content_length(request.headers());
    let mut body = BytesMut::with_capacity(declared.unwrap_or(0).min(limit));
    let mut length: usize = 0;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::Invalid(crate::error::Invalid {
                code: "invalid_body",
                param: None,
                message: format!("the body cannot be read: {error}"),
            })
        })?;
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

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
