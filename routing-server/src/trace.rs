//! One span per HTTP request, with an id that the answer's header repeats. It never sees a body.

use crate::app::App;
use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
    web,
};
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static ID: String;
}

/// The id of the request that is handled now; a fresh one outside of requests.
pub fn id() -> String {
    ID.try_with(String::clone).unwrap_or_else(|_| hex::encode(rand::random::<[u8; 8]>()))
}

/// Wraps every request.
pub async fn trace(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = hex::encode(rand::random::<[u8; 8]>());
    let span = tracing::info_span!(
        "request",
        request_id = id,
        method = %request.method(),
        path = request.path(),
    );
    let app = request.app_data::<web::Data<App>>().cloned();
    let handling = next.call(request).instrument(span);
    let mut response = ID.scope(id.clone(), handling).await?;
    if let Some(app) = app {
        let route = response.request().match_pattern().unwrap_or_else(|| "unknown".into());
        app.metrics.count_response(route, response.status().as_u16());
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    Ok(response)
}
