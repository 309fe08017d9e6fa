//! The scheduler over a scripted engine and an artificial clock, without threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Limits, Next, Scheduler};
use crate::card::{MemoryEstimate, ModelCard, WeightType};
use crate::engine::*;
use crate::gauges::Gauges;
use crate::request::{FinishReason, GenerateError, GenerateEvent, Sampling};
use crate::sequence::{Beginning, Job, Reply};
use crate::text::codec::Codec;
use crate::text::format::Constraint;
use crate::text::workers::Workers;

const VOCABULARY: usize = 288;
/// A token of the fixture whose text is one letter.
const LETTER: u32 = 40;

/// What the scripted engine saw: the batch sizes of prefill (in tokens) and decode (in sequences).
#[derive(Default)]
struct Seen {
    prefills: Vec<usize>,
    decodes: Vec<usize>,
    held: BTreeMap<SequenceId, usize>,
}

/// Answers every position with [`LETTER`], or with the mood of the prompt's first token.
struct Scripted {
    card: ModelCard,
    seen: Arc<Mutex<Seen>>,
    moods: BTreeMap<SequenceId, u32>,
    free: usize,
}

const NAN: u32 = 1000;
const PANIC: u32 = 1001;
const FAILS: u32 = 1002;
const ENDS: u32 = 1003;

impl Scripted {
    fn answer(&self, sequence: SequenceId) -> Result<SequenceOutput, EngineError> {
        let mut values = vec![0.0; VOCABULARY];
        values[usize::try_from(LETTER).unwrap()] = 1.0;
        match self.moods.get(&sequence) {
            Some(&NAN) => values[3] = f32::NAN,
            Some(&PANIC) => panic!("scripted"),
            Some(&FAILS) => return Err(EngineError::Compute("scripted".to_owned())),
            Some(&ENDS) => values[1] = 2.0,
            _ => {}
        }
        let logits = Matrix { columns: VOCABULARY, values };
        Ok(SequenceOutput { sequence, logits, hidden: Matrix::default() })
    }
}

impl Engine for Scripted {
    fn card(&self) -> &ModelCard {
        &self.card
    }
    fn vocabulary(&self) -> usize {
        VOCABULARY
    }
    fn capacity(&self) -> Capacity {
        let held = self.seen.lock().unwrap().held.values().sum::<usize>();
        Capacity { total_positions: self.free, free_positions: self.free - held }
    }
    fn reserve(&mut self, sequence: SequenceId, positions: usize) -> Result<(), EngineError> {
        let mut seen = self.seen.lock().unwrap();
        let held = seen.held.get(&sequence).copied().unwrap_or(0);
        let free = self.free - seen.held.values().sum::<usize>();
        if positions > held + free {
            return Err(EngineError::OutOfMemory { wanted: positions, free });
        }
        seen.held.insert(sequence, positions.max(held));
        Ok(())
    }
    fn prefill(&mut self, batch: &Prefill, _tap: Tap) -> Result<Step, EngineError> {
        for chunk in &batch.chunks {
            self.moods.entry(chunk.sequence).or_insert(chunk.tokens[0]);
        }
        self.seen
            .lock()
            .unwrap()
            .prefills
            .push(batch.chunks.iter().map(|chunk| chunk.tokens.len()).sum());
        let outputs = batch
            .chunks
            .iter()
            .map(|chunk| self.answer(chunk.sequence))
            .collect::<Result<_, _>>()?;
        Ok(Step { outputs })
    }
    fn decode(&mut self, batch: &Decode, _tap: Tap) -> Result<Step, EngineError> {
        self.seen.lock().unwrap().decodes.push(batch.tokens.len());
        let outputs = batch
            .tokens
            .iter()
            .map(|(sequence, _)| self.answer(*sequence))
            .collect::<Result<_, _>>()?;
        Ok(Step { outputs })
    }
    fn free(&mut self, sequence: SequenceId) {
        self.seen.lock().unwrap().held.remove(&sequence);
    }
}

struct Bench {
    scheduler: Scheduler,
    seen: Arc<Mutex<Seen>>,
    now: Instant,
}

struct Asked {
    events: mpsc::Receiver<GenerateEvent>,
    cancel: CancellationToken,
}

fn bench(slots: usize, positions: usize, token_interval: Duration) -> Bench {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let card = ModelCard {
        id: "scripted".to_owned(),
        revision: [0; 32],
        dtype: WeightType::F32,
        context_length: 100_000,
        parameters: 1,
        memory: MemoryEstimate::default(),
    };
    let engine = Scripted { card, seen: seen.clone(), moods: BTreeMap::new(), free: positions };
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama3");
    let codec =
        Codec::load(&mut crate::load::files::ModelFiles::open(&directory).unwrap()).unwrap();
    let limits = Limits { slots, token_interval };
    let scheduler =
        Scheduler::new(Box::new(engine), Arc::new(codec), limits, Arc::new(Gauges::default()));
    Bench { scheduler, seen, now: Instant::now() }
}

