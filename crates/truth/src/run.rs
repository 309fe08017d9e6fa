//! Runs sequences and counts what they tried. Never times anything: it reports operations, not
//! speed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use cactus_move_vm::VmStatus;

use crate::books::{Books, Violation};
use crate::cast::{Cast, NOW_SECONDS, WALLET_OCTAS};
use crate::chain::Chain;
use crate::exits;
use crate::generate::Generator;
use crate::history::History;
use crate::operation::Step;
use crate::random::Random;
use crate::rules::{self, Before, Signed};
use crate::shrink;

/// Steps between two checks of everything, touched or not.
const AUDIT_EVERY: usize = 500;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Names the run.
    pub seed: u64,
    /// At least so many operations.
    pub operations: u64,
    /// Steps of one sequence; each starts from a new chain.
    pub sequence_steps: u64,
    /// How many threads share the sequences; what is run does not depend on it.
    pub threads: usize,
}

/// How often an entry function succeeded and how often it was refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Effects kept.
    pub succeeded: u64,
    /// Aborted.
    pub refused: u64,
}

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Operations by entry function.
    pub tallies: BTreeMap<&'static str, Tally>,
    /// Why operations were refused: by entry function, and by module and name of the error.
    pub refusals: BTreeMap<(&'static str, String), u64>,
    /// Further operations, by which everyone left at the ends of sequences; all succeeded.
    pub exits: u64,
    /// Sequences.
    pub sequences: u64,
}

/// A rule was broken.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which sequence under the seed.
    pub sequence: u64,
    /// The steps, shortened, the last of which breaks the rule.
    pub steps: Vec<Step>,
    /// The rule.
    pub violation: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "sequence {}: {}", self.sequence, self.violation)?;
        writeln!(formatter, "after these {} steps:", self.steps.len())?;
        self.steps.iter().try_for_each(|step| writeln!(formatter, "    {step};"))
    }
}

impl Report {
    /// Operations in all.
    pub fn operations(&self) -> u64 {
        self.tallies.values().map(|tally| tally.succeeded + tally.refused).sum::<u64>() + self.exits
    }

    /// Entry functions that succeeded or were refused less often than `least`.
    pub fn too_rare(&self, least: Tally) -> Vec<&'static str> {
        let rare = |function: &&'static str| {
            let tally = self.tallies.get(function).copied().unwrap_or_default();
            tally.succeeded < least.succeeded || tally.refused < least.refused
        };
        Generator::kinds().map(|kind| kind.function).filter(rare).collect()
    }

    fn add(&mut self, other: Self) {
        for (function, more) in other.tallies {
            let tally = self.tallies.entry(function).or_default();
            tally.succeeded += more.succeeded;
            tally.refused += more.refused;
        }
        for (refusal, more) in other.refusals {
            *self.refusals.entry(refusal).or_default() += more;
        }
        self.exits += other.exits;
        self.sequences += other.sequences;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:<40} {:>10} {:>10}", "entry function", "succeeded", "refused")?;
        for (function, tally) in &self.tallies {
            writeln!(formatter, "{function:<40} {:>10} {:>10}", tally.succeeded, tally.refused)?;
        }
        let (operations, sequences) = (self.operations(), self.sequences);
        write!(formatter, "{operations} operations in {sequences} sequences, ")?;
        write!(formatter, "of them {} exits at their ends", self.exits)
    }
}

/// One sequence under way: a chain and its books.
#[derive(Clone)]
pub struct Trial {
    pub chain: Chain,
    pub books: Books,
    cast: Cast,
    history: History,
    pub signed: Signed,
}

impl Trial {
    /// A chain on which everyone has a wallet and nothing else.
    ///
    /// # Errors
    /// The committed bytecode does not start.
    pub fn new() -> Result<Self, Violation> {
        let failed = |status: VmStatus| Violation(format!("genesis failed: {status}"));
        let (mut chain, effects) = Chain::genesis(NOW_SECONDS).map_err(failed)?;
        let mut books = Books::default();
        for effects in &effects {
            books.enter(effects)?;
        }
        let cast = Cast::default();
        for actor in cast.everyone() {
            let effects = chain.mint(actor.address, WALLET_OCTAS).map_err(failed)?;
            books.enter(&effects)?;
        }
        Ok(Self { chain, books, cast, history: History::default(), signed: Signed::default() })
    }

