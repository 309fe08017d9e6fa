//! An engine that fails in the middle: memory that is refused, passes that fail before or after they
//! have computed, passes that panic. Each fault costs at most one request, with an error that says
//! what it was; all others have the tokens that they have alone.

use std::sync::Mutex;

use super::*;
use crate::request::GenerateError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    OutOfMemory,
    /// Nothing was computed.
    FailsBefore,
    /// All was computed, and lost.
    FailsAfter,
    Panics,
}

impl Fault {
    fn strikes(self, call: Call, done: bool) -> Result<(), EngineError> {
        match (self, call, done) {
            (Self::OutOfMemory, ..) => Err(EngineError::OutOfMemory { wanted: 1, free: 0 }),
            (Self::Panics, ..) => panic!("scripted"),
            _ => Err(EngineError::Compute("scripted".to_owned())),
        }
    }

    /// Whether it can happen there.
    fn fits(self, call: Call, done: bool) -> bool {
        match self {
            Self::OutOfMemory => call == Call::Reserve,
            Self::FailsBefore | Self::Panics => call != Call::Reserve && !done,
            Self::FailsAfter => call != Call::Reserve && done,
        }
    }
}

/// How a request ended, with its tokens until then.
fn outcome(listener: &mut Listener) -> (Vec<u32>, Result<FinishReason, GenerateError>) {
    let mut tokens = Vec::new();
    while let Ok(event) = listener.events.try_recv() {
        match event {
            GenerateEvent::Started { .. } => {}
            GenerateEvent::Delta { token_ids, .. } => tokens.extend(token_ids),
            GenerateEvent::Finished { reason, .. } => return (tokens, Ok(reason)),
            GenerateEvent::Failed(error) => return (tokens, Err(error)),
        }
    }
    panic!("no end after {tokens:?}");
}

/// Runs all together, with a fault at each of these calls; how many faults there were, and how many
/// requests failed.
fn check(requests: &[Asked], faults: Vec<(usize, Fault)>) -> Result<(usize, usize), TestCaseError> {
    let codec = Arc::new(Codec::load(&mut ModelFiles::open(&directory()).unwrap()).unwrap());
    let struck = Arc::new(Mutex::new(Vec::new()));
    let (seen, mut calls, mut waiting) = (Arc::clone(&struck), 0_usize, faults);
    let watch = move |call: Call, done: bool| {
        calls += 1;
        let due = |(at, fault): &(usize, Fault)| calls >= *at && fault.fits(call, done);
        let Some(index) = waiting.iter().position(due) else { return Ok(()) };
        let (_, fault) = waiting.remove(index);
        seen.lock().unwrap().push(fault);
        fault.strikes(call, done)
    };
    let mut run = Run::new(4, Watched { engine: engine(20), watch }, &codec);
    let mut listeners: Vec<Listener> =
        requests.iter().map(|asked| run.push(asked, &codec)).collect();
    run.finish();
    let mut failed = 0;
    for (asked, listener) in requests.iter().zip(&mut listeners) {
        let (tokens, outcome) = outcome(listener);
        let expected = alone(asked, &codec);
        match outcome {
            Ok(_) => prop_assert_eq!(&tokens, &expected),
            Err(error) => {
                failed += 1;
                let known =
                    matches!(error, GenerateError::OutOfMemory | GenerateError::Internal(_));
                prop_assert!(known, "{:?}", error);
                prop_assert_eq!(&tokens[..], &expected[..tokens.len()]);
            }
        }
    }
    let capacity = run.scheduler.engine.capacity();
    prop_assert_eq!(capacity.free_positions, capacity.total_positions, "nothing is left behind");
    let struck = struck.lock().unwrap().len();
    prop_assert!(failed <= struck, "{} of {} faults", failed, struck);
    Ok((struck, failed))
}

fn fault() -> impl Strategy<Value = (usize, Fault)> {
    let all = [Fault::OutOfMemory, Fault::FailsBefore, Fault::FailsAfter, Fault::Panics];
    (1_usize..150, prop::sample::select(all.to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_fault_costs_at_most_one_request_and_no_other_a_token(
        requests in prop::collection::vec(asked(), 1..9),
        faults in prop::collection::vec(fault(), 0..6),
    ) {
        check(&requests, faults)?;
    }
}

#[test]
fn memory_that_is_refused_to_one_who_runs_alone_is_said_to_be_that() {
    let alone = &crowd(|seed| seed)[..1];
    assert_eq!(check(alone, vec![(9, Fault::OutOfMemory)]).unwrap(), (1, 1));
    let among = &crowd(|seed| seed)[..2];
    assert_eq!(check(among, vec![(9, Fault::OutOfMemory)]).unwrap(), (1, 0), "one gives way");
    let twice = vec![(9, Fault::FailsAfter), (9, Fault::FailsBefore)];
    assert_eq!(check(alone, twice).unwrap().1, 1, "failed alone: it is over");
    assert_eq!(check(among, vec![(9, Fault::Panics)]).unwrap(), (1, 0));
}
