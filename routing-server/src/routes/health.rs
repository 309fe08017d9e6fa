//! Whether the server lives and is ready, and its metrics.

use crate::app::App;
use actix_web::{HttpResponse, web};
use serde_json::json;

/// The process answers.
pub async fn alive() -> HttpResponse {
    std::future::ready(HttpResponse::Ok().json(json!({"status": "ok"}))).await
}

/// The server takes work: it does not drain, the contracts let it, its database
/// answers, and nodes are linked.
pub async fn ready(app: web::Data<App>) -> HttpResponse {
    let database = sqlx::query("SELECT 1").execute(&app.pool).await.is_ok();
    let draining = app.stopping.is_cancelled();
    let authorized = app.authorization.is_granted();
    let nodes = app.nodes.len();
    let body = json!({
        "authorized": authorized,
        "database": database,
        "draining": draining,
        "nodes": nodes,
    });
    if authorized && database && !draining && nodes > 0 {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}

/// Prometheus' text format.
pub async fn metrics(app: web::Data<App>) -> HttpResponse {
    let response = HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(app.metrics.text());
    std::future::ready(response).await
}
