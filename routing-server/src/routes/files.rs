//! `/v1/files`: what batches read and write. A payer sees its own files and no others.

use crate::{
    app::App,
    auth::Authenticated,
    error::{ApiError, Invalid},
    files::{self, Page, describe},
};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

/// Entries of a list that names no limit, and the most.
const USUAL_LIMIT: u32 = 100;
const MOST: u32 = 1_000;

/// Which part of a list.
#[derive(Debug, Deserialize)]
pub struct ListQuery {
    after: Option<String>,
    limit: Option<u32>,
    purpose: Option<String>,
}

impl ListQuery {
    /// The page, within its bounds.
    pub fn page(&self) -> Result<Page, Invalid> {
        let limit = self.limit.unwrap_or(USUAL_LIMIT);
        if !(1..=MOST).contains(&limit) {
            return Err(Invalid::value("limit", format!("must be from 1 to {MOST}")));
        }
        for (param, text) in [("after", &self.after), ("purpose", &self.purpose)] {
            if !text.as_deref().is_none_or(files::may_be_id) {
                return Err(Invalid::value(param, "names nothing"));
            }
        }
        Ok(Page { after: self.after.clone(), limit })
    }
}

/// OpenAI's list of objects with ids, of which one more than the page holds may be given.
pub fn list_of(mut data: Vec<Value>, page: &Page) -> Value {
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let has_more = data.len() > limit;
    data.truncate(limit);
    json!({
        "object": "list",
        "first_id": data.first().map(|first| &first["id"]),
        "last_id": data.last().map(|last| &last["id"]),
        "has_more": has_more,
        "data": data,
    })
}

/// Receives a file.
pub async fn upload(
    app: web::Data<App>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let file = files::receive(&app, &request, payload).await?;
    Ok(HttpResponse::Ok().json(describe(&file)))
}

/// A payer's files, newest first.
pub async fn list(
    app: web::Data<App>,
    sender: Authenticated,
    query: web::Query<ListQuery>,
) -> Result<HttpResponse, ApiError> {
    let page = query.page()?;
    let client = sender.payer.client();
    let found = files::list(&app.pool, &client, (query.purpose.as_deref(), &page)).await?;
    Ok(HttpResponse::Ok().json(list_of(found.iter().map(describe).collect(), &page)))
}

/// One file.
pub async fn one(
    app: web::Data<App>,
    sender: Authenticated,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let file = files::owned(&app, &sender.payer.client(), &id).await?;
    Ok(HttpResponse::Ok().json(describe(&file)))
}

/// A file's bytes.
pub async fn content(
    app: web::Data<App>,
    sender: Authenticated,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let file = files::owned(&app, &sender.payer.client(), &id).await?;
    let parts = files::stream(app.pool.clone(), file.id);
    let bytes = actix_web::body::SizedStream::new(file.bytes, parts);
    Ok(HttpResponse::Ok().content_type("application/jsonl").body(bytes))
}

/// Deletes a file.
pub async fn delete(
    app: web::Data<App>,
    sender: Authenticated,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    files::delete(&app, &sender.payer.client(), &id).await?;
    let body = json!({"id": id.as_str(), "object": "file", "deleted": true});
    Ok(HttpResponse::Ok().json(body))
}
