//! The linked nodes and how each would score. Public: no prompt, no address of a machine.

use crate::{
    app::App,
    dispatch::{self, Needs},
    error::{ApiError, Invalid},
    exchange::rules,
    nodes::Node,
};
use actix_web::{HttpResponse, web};
use cactus_protocol::{Address, Octas};
use rand::{SeedableRng, rngs::SmallRng};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Instant;

/// The request that `/score` scores for: short, with a usual answer.
const EXAMPLE_TOKENS: u32 = 128;

/// All nodes.
pub async fn list(app: web::Data<App>) -> HttpResponse {
    let now = Instant::now();
    let nodes = app.nodes.all();
    let nodes: Vec<_> = nodes.iter().map(|node| describe(&app, node, now)).collect();
    let body = json!({"object": "list", "data": nodes});
    std::future::ready(HttpResponse::Ok().json(body)).await
}

fn describe(app: &App, node: &Node, now: Instant) -> Value {
    let first = node.advert.models.first().map(|offer| offer.id.as_str());
    let view = app.nodes.view(node, first.unwrap_or_default(), now);
    let status = match &view {
        Some(view) if view.quarantined => "quarantined",
        Some(view) if view.suspect => "suspect",
        _ => "online",
    };
    let stake = view.as_ref().map(|view| view.stake).unwrap_or_default();
    let measured = view.map(|view| {
        json!({
            "success": view.statistics.success(now),
            "verification": view.statistics.verification(now),
            "ttft_seconds": view.statistics.ttft_seconds(),
            "itl_seconds": view.statistics.itl_seconds(),
            "unsettled_octas": view.exposure,
            "in_flight": view.in_flight,
        })
    });
    let heartbeat = node.heartbeat();
    json!({
        "node": node.key,
        "operator": node.operator,
        "status": status,
        "stake_octas": stake,
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

/// How an operator's nodes score now for a short request, against all others.
pub async fn score(
    app: web::Data<App>,
    operator: web::Path<String>,
    query: web::Query<ScoreQuery>,
) -> Result<HttpResponse, ApiError> {
    let body = score_of(&app, &operator, query.into_inner().model);
    std::future::ready(body.map(|body| HttpResponse::Ok().json(body))).await
}

fn score_of(app: &App, operator: &str, model: Option<String>) -> Result<Value, ApiError> {
    let operator: Address = operator
        .parse()
        .map_err(|_| Invalid::value("operator", "must be an address: 0x and hex digits"))?;
    let all = app.nodes.all();
    let node = all.iter().find(|node| node.operator == operator);
    let node = node.ok_or_else(|| {
        ApiError::NotFound(format!("no node of {operator} is linked to this server"))
    })?;
    let model = model.or_else(|| node.advert.models.first().map(|offer| offer.id.clone()));
    let needs = Needs {
        model: model.unwrap_or_default(),
        revision: None,
        prompt_tokens: EXAMPLE_TOKENS,
        prompts: 1,
        max_tokens: EXAMPLE_TOKENS,
        max_lock: Octas(u64::MAX),
    };
    let now = Instant::now();
    let nodes = app.nodes.of_model(&needs.model);
    let views: Vec<_> =
        nodes.iter().filter_map(|node| app.nodes.view(node, &needs.model, now)).collect();
    // The draw among the best does not show here: scores do not depend on it.
    let mut rng = SmallRng::seed_from_u64(0);
    let ranking = dispatch::rank(&needs, &views, &rules(app, now), &mut rng);
    let mine = |index: usize| views[index].operator == operator;
    let scored = ranking.order.iter().filter(|c| mine(c.index)).map(|c| {
        json!({"node": views[c.index].node, "score": c.score, "terms": c.terms,
            "lock_octas": c.lock})
    });
    let refused = ranking.ineligible.iter().filter(|(i, _)| mine(*i));
    let refused = refused.map(|(i, reason)| json!({"node": views[*i].node, "ineligible": reason}));
    Ok(json!({
        "operator": operator,
        "model": needs.model,
        "prompt_tokens": needs.prompt_tokens,
        "max_tokens": needs.max_tokens,
        "weights": app.config.weights,
        "nodes": scored.chain(refused).collect::<Vec<_>>(),
    }))
}
