//! What a node sells: its models and their terms. It takes no task itself.

use crate::{text_model::TextModel, vector_model::VectorModel};
use cactus_protocol::{
    Feature, Hash, ModelKind, Price,
    frame::{Advert, HardwareReport, ModelOffer},
};
use std::sync::Arc;

/// A model that is served.
#[derive(Clone)]
pub enum ServedModel {
    /// Answers chats.
    Text(Arc<dyn TextModel>),
    /// Makes vectors.
    Vectors(Arc<dyn VectorModel>),
}

/// What the node sells.
#[derive(Clone)]
pub struct Shelf {
    /// The loaded models; each id at most once.
    pub models: Vec<ServedModel>,
    /// Octas per 1,000 tokens, for all of them.
    pub price: Price,
    /// How many tasks run at once.
    pub slots: u16,
    /// How many tasks may wait for a slot.
    pub queue: u16,
    /// Where the node says it is.
    pub region: String,
    /// What it runs on.
    pub hardware: HardwareReport,
}

impl ServedModel {
    /// The name under which it is served.
    pub fn id(&self) -> &str {
        match self {
            Self::Text(model) => model.id(),
            Self::Vectors(model) => model.id(),
        }
    }

    pub(crate) fn revision(&self) -> Hash {
        match self {
            Self::Text(model) => model.revision(),
            Self::Vectors(model) => model.revision(),
        }
    }

    fn features(&self) -> Vec<Feature> {
        match self {
            Self::Text(model) => model.features(),
            Self::Vectors(_) => Vec::new(),
        }
    }

    fn is_available(&self) -> bool {
        match self {
            Self::Text(model) => model.is_available(),
            Self::Vectors(_) => true,
        }
    }

    fn offer(&self, price: Price) -> ModelOffer {
        let (context_length, kind) = match self {
            Self::Text(model) => (model.context_length(), ModelKind::Chat),
            Self::Vectors(model) => {
                let dimensions = model.dimensions();
                (model.context_length(), ModelKind::Embedding { dimensions })
            }
        };
        ModelOffer {
            id: self.id().to_owned(),
            revision: self.revision(),
            context_length,
            price,
            kind,
            features: self.features(),
        }
    }
}

impl Shelf {
    pub(crate) fn advert(&self) -> Advert {
        Advert {
            models: self.models.iter().map(|model| model.offer(self.price)).collect(),
            slots: self.slots,
            queue: self.queue,
            region: self.region.clone(),
        }
    }

    pub(crate) fn find(&self, id: &str) -> Option<&ServedModel> {
        self.models.iter().find(|model| model.id() == id)
    }

    /// Places in the advert of models whose engine is away.
    pub(crate) fn unavailable(&self) -> Vec<u16> {
        let models = (0..).zip(&self.models);
        models.filter(|(_, model)| !model.is_available()).map(|(place, _)| place).collect()
    }

    /// Chats being computed and waiting, over all models.
    pub(crate) fn load(&self) -> (usize, usize) {
        let loads = self.models.iter().filter_map(|model| match model {
            ServedModel::Text(model) => Some(model.current_load()),
            ServedModel::Vectors(_) => None,
        });
        loads.fold((0, 0), |(active, queued), load| (active + load.active, queued + load.queued))
    }
}
