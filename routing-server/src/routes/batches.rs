//! `/v1/batches`: many requests in one file, answered when there is room.

use super::files::{ListQuery, list_of};
use crate::{
    app::App,
    auth::Authenticated,
    batches::{self, Batch, Counts, Endpoint, State, describe},
    error::{ApiError, Invalid},
    files,
    link::unix_ms,
    openai::expect_json,
};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The longest time for a batch, in seconds: a week.
const MOST_SECONDS: u64 = 7 * 24 * 3600;
/// As OpenAI bounds them.
const MAX_NOTES: usize = 16;
const MAX_NOTE_BYTES: usize = 512;

#[derive(Deserialize)]
struct Raw {
    input_file_id: String,
    endpoint: String,
    completion_window: String,
    metadata: Option<BTreeMap<String, String>>,
}

/// Makes a batch of a file. The order that came with the request, or stands behind the API key,
/// bounds what all of its lines together may spend.
pub async fn create(
    app: web::Data<App>,
    request: HttpRequest,
    sender: Authenticated,
) -> Result<HttpResponse, ApiError> {
    app.authorization.permit()?;
    expect_json(request.headers())?;
    let raw: Raw = serde_json::from_slice(&sender.body).map_err(|error| Invalid {
        code: "invalid_json",
        param: None,
        message: format!("the body is no request for a batch: {error}"),
    })?;
    let order = sender.payer.mandate()?;
    let client = sender.payer.client();
    let batch = new_batch(raw, order.as_ref().clone())?;
    let input = files::owned(&app, &client, &batch.input_file).await?;
    if input.purpose != "batch" {
        return Err(Invalid::value("input_file_id", "must be a file with the purpose batch").into());
    }
    let most = app.config.limits.batches_per_payer;
    if u64::try_from(batches::unfinished(&app.pool, &client).await?).unwrap_or(u64::MAX) >= most {
        return Err(ApiError::Busy {
            code: "too_many_batches",
            message: format!("an account has at most {most} unfinished batches; wait for one"),
        });
    }
    batches::insert(&app.pool, &app.instance.id, &batch).await?;
    app.batches.wake();
    Ok(HttpResponse::Ok().json(describe(&batch, Counts::default())))
}

fn new_batch(raw: Raw, order: cactus_protocol::SignedOrder) -> Result<Batch, Invalid> {
    let endpoint = Endpoint::parse(&raw.endpoint).ok_or_else(|| {
        let text = "must be /v1/chat/completions, /v1/completions or /v1/embeddings";
        Invalid::value("endpoint", text)
    })?;
    let created_ms = unix_ms();
    let seconds = window_seconds(&raw.completion_window)?;
    Ok(Batch {
        id: format!("batch_{}", hex::encode(rand::random::<[u8; 12]>())),
        order,
        endpoint,
        input_file: raw.input_file_id,
        completion_window: raw.completion_window,
        metadata: notes(raw.metadata)?,
        state: State::Validating,
        errors: None,
        counts: Counts::default(),
        output_file: None,
        error_file: None,
        times: BTreeMap::new(),
        created_ms,
        expires_ms: created_ms.saturating_add(seconds.saturating_mul(1000)),
    })
}

/// `24h`, `30m` or `90s`.
fn window_seconds(text: &str) -> Result<u64, Invalid> {
    let units = [('h', 3600), ('m', 60), ('s', 1)];
    let parse = |(unit, seconds): &(char, u64)| {
        text.strip_suffix(*unit)?.parse::<u64>().ok()?.checked_mul(*seconds)
    };
    let seconds = units.iter().find_map(parse).filter(|s| (1..=MOST_SECONDS).contains(s));
    seconds.ok_or_else(|| {
        Invalid::value("completion_window", "must be such as 24h, 30m or 90s, and at most 168h")
    })
}

fn notes(notes: Option<BTreeMap<String, String>>) -> Result<Value, Invalid> {
    let Some(notes) = notes else { return Ok(Value::Null) };
    let fits = |(key, value): (&String, &String)| key.len() + value.len() <= MAX_NOTE_BYTES;
    if notes.len() > MAX_NOTES || !notes.iter().all(fits) {
        let text = format!("must be at most {MAX_NOTES} texts of {MAX_NOTE_BYTES} bytes");
        return Err(Invalid::value("metadata", text));
    }
    Ok(json!(notes))
}

async fn described(app: &App, batch: &Batch) -> Result<Value, ApiError> {
    Ok(describe(batch, batches::counts(&app.pool, batch).await?))
}

/// One batch with its progress.
pub async fn one(
    app: web::Data<App>,
    sender: Authenticated,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let batch = batches::owned(&app, &sender.payer.client(), &id).await?;
    Ok(HttpResponse::Ok().json(described(&app, &batch).await?))
}

/// A payer's batches, newest first.
pub async fn list(
    app: web::Data<App>,
    sender: Authenticated,
    query: web::Query<ListQuery>,
) -> Result<HttpResponse, ApiError> {
    let page = query.page()?;
    let mut all = Vec::new();
    for batch in batches::list(&app.pool, &sender.payer.client(), &page).await? {
        all.push(described(&app, &batch).await?);
    }
    Ok(HttpResponse::Ok().json(list_of(all, &page)))
}

/// Stops a batch.
pub async fn cancel(
    app: web::Data<App>,
    sender: Authenticated,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let batch = batches::cancel(&app, &sender.payer.client(), &id).await?;
    Ok(HttpResponse::Ok().json(described(&app, &batch).await?))
}
