//! What this server measured about a node: how often it succeeds, how often its receipts stand,
//! how fast it answers. Nothing a node says about itself enters here.

use crate::memory::Measured;
use std::time::{Duration, Instant};

/// How much the newest sample of a latency counts.
const SMOOTHING: f64 = 0.2;
/// After this time an outcome counts half.
const SUCCESS_HALF_LIFE: Duration = Duration::from_secs(6 * 3600);
/// Faults of verification are remembered longer than outages.
const VERIFICATION_HALF_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Buckets of the times to first token, a fourth of an octave each: 1 ms to 55 s.
const BUCKETS: usize = 64;
/// What is left of a bucket's count after another sample.
const QUANTILE_FADE: f32 = 0.99;
/// Samples, faded, before a quantile means anything.
const QUANTILE_EVIDENCE: f32 = 10.0;
/// A bucket that counts less is taken for empty when measurements are taken down.
const FORGOTTEN_COUNT: f32 = 0.001;
/// What is left, after another sample, of the most tasks that were served at once.
const SERVED_FADE: f64 = 0.998;

/// A Beta posterior over a success rate, from a uniform prior, whose evidence fades.
#[derive(Debug, Clone)]
pub struct DecayedBeta {
    good: f64,
    bad: f64,
    at: Instant,
    half_life: Duration,
}

impl DecayedBeta {
    /// Knows nothing yet.
    pub fn new(half_life: Duration, now: Instant) -> Self {
        Self { good: 0.0, bad: 0.0, at: now, half_life }
    }

    /// Adds one outcome.
    pub fn record(&mut self, good: bool, now: Instant) {
        let fade = self.fade(now);
        self.good = self.good * fade + if good { 1.0 } else { 0.0 };
        self.bad = self.bad * fade + if good { 0.0 } else { 1.0 };
        self.at = now;
    }

    /// One standard deviation below the posterior's mean, in [0, 1]. A new node starts near 0.2
    /// and earns trust; one good answer is not 100 %.
    pub fn lower_bound(&self, now: Instant) -> f64 {
        let fade = self.fade(now);
        let (a, b) = (1.0 + self.good * fade, 1.0 + self.bad * fade);
        let total = a + b;
        let mean = a / total;
        let variance = a * b / (total * total * (total + 1.0));
        (mean - variance.sqrt()).clamp(0.0, 1.0)
    }

    /// Outcomes that still count.
    pub fn evidence(&self, now: Instant) -> f64 {
        (self.good + self.bad) * self.fade(now)
    }

    /// Good and bad outcomes as they count now.
    fn counts(&self, now: Instant) -> [f64; 2] {
        [self.good, self.bad].map(|count| count * self.fade(now))
    }

    /// With outcomes that counted so much before this time passed.
    fn recall(self, [good, bad]: [f64; 2], away: Duration) -> Self {
        let fade = self.faded(away);
        Self { good: good * fade, bad: bad * fade, ..self }
    }

    fn fade(&self, now: Instant) -> f64 {
        self.faded(now.saturating_duration_since(self.at))
    }

    fn faded(&self, age: Duration) -> f64 {
        0.5_f64.powf(age.as_secs_f64() / self.half_life.as_secs_f64())
    }
}

/// An exponentially smoothed mean and mean deviation (RFC 6298's estimator).
#[derive(Debug, Clone, Copy, Default)]
pub struct Smoothed {
    mean: f64,
    deviation: f64,
    samples: u64,
}

impl Smoothed {
    /// Adds a sample.
    pub fn record(&mut self, sample: f64) {
        if self.samples == 0 {
            self.mean = sample;
            self.deviation = sample / 2.0;
        } else {
            self.deviation += SMOOTHING * ((sample - self.mean).abs() - self.deviation);
            self.mean += SMOOTHING * (sample - self.mean);
        }
        self.samples += 1;
    }

    fn take_down(&self) -> Option<[f64; 2]> {
        (self.samples > 0).then_some([self.mean, self.deviation])
    }

    fn recall(kept: Option<[f64; 2]>) -> Self {
        kept.map_or(Self::default(), |[mean, deviation]| Self { mean, deviation, samples: 1 })
    }

