//! Receives an upload: a multipart form with a purpose and a file, streamed to the database while
//! it comes. Nothing of it counts before its sender has proved who it is.

use super::{Draft, Stored, give, used, used_by_all};
use crate::{
    app::App,
    auth::{self, Payer},
    error::{ApiError, Invalid},
};
use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::{
    HttpRequest,
    error::PayloadError,
    web::{Bytes, Payload},
};
use cactus_protocol::{Address, Hash, Octas};
use futures::{Stream, StreamExt};
use sha3::{Digest, Sha3_256};
use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

/// What files may be for.
const PURPOSE: &str = "batch";
const MAX_PURPOSE_BYTES: usize = 64;
const MAX_FILENAME_CHARS: usize = 200;
const MAX_FIELDS: usize = 16;

/// Receives a file and stores it for whoever sent it.
///
/// # Errors
/// What is wrong with the sender, the form or the file; then nothing stays.
pub async fn receive(
    app: &App,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Stored, ApiError> {
    let credentials = auth::read_credentials(app, request)?;
    let wanted = "multipart/form-data with the fields `purpose` and `file`";
    let kind = request.headers().get("content-type").and_then(|value| value.to_str().ok());
    if !kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("multipart/form-data")) {
        return Err(ApiError::MediaType { wanted });
    }
    // Whoever it claims to be: others' room is not touched before it has proved that.
    check_room(app, &credentials.claimed_client()).await?;
    let body = Hashed::new(payload);
    let limits = &app.config.limits;
    let time = Duration::from_millis(limits.file_ms);
    let form = tokio::time::timeout(time, read_form(app, request, body.clone())).await;
    let form = form.unwrap_or_else(|_| Err(unreadable("it did not come in time")));
    if form.is_err() {
        let rest = body.clone().discard(limits.file_bytes);
        let _ = tokio::time::timeout(Duration::from_millis(limits.body_ms), rest).await;
    }
    let form = form?;
    let hash = body.finish().await?;
    let payer = auth::prove(app, request, (credentials, || hash)).await?;
    keep(app, &payer, form).await
}

async fn check_room(app: &App, client: &Address) -> Result<(), ApiError> {
    let limits = &app.config.limits;
    if used_by_all(&app.pool).await? >= limits.all_file_bytes {
        return Err(ApiError::Busy {
            code: "overloaded",
            message: "this server keeps as many files as it can; try another one".into(),
        });
    }
    let (count, bytes) = used(&app.pool, client).await?;
    if count < limits.files_per_payer && bytes < limits.file_bytes_per_payer {
        return Ok(());
    }
    Err(ApiError::Conflict {
        code: "too_many_files",
        message: format!(
            "an account has at most {} files and {} bytes here: delete some",
            limits.files_per_payer, limits.file_bytes_per_payer
        ),
    })
}

async fn read_form(app: &App, request: &HttpRequest, body: Hashed) -> Result<Draft, ApiError> {
    let mut form = Multipart::new(request.headers(), body);
    let (mut purpose, mut file) = (None, None);
    for _ in 0..MAX_FIELDS {
        let Some(field) = form.next().await else { break };
        let mut field = field.map_err(|error| broken(&error))?;
        let name = field.content_disposition().and_then(|d| d.get_name().map(str::to_owned));
        match name.as_deref() {
            Some("purpose") => purpose = Some(read_text(&mut field).await?),
            Some("file") if file.is_none() => file = Some(write_file(app, field).await?),
            _ => skip(&mut field).await?,
        }
    }
    let wrong = |param, message: String| Err(Invalid::value(param, message).into());
    match (purpose.as_deref(), file) {
        (Some(PURPOSE), Some(draft)) if draft.bytes() > 0 => Ok(draft),
        (Some(PURPOSE), _) => wrong("file", "there must be a file that is not empty".into()),
        _ => wrong("purpose", format!("must be `{PURPOSE}`: nothing else is done with files")),
    }
}

