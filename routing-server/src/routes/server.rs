//! What a client needs to know to pay this server, and where it stands with it.

use crate::{app::App, auth::Authenticated, error::ApiError, settlement::store};
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

/// Who this server is: what a client signs orders and requests for.
pub async fn describe(app: web::Data<App>) -> HttpResponse {
    let parameters = app.chain.parameters();
    let body = json!({
        "server": app.server,
        "chain_id": app.scope.chain_id,
        "contract": app.scope.contract,
        "protocol_version": cactus_protocol::frame::PROTOCOL_VERSION,
        "software": concat!("cactus-router/", env!("CARGO_PKG_VERSION")),
        "fees": {
            "server_bps": parameters.server_fee_bps,
            "treasury_bps": parameters.treasury_fee_bps,
        },
        "min_stake_octas": parameters.min_stake,
        "weights": app.config.weights,
    });
    std::future::ready(HttpResponse::Ok().json(body)).await
}

/// The payer's money at the chain and under its order.
pub async fn balance(app: web::Data<App>, sender: Authenticated) -> Result<HttpResponse, ApiError> {
    let client = sender.payer.client();
    let balance = app.chain.balance(client).await.map_err(|error| {
        tracing::warn!(%error, "a balance cannot be read");
        ApiError::ChainAway
    })?;
    let order = match sender.payer.order() {
        None => Value::Null,
        Some(order) => {
            let order = &order.order;
            let used = store::order_used(&app.pool, &client, &order.order_id).await?;
            json!({
                "order": order.order_id,
                "max_total_octas": order.max_total,
                "max_per_task_octas": order.max_per_task,
                "used_octas": used,
                "remaining_octas": order.max_total.saturating_sub(used),
                "expires_seconds": order.expires_seconds,
            })
        }
    };
    Ok(HttpResponse::Ok().json(json!({
        "client": client,
        "available_octas": balance.available,
        "locked_octas": balance.locked,
        "order": order,
    })))
}
