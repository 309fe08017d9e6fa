//! The seam to embedding models: what a worker asks of one that is loaded. It never loads one.

use cactus_inference::{EmbedError, EmbeddingModel, Embeddings};
use cactus_protocol::Hash;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

/// A model that makes vectors. [`EmbeddingModel`] is the real one; tests have scripted ones.
pub trait VectorModel: Send + Sync + 'static {
    /// The name under which it is served.
    fn id(&self) -> &str;

    /// Merkle root of weights, tokenizer and configuration.
    fn revision(&self) -> Hash;

    /// The longest text, in tokens; longer ones are cut.
    fn context_length(&self) -> u32;

    /// Numbers per vector.
    fn dimensions(&self) -> u32;

    /// The vectors of `inputs`, in order. Dropping the future, or cancelling, ends the work.
    fn embed(
        &self,
        inputs: Vec<String>,
        cancel: CancellationToken,
    ) -> BoxFuture<'_, Result<Embeddings, EmbedError>>;
}

impl VectorModel for EmbeddingModel {
    fn id(&self) -> &str {
        &self.card().id
    }

    fn revision(&self) -> Hash {
        Hash(self.card().revision)
    }

    fn context_length(&self) -> u32 {
        self.card().context_length
    }

    fn dimensions(&self) -> u32 {
        u32::try_from(Self::dimensions(self)).unwrap_or(u32::MAX)
    }

    fn embed(
        &self,
        inputs: Vec<String>,
        cancel: CancellationToken,
    ) -> BoxFuture<'_, Result<Embeddings, EmbedError>> {
        Box::pin(Self::embed(self, inputs, cancel))
    }
}
