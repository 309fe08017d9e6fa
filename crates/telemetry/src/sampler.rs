//! Which traces are recorded. A peer may say that its trace is not recorded, and is followed; that
//! its trace must be recorded it cannot say: only the configured share is. It reads no attribute.

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

/// Records a share of the traces that begin or arrive here, each of them whole.
#[derive(Debug, Clone)]
pub(crate) struct Share(pub(crate) f64);

impl ShouldSample for Share {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let parent = parent.filter(|context| context.has_active_span());
        let parent = parent.map(|context| context.span().span_context().clone());
        let records = match &parent {
            Some(parent) if !parent.is_sampled() => false,
            Some(parent) if !parent.is_remote() => true,
            _ => rand::random::<f64>() < self.0,
        };
        SamplingResult {
            decision: if records {
                SamplingDecision::RecordAndSample
            } else {
                SamplingDecision::Drop
            },
            attributes: Vec::new(),
            trace_state: parent.map_or_else(TraceState::default, |p| p.trace_state().clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};

    fn records(share: f64, parent: Option<(bool, bool)>) -> bool {
        let context = parent.map(|(is_sampled, is_remote)| {
            let flags = if is_sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
            let (trace, span) = (TraceId::from_bytes([1; 16]), SpanId::from_bytes([1; 8]));
            let parent = SpanContext::new(trace, span, flags, is_remote, TraceState::default());
            Context::new().with_remote_span_context(parent)
        });
        let (kind, trace) = (SpanKind::Internal, TraceId::from_bytes([1; 16]));
        let result = Share(share).should_sample(context.as_ref(), trace, "x", &kind, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn a_peer_can_keep_its_trace_out_but_not_force_it_in() {
        assert!(records(1.0, None) && records(1.0, Some((true, true))));
        assert!(!records(1.0, Some((false, true))), "the peer records nothing");
        assert!(!records(0.0, Some((true, true))), "nothing is to be recorded here");
        assert!(!records(0.0, None));
    }

    #[test]
    fn what_was_begun_here_is_recorded_whole() {
        assert!(records(0.0, Some((true, false))));
        assert!(!records(1.0, Some((false, false))));
    }
}
