//! `POST /v1/embeddings`: one vector for each text.

use super::answer::{Cactus, ended_early, finish_all, served_by, start_all};
use crate::{
    app::App,
    auth::Authenticated,
    error::{ApiError, Invalid},
    openai::{EmbeddingCall, expect_json, response::embeddings},
};
use actix_web::{HttpRequest, HttpResponse, web};
use cactus_protocol::{ModelKind, Work};
use std::time::Instant;

/// Answers an embedding request.
pub async fn embed(
    app: web::Data<App>,
    request: HttpRequest,
    sender: Authenticated,
) -> Result<HttpResponse, ApiError> {
    let received_at = Instant::now();
    app.authorization.permit()?;
    expect_json(request.headers())?;
    let EmbeddingCall { model, encoding, dimensions, call } =
        EmbeddingCall::parse(&sender.body, request.headers())?;
    check_dimensions(&app, &model, dimensions)?;
    let inputs = match call.work() {
        Work::Embed(request) => request.inputs.len(),
        Work::Chat(_) => 0,
    };
    let choices = start_all(&app, &sender.payer, (vec![call], received_at)).await?;
    let finished = finish_all(choices).await?;
    let only = finished.first().ok_or_else(ended_early)?;
    let shape = (model.as_str(), inputs, encoding);
    let body = embeddings(shape, &only.output, (only.usage, Cactus::of(&finished)));
    Ok(served_by(&mut HttpResponse::Ok(), only.served)
        .insert_header(("X-Cactus-Verified", "verified"))
        .json(body))
}

/// Models here make vectors of one length; a client that counts on another one must know before
/// it pays.
pub fn check_dimensions(app: &App, model: &str, wanted: Option<u32>) -> Result<(), ApiError> {
    let Some(wanted) = wanted else { return Ok(()) };
    let nodes = app.nodes.of_model(model);
    let offers = nodes.iter().flat_map(|node| &node.advert.models);
    let has = offers.filter(|offer| offer.id == model).find_map(|offer| match offer.kind {
        ModelKind::Embedding { dimensions } if dimensions != wanted => Some(dimensions),
        _ => None,
    });
    match has {
        None => Ok(()),
        Some(has) => {
            let text = format!("`{model}` makes vectors of {has} numbers and no other length");
            Err(Invalid::unsupported("dimensions", text).into())
        }
    }
}
