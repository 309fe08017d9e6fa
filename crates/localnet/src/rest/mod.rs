//! Aptos' REST API and the faucet over HTTP: routes, limits, and what every answer has in common.
//! Never executes a transaction: it hands them to the chain.

mod abi;
mod accounts;
mod answer;
mod arguments;
mod batch;
mod blocks;
mod encoding;
mod faucet;
mod json;
mod ledger;
mod node;
mod request;
mod simulate;
mod transactions;
mod view;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpResponse, HttpServer, web};
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::execution::MAX_PUBLISH_BYTES;
use answer::{Answer, ApiError, add_ledger_headers, allow_any_origin};
use node::{Node, Slot};

/// Most bytes in a request's body.
const BODY_BYTES: usize = MAX_PUBLISH_BYTES;
/// How long a request may take, its body included.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// How long a client may take to send a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long an idle connection stays open: longer than clients keep theirs (reqwest 90 s), so that
/// it is the client who closes. A server that closes first cuts off requests on their way.
const KEEP_ALIVE: Duration = Duration::from_secs(120);
/// Seconds for which requests in flight may go on after shutdown began.
const DRAIN_SECONDS: u64 = 5;
/// Connections per worker.
const CONNECTIONS: usize = 1_024;
/// Worker threads; most requests take microseconds.
const WORKERS: usize = 2;
/// Views and simulations that may run at once, per worker.
const BLOCKING_THREADS: usize = 4;

/// The server could not run.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the REST API: {0}")]
pub struct ServeError(#[from] std::io::Error);

/// Serves until `shutdown` is cancelled, then drains.
pub async fn serve(
    chain: Arc<Chain>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let slot = web::Data::new(Slot::new(chain));
    let held = slot.clone();
    let app = move || {
        App::new()
            .app_data(held.clone())
            .app_data(web::PayloadConfig::new(BODY_BYTES))
            .wrap(from_fn(guard))
            .configure(routes)
            .default_service(web::to(no_such_route))
    };
    let server = HttpServer::new(app)
        .listen(listener)?
        .workers(WORKERS)
        .worker_max_blocking_threads(BLOCKING_THREADS)
        .max_connections(CONNECTIONS)
        .client_request_timeout(HEAD_TIME)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(DRAIN_SECONDS)
        .disable_signals()
        .run();
    let handle = server.handle();
    let stop = async move {
        shutdown.cancelled().await;
        handle.stop(true).await;
    };
    let (served, ()) = tokio::join!(server, stop);
    slot.close();
    Ok(served?)
}

fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/v1")
            .route("", web::get().to(ledger::info))
            .route("/", web::get().to(ledger::info))
            .route("/-/healthy", web::get().to(ledger::healthy))
            .route("/estimate_gas_price", web::get().to(ledger::gas_price))
            .route("/view", web::post().to(view::view))
            .configure(accounts::routes)
            .configure(transactions::routes)
            .configure(blocks::routes),
    );
    config.configure(faucet::routes);
}

#[allow(clippy::unused_async)]
async fn no_such_route() -> Answer {
    Err(ApiError::not_found("web_framework_error", "not found".to_owned()))
}

/// Around every request: other origins, the offline switch, the time limit, the headers.
async fn guard(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let mut response = answer(request, next).await?;
    allow_any_origin(response.headers_mut());
    Ok(response)
}

async fn answer(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if request.method() == Method::OPTIONS {
        return Ok(request.into_response(HttpResponse::Ok().finish()));
    }
    let chain = match Node::of(request.request()) {
        Ok(chain) => chain,
        Err(error) => return Ok(request.into_response(error.answer())),
    };
    if !chain.is_online() {
        return Ok(request.into_response(ApiError::unavailable("the node is offline").answer()));
    }
    let limited = tokio::time::timeout(REQUEST_TIME, next.call(request)).await;
    let mut response = limited.map_err(|_| ApiError::timed_out())??;
    // The framework answers some errors itself, in plain text.
    let foreign =
        response.response().error().filter(|error| error.as_error::<ApiError>().is_none());
    if let Some(answer) = foreign.map(|error| ApiError::of_framework(error).answer()) {
        response = response.into_response(answer);
    }
    add_ledger_headers(response.headers_mut(), chain.snapshot().ledger());
    Ok(response)
}
