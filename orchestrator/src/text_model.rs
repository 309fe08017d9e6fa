//! The seam to the inference engine: what a worker asks of a loaded model. It never loads one.

use cactus_inference::{GenerateEvent, GenerateRequest, Load, Model, Overloaded};
use cactus_protocol::{Feature, Hash};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A model that answers chats: [`Model`] computes here, [`crate::RemoteModel`] asks a server.
pub trait TextModel: Send + Sync + 'static {
    /// The name under which it is served.
    fn id(&self) -> &str;

    /// Merkle root of weights, tokenizer and template.
    fn revision(&self) -> Hash;

    /// Prompt and output together, in tokens.
    fn context_length(&self) -> u32;

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
    fn id(&self) -> &str {
        &self.card().id
    }

    fn revision(&self) -> Hash {
        Hash(self.card().revision)
    }

    fn context_length(&self) -> u32 {
        self.card().context_length
    }

    fn features(&self) -> Vec<Feature> {
        let json = [Feature::JsonObject, Feature::JsonSchema];
        let served = |feature: &Feature| self.follows_formats() || !json.contains(feature);
        Feature::ALL.into_iter().filter(served).collect()
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
