//! The seam to the inference engine: what a worker asks of a loaded model. It never loads one.

use cactus_inference::{GenerateEvent, GenerateRequest, Load, Model, ModelCard, Overloaded};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A model that answers chats. [`Model`] is the real one; tests have scripted ones.
pub trait TextModel: Send + Sync + 'static {
    /// What is loaded.
    fn card(&self) -> &ModelCard;

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
