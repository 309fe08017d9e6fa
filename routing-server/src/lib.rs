//! The routing server: an OpenAI-compatible API in front of many untrusted nodes. It picks a node
//! for each request, streams the answer back, checks the signed receipt and settles on the chain.
//! It never holds a client's money and never blocks a token on the chain or on disk.

mod admission;
mod app;
mod args;
mod auth;
mod authorization;
mod batches;
mod budget;
pub mod chain;
mod config;
mod database;
mod enrollment;
mod error;
mod exchange;
mod files;
mod instances;
mod key_store;
mod lines;
mod link;
mod memory;
mod metrics;
mod nodes;
mod openai;
mod routes;
mod server;
mod settlement;
mod shares;
mod streams;
mod trace;
mod verify;

pub use args::{Args, Limits};
pub use cactus_dispatch::Weights;
pub use config::Config;
pub use server::{run, serve};
