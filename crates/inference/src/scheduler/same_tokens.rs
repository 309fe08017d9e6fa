//! The promise of the scheduler, with a real model: a request has the same tokens whether it runs
//! alone, among others, in chunks, on a prefix that another computed, or in pieces because it had
//! to give way; and whatever happens to others.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Limits, Next, Scheduler};
use crate::candle_engine::CandleEngine;
use crate::card::ModelCard;
use crate::engine::{Capacity, Chunk, Decode, Engine, EngineError, Prefill, SequenceId, Step, Tap};
use crate::gauges::{Gauges, Totals};
use crate::load::files::ModelFiles;
use crate::options::EngineOptions;
use crate::request::{FinishReason, GenerateEvent, Sampling};
use crate::sampler::{History, sample};
use crate::sequence::{Beginning, Job, Reply};
use crate::text::codec::Codec;

mod faults;

/// One block of sixteen positions takes so much in the fixture's model.
const BLOCK_BYTES: u64 = 8192;

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama3")
}

fn engine(blocks: u64) -> CandleEngine {
    let kv_cache_bytes = Some(blocks * BLOCK_BYTES);
    let options = EngineOptions { threads: Some(1), kv_cache_bytes, ..EngineOptions::new(64) };
    CandleEngine::load(&directory(), options).unwrap()
}

#[derive(Clone, Debug)]
struct Asked {
    prompt: Vec<u32>,
    max_tokens: usize,
    sampling: Sampling,
    salt: u64,
    priority: u8,
    /// The step before which it comes.
    arrives: usize,
    /// How many steps later it is cancelled.
    cancelled_after: Option<usize>,
}

/// The tokens of a request that has an engine for itself, without scheduler or chunks.
fn alone(asked: &Asked, codec: &Codec) -> Vec<u32> {
    let mut engine = engine(8);
    let id = SequenceId(0);
    engine.reserve(id, asked.prompt.len() + asked.max_tokens).unwrap();
    let chunk = Chunk { sequence: id, tokens: asked.prompt.clone() };
    let mut step = engine.prefill(&Prefill { chunks: vec![chunk] }, Tap::Last).unwrap();
    let (mut tokens, mut history) = (Vec::new(), History::default());
    loop {
        let logits = &step.outputs[0].logits.values;
        let token = sample(logits, &history, &asked.sampling, None).unwrap();
        history.push(token);
        tokens.push(token);
        if codec.is_end(token) || tokens.len() == asked.max_tokens {
            return tokens;
        }
        step = engine.decode(&Decode { tokens: vec![(id, token)] }, Tap::Last).unwrap();
    }
}

struct Run {
    scheduler: Scheduler,
    gauges: Arc<Gauges>,
    now: Instant,
}

impl Run {
    fn new(slots: usize, engine: impl Engine + 'static, codec: &Arc<Codec>) -> Self {
        let gauges = Arc::new(Gauges::default());
        let limits = Limits { slots, token_interval: Duration::ZERO };
        let engine = Box::new(engine);
        let scheduler = Scheduler::new(engine, Arc::clone(codec), limits, Arc::clone(&gauges));
        Self { scheduler, gauges, now: Instant::now() }
    }

    fn push(&mut self, asked: &Asked, codec: &Codec) -> Listener {
        let (events, receiver) = mpsc::channel(asked.max_tokens + 3);
        let cancel = CancellationToken::new();
        self.scheduler.push(Job {
            prompt: asked.prompt.clone(),
            beginning: Beginning::new(Vec::new(), None, &[], codec).unwrap(),
            sampling: asked.sampling.clone(),
            max_tokens: asked.max_tokens,
            logprobs: None,
            priority: asked.priority,
            deadline: None,
            cache_salt: asked.salt,
            reply: Reply { events, cancel: cancel.clone(), submitted: self.now },
            ticket: None,
        });
        Listener { events: receiver, cancel }
    }

    fn finish(&mut self) {
        while self.scheduler.step(self.now) != Next::Idle {
            self.now += Duration::from_millis(10);
        }
    }
}

