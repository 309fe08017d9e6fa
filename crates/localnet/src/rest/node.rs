//! The chain as handlers get it.
//! Never keeps the chain open once the server has stopped: the HTTP framework lets go of its
//! workers' data some time later, and the database must be free for whoever opens it next.

use std::future::{Ready, ready};
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};

use super::answer::ApiError;
use crate::chain::Chain;

/// What the workers hold: the chain, until the server stops.
pub struct Slot(RwLock<Option<Arc<Chain>>>);

impl Slot {
    /// Holds a chain.
    pub fn new(chain: Arc<Chain>) -> Self {
        Self(RwLock::new(Some(chain)))
    }

    /// Lets go of it; requests still under way keep theirs.
    pub fn close(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn chain(&self) -> Option<Arc<Chain>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The chain, for one request.
#[derive(Clone)]
pub struct Node(Arc<Chain>);

impl Node {
    /// The chain that the request is for.
    pub fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let slot = request.app_data::<web::Data<Slot>>();
        let chain = slot.and_then(|slot| slot.chain());
        chain.map(Self).ok_or_else(|| ApiError::unavailable("the node is shutting down"))
    }
}

impl Deref for Node {
    type Target = Chain;

    fn deref(&self) -> &Chain {
        &self.0
    }
}

impl FromRequest for Node {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}