    /// Takes a step and checks all rules; says why it was refused, if it was.
    ///
    /// # Errors
    /// A rule is broken.
    pub fn step(&mut self, step: &Step) -> Result<Option<VmStatus>, Violation> {
        let operation = match step {
            Step::Wait(seconds) => {
                self.chain.wait(*seconds);
                return Ok(None);
            }
            Step::Call(operation) => operation,
        };
        let before = Before::of(&self.books);
        match self.chain.call(operation) {
            Err(status) => {
                rules::check_failure(operation, &status)?;
                Ok(Some(status))
            }
            Ok(effects) => {
                let touched = self.books.enter(&effects)?;
                rules::check_success(
                    (&before, &self.books),
                    (operation, &effects, &touched),
                    (&self.cast, &self.signed),
                )?;
                let now = self.chain.seconds();
                self.history.note(operation, now, (&self.books, &self.signed))?;
                Ok(None)
            }
        }
    }
}

/// Runs random sequences until there were enough operations.
///
/// # Errors
/// The first sequence found that breaks a rule, shortened.
pub fn run(settings: Settings) -> Result<Report, Box<Failure>> {
    let start = Trial::new().map_err(|violation| {
        Box::new(Failure { sequence: 0, steps: Vec::new(), violation: violation.0 })
    })?;
    let sequences = settings.operations.div_ceil(settings.sequence_steps.max(1)).max(1);
    let next = AtomicU64::new(0);
    let work = || -> Result<Report, Box<Failure>> {
        let mut report = Report::default();
        loop {
            let sequence = next.fetch_add(1, Ordering::Relaxed);
            if sequence >= sequences {
                return Ok(report);
            }
            report.add(run_sequence(&start, settings, sequence)?);
        }
    };
    let mut report = Report::default();
    let results: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..settings.threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker never panics")).collect()
    });
    for result in results {
        report.add(result?);
    }
    Ok(report)
}

/// `module::ENAME` of a documented abort.
fn error_name(status: &VmStatus) -> Option<String> {
    let VmStatus::MoveAbort { module, reason: Some(reason), .. } = status else { return None };
    Some(format!("{}::{}", module.name, reason.name))
}

/// Runs one sequence to its end and lets everyone leave.
fn run_sequence(start: &Trial, settings: Settings, sequence: u64) -> Result<Report, Box<Failure>> {
    let mut generator = Generator::new(Random::of_sequence(settings.seed, sequence));
    let mut trial = start.clone();
    let mut report = Report { sequences: 1, ..Report::default() };
    let mut steps = Vec::new();
    let mut calls = 0;
    let failed = |steps: Vec<Step>, signed: &Signed, violation: Violation| {
        let steps = shrink::shorten(start, signed, steps);
        Box::new(Failure { sequence, steps, violation: violation.0 })
    };
    while calls < settings.sequence_steps {
        // What the generator signs is what the rules look up.
        std::mem::swap(&mut generator.signed, &mut trial.signed);
        let step = generator.next(&trial.books, trial.chain.seconds());
        std::mem::swap(&mut generator.signed, &mut trial.signed);
        steps.push(step.clone());
        let refused = match trial.step(&step) {
            Ok(refused) => refused,
            Err(violation) => return Err(failed(steps, &trial.signed, violation)),
        };
        if let Step::Call(operation) = step {
            calls += 1;
            let tally = report.tallies.entry(operation.function).or_default();
            tally.refused += u64::from(refused.is_some());
            tally.succeeded += u64::from(refused.is_none());
            if let Some(error) = refused.as_ref().and_then(error_name) {
                *report.refusals.entry((operation.function, error)).or_default() += 1;
            }
        }
        if steps.len().is_multiple_of(AUDIT_EVERY)
            && let Err(violation) = trial.books.audit()
        {
            return Err(failed(steps, &trial.signed, violation));
        }
    }
    report.exits = exits::leave(&mut trial, &generator.cast)
        .map_err(|violation| failed(steps, &trial.signed, violation))?;
    Ok(report)
}
