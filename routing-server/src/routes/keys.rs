//! API keys: made from a signed request with a standing order, revoked by their owner.

use crate::{
    app::App,
    auth::{
        Authenticated,
        keys::{ApiKey, MAX_KEYS_PER_CLIENT, generate},
    },
    error::ApiError,
    files::may_be_id,
    key_store,
};
use actix_web::{HttpResponse, web};
use serde_json::json;

/// Makes a key for the order that came with the request. The key is in this answer and nowhere
/// else.
pub async fn create(app: web::Data<App>, sender: Authenticated) -> Result<HttpResponse, ApiError> {
    if sender.payer.key_id().is_some() {
        let text = "an API key cannot make another: sign the request with the account's key";
        return Err(ApiError::Unauthenticated(text.into()));
    }
    let order = sender.payer.mandate()?;
    if app.keys.count(&sender.payer.client()) >= MAX_KEYS_PER_CLIENT {
        return Err(ApiError::Busy {
            code: "too_many_keys",
            message: format!("an account has at most {MAX_KEYS_PER_CLIENT} keys: revoke one"),
        });
    }
    let (text, key) = generate(order.as_ref().clone());
    key_store::insert(&app.pool, &key).await?;
    let body = describe(&key, &text);
    app.keys.add(key);
    Ok(HttpResponse::Created().json(body))
}

fn describe(key: &ApiKey, text: &str) -> serde_json::Value {
    let order = &key.order.order;
    json!({
        "id": key.id,
        "api_key": text,
        "client": key.client,
        "order": order.order_id,
        "max_total_octas": order.max_total,
        "max_per_task_octas": order.max_per_task,
        "expires_seconds": order.expires_seconds,
    })
}

/// Ends a key at once.
pub async fn revoke(
    app: web::Data<App>,
    sender: Authenticated,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let client = sender.payer.client();
    let was_live = may_be_id(&id) && key_store::revoke(&app.pool, &client, &id).await?;
    if app.keys.remove(&client, &id) || was_live {
        Ok(HttpResponse::Ok().json(json!({"id": id.as_str(), "revoked": true})))
    } else {
        Err(ApiError::NotFound("this account has no such key".into()))
    }
}