struct Listener {
    events: mpsc::Receiver<GenerateEvent>,
    cancel: CancellationToken,
}

impl Listener {
    fn tokens(&mut self) -> (Vec<u32>, FinishReason) {
        let mut tokens = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            match event {
                GenerateEvent::Delta { token_ids, .. } => tokens.extend(token_ids),
                GenerateEvent::Finished { reason, .. } => return (tokens, reason),
                GenerateEvent::Started { .. } => {}
                GenerateEvent::Failed(error) => panic!("{error}"),
            }
        }
        panic!("no end after {tokens:?}");
    }
}

/// Prompts that begin alike and part ways, as those of one system prompt do.
fn asked() -> impl Strategy<Value = Asked> {
    let prompt =
        (0_u32..3, 1_usize..90, 0_u32..4, 0_usize..12).prop_map(|(family, shared, own, rest)| {
            let beginning = (0..).map(move |place: u32| 3 + (place * 7 + family * 31) % 280);
            let end = (0..).map(move |place: u32| 3 + (place * 11 + own * 17) % 280);
            beginning.take(shared).chain(end.take(rest)).collect::<Vec<u32>>()
        });
    let sampling = (any::<u64>(), prop::sample::select(vec![0.0_f32, 0.7, 1.5]), any::<bool>());
    let sampling = sampling.prop_map(|(seed, temperature, penalised)| Sampling {
        seed,
        temperature,
        frequency_penalty: if penalised { 0.5 } else { 0.0 },
        ..Sampling::default()
    });
    let order = (0_u8..3, 0_usize..30, prop::option::weighted(0.2, 0_usize..20));
    (prompt, 1_usize..26, sampling, 0_u64..2, order).prop_map(
        |(prompt, max_tokens, sampling, salt, (priority, arrives, cancelled_after))| Asked {
            prompt,
            max_tokens,
            sampling,
            salt,
            priority,
            arrives,
            cancelled_after,
        },
    )
}

/// Runs all of them together and compares each with itself alone.
fn check(slots: usize, blocks: u64, requests: &[Asked]) -> Result<Totals, TestCaseError> {
    let codec = Arc::new(Codec::load(&mut ModelFiles::open(&directory()).unwrap()).unwrap());
    let mut run = Run::new(slots, engine(blocks), &codec);
    let mut listeners: Vec<Option<Listener>> = requests.iter().map(|_| None).collect();
    for step in 0..60 {
        for (asked, listener) in requests.iter().zip(&mut listeners) {
            if asked.arrives == step {
                *listener = Some(run.push(asked, &codec));
            }
            if let (Some(listener), Some(after)) = (&listener, asked.cancelled_after)
                && step == asked.arrives + after
            {
                listener.cancel.cancel();
            }
        }
        run.scheduler.step(run.now);
        run.now += Duration::from_millis(10);
    }
    run.finish();
    for (asked, listener) in requests.iter().zip(listeners) {
        let (tokens, reason) = listener.expect("all came within sixty steps").tokens();
        let expected = alone(asked, &codec);
        match reason {
            FinishReason::Cancelled => {
                prop_assert!(asked.cancelled_after.is_some());
                prop_assert_eq!(&tokens[..], &expected[..tokens.len()]);
            }
            FinishReason::Stop | FinishReason::Length => prop_assert_eq!(&tokens, &expected),
        }
    }
    let capacity = run.scheduler.engine.capacity();
    prop_assert_eq!(capacity.free_positions, capacity.total_positions);
    Ok(run.gauges.totals())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_request_has_the_tokens_that_it_has_alone(
        slots in 1_usize..7,
        blocks in 8_u64..24,
        requests in prop::collection::vec(asked(), 1..14),
    ) {
        check(slots, blocks, &requests)?;
    }
}