    /// The mean, once there is a sample.
    pub fn mean(&self) -> Option<f64> {
        (self.samples > 0).then_some(self.mean)
    }

    /// A cautious estimate: the mean and one deviation.
    pub fn upper(&self) -> Option<f64> {
        (self.samples > 0).then_some(self.mean + self.deviation)
    }
}

/// A histogram of durations whose counts fade: buckets grow by a fourth root of two from a
/// millisecond to a minute.
#[derive(Debug, Clone)]
struct Quantiles {
    counts: [f32; BUCKETS],
}

impl Quantiles {
    fn record(&mut self, seconds: f64) {
        for count in &mut self.counts {
            *count *= QUANTILE_FADE;
        }
        let bucket = (0..BUCKETS - 1).find(|b| seconds <= upper_edge(*b)).unwrap_or(BUCKETS - 1);
        self.counts[bucket] += 1.0;
    }

    /// The upper edge of the bucket that holds the quantile, once there is evidence.
    fn upper(&self, quantile: f32) -> Option<f64> {
        let total: f32 = self.counts.iter().sum();
        if total < QUANTILE_EVIDENCE {
            return None;
        }
        let mut below = 0.0;
        let holds = |count: &f32| {
            below += count;
            below >= quantile * total
        };
        self.counts.iter().position(holds).map(upper_edge)
    }
}

fn upper_edge(bucket: usize) -> f64 {
    let quarter_octaves = i32::try_from(bucket).unwrap_or(i32::MAX);
    0.001 * 2.0_f64.powf(f64::from(quarter_octaves) / 4.0)
}

/// The times of one finished answer, as this server saw them.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From sending the task to the first delta.
    pub ttft: Duration,
    /// From sending the task to the last frame.
    pub total: Duration,
    /// Prompt length in tokens, counted as in the needs of requests.
    pub prompt_tokens: u32,
    /// Output length in tokens.
    pub output_tokens: u32,
    /// Tasks on the node when this one was sent, itself included.
    pub at_once: u32,
}

/// How fast a node is when it is free.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Seconds to the first token of a usual prompt.
    pub ttft: f64,
    /// Seconds between tokens.
    pub itl: f64,
    /// The usual length of prompts, in tokens.
    pub usual_prompt: f64,
}

impl Speed {
    /// Seconds to the last token of a request of this size. Half of the time to the first token
    /// is taken to grow with the prompt.
    pub fn seconds(&self, prompt_tokens: u32, output_tokens: u32) -> f64 {
        self.ttft * self.prompt_factor(prompt_tokens) + self.itl * f64::from(output_tokens)
    }

    /// How many times as long as a usual prompt one of this length takes to the first token.
    pub fn prompt_factor(&self, prompt_tokens: u32) -> f64 {
        0.5 + 0.5 * f64::from(prompt_tokens) / self.usual_prompt.max(1.0)
    }
}

/// Everything measured about one node.
#[derive(Debug, Clone)]
pub struct Statistics {
    success: DecayedBeta,
    verification: DecayedBeta,
    ttft_seconds: Smoothed,
    itl_seconds: Smoothed,
    prompt_tokens: Smoothed,
    ttft_quantiles: Quantiles,
    served_at_once: f64,
}

impl Statistics {
    /// Of a node that was never used.
    pub fn new(now: Instant) -> Self {
        Self {
            success: DecayedBeta::new(SUCCESS_HALF_LIFE, now),
            verification: DecayedBeta::new(VERIFICATION_HALF_LIFE, now),
            ttft_seconds: Smoothed::default(),
            itl_seconds: Smoothed::default(),
            prompt_tokens: Smoothed::default(),
            ttft_quantiles: Quantiles { counts: [0.0; BUCKETS] },
            served_at_once: 0.0,
        }
    }

    /// Everything, free of the clock.
    pub(crate) fn take_down(&self, now: Instant) -> Measured {
        let counts = self.ttft_quantiles.counts.iter().copied().enumerate();
        Measured {
            success: self.success.counts(now),
            verification: self.verification.counts(now),
            ttft_seconds: self.ttft_seconds.take_down(),
            itl_seconds: self.itl_seconds.take_down(),
            prompt_tokens: self.prompt_tokens.take_down(),
            ttft_counts: counts.filter(|(_, count)| *count > FORGOTTEN_COUNT).collect(),
            served_at_once: self.served_at_once,
        }
    }

