//! What this server measured about a node: how often it succeeds, how often its receipts stand,
//! how fast it answers. Nothing a node says about itself enters here.

use std::time::{Duration, Instant};

/// How much the newest sample of a latency counts.
const SMOOTHING: f64 = 0.2;
/// After this time an outcome counts half.
const SUCCESS_HALF_LIFE: Duration = Duration::from_secs(6 * 3600);
/// Faults of verification are remembered longer than outages.
const VERIFICATION_HALF_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

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

    fn fade(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.at).as_secs_f64();
        0.5_f64.powf(age / self.half_life.as_secs_f64())
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

    /// The mean, once there is a sample.
    pub fn mean(&self) -> Option<f64> {
        (self.samples > 0).then_some(self.mean)
    }

    /// A cautious estimate: the mean and one deviation.
    pub fn upper(&self) -> Option<f64> {
        (self.samples > 0).then_some(self.mean + self.deviation)
    }
}

/// The times of one finished answer, as this server saw them.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From sending the task to the first delta.
    pub ttft: Duration,
    /// From sending the task to the last frame.
    pub total: Duration,
    /// Prompt length in tokens.
    pub prompt_tokens: u32,
    /// Output length in tokens.
    pub output_tokens: u32,
}

/// Everything measured about one node.
#[derive(Debug, Clone)]
pub struct Statistics {
    success: DecayedBeta,
    verification: DecayedBeta,
    ttft_seconds: Smoothed,
    itl_seconds: Smoothed,
    prompt_tokens: Smoothed,
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
        }
    }

    /// An answer came and its receipt stood. Without `timing` its times say nothing of the node.
    pub fn record_success(&mut self, timing: Option<Timing>, now: Instant) {
        self.success.record(true, now);
        self.verification.record(true, now);
        let Some(timing) = timing else { return };
        self.ttft_seconds.record(timing.ttft.as_secs_f64());
        self.prompt_tokens.record(f64::from(timing.prompt_tokens));
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

    /// How surely the node answers, in [0, 1].
    pub fn success(&self, now: Instant) -> f64 {
        self.success.lower_bound(now)
    }

    /// How surely its receipts stand, in [0, 1].
    pub fn verification(&self, now: Instant) -> f64 {
        self.verification.lower_bound(now)
    }

    /// Seconds to the last token of a request of this size on a free slot; `None` before the
    /// first answer. Half of the time to the first token is taken to grow with the prompt.
    pub fn predict_seconds(&self, prompt_tokens: u32, output_tokens: u32) -> Option<f64> {
        let ttft = self.ttft_seconds.upper()?;
        let usual_prompt = self.prompt_tokens.mean()?.max(1.0);
        let scale = 0.5 + 0.5 * f64::from(prompt_tokens) / usual_prompt;
        let itl = self.itl_seconds.upper().unwrap_or(0.0);
        Some(ttft * scale + itl * f64::from(output_tokens))
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

    #[test]
    fn a_longer_request_is_predicted_to_take_longer() {
        let now = Instant::now();
        let mut statistics = Statistics::new(now);
        assert_eq!(statistics.predict_seconds(10, 10), None);
        let timing = Timing {
            ttft: Duration::from_millis(100),
            total: Duration::from_millis(1_100),
            prompt_tokens: 10,
            output_tokens: 11,
        };
        for _ in 0..50 {
            statistics.record_success(Some(timing), now);
        }
        let short = statistics.predict_seconds(10, 10).unwrap();
        assert!((short - 1.1).abs() < 0.05, "{short}");
        assert!(statistics.predict_seconds(10, 100).unwrap() > 5.0);
        assert!(statistics.predict_seconds(1_000, 10).unwrap() > short);
    }
}
