//! The seam to the inference engine: what a worker asks of a loaded model. It never loads one.

use cactus_inference::{GenerateEvent, GenerateRequest, Load, Model, ModelCard, Overloaded};
use cactus_protocol::Feature;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A model that answers chats. [`Model`] is the real one; tests have scripted ones.
pub trait TextModel: Send + Sync + 'static {
    /// What is loaded.
    fn card(&self) -> &ModelCard;

    /// What it can do beyond plain chat.
    fn features(&self) -> Vec<Feature>;

    /// Whether it can serve at all now; an engine of its own may be away.
    fn is_available(&self) -> bool {
        true
    }

    /// How busy it is now.
    fn current_load(&self) -> Load;

    /// Queues a request. The channel closes after `Finished` or `Failed`; dropping it cancels.
    ///
    /// # Errors
    /// [`Overloaded`] when there is no slot and no room in the queue.
    fn generate(
        &self,
        request: GenerateRequest,
        cancel: CancellationToken,
    ) -> Result<mpsc::Receiver<GenerateEvent>, Overloaded>;
}

impl TextModel for Model {
    fn card(&self) -> &ModelCard {
        Self::card(self)
    }

    fn features(&self) -> Vec<Feature> {
        vec![Feature::TokenIds, Feature::TextPrompt]
    }

    fn current_load(&self) -> Load {
        Self::current_load(self)
    }

    fn generate(
        &self,
        request: GenerateRequest,
        cancel: CancellationToken,
    ) -> Result<mpsc::Receiver<GenerateEvent>, Overloaded> {
        Self::generate(self, request, cancel)
    }
}
