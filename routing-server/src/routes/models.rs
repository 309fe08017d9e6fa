//! The models that linked nodes offer now, in OpenAI's shape.

use crate::{app::App, error::ApiError};
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

/// All models.
pub async fn list(app: web::Data<App>) -> HttpResponse {
    let ids = app.nodes.fleet.models();
    let models: Vec<_> = ids.iter().filter_map(|id| describe(&app, id)).collect();
    let body = json!({"object": "list", "data": models});
    std::future::ready(HttpResponse::Ok().json(body)).await
}

/// One model.
pub async fn one(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let model = describe(&app, &id).ok_or_else(|| ApiError::UnknownModel(id.into_inner()));
    std::future::ready(model.map(|model| HttpResponse::Ok().json(model))).await
}

fn describe(app: &App, id: &str) -> Option<Value> {
    let nodes = app.nodes.of_model(id);
    let offers = nodes.iter().flat_map(|node| &node.advert.models);
    let offers: Vec<_> = offers.filter(|offer| offer.id == id).collect();
    let context = offers.iter().map(|offer| offer.context_length).max()?;
    let mut revisions: Vec<_> = offers.iter().map(|offer| offer.revision).collect();
    revisions.sort();
    revisions.dedup();
    let mut features: Vec<_> = offers.iter().flat_map(|offer| &offer.features).collect();
    features.sort();
    features.dedup();
    Some(json!({
        "id": id,
        "object": "model",
        "created": 0,
        "owned_by": "cactus",
        "kind": offers.first().map(|offer| offer.kind),
        "features": features,
        "context_length": context,
        "nodes": nodes.len(),
        "revisions": revisions,
        "cheapest": offers.iter().map(|offer| offer.price).min_by_key(|p| (p.output, p.prompt)),
    }))
}
