//! `POST /v1/quote`: what a request would cost at most, at a few of the nodes that could serve it, without
//! running it.

use crate::{
    app::App,
    auth::Authenticated,
    error::{ApiError, Invalid},
    exchange::{self, Means},
    openai::{Call, EmbeddingCall, TextCall, expect_json},
};
use actix_web::{HttpRequest, HttpResponse, http::header::HeaderMap, web};
use cactus_protocol::Octas;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// Which field there is tells which endpoint the body is meant for.
#[derive(Deserialize)]
struct Kind {
    messages: Option<IgnoredAny>,
    prompt: Option<IgnoredAny>,
    input: Option<IgnoredAny>,
}

/// Quotes a request for chat, a completion or embeddings.
pub async fn quote(
    app: web::Data<App>,
    request: HttpRequest,
    sender: Authenticated,
) -> Result<HttpResponse, ApiError> {
    let body = quote_of(&app, &request, &sender);
    std::future::ready(body.map(|body| HttpResponse::Ok().json(body))).await
}

fn quote_of(app: &App, request: &HttpRequest, sender: &Authenticated) -> Result<Value, ApiError> {
    expect_json(request.headers())?;
    let calls = parse(&sender.body, request.headers())?;
    let limit = sender.payer.order().map_or(Octas(u64::MAX), |order| order.order.max_per_task);
    let means = Means { payer: sender.payer.client(), max_lock: limit };
    let mut quotes = Vec::with_capacity(calls.len());
    for call in calls {
        quotes.push(exchange::quote(app, call, means)?);
    }
    let total = |field: &str| {
        let amounts = quotes.iter().map(|quote| quote[field].as_u64().map(Octas));
        let amounts: Option<Vec<_>> = amounts.collect();
        amounts.and_then(Octas::checked_sum)
    };
    Ok(json!({
        "object": "quote",
        "least_octas": total("least_octas"),
        "most_octas": total("most_octas"),
        "choices": quotes,
    }))
}

fn parse(body: &[u8], headers: &HeaderMap) -> Result<Vec<Call>, Invalid> {
    let kind: Kind = serde_json::from_slice(body).map_err(|error| Invalid {
        code: "invalid_json",
        param: None,
        message: format!("the body is no request: {error}"),
    })?;
    match kind {
        Kind { messages: Some(_), .. } => Ok(TextCall::parse_chat(body, headers)?.choices),
        Kind { prompt: Some(_), .. } => Ok(TextCall::parse_plain(body, headers)?.choices),
        Kind { input: Some(_), .. } => Ok(vec![EmbeddingCall::parse(body, headers)?.call]),
        Kind { .. } => {
            let text = "send what you would send to /v1/chat/completions, /v1/completions or \
                        /v1/embeddings";
            Err(Invalid::value("messages", text))
        }
    }
}
