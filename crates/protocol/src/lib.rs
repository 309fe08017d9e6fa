//! What the parts of Cactus say to each other: ids, amounts, frames, signed messages, receipts
//! and task states. It performs no IO and reads no clock.
#![warn(missing_docs)]

pub mod advert;
pub mod amount;
pub mod answer;
pub mod auth;
pub mod chain_message;
pub mod chat;
pub mod digest;
pub mod frame;
pub mod id;
pub mod key;
pub mod receipt;
pub mod signed;
pub mod task;
pub mod trace_context;
pub mod work;

pub use advert::{Feature, ModelKind};
pub use amount::{Octas, Price};
pub use answer::UNKNOWN_TOKEN;
pub use auth::{RequestClaim, RequestSignature};
pub use chain_message::{ChainMessage, NodeKeyProof, Order, SignedOrder};
pub use chat::{ChatMessage, ChatRequest, FinishReason, Prompt, ResponseFormat, Role, Sampling};
pub use digest::OutputHasher;
pub use frame::{NodeFrame, ServerFrame};
pub use id::{Address, Hash, OrderId, TaskId};
pub use key::{PublicKey, SecretKey, Signature};
pub use receipt::Receipt;
pub use signed::{BadSignature, Canonical, Scope, Signed, Verified};
pub use task::{Fault, TaskEvent, TaskState};
pub use trace_context::{BadTraceContext, TraceContext};
pub use work::{EmbedRequest, OutOfBounds, Work};
