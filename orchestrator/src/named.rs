//! A model under another name than its directory's: models of a hub lie in directories that are
//! named after a commit. It changes nothing else.

use crate::{shelf::ServedModel, text_model::TextModel, vector_model::VectorModel};
use cactus_inference::{EmbedError, Embeddings, GenerateEvent, GenerateRequest, Load, Overloaded};
use cactus_protocol::{Feature, Hash};
use futures::future::BoxFuture;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

struct Named<M: ?Sized> {
    id: String,
    model: Arc<M>,
}

/// The same model, served as `id`.
pub(crate) fn named(id: String, model: ServedModel) -> ServedModel {
    match model {
        ServedModel::Text(model) => ServedModel::Text(Arc::new(Named { id, model })),
        ServedModel::Vectors(model) => ServedModel::Vectors(Arc::new(Named { id, model })),
    }
}

impl TextModel for Named<dyn TextModel> {
    fn id(&self) -> &str {
        &self.id
    }

    fn revision(&self) -> Hash {
        self.model.revision()
    }

    fn context_length(&self) -> u32 {
        self.model.context_length()
    }

    fn features(&self) -> Vec<Feature> {
        self.model.features()
    }

    fn is_available(&self) -> bool {
        self.model.is_available()
    }

    fn current_load(&self) -> Load {
        self.model.current_load()
    }

    fn generate(
        &self,
        request: GenerateRequest,
        cancel: CancellationToken,
    ) -> Result<mpsc::Receiver<GenerateEvent>, Overloaded> {
        self.model.generate(request, cancel)
    }
}

impl VectorModel for Named<dyn VectorModel> {
    fn id(&self) -> &str {
        &self.id
    }

    fn revision(&self) -> Hash {
        self.model.revision()
    }

    fn context_length(&self) -> u32 {
        self.model.context_length()
    }

    fn dimensions(&self) -> u32 {
        self.model.dimensions()
    }

    fn embed(
        &self,
        inputs: Vec<String>,
        cancel: CancellationToken,
    ) -> BoxFuture<'_, Result<Embeddings, EmbedError>> {
        self.model.embed(inputs, cancel)
    }
}