/// Ten requests with a prompt of 96 tokens in common, in memory for not quite two of them.
fn crowd(salt_of: impl Fn(u64) -> u64) -> Vec<Asked> {
    let request = |seed: u64| Asked {
        prompt: (0..97).map(|place| 3 + place * 7 % 280).collect(),
        max_tokens: 20,
        sampling: Sampling { seed, temperature: 1.0, ..Sampling::default() },
        salt: salt_of(seed),
        priority: 0,
        arrives: usize::try_from(seed % 4).unwrap(),
        cancelled_after: None,
    };
    (0..10).map(request).collect()
}

#[test]
fn the_property_is_tested_with_sequences_that_give_way_and_prefixes_that_are_shared() {
    let apart = check(6, 15, &crowd(|seed| seed)).unwrap();
    assert!(apart.preemptions > 0, "{apart:?}");
    let together = check(6, 15, &crowd(|_| 0)).unwrap();
    assert!(together.reused_tokens > 5 * 96, "{together:?}");
}

/// What the scheduler asks of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Reserve,
    /// A pass over so many tokens.
    Pass(usize),
}

/// An engine that somebody watches, and may hinder: whatever `watch` returns for a call before
/// (`false`) or after (`true`) the engine has done it, the scheduler gets.
struct Watched<W> {
    engine: CandleEngine,
    watch: W,
}

impl<W: FnMut(Call, bool) -> Result<(), EngineError> + Send> Watched<W> {
    fn pass(
        &mut self,
        tokens: usize,
        compute: impl FnOnce(&mut CandleEngine) -> Result<Step, EngineError>,
    ) -> Result<Step, EngineError> {
        (self.watch)(Call::Pass(tokens), false)?;
        let step = compute(&mut self.engine)?;
        (self.watch)(Call::Pass(tokens), true)?;
        Ok(step)
    }
}

impl<W: FnMut(Call, bool) -> Result<(), EngineError> + Send> Engine for Watched<W> {
    fn card(&self) -> &ModelCard {
        self.engine.card()
    }
    fn vocabulary(&self) -> usize {
        self.engine.vocabulary()
    }
    fn capacity(&self) -> Capacity {
        self.engine.capacity()
    }
    fn reserve(&mut self, id: SequenceId, positions: usize) -> Result<(), EngineError> {
        (self.watch)(Call::Reserve, false)?;
        self.engine.reserve(id, positions)
    }
    fn adopt(&mut self, id: SequenceId, salt: u64, tokens: &[u32]) -> usize {
        self.engine.adopt(id, salt, tokens)
    }
    fn prefill(&mut self, batch: &Prefill, tap: Tap) -> Result<Step, EngineError> {
        let tokens = batch.chunks.iter().map(|chunk| chunk.tokens.len()).sum();
        self.pass(tokens, |engine| engine.prefill(batch, tap))
    }
    fn decode(&mut self, batch: &Decode, tap: Tap) -> Result<Step, EngineError> {
        self.pass(batch.tokens.len(), |engine| engine.decode(batch, tap))
    }
    fn free(&mut self, id: SequenceId) {
        self.engine.free(id);
    }
}

#[test]
fn a_prompt_that_was_asked_before_skips_nearly_all_of_its_work() {
    let codec = Arc::new(Codec::load(&mut ModelFiles::open(&directory()).unwrap()).unwrap());
    let computed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&computed);
    let watch = move |call, done| {
        if let (Call::Pass(tokens), false) = (call, done) {
            counter.fetch_add(tokens, Ordering::Relaxed);
        }
        Ok(())
    };
    let mut run = Run::new(4, Watched { engine: engine(24), watch }, &codec);
    let mut asked = crowd(|_| 7).remove(0);
    asked.max_tokens = 1;
    let mut ask = |salt| {
        let before = computed.load(Ordering::Relaxed);
        let mut listener = run.push(&Asked { salt, ..asked.clone() }, &codec);
        run.finish();
        listener.tokens();
        computed.load(Ordering::Relaxed) - before
    };
    assert_eq!(ask(7), 97);
    assert_eq!(ask(7), 1, "six blocks are shared: 99 % of the work is skipped");
    assert_eq!(ask(8), 97, "another payer shares nothing");
}