impl Bench {
    fn ask(&mut self, prompt: Vec<u32>, max_tokens: usize) -> Asked {
        self.ask_with(prompt, max_tokens, |_| {})
    }

    fn ask_with(
        &mut self,
        prompt: Vec<u32>,
        max_tokens: usize,
        change: impl FnOnce(&mut Job),
    ) -> Asked {
        let (events, receiver) = mpsc::channel(max_tokens + 3);
        let cancel = CancellationToken::new();
        let reply = Reply { events, cancel: cancel.clone(), submitted: self.now };
        let beginning = Beginning::new(Vec::new(), None, &[], &self.scheduler.codec).unwrap();
        let mut job = Job {
            prompt,
            beginning,
            sampling: Sampling::greedy(),
            max_tokens,
            logprobs: None,
            priority: 0,
            deadline: None,
            cache_salt: 0,
            reply,
            ticket: None,
        };
        change(&mut job);
        self.scheduler.push(job);
        Asked { events: receiver, cancel }
    }

    fn step(&mut self) -> Next {
        self.scheduler.step(self.now)
    }

    fn run(&mut self) {
        while self.step() == Next::Now {}
    }
}

impl Asked {
    fn drain(&mut self) -> Vec<GenerateEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    fn end(&mut self) -> (Option<FinishReason>, u32) {
        match self.drain().pop() {
            Some(GenerateEvent::Finished { reason, output_tokens, .. }) => {
                (Some(reason), output_tokens)
            }
            _ => (None, 0),
        }
    }
}

#[test]
fn answers_run_together_in_one_decode_step_and_later_ones_wait_their_turn() {
    let mut bench = bench(2, 1000, Duration::ZERO);
    let mut asked: Vec<Asked> = (0..3).map(|_| bench.ask(vec![5; 4], 4)).collect();
    bench.run();
    for asked in &mut asked {
        assert_eq!(asked.end(), (Some(FinishReason::Length), 4));
    }
    let seen = bench.seen.lock().unwrap();
    assert_eq!(seen.decodes, [2, 2, 2, 1, 1, 1]);
    assert!(seen.held.is_empty());
}

#[test]
fn a_long_prompt_comes_in_chunks_while_another_answer_goes_on() {
    let mut bench = bench(2, 10_000, Duration::ZERO);
    let mut short = bench.ask(vec![5], 50);
    bench.step();
    let mut long = bench.ask(vec![6; 385], 2);
    short.drain();
    for _ in 0..2 {
        bench.step();
        assert_eq!(short.drain().len(), 1, "one token for each step");
        assert!(long.drain().iter().all(|event| matches!(event, GenerateEvent::Started { .. })));
    }
    bench.run();
    assert_eq!(long.end(), (Some(FinishReason::Length), 2));
    let prefills = bench.seen.lock().unwrap().prefills.clone();
    assert_eq!(prefills[..2], [1, 1 + 112], "what is left of 128 tokens, cut at a multiple of 16");
    assert_eq!(prefills.iter().sum::<usize>(), 1 + 385 + prefills.len() - 1);
}

#[test]
fn cancelling_or_dropping_the_receiver_ends_an_answer_within_one_step() {
    let mut bench = bench(2, 10_000, Duration::ZERO);
    let (mut cancelled, dropped) = (bench.ask(vec![5], 1000), bench.ask(vec![5], 1000));
    let mut queued = bench.ask(vec![5, 6], 1000);
    bench.step();
    cancelled.cancel.cancel();
    queued.cancel.cancel();
    drop(dropped);
    assert_eq!(bench.step(), Next::Idle);
    assert_eq!(cancelled.end().0, Some(FinishReason::Cancelled));
    assert!(matches!(
        queued.drain()[..],
        [GenerateEvent::Finished {
            reason: FinishReason::Cancelled,
            prompt_tokens: 2,
            output_tokens: 0,
            ..
        }]
    ));
    assert!(bench.seen.lock().unwrap().held.is_empty());
}

#[test]
fn a_reader_that_never_reads_delays_nobody_and_loses_nothing() {
    let mut bench = bench(2, 10_000, Duration::ZERO);
    let mut silent = bench.ask(vec![5], 600);
    let mut eager = bench.ask(vec![5], 600);
    bench.run();
    assert_eq!(eager.end(), (Some(FinishReason::Length), 600));
    let events = silent.drain();
    assert_eq!(events.len(), 602);
    assert!(matches!(events.last(), Some(GenerateEvent::Finished { output_tokens: 600, .. })));
}

