//! The HTTP API. Handlers read as a few named steps; everything they decide is decided elsewhere.

mod chat;
mod health;
mod keys;
mod models;
mod nodes;
mod server;
mod tasks;

use crate::{error::ApiError, link};
use actix_web::web::{self, ServiceConfig};

/// Every route.
pub fn configure(config: &mut ServiceConfig) {
    config
        .route("/v1/chat/completions", web::post().to(chat::complete))
        .route("/v1/models", web::get().to(models::list))
        .route("/v1/models/{model:.*}", web::get().to(models::one))
        .route("/v1/nodes", web::get().to(nodes::list))
        .route("/v1/nodes/{operator}/score", web::get().to(nodes::score))
        .route("/v1/tasks/{id}", web::get().to(tasks::one))
        .route("/v1/server", web::get().to(server::describe))
        .route("/v1/balance", web::get().to(server::balance))
        .route("/v1/keys", web::post().to(keys::create))
        .route("/v1/keys/{id}", web::delete().to(keys::revoke))
        .route("/v1/link", web::get().to(link::connect))
        .route("/healthz", web::get().to(health::alive))
        .route("/readyz", web::get().to(health::ready))
        .route("/metrics", web::get().to(health::metrics))
        .default_service(web::to(unknown));
}

async fn unknown() -> Result<&'static str, ApiError> {
    std::future::ready(Err(ApiError::NotFound("no such endpoint".into()))).await
}
