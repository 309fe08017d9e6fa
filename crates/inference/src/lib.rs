//! Text from language models: the [`Engine`] trait, the candle engine, and [`Model`], a handle that
//! runs one engine on a thread of its own; and vectors from text: [`EmbeddingModel`]. It never opens
//! a socket and knows nothing of money.
#![warn(missing_docs)]

mod batch;
mod candle_engine;
mod card;
mod device;
mod embedding;
mod engine;
mod engines;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gauges;
pub mod load;
mod logprobs;
mod memory;
mod model;
mod options;
mod philox;
mod request;
mod sampler;
mod scheduler;
mod sequence;
#[cfg(feature = "tch")]
mod tch_engine;
mod text;
mod threads;

pub use candle_engine::CandleEngine;
pub use card::{MemoryEstimate, ModelCard, WeightType};
pub use device::{BadDevice, Device, DeviceChoice};
pub use embedding::{EmbedError, EmbeddingModel, Embeddings, MAX_INPUT_BYTES, MAX_INPUTS};
pub use engine::{
    Capacity, Chunk, Decode, Engine, EngineError, Matrix, Prefill, SequenceId, SequenceOutput,
    Step, Tap,
};
pub use gauges::Totals;
pub use load::error::LoadError;
pub use model::{CompleteError, Completion, Load, Model, Overloaded};
pub use options::{EngineOptions, LoadOptions};
pub use request::{
    ChatMessage, FinishReason, GenerateError, GenerateEvent, GenerateRequest, MAX_ALTERNATIVES,
    MAX_BIASED_TOKENS, MAX_MESSAGES, MAX_SCHEMA_BYTES, MAX_STOP_BYTES, MAX_STOP_STRINGS, Prompt,
    ResponseFormat, Sampling, TokenLogprob, TokenLogprobs,
};
pub use sampler::{History, InvalidLogits, TokenSet, sample};
#[cfg(feature = "tch")]
pub use tch_engine::TchEngine;