    /// What was taken down before so much time passed; `None` when it cannot be true.
    pub(crate) fn recall(measured: &Measured, away: Duration, now: Instant) -> Option<Self> {
        let mut all = Self::new(now);
        for (bucket, count) in &measured.ttft_counts {
            *all.ttft_quantiles.counts.get_mut(*bucket)? = *count;
        }
        measured.is_possible().then(|| Self {
            success: all.success.recall(measured.success, away),
            verification: all.verification.recall(measured.verification, away),
            ttft_seconds: Smoothed::recall(measured.ttft_seconds),
            itl_seconds: Smoothed::recall(measured.itl_seconds),
            prompt_tokens: Smoothed::recall(measured.prompt_tokens),
            served_at_once: measured.served_at_once,
            ..all
        })
    }

    /// An answer came and its receipt stood. Without `timing` its times say nothing of the node.
    pub fn record_success(&mut self, timing: Option<Timing>, slots: u16, now: Instant) {
        self.success.record(true, now);
        self.verification.record(true, now);
        let Some(timing) = timing else { return };
        let crowding = self.crowding(timing.at_once, slots);
        let at_once = f64::from(timing.at_once);
        self.served_at_once = at_once.max(self.served_at_once * SERVED_FADE);
        let ttft = timing.ttft.as_secs_f64();
        self.ttft_quantiles.record(ttft);
        // What others ahead of it took is not the node's speed: behind others, a first token says
        // only that the node is no slower than that.
        let known = self.ttft_seconds.mean();
        if crowding <= 1.0 || known.is_none_or(|mean| ttft < mean) {
            self.ttft_seconds.record(ttft);
            self.prompt_tokens.record(f64::from(timing.prompt_tokens));
        }
        if timing.output_tokens > 1 {
            let decode = timing.total.saturating_sub(timing.ttft).as_secs_f64();
            self.itl_seconds.record(decode / f64::from(timing.output_tokens - 1));
        }
    }

    /// No answer came.
    pub fn record_failure(&mut self, now: Instant) {
        self.success.record(false, now);
    }

    /// An answer came and its receipt did not stand.
    pub fn record_fault(&mut self, now: Instant) {
        self.success.record(false, now);
        self.verification.record(false, now);
    }

    /// No first token came for so long, and then the answer was not waited for.
    pub fn record_late(&mut self, waited: Duration) {
        let waited = waited.as_secs_f64();
        self.ttft_quantiles.record(waited);
        if self.ttft_seconds.mean().is_none_or(|mean| mean < waited) {
            self.ttft_seconds.record(waited);
        }
    }

    /// How surely the node answers, in [0, 1].
    pub fn success(&self, now: Instant) -> f64 {
        self.success.lower_bound(now)
    }

    /// How surely its receipts stand, in [0, 1].
    pub fn verification(&self, now: Instant) -> f64 {
        self.verification.lower_bound(now)
    }

    /// Outcomes that still count.
    pub fn evidence(&self, now: Instant) -> f64 {
        self.success.evidence(now)
    }

    /// How fast it is; `None` before the first answer.
    pub fn speed(&self) -> Option<Speed> {
        Some(Speed {
            ttft: self.ttft_seconds.upper()?,
            itl: self.itl_seconds.upper().unwrap_or(0.0),
            usual_prompt: self.prompt_tokens.mean().unwrap_or(1.0),
        })
    }

    /// How many tasks it works on at once: what it says, as far as it has shown half of that.
    pub fn capacity(&self, slots: u16) -> f64 {
        f64::from(slots).min(2.0 * self.served_at_once + 2.0).max(1.0)
    }

    /// How many times longer than on a free node a task takes with so many there, itself included.
    pub fn crowding(&self, at_once: u32, slots: u16) -> f64 {
        let capacity = self.capacity(slots);
        1.0 + (f64::from(at_once) - capacity).max(0.0) / capacity
    }

    /// The time to first token that 19 of 20 answers keep to, once there is evidence.
    pub fn usual_ttft(&self) -> Option<Duration> {
        self.ttft_quantiles.upper(0.95).map(Duration::from_secs_f64)
    }

