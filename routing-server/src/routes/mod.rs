//! The HTTP API. Handlers read as a few named steps; everything they decide is decided elsewhere.

mod answer;
mod batches;
mod documents;
mod embeddings;
mod files;
mod health;
mod keys;
mod models;
mod nodes;
mod quote;
mod server;
mod tasks;
mod text;

use crate::{
    error::{ApiError, Invalid},
    link,
};
use actix_web::{
    Resource, Route,
    http::Method,
    web::{self, ServiceConfig},
};

/// Every route.
pub fn configure(config: &mut ServiceConfig) {
    config
        .app_data(web::QueryConfig::default().error_handler(|error, _| unreadable("query", &error)))
        .app_data(web::PathConfig::default().error_handler(|error, _| unreadable("path", &error)));
    for (path, routes) in table() {
        config.service(resource(path, routes));
    }
    config.default_service(web::to(unknown));
}

type Routes = Vec<(Method, Route)>;

/// Every path with its methods.
fn table() -> Vec<(&'static str, Routes)> {
    vec![
        ("/v1/chat/completions", vec![post(web::post().to(text::chat))]),
        ("/v1/completions", vec![post(web::post().to(text::plain))]),
        ("/v1/embeddings", vec![post(web::post().to(embeddings::embed))]),
        ("/v1/quote", vec![post(web::post().to(quote::quote))]),
        ("/v1/files", vec![get(web::get().to(files::list)), post(web::post().to(files::upload))]),
        (
            "/v1/files/{id}",
            vec![get(web::get().to(files::one)), delete(web::delete().to(files::delete))],
        ),
        ("/v1/files/{id}/content", vec![get(web::get().to(files::content))]),
        (
            "/v1/batches",
            vec![get(web::get().to(batches::list)), post(web::post().to(batches::create))],
        ),
        ("/v1/batches/{id}", vec![get(web::get().to(batches::one))]),
        ("/v1/batches/{id}/cancel", vec![post(web::post().to(batches::cancel))]),
        ("/v1/models", vec![get(web::get().to(models::list))]),
        ("/v1/models/{model:.*}", vec![get(web::get().to(models::one))]),
        ("/v1/nodes", vec![get(web::get().to(nodes::list))]),
        ("/v1/nodes/{id}/score", vec![get(web::get().to(nodes::score))]),
        ("/v1/tasks/{id}", vec![get(web::get().to(tasks::one))]),
        ("/v1/server", vec![get(web::get().to(server::describe))]),
        ("/v1/balance", vec![get(web::get().to(server::balance))]),
        ("/v1/keys", vec![post(web::post().to(keys::create))]),
        ("/v1/keys/{id}", vec![delete(web::delete().to(keys::revoke))]),
        ("/v1/link", vec![get(web::get().to(link::connect))]),
        ("/healthz", vec![get(web::get().to(health::alive))]),
        ("/readyz", vec![get(web::get().to(health::ready))]),
        ("/openapi.json", vec![get(web::get().to(documents::openapi))]),
        ("/docs", vec![get(web::get().to(documents::page))]),
        ("/metrics", vec![get(web::get().to(health::metrics))]),
    ]
}

fn get(route: Route) -> (Method, Route) {
    (Method::GET, route)
}

fn post(route: Route) -> (Method, Route) {
    (Method::POST, route)
}

fn delete(route: Route) -> (Method, Route) {
    (Method::DELETE, route)
}

/// A path that says which methods it takes when another one comes.
fn resource(path: &str, routes: Routes) -> Resource {
    let allowed: Vec<_> = routes.iter().map(|(method, _)| method.as_str()).collect();
    let allowed = allowed.join(", ");
    let wrong_method = move || {
        let allowed = allowed.clone();
        async move { Err::<&'static str, _>(ApiError::Method { allowed }) }
    };
    let resource = routes.into_iter().fold(web::resource(path), |r, (_, route)| r.route(route));
    resource.default_service(web::to(wrong_method))
}

fn unreadable(param: &'static str, error: &dyn std::fmt::Display) -> actix_web::Error {
    ApiError::from(Invalid::value(param, error.to_string())).into()
}

async fn unknown() -> Result<&'static str, ApiError> {
    std::future::ready(Err(ApiError::NotFound("no such endpoint".into()))).await
}
