//! An embedding model whose vectors say which text they are of: `[length, place]`. `fail` and
//! `short` misbehave, `wait` never ends.

use cactus_inference::{EmbedError, Embeddings};
use cactus_orchestrator::VectorModel;
use cactus_protocol::Hash;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub struct ScriptedVectors;

pub fn vector(place: usize, text: &str) -> Vec<f32> {
    vec![f32::from(u16::try_from(text.len()).unwrap()), f32::from(u16::try_from(place).unwrap())]
}

impl VectorModel for ScriptedVectors {
    fn id(&self) -> &str {
        "vectors"
    }

    fn revision(&self) -> Hash {
        Hash([8; 32])
    }

    fn context_length(&self) -> u32 {
        256
    }

    fn dimensions(&self) -> u32 {
        2
    }

    fn embed(
        &self,
        inputs: Vec<String>,
        _: CancellationToken,
    ) -> BoxFuture<'_, Result<Embeddings, EmbedError>> {
        Box::pin(async move {
            let mut vectors: Vec<_> =
                inputs.iter().enumerate().map(|(place, text)| vector(place, text)).collect();
            match inputs[0].as_str() {
                "fail" => return Err(EmbedError::Internal("secret detail".into())),
                "refuse" => return Err(EmbedError::BadRequest("too long".into())),
                "short" => vectors.truncate(1),
                "nan" => vectors[0][0] = f32::NAN,
                "wait" => std::future::pending().await,
                _ => {}
            }
            Ok(Embeddings { vectors, prompt_tokens: 3 })
        })
    }
}
