//! A model that does what its prompt says: `say 5` produces five tokens, `wait 5` produces each of
//! them when the test releases it, `fail`, `refuse`, `crash` and `miscount` misbehave.

use cactus_inference::{
    FinishReason, GenerateError, GenerateEvent, GenerateRequest, Load, Overloaded, Prompt,
    TokenLogprob, TokenLogprobs,
};
use cactus_orchestrator::TextModel;
use cactus_protocol::{Feature, Hash};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

pub struct ScriptedModel {
    /// One permit lets one waiting sequence produce one token.
    pub releases: Arc<Semaphore>,
    /// Sequences that run.
    pub active: Arc<watch::Sender<usize>>,
    /// Tokens produced over all sequences.
    pub produced: Arc<AtomicUsize>,
    /// The engine cannot be reached.
    pub away: AtomicBool,
}

impl ScriptedModel {
    pub fn new() -> Self {
        Self {
            releases: Arc::new(Semaphore::new(0)),
            active: Arc::new(watch::Sender::new(0)),
            produced: Arc::default(),
            away: AtomicBool::new(false),
        }
    }

    /// Waits until no sequence runs.
    pub async fn idle(&self) {
        let mut active = self.active.subscribe();
        let idle = active.wait_for(|count| *count == 0);
        tokio::time::timeout(super::PATIENCE, idle)
            .await
            .expect("the model stops")
            .expect("the model lives");
    }
}

impl TextModel for ScriptedModel {
    fn id(&self) -> &str {
        "scripted"
    }

    fn revision(&self) -> Hash {
        Hash([9; 32])
    }

    fn context_length(&self) -> u32 {
        4096
    }

    fn features(&self) -> Vec<Feature> {
        vec![Feature::TokenIds, Feature::Logprobs]
    }

    fn is_available(&self) -> bool {
        !self.away.load(Ordering::SeqCst)
    }

    fn current_load(&self) -> Load {
        Load { active: *self.active.borrow(), free_slots: 0, queued: 0 }
    }

    fn generate(
        &self,
        request: GenerateRequest,
        cancel: CancellationToken,
    ) -> Result<mpsc::Receiver<GenerateEvent>, Overloaded> {
        let (events, receiver) = mpsc::channel(4);
        self.active.send_modify(|count| *count += 1);
        let sequence = Sequence {
            events,
            cancel,
            releases: Arc::clone(&self.releases),
            produced: Arc::clone(&self.produced),
            wants_logprobs: request.logprobs.is_some(),
        };
        let active = Arc::clone(&self.active);
        tokio::spawn(async move {
            let Prompt::Chat(messages) = &request.prompt else { panic!("{request:?}") };
            // An error means that nobody listens any more.
            let _ = sequence.run(&messages[0].content).await;
            active.send_modify(|count| *count -= 1);
        });
        Ok(receiver)
    }
}

struct Sequence {
    events: mpsc::Sender<GenerateEvent>,
    cancel: CancellationToken,
    releases: Arc<Semaphore>,
    produced: Arc<AtomicUsize>,
    wants_logprobs: bool,
}

type Told = Result<(), mpsc::error::SendError<GenerateEvent>>;

impl Sequence {
    fn logprobs(&self, token_id: u32) -> Vec<TokenLogprobs> {
        let chosen = TokenLogprob { token_id, bytes: b"x".to_vec(), logprob: -0.25 };
        let one = TokenLogprobs { top: vec![chosen.clone()], chosen };
        if self.wants_logprobs { vec![one] } else { vec![] }
    }

    async fn run(&self, script: &str) -> Told {
        let (verb, count) = script.split_once(' ').unwrap_or((script, "1"));
        let count: u32 = count.parse().expect("the script counts tokens");
        self.events.send(GenerateEvent::Started { prompt_tokens: 7 }).await?;
        let failed = |error| self.events.send(GenerateEvent::Failed(error));
        match verb {
            "fail" => return failed(GenerateError::Internal("secret detail".into())).await,
            "refuse" => return failed(GenerateError::BadRequest("too long".into())).await,
            "crash" => return Ok(()),
            _ => {}
        }
        for index in 0..count {
            if verb == "wait" && !self.released().await {
                return self.finish(FinishReason::Cancelled, index).await;
            }
            self.produced.fetch_add(1, Ordering::SeqCst);
            let delta = GenerateEvent::Delta {
                text: format!("é{index} "),
                token_ids: vec![index],
                logprobs: self.logprobs(index),
            };
            self.events.send(delta).await?;
        }
        let lie = u32::from(verb == "miscount");
        self.finish(FinishReason::Stop, count + lie).await
    }

    /// Whether the test let the next step happen before it was cancelled.
    async fn released(&self) -> bool {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => false,
            permit = self.releases.acquire() => {
                permit.expect("the semaphore is never closed").forget();
                true
            }
        }
    }

    async fn finish(&self, reason: FinishReason, output_tokens: u32) -> Told {
        let finished = GenerateEvent::Finished {
            reason,
            prompt_tokens: 7,
            output_tokens,
            ttft: Duration::ZERO,
            total: Duration::ZERO,
        };
        self.events.send(finished).await
    }
}
