//! One model on several devices, served as one: every request goes to the device that has most room.
//! It never moves a request that has begun.

use crate::text_model::TextModel;
use cactus_inference::{GenerateEvent, GenerateRequest, Load, Model, Overloaded};
use cactus_protocol::{Feature, Hash};
use std::{cmp::Reverse, sync::Arc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The same model, as often as there are devices; at least twice.
pub(crate) struct Replicas<M = Model> {
    first: M,
    others: Vec<M>,
}

impl Replicas {
    /// A single model is served as it is.
    pub(crate) fn of(models: Vec<Model>) -> Option<Arc<dyn TextModel>> {
        let mut models = models.into_iter();
        let (first, others) = (models.next()?, models.collect::<Vec<_>>());
        Some(match others.is_empty() {
            true => Arc::new(first),
            false => Arc::new(Self { first, others }),
        })
    }
}

impl<M: TextModel> Replicas<M> {
    fn all(&self) -> impl Iterator<Item = &M> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl<M: TextModel> TextModel for Replicas<M> {
    fn id(&self) -> &str {
        self.first.id()
    }

    fn revision(&self) -> Hash {
        self.first.revision()
    }

    /// What every device can hold: a device with less memory may hold a shorter context.
    fn context_length(&self) -> u32 {
        self.all().map(TextModel::context_length).min().unwrap_or(0)
    }

    fn features(&self) -> Vec<Feature> {
        self.first.features()
    }

    fn is_available(&self) -> bool {
        self.all().any(TextModel::is_available)
    }

    fn current_load(&self) -> Load {
        let idle = Load { active: 0, free_slots: 0, queued: 0 };
        self.all().map(TextModel::current_load).fold(idle, |sum, load| Load {
            active: sum.active + load.active,
            free_slots: sum.free_slots + load.free_slots,
            queued: sum.queued + load.queued,
        })
    }

    fn generate(
        &self,
        request: GenerateRequest,
        cancel: CancellationToken,
    ) -> Result<mpsc::Receiver<GenerateEvent>, Overloaded> {
        let room = |model: &&M| {
            let load = model.current_load();
            (load.free_slots, Reverse(load.queued))
        };
        let most = self.all().max_by_key(room).unwrap_or(&self.first);
        most.generate(request, cancel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cactus_inference::Prompt;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts what it is asked for.
    struct Counter {
        context: u32,
        free_slots: usize,
        queued: AtomicUsize,
    }

    impl TextModel for Counter {
        fn id(&self) -> &str {
            "counter"
        }

        fn revision(&self) -> Hash {
            Hash([7; 32])
        }

        fn context_length(&self) -> u32 {
            self.context
        }

        fn features(&self) -> Vec<Feature> {
            Vec::new()
        }

        fn current_load(&self) -> Load {
            let queued = self.queued.load(Ordering::Relaxed);
            Load { active: 0, free_slots: self.free_slots.saturating_sub(queued), queued }
        }

        fn generate(
            &self,
            _request: GenerateRequest,
            _cancel: CancellationToken,
        ) -> Result<mpsc::Receiver<GenerateEvent>, Overloaded> {
            self.queued.fetch_add(1, Ordering::Relaxed);
            Ok(mpsc::channel(1).1)
        }
    }

    fn counter(context: u32, free_slots: usize) -> Counter {
        Counter { context, free_slots, queued: AtomicUsize::new(0) }
    }

    #[test]
    fn requests_spread_by_room_and_then_by_queue() {
        let replicas = Replicas { first: counter(512, 2), others: vec![counter(256, 4)] };
        assert_eq!((replicas.context_length(), replicas.current_load().free_slots), (256, 6));
        let queued_after = |requests: usize| {
            for _ in 0..requests {
                let request = GenerateRequest::new(Prompt::Text("hello".to_owned()));
                replicas.generate(request, CancellationToken::new()).unwrap();
            }
            let counts = replicas.all().map(|model| model.current_load().queued);
            counts.collect::<Vec<_>>()
        };
        assert_eq!(queued_after(6), [2, 4], "as much as each has room for");
        assert_eq!(queued_after(2), [4, 4], "the shorter queue");
    }
}