    /// Smoothed time to first token in seconds.
    pub fn ttft_seconds(&self) -> Option<f64> {
        self.ttft_seconds.mean()
    }

    /// Smoothed time between tokens in seconds.
    pub fn itl_seconds(&self) -> Option<f64> {
        self.itl_seconds.mean()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beta(now: Instant) -> DecayedBeta {
        DecayedBeta::new(Duration::from_secs(100), now)
    }

    #[test]
    fn trust_is_earned_slowly_and_one_good_answer_is_not_certainty() {
        let now = Instant::now();
        let mut posterior = beta(now);
        let unknown = posterior.lower_bound(now);
        posterior.record(true, now);
        let once = posterior.lower_bound(now);
        for _ in 0..200 {
            posterior.record(true, now);
        }
        assert!(unknown < 0.3 && once > unknown && once < 0.7);
        assert!(posterior.lower_bound(now) > 0.95);
    }

    #[test]
    fn evidence_fades_toward_not_knowing() {
        let now = Instant::now();
        let mut posterior = beta(now);
        for _ in 0..50 {
            posterior.record(false, now);
        }
        let bad = posterior.lower_bound(now);
        let later = posterior.lower_bound(now + Duration::from_secs(2_000));
        assert!(bad < 0.02 && later > 0.2, "{bad} {later}");
    }

    fn timing(ttft_ms: u64, at_once: u32) -> Timing {
        Timing {
            ttft: Duration::from_millis(ttft_ms),
            total: Duration::from_millis(ttft_ms + 1_000),
            prompt_tokens: 10,
            output_tokens: 11,
            at_once,
        }
    }

    fn measured(timings: impl IntoIterator<Item = Timing>, slots: u16) -> Statistics {
        let now = Instant::now();
        let mut statistics = Statistics::new(now);
        for timing in timings {
            statistics.record_success(Some(timing), slots, now);
        }
        statistics
    }

    #[test]
    fn a_longer_request_is_predicted_to_take_longer() {
        assert_eq!(measured([], 1).speed(), None);
        let speed = measured([timing(100, 1); 50], 1).speed().unwrap();
        let short = speed.seconds(10, 10);
        assert!((short - 1.1).abs() < 0.05, "{short}");
        assert!(speed.seconds(10, 100) > 5.0);
        assert!(speed.seconds(1_000, 10) > short);
    }

    #[test]
    fn slots_count_as_far_as_they_were_seen_to_serve() {
        let claimed = measured([timing(100, 1)], 1_000);
        assert!(claimed.capacity(1_000) < 5.0);
        let shown = measured((1..=40).map(|at_once| timing(100, at_once)), 1_000);
        assert!(shown.capacity(1_000) > 60.0);
        assert!((shown.capacity(8) - 8.0).abs() < 1e-9);
    }

    #[test]
    fn waiting_behind_others_does_not_make_a_node_slow() {
        let behind_others = [timing(100, 1)].into_iter().chain([timing(900, 4); 50]);
        let speed = measured(behind_others, 1).speed().unwrap();
        assert!((0.09..0.16).contains(&speed.ttft), "{speed:?}");
    }

    #[test]
    fn the_usual_time_to_first_token_is_known_after_some_answers() {
        assert_eq!(measured([timing(100, 1); 5], 1).usual_ttft(), None);
        let mostly = (0..100).map(|i| timing(if i % 50 == 0 { 5_000 } else { 100 }, 1));
        let usual = measured(mostly, 1).usual_ttft().unwrap();
        assert!((100..130).contains(&usual.as_millis()), "{usual:?}");
        let slow = measured([timing(100_000, 1); 30], 1).usual_ttft().unwrap();
        assert!(slow > Duration::from_secs(40));
    }

    #[test]
    fn answers_that_were_not_waited_for_make_a_node_look_slower() {
        let mut statistics = measured([timing(100, 1); 50], 1);
        let before = statistics.speed().unwrap().ttft;
        statistics.record_late(Duration::from_millis(900));
        assert!(statistics.speed().unwrap().ttft > 2.0 * before);
    }
}
