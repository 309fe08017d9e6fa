//! The daemon on a GPU owner's machine: dials out to routing servers, runs tasks on its models and
//! signs receipts. It opens no port, and knows the chain only through `cactus-ledger`.

mod args;
mod assignment;
mod backoff;
mod config;
mod earnings;
mod embed_job;
mod enrollment;
mod generate;
mod handshake;
mod hardware;
mod hub;
mod job;
mod link;
mod logging;
mod models;
mod orchestrator;
mod output;
mod remote;
mod replicas;
mod router_url;
mod session;
mod shelf;
mod source;
mod task_book;
mod text_model;
mod translate;
mod vector_model;
mod worker;

pub use args::{Args, Command, GenerateArgs, LogFormat, RunArgs, Settings};
pub use config::{Config, ConfigError};
pub use enrollment::EnrollError;
pub use generate::generate;
pub use handshake::Violation;
pub use hardware::Hardware;
pub use hub::{BadReference, Hub, HubConfig, HubError, HubLimits, ModelReference};
pub use link::{Link, LinkError, ServerCheck, ServerDoubt, Timing};
pub use logging::start_logging;
pub use orchestrator::{Orchestrator, run};
pub use remote::{EngineFault, RemoteConfig, RemoteError, RemoteLimits, RemoteModel};
pub use router_url::{BadRouterUrl, RouterUrl};
pub use shelf::{ServedModel, Shelf};
pub use source::{EngineSource, LocalModel, Source};
pub use text_model::TextModel;
pub use vector_model::VectorModel;
pub use worker::{GpuReading, Identity, Rejection, Totals, Worker};