#[test]
fn logits_that_are_not_numbers_fail_their_own_sequence_alone() {
    let mut bench = bench(2, 1000, Duration::ZERO);
    let (mut bad, mut good) = (bench.ask(vec![NAN], 5), bench.ask(vec![5], 5));
    bench.run();
    assert!(matches!(bad.drain().pop(), Some(GenerateEvent::Failed(GenerateError::Internal(_)))));
    assert_eq!(good.end(), (Some(FinishReason::Length), 5));
}

#[test]
fn a_failed_or_panicking_step_fails_whoever_is_at_fault_and_nobody_else() {
    for mood in [FAILS, PANIC] {
        let mut bench = bench(3, 1000, Duration::ZERO);
        let mut first = bench.ask(vec![5; 40], 9);
        bench.step();
        let (mut bad, mut last) = (bench.ask(vec![mood; 20], 5), bench.ask(vec![5], 5));
        bench.run();
        let failed = bad.drain().pop();
        assert!(matches!(failed, Some(GenerateEvent::Failed(GenerateError::Internal(_)))));
        assert_eq!(first.end(), (Some(FinishReason::Length), 9));
        assert_eq!(last.end(), (Some(FinishReason::Length), 5));
        assert!(bench.seen.lock().unwrap().held.is_empty());
    }
}

#[test]
fn when_memory_runs_out_the_last_in_rank_gives_way_and_loses_nothing() {
    let mut bench = bench(4, 100, Duration::ZERO);
    let mut asked = [bench.ask(vec![5; 10], 50), bench.ask(vec![5; 10], 50)];
    for _ in 0..40 {
        bench.step();
    }
    let lengths = asked.each_mut().map(|asked| asked.drain().len());
    assert_eq!(lengths, [41, 41], "both began at once: `Started` and forty tokens");
    bench.run();
    for asked in &mut asked {
        assert_eq!(asked.end(), (Some(FinishReason::Length), 50));
    }
    assert_eq!(bench.scheduler.gauges.totals().preemptions, 1);
    assert!(bench.seen.lock().unwrap().held.is_empty());
}

#[test]
fn order_is_kept_while_memory_is_short_and_what_can_never_fit_is_refused() {
    let mut bench = bench(4, 100, Duration::ZERO);
    let mut first = bench.ask(vec![5; 70], 10);
    let (mut second, mut small) = (bench.ask(vec![5; 60], 10), bench.ask(vec![5; 2], 2));
    let mut huge = bench.ask(vec![5; 60], 50);
    assert_eq!(huge.drain(), [GenerateEvent::Failed(GenerateError::OutOfMemory)]);
    bench.step();
    assert!(second.drain().is_empty() && small.drain().is_empty(), "nobody overtakes");
    bench.run();
    for asked in [&mut first, &mut second, &mut small] {
        assert_eq!(asked.end().0, Some(FinishReason::Length));
    }
}

#[test]
fn a_higher_priority_takes_a_slot_and_the_answer_that_gave_way_is_complete() {
    let mut bench = bench(1, 1000, Duration::ZERO);
    let mut low = bench.ask(vec![5; 4], 20);
    bench.step();
    let mut equal = bench.ask(vec![5; 4], 3);
    let mut high = bench.ask_with(vec![5; 4], 3, |job| job.priority = 9);
    bench.step();
    assert_eq!(high.drain().len(), 2, "it began at once");
    assert!(equal.drain().is_empty());
    bench.run();
    assert_eq!(high.end(), (Some(FinishReason::Length), 3));
    assert_eq!(equal.end(), (Some(FinishReason::Length), 3));
    let events = low.drain();
    let started = |event: &&GenerateEvent| matches!(event, GenerateEvent::Started { .. });
    assert_eq!(events.iter().filter(started).count(), 1);
    assert!(matches!(events.last(), Some(GenerateEvent::Finished { output_tokens: 20, .. })));
}

#[test]
fn a_request_of_no_priority_gets_its_turn_under_endless_higher_ones() {
    let mut bench = bench(1, 1000, Duration::ZERO);
    let mut low = bench.ask(vec![5; 4], 1);
    let mut others = Vec::new();
    let mut steps = 0;
    // One every tenth of a second, each three seconds ahead of its time and a whole slot long.
    while low.end().0.is_none() {
        others.push(bench.ask_with(vec![5; 4], 1, |job| job.priority = 3));
        bench.step();
        bench.now += Duration::from_millis(100);
        steps += 1;
    }
    assert!((29..=32).contains(&steps), "{steps}");
}

