//! One span per HTTP request, under the client's own if it names one. The trace's id is the
//! request's, which the answer's header repeats. It never sees a body.

use crate::app::App;
use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    web,
};
use cactus_protocol::TraceContext;
use tracing::{Instrument, Span};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CURRENT: Request;
}

/// What is known of the request that is handled now.
#[derive(Debug, Clone)]
struct Request {
    id: String,
    peer: Option<TraceContext>,
}

/// The id of the request that is handled now; a fresh one outside of requests.
pub fn id() -> String {
    CURRENT.try_with(|request| request.id.clone()).unwrap_or_else(|_| hex::encode(fresh_id()))
}

/// The place in a trace that the client named, for a server that records nothing itself.
pub fn peer() -> Option<TraceContext> {
    CURRENT.try_with(|request| request.peer).ok().flatten()
}

/// Wraps every request.
pub async fn trace(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let peer = named_by_client(request.headers());
    let trace_id = peer.map_or_else(fresh_id, |peer| peer.trace_id);
    let id = hex::encode(trace_id);
    let span = span(&request, &id);
    cactus_telemetry::begin(&span, trace_id, peer);
    let app = request.app_data::<web::Data<App>>().cloned();
    let handling = next.call(request).instrument(span);
    let mut response = CURRENT.scope(Request { id: id.clone(), peer }, handling).await?;
    if let Some(app) = app {
        let route = response.request().match_pattern().unwrap_or_else(|| "unknown".into());
        app.metrics.count_response(route, response.status().as_u16());
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    Ok(response)
}

fn span(request: &ServiceRequest, id: &str) -> Span {
    tracing::info_span!(
        "request",
        otel.kind = "server",
        request_id = id,
        method = %request.method(),
        path = request.path(),
    )
}

fn named_by_client(headers: &HeaderMap) -> Option<TraceContext> {
    headers.get(TRACE_PARENT)?.to_str().ok()?.parse().ok()
}

fn fresh_id() -> [u8; 16] {
    rand::random()
}