async fn read_text(field: &mut Field) -> Result<String, ApiError> {
    let mut text = Vec::new();
    while let Some(part) = field.next().await {
        text.extend_from_slice(&part.map_err(|error| broken(&error))?);
        if text.len() > MAX_PURPOSE_BYTES {
            return Err(Invalid::value("purpose", "is too long").into());
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

async fn skip(field: &mut Field) -> Result<(), ApiError> {
    while let Some(part) = field.next().await {
        part.map_err(|error| broken(&error))?;
    }
    Ok(())
}

async fn write_file(app: &App, mut field: Field) -> Result<Draft, ApiError> {
    let filename = field.content_disposition().and_then(|d| d.get_filename());
    let filename = filename.unwrap_or("upload.jsonl");
    let filename = filename.chars().filter(|c| !c.is_control()).take(MAX_FILENAME_CHARS).collect();
    let mut draft = Draft::begin(app, PURPOSE, filename).await?;
    let limit = app.config.limits.file_bytes;
    while let Some(part) = field.next().await {
        let part = part.map_err(|error| broken(&error))?;
        let more = u64::try_from(part.len()).unwrap_or(u64::MAX);
        if draft.bytes().saturating_add(more) > limit {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            return Err(ApiError::TooLarge { limit });
        }
        draft.write(&part).await?;
    }
    // What an answer promises must survive a power cut.
    draft.finish().await?;
    Ok(draft)
}

/// Disk is for those who have money here: accounts without any cost nothing to make.
async fn check_funds(app: &App, client: Address) -> Result<(), ApiError> {
    let balance = app.chain.balance(client).await.map_err(|error| {
        tracing::warn!(%error, "a balance cannot be read");
        ApiError::ChainAway
    })?;
    if balance.available > Octas::ZERO || balance.locked > Octas::ZERO {
        return Ok(());
    }
    Err(ApiError::PaymentRequired {
        code: "insufficient_funds",
        message: format!("files are kept for accounts with a deposit, and {client} has none"),
    })
}

async fn keep(app: &App, payer: &Payer, draft: Draft) -> Result<Stored, ApiError> {
    let client = payer.client();
    check_room(app, &client).await?;
    check_funds(app, client).await?;
    if give(&app.pool, &client, draft.stored()).await? {
        return Ok(draft.keep());
    }
    Err(unreadable("it did not come in time"))
}

fn broken(error: &MultipartError) -> ApiError {
    unreadable(&error.to_string())
}

fn unreadable(reason: &str) -> ApiError {
    ApiError::Invalid(Invalid {
        code: "invalid_body",
        param: None,
        message: format!("the form cannot be read: {reason}"),
    })
}

/// A body that is hashed while it is read: a signed request signs the hash.
#[derive(Clone)]
struct Hashed(Rc<RefCell<(Payload, Sha3_256)>>);

impl Hashed {
    fn new(payload: Payload) -> Self {
        Self(Rc::new(RefCell::new((payload, Sha3_256::new()))))
    }

    /// Reads some of what is left and throws it away, so that its sender gets to read the answer.
    async fn discard(mut self, most: u64) {
        let mut left = most;
        while let Some(Ok(part)) = self.next().await {
            left = left.saturating_sub(u64::try_from(part.len()).unwrap_or(u64::MAX));
            if left == 0 {
                return;
            }
        }
    }

    /// Reads what the form left, and the hash of everything.
    async fn finish(mut self) -> Result<Hash, ApiError> {
        while let Some(part) = self.next().await {
            part.map_err(|error| unreadable(&error.to_string()))?;
        }
        let hasher = self.0.borrow().1.clone();
        Ok(Hash(hasher.finalize().into()))
    }
}

impl Stream for Hashed {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (payload, hasher) = &mut *self.0.borrow_mut();
        let next = payload.poll_next_unpin(context);
        if let Poll::Ready(Some(Ok(part))) = &next {
            hasher.update(part);
        }
        next
    }
}