#[test]
fn a_deadline_that_passes_in_the_queue_is_an_error_and_later_it_is_not() {
    let mut bench = bench(1, 1000, Duration::ZERO);
    let soon = bench.now + Duration::from_millis(10);
    let mut runs = bench.ask_with(vec![5; 4], 30, |job| job.deadline = Some(soon));
    let mut waits = bench.ask_with(vec![5; 4], 30, |job| job.deadline = Some(soon));
    bench.step();
    bench.now += Duration::from_millis(11);
    bench.step();
    assert_eq!(waits.drain(), [GenerateEvent::Failed(GenerateError::DeadlineExceeded)]);
    bench.run();
    assert_eq!(runs.end(), (Some(FinishReason::Length), 30));
}

#[test]
fn an_answer_that_was_complete_elsewhere_ends_without_the_engine() {
    let mut bench = bench(1, 1000, Duration::ZERO);
    let resumed = |bench: &Bench, tokens: &[u32]| {
        Beginning::new(Vec::new(), None, tokens, &bench.scheduler.codec).unwrap()
    };
    let (stopped, full) = (resumed(&bench, &[LETTER, 1]), resumed(&bench, &[LETTER; 3]));
    let mut asked = [
        bench.ask_with(vec![5, LETTER, 1], 9, |job| job.beginning = stopped),
        bench.ask_with(vec![5, LETTER, LETTER, LETTER], 3, |job| job.beginning = full),
    ];
    assert_eq!(asked[0].end(), (Some(FinishReason::Stop), 0));
    assert_eq!(asked[1].end(), (Some(FinishReason::Length), 0));
    assert!(bench.seen.lock().unwrap().prefills.is_empty());
}

#[test]
fn a_format_that_is_long_in_the_making_holds_up_its_own_answer_alone() {
    let mut bench = bench(2, 1000, Duration::ZERO);
    let (release, held) = std::sync::mpsc::sync_channel::<()>(0);
    let constraint = Constraint::begin(&Arc::new(Workers::new(1)), move || {
        let _ = held.recv();
        Err(GenerateError::BadRequest("scripted".to_owned()))
    });
    let mut slow =
        bench.ask_with(vec![5; 40], 9, |job| job.beginning.constraint = Some(constraint));
    let mut other = bench.ask(vec![5; 4], 30);
    bench.run();
    assert_eq!(other.end(), (Some(FinishReason::Length), 30));
    assert!(matches!(slow.drain()[..], [GenerateEvent::Started { .. }]));
    let mut after = bench.ask(vec![5; 4], 3);
    bench.run();
    assert_eq!(after.end(), (Some(FinishReason::Length), 3));
    assert!(matches!(bench.step(), Next::At(_)), "it looks again soon");
    release.send(()).unwrap();
    while !matches!(bench.step(), Next::Idle) {}
    let refused = GenerateError::BadRequest("scripted".to_owned());
    assert_eq!(slow.drain(), [GenerateEvent::Failed(refused)]);
    assert!(bench.seen.lock().unwrap().held.is_empty());
}

#[test]
fn the_end_of_turn_counts_as_a_token_but_has_no_text() {
    let mut bench = bench(1, 100, Duration::ZERO);
    let mut asked = bench.ask(vec![ENDS], 9);
    bench.run();
    let events = asked.drain();
    let end =
        GenerateEvent::Delta { text: String::new(), token_ids: vec![1], logprobs: Vec::new() };
    assert_eq!(events[1], end);
    assert!(matches!(
        events[2],
        GenerateEvent::Finished {
            reason: FinishReason::Stop,
            output_tokens: 1,
            prompt_tokens: 1,
            ..
        }
    ));
}

#[test]
fn the_power_cap_holds_each_answer_back_and_not_the_others() {
    let interval = Duration::from_millis(100);
    let mut bench = bench(2, 1000, interval);
    let start = bench.now;
    let mut first = bench.ask(vec![5], 50);
    assert_eq!(bench.step(), Next::At(start + interval), "the first token is free");
    bench.now += Duration::from_millis(60);
    let mut second = bench.ask(vec![5], 50);
    assert_eq!(bench.step(), Next::At(start + interval));
    let texts = |asked: &mut Asked| {
        asked
            .drain()
            .into_iter()
            .filter(|event| matches!(event, GenerateEvent::Delta { .. }))
            .count()
    };
    assert_eq!((texts(&mut first), texts(&mut second)), (1, 1));
    for tick in 1..=100 {
        bench.now = start + Duration::from_millis(60 + tick * 10);
        bench.step();
    }
    assert_eq!((texts(&mut first), texts(&mut second)), (10, 10), "ten tokens in the second after");
}
