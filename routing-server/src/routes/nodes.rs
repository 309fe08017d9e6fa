//! The linked nodes and how each would score. Public: no prompt, no address of a machine.

use crate::{
    app::App,
    error::{ApiError, Invalid},
    nodes::Node,
};
use actix_web::{HttpResponse, web};
use cactus_dispatch::{Explained, Needs};
use cactus_protocol::{Address, Octas};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Instant};

/// The request that `/score` scores for: short, with a usual answer.
const EXAMPLE_TOKENS: u32 = 128;

/// All nodes.
pub async fn list(app: web::Data<App>) -> HttpResponse {
    let now = Instant::now();
    let nodes = app.nodes.all();
    let nodes: Vec<_> = nodes.iter().map(|node| describe(node, now)).collect();
    let body = json!({"object": "list", "data": nodes});
    std::future::ready(HttpResponse::Ok().json(body)).await
}

fn describe(node: &Node, now: Instant) -> Value {
    let member = &node.member;
    let (status, measured) = member.with_record(|record| {
        let statistics = &record.statistics;
        let measured = json!({
            "success": statistics.success(now),
            "verification": statistics.verification(now),
            "ttft_seconds": statistics.ttft_seconds(),
            "ttft_p95_seconds": statistics.usual_ttft().map(|ttft| ttft.as_secs_f64()),
            "itl_seconds": statistics.itl_seconds(),
            "unsettled_octas": member.exposure(),
            "in_flight": member.load(),
        });
        let status = match record.blocked_until() {
            _ if record.is_quarantined(now) => "quarantined",
            _ if member.is_suspect(now) => "suspect",
            Some(until) if now < until => "paused",
            _ => "online",
        };
        (status, measured)
    });
    let heartbeat = node.heartbeat();
    json!({
        "node": node.key,
        "operator": node.operator,
        "status": status,
        "stake_octas": member.stake(),
        "models": node.advert.models,
        "slots": node.advert.slots,
        "queue": node.advert.queue,
        "region": node.advert.region,
        "hardware": node.hardware,
        "software": node.software,
        "measured": measured,
        "reported": {
            "active": heartbeat.active,
            "free_slots": heartbeat.free_slots,
            "queued": heartbeat.queued,
            "kv_cache_milli": heartbeat.kv_cache_milli,
            "gpu_celsius": heartbeat.gpu_celsius,
        },
    })
}

/// Which model to score for.
#[derive(Deserialize)]
pub struct ScoreQuery {
    model: Option<String>,
}

/// How a node, or all nodes of an operator, score now for a short request.
pub async fn score(
    app: web::Data<App>,
    id: web::Path<String>,
    query: web::Query<ScoreQuery>,
) -> Result<HttpResponse, ApiError> {
    let body = score_of(&app, &id, query.into_inner().model);
    std::future::ready(body.map(|body| HttpResponse::Ok().json(body))).await
}

fn score_of(app: &App, id: &str, model: Option<String>) -> Result<Value, ApiError> {
    let nodes = find(app, id)?;
    let now = Instant::now();
    let first = nodes.first().and_then(|node| node.advert.models.first());
    let needs = Needs {
        model: model.or(first.map(|offer| offer.id.clone())).unwrap_or_default(),
        prompt_tokens: EXAMPLE_TOKENS,
        prompts: 1,
        max_tokens: EXAMPLE_TOKENS,
        max_lock: Octas(u64::MAX),
        ..Needs::default()
    };
    let scored = nodes.iter().map(|node| explain(app, &needs, (node, now)));
    Ok(json!({
        "operator": nodes.first().map(|node| node.operator),
        "model": needs.model,
        "prompt_tokens": needs.prompt_tokens,
        "max_tokens": needs.max_tokens,
        "weights": app.config.weights,
        "nodes": scored.collect::<Vec<_>>(),
    }))
}

/// The node with this key, or all nodes of this operator.
fn find(app: &App, id: &str) -> Result<Vec<Arc<Node>>, ApiError> {
    if let Some(node) = id.parse().ok().and_then(|key| app.nodes.get(&key)) {
        return Ok(vec![node]);
    }
    let operator: Address = id.parse().map_err(|_| {
        Invalid::value("id", "must be an operator's address or a node's key: 0x and hex digits")
    })?;
    let mut nodes = app.nodes.all();
    nodes.retain(|node| node.operator == operator);
    if nodes.is_empty() {
        return Err(ApiError::NotFound(format!("no node of {operator} is linked to this server")));
    }
    Ok(nodes)
}

fn explain(app: &App, needs: &Needs, (node, now): (&Node, Instant)) -> Value {
    match app.nodes.fleet.explain(needs, node.key, now) {
        Some(Explained::Eligible(candidate)) => json!({
            "node": node.key, "score": candidate.score, "terms": candidate.terms,
            "lock_octas": candidate.lock,
        }),
        Some(Explained::Ineligible(reason)) => json!({"node": node.key, "ineligible": reason}),
        None => json!({"node": node.key, "ineligible": "other_model"}),
    }
}
