//! Whether the server lives and is ready, and its metrics.

use crate::{app::App, metrics::NodeSample, nodes::Node};
use actix_web::{HttpResponse, web};
use cactus_ledger::outbox;
use serde_json::json;
use std::time::Instant;

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

fn sample(node: &Node) -> (String, NodeSample) {
    let member = &node.member;
    let sample = NodeSample {
        in_flight: member.load(),
        stake: member.stake().0,
        unsettled: member.exposure().0,
        is_suspect: member.is_suspect(Instant::now()),
    };
    (node.key.to_string(), sample)
}

/// Prometheus' text format.
pub async fn metrics(app: web::Data<App>) -> HttpResponse {
    app.metrics.show_nodes(app.nodes.all().iter().map(|node| sample(node)).collect());
    match outbox::backlog(&app.pool).await {
        Ok(backlog) => {
            let show = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            app.metrics.outbox_pending.set(show(backlog.pending));
            app.metrics.outbox_submitted.set(show(backlog.submitted));
        }
        Err(error) => tracing::warn!(%error, "the outbox cannot be read"),
    }
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(app.metrics.text())
}
