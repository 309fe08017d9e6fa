//! Who asks and with whose money. Handlers that spend or reveal take an [`Authenticated`]; only
//! this module makes one.

mod body;
pub mod keys;
pub mod nonces;
mod replay;

pub use replay::ReplayCache;

use crate::{app::App, error::ApiError, link::unix_ms};
use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web};
use bytes::Bytes;
use cactus_protocol::{
    Address, Hash, RequestClaim, RequestSignature, SignedOrder, Verified,
    auth::{CLOCK_TOLERANCE_MS, ORDER_HEADER},
};
use futures::future::LocalBoxFuture;
use replay::Replay;
use std::sync::Arc;

/// An order must be valid for so much longer, in seconds: the chain checks it when the lock gets
/// there, and its clock may be ahead.
const ORDER_MARGIN_SECONDS: u64 = 120;

const NONCE_USED: &str = "the nonce was used already";

/// A payer who proved who it is.
#[derive(Debug, Clone)]
pub struct Payer {
    client: Address,
    order: Option<Arc<SignedOrder>>,
    key_id: Option<String>,
}

impl Payer {
    /// Of an order that was checked when it came.
    pub fn of_order(order: SignedOrder) -> Self {
        Self { client: order.order.client, order: Some(Arc::new(order)), key_id: None }
    }

    /// The API key that stands for the account, if one does.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The account that pays.
    pub fn client(&self) -> Address {
        self.client
    }

    /// The order that came with the request or stands behind the API key, if any.
    pub fn order(&self) -> Option<&Arc<SignedOrder>> {
        self.order.as_ref()
    }

    /// The order, which spending takes.
    ///
    /// # Errors
    /// Says how to get one when there is none, or when it has expired.
    pub fn mandate(&self) -> Result<Arc<SignedOrder>, ApiError> {
        let order = self.order.clone();
        let order = order.ok_or_else(|| ApiError::PaymentRequired {
            code: "order_required",
            message: format!(
                "send a signed order in {ORDER_HEADER}, or create an API key: `cactus key create`"
            ),
        })?;
        if order.order.expires_seconds <= unix_ms() / 1000 + ORDER_MARGIN_SECONDS {
            return Err(ApiError::PaymentRequired {
                code: "order_expired",
                message: format!(
                    "the order has expired or does so within {ORDER_MARGIN_SECONDS} seconds: sign a \
                     new one, or create a new API key"
                ),
            });
        }
        Ok(order)
    }
}

/// A request whose sender is known, with its body.
#[derive(Debug)]
pub struct Authenticated {
    /// Who.
    pub payer: Payer,
    /// The whole body, within the limit.
    pub body: Bytes,
}

impl FromRequest for Authenticated {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let app = request.app_data::<web::Data<App>>().cloned();
            let app = app.ok_or_else(|| ApiError::Internal(anyhow::anyhow!("no app data")))?;
            let credentials = read_credentials(&app, &request)?;
            let body = body::read(payload, &app.config.limits).await?;
            let payer = prove(&app, &request, (credentials, || Hash::of(&body))).await?;
            Ok(Self { payer, body })
        })
    }
}

/// Credentials that are worth reading a body for.
pub enum Credentials {
    /// A live API key.
    Key(keys::ApiKey),
    /// A signature that is not yet verified.
    Signature(RequestSignature),
}

impl Credentials {
    /// Whom they speak for, if they hold.
    pub fn claimed_client(&self) -> Address {
        match self {
            Self::Key(key) => key.client,
            Self::Signature(signature) => signature.claim.body.client,
        }
    }
}

/// Reads the credentials of a request.
///
/// # Errors
/// [`ApiError::Unauthenticated`] when there are none that could hold.
pub fn read_credentials(app: &App, request: &HttpRequest) -> Result<Credentials, ApiError> {
    let value = header_text(request, header::AUTHORIZATION.as_str()).ok_or_else(|| {
        let text = "no credentials: send `Authorization: Bearer ck_…` or a signed request";
        ApiError::Unauthenticated(text.into())
    })?;
    if let Some(text) = value.strip_prefix("Bearer ") {
        let key = app.keys.find(text.trim()).ok_or_else(|| {
            ApiError::Unauthenticated("unknown or revoked API key: `cactus key create`".into())
        })?;
        return Ok(Credentials::Key(key));
    }
    RequestSignature::parse_header(value)
        .map(Credentials::Signature)
        .ok_or_else(|| ApiError::Unauthenticated("the credentials cannot be read".into()))
}

/// Checks the credentials of a request whose body has this hash, which is only asked for where a
/// signature is over it.
///
/// # Errors
/// [`ApiError::Unauthenticated`] and the like.
pub async fn prove(
    app: &App,
    request: &HttpRequest,
    (credentials, body): (Credentials, impl FnOnce() -> Hash),
) -> Result<Payer, ApiError> {
    let signature = match credentials {
        Credentials::Key(key) => {
            return Ok(Payer { client: key.client, order: Some(key.order), key_id: Some(key.id) });
        }
        Credentials::Signature(signature) => signature,
    };
    let claim = check_claim(app, request, (signature, body()))?;
    if app.instance.is_shared
        && !nonces::accept(&app.pool, (&claim.client, &claim.nonce), unix_ms()).await?
    {
        return Err(ApiError::Unauthenticated(NONCE_USED.into()));
    }
    let order = header_text(request, ORDER_HEADER)
        .map(|text| check_order(app, text, claim.client))
        .transpose()?;
    Ok(Payer { client: claim.client, order, key_id: None })
}

/// The claim must be about this very request, at this server, now, once.
fn check_claim(
    app: &App,
    request: &HttpRequest,
    (signature, body): (RequestSignature, Hash),
) -> Result<Verified<RequestClaim>, ApiError> {
    let refuse = |text: &str| Err(ApiError::Unauthenticated(text.into()));
    let Ok(claim) = signature.verify(app.scope) else {
        return refuse("the signature does not match the account or this network");
    };
    let path = request.uri().path_and_query().map_or("", |p| p.as_str());
    let is_this_request = claim.server == app.server
        && claim.method == request.method().as_str()
        && claim.path == path
        && claim.body_hash == body;
    if !is_this_request {
        return refuse("the signature is for another request or server");
    }
    let now_ms = unix_ms();
    if now_ms.abs_diff(claim.time_ms) > CLOCK_TOLERANCE_MS {
        return refuse("the request's clock is more than a minute off");
    }
    let is_known = app.budget.lock().is_known(&claim.client);
    match app.replays.lock().accept((claim.client, is_known), claim.nonce, now_ms) {
        Ok(()) => Ok(claim),
        Err(Replay::Used) => refuse(NONCE_USED),
        Err(Replay::Full) => Err(ApiError::Busy {
            code: "rate_limit_exceeded",
            message: "too many signed requests; use an API key".into(),
        }),
    }
}

/// Reads an order and checks that it lets this server spend this client's money.
fn check_order(app: &App, text: &str, client: Address) -> Result<Arc<SignedOrder>, ApiError> {
    let refuse =
        |text: &str| ApiError::PaymentRequired { code: "order_invalid", message: text.into() };
    let order = SignedOrder::parse_header(text)
        .and_then(|order| order.verify(app.scope).ok())
        .ok_or_else(|| refuse("the order's signature does not match its account or this network"))?
        .into_inner();
    if order.order.client != client || order.order.server != app.server {
        return Err(refuse("the order is for another client or server"));
    }
    Ok(Arc::new(order))
}

fn header_text<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}
