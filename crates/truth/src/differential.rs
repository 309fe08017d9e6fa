//! Random sequences as Move tests: what the Move machine here answered becomes assertions, which a
//! reference runner then confirms. Never asserts what it did not see.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use cactus_move_vm::{AccountAddress as Address, VmStatus};

use crate::argument::{Argument, move_address, move_bytes};
use crate::books::Violation;
use crate::cast::{Cast, WALLET_OCTAS};
use crate::generate::{Focus, Generator};
use crate::operation::{Operation, Step};
use crate::random::Random;
use crate::run::Trial;
use crate::views::{View, of_everything, of_operation};

/// Candidates looked at for a test's last call, which must abort.
const ABORT_CANDIDATES: usize = 60;
/// What tests take turns with, so that also long stories are told: a case up to its appeal, a
/// pool up to the last claim.
const FOCUSES: [Focus; 4] = [
    Focus { modules: &[], wait_one_in: 25 },
    Focus { modules: &["dispute", "treasury"], wait_one_in: 6 },
    Focus { modules: &["domain", "pool", "rewards"], wait_one_in: 5 },
    Focus { modules: &["delegation", "registry", "payment"], wait_one_in: 25 },
];
/// Tests of one module: a module with too many compiles slowly.
const TESTS_PER_MODULE: usize = 10;

/// A Move module of tests.
#[derive(Debug, Clone)]
pub struct TestModule {
    /// Its name, which is its file's too.
    pub name: String,
    /// Its source.
    pub source: String,
}

/// What a set of tests covers.
#[derive(Debug, Clone, Default)]
pub struct Differential {
    /// The tests.
    pub modules: Vec<TestModule>,
    /// Test functions.
    pub tests: usize,
    /// Calls of entry functions, those that set a world up not counted.
    pub operations: u64,
    /// Assertions on views and balances.
    pub assertions: u64,
    /// Distinct aborts: entry function, module that aborted, code.
    pub aborts: BTreeSet<(&'static str, String, u64)>,
    /// Calls by entry function that succeeded, or were the last and aborted.
    pub functions: BTreeMap<&'static str, u64>,
}

impl Differential {
    /// Entry functions with fewer calls than `least`.
    pub fn too_rare(&self, least: u64) -> Vec<&'static str> {
        let calls = |function| self.functions.get(function).copied().unwrap_or(0);
        let functions = Generator::kinds().map(|kind| kind.function);
        functions.filter(|function| calls(*function) < least).collect()
    }
}

/// Makes tests of at least `operations` calls, `per_test` of them in each.
///
/// # Errors
/// A rule of money is broken, or the committed bytecode does not start.
pub fn differential(seed: u64, operations: u64, per_test: u64) -> Result<Differential, Violation> {
    let start = Trial::new()?;
    let mut all = Differential::default();
    let mut tests = Vec::new();
    while all.operations < operations {
        tests.push(Test::make(&start, (seed, tests.len()), per_test, &mut all)?);
    }
    all.tests = tests.len();
    for (index, tests) in tests.chunks(TESTS_PER_MODULE).enumerate() {
        let name = format!("differential_{index}");
        let source = format!("{}{}}}\n", header(&name), tests.concat());
        all.modules.push(TestModule { name, source });
    }
    Ok(all)
}

/// What all tests of a module begin with.
fn header(name: &str) -> String {
    let mut text = format!(
        "#[test_only]\nmodule cactus::{name} {{\n    use std::bcs;\n    use std::vector;\n    use aptos_std::ed25519;\n"
    );
    let modules: BTreeSet<&str> =
        Generator::kinds().filter_map(|kind| kind.function.split("::").next()).collect();
    for module in modules.iter().chain(&["ballot", "invite", "reputation", "world"]) {
        let _ = writeln!(text, "    use cactus::{module};");
    }
    text.push_str("\n    fun same(at: u64, found: vector<u8>, expected: vector<u8>) { assert!(found == expected, at) }\n");
    text.push_str(
        "\n    fun with(head: vector<u8>, object: address, rest: vector<u8>): vector<u8> {\n",
    );
    text.push_str("        vector::append(&mut head, bcs::to_bytes(&object));\n");
    text.push_str("        vector::append(&mut head, rest);\n        head\n    }\n");
    text.push_str("\n    fun sign<T: drop>(message: T, secret: vector<u8>): vector<u8> {\n");
    text.push_str("        ed25519::sign(bcs::to_bytes(&ed25519::new_signed_message(message)), secret)\n    }\n");
    // The world that every sequence starts from.
    text.push_str("\n    fun start() {\n        world::start();\n");
    for actor in Cast::default().everyone().skip(1) {
        let address = move_address(&actor.address);
        let _ = writeln!(text, "        world::fund({address}, {WALLET_OCTAS});");
    }
    let mut generator = Generator::new(Random::new(0));
    let setting: Vec<Operation> = generator.take_prelude();
    for operation in &setting {
        let _ = writeln!(text, "        {operation};");
    }
    text.push_str("    }\n");
    text
}

/// Statements of one function: the compiler's memory grows much faster than a function does.
const STATEMENTS_PER_FUNCTION: usize = 60;

/// One test as it grows: functions that are called one after the other.
#[derive(Default)]
struct Test {
    parts: Vec<String>,
    /// Of the function that comes next.
    body: Vec<String>,
    /// Expressions for the objects that the sequence created; their addresses differ between
    /// machines.
    objects: HashMap<Address, String>,
    assertions: u64,
}

impl Test {
    fn make(
        start: &Trial,
        (seed, index): (u64, usize),
        calls: u64,
        all: &mut Differential,
    ) -> Result<String, Violation> {
        let mut trial = start.clone();
        let sequence = u64::try_from(index).unwrap_or(u64::MAX);
        let mut generator = Generator::new(Random::of_sequence(seed, sequence));
        generator.focus(FOCUSES[index % FOCUSES.len()]);
        for operation in generator.take_prelude() {
            trial.step(&Step::Call(operation))?;
        }
        let mut test = Self::default();
        let mut succeeded = 0;
        while succeeded + 1 < calls {
            let step = next(&mut generator, &mut trial);
            if trial.step(&step)?.is_some() {
                continue;
            }
            test.write(&step, &trial, &generator)?;
            if let Step::Call(operation) = &step {
                succeeded += 1;
                *all.functions.entry(operation.function).or_default() += 1;
            }
        }
        for view in of_everything(&trial.books) {
            test.assert_view(&view, &trial)?;
        }
        let last = last_call(&trial, &mut generator, &all.aborts)?;
        all.operations += succeeded + u64::from(last.is_some());
        all.assertions += test.assertions;
        let index = all.functions.values().sum::<u64>();
        Ok(test.finish(index, last, &generator, all))
    }

    fn write(
        &mut self,
        step: &Step,
        trial: &Trial,
        generator: &Generator,
    ) -> Result<(), Violation> {
        let Step::Call(operation) = step else {
            self.push(step.to_string());
            return Ok(());
        };
        let call = self.render(operation, generator);
        let known = |at: &&Address| !self.objects.contains_key(*at);
        let objects = trial.books.channels.keys().chain(trial.books.cases.keys());
        let created = objects.chain(trial.books.pools.pools.keys()).find(known).copied();
        match created {
            Some(at) => {
                let expression = format!("objects[{}]", self.objects.len());
                self.objects.insert(at, expression);
                self.push(format!("objects.push_back({})", returning(&call)));
            }
            None => self.push(call),
        }
        for view in of_operation(operation, created) {
            self.assert_view(&view, trial)?;
        }
        Ok(())
    }

    fn render(&self, operation: &Operation, generator: &Generator) -> String {
        let signer =
            operation.signer.iter().map(|at| format!("&world::sign_as({})", self.address(at)));
        let arguments =
            operation.arguments.iter().map(|argument| self.argument(argument, generator));
        let all: Vec<String> = signer.chain(arguments).collect();
        format!("{}({})", operation.function, all.join(", "))
    }

    fn address(&self, at: &Address) -> String {
        self.objects.get(at).cloned().unwrap_or_else(|| move_address(at))
    }

    /// As text; what depends on an object's address is made again in Move.
    fn argument(&self, argument: &Argument, generator: &Generator) -> String {
        match argument {
            Argument::Address(at) => self.address(at),
            Argument::Addresses(all) => {
                let all: Vec<String> = all.iter().map(|at| self.address(at)).collect();
                format!("vector<address>[{}]", all.join(", "))
            }
            Argument::Bytes(bytes) => self.bytes(bytes, generator),
            Argument::ByteLists(all) => {
                let all: Vec<String> =
                    all.iter().map(|bytes| self.bytes(bytes, generator)).collect();
                format!("vector<vector<u8>>[{}]", all.join(", "))
            }
            other => other.to_move(),
        }
    }

    fn bytes(&self, bytes: &[u8], generator: &Generator) -> String {
        if let Some((secret, voucher)) = generator.voucher_signed_by(bytes) {
            return format!(
                "sign(channel::new_voucher_for_test({}, {}, {}, {}), {})",
                voucher.chain_id,
                self.address(&voucher.channel),
                self.address(&voucher.payee),
                voucher.cumulative,
                move_bytes(&secret)
            );
        }
        if let Some((secret, invite)) = generator.invite_signed_by(bytes) {
            return format!(
                "sign(invite::new_for_test({}, {}, {}, {}, {}, {}), {})",
                invite.chain_id,
                self.address(&invite.pool),
                self.address(&invite.operator),
                move_bytes(&invite.node_public_key),
                move_bytes(&invite.nonce),
                invite.expires_seconds,
                move_bytes(&secret)
            );
        }
        if let Some(opinion) = generator.opinion_committed_by(bytes) {
            return format!(
                "ballot::commitment({}, {}, {}, {}, {})",
                self.address(&opinion.case),
                opinion.appeal,
                self.address(&opinion.validator),
                opinion.uphold,
                move_bytes(&opinion.salt)
            );
        }
        move_bytes(bytes)
    }

    fn assert_view(&mut self, view: &View, trial: &Trial) -> Result<(), Violation> {
        let failed = |status: VmStatus| Violation(format!("{}: {status}", view.function));
        let arguments = view.arguments.iter().map(Argument::to_bcs).collect();
        let (call, answer) = match (view.function, view.arguments.first()) {
            ("world::coins", Some(Argument::Address(at))) => {
                (format!("world::coins({})", self.address(at)), trial.chain.wallet(at))
            }
            _ => {
                let render = |argument: &Argument| match argument {
                    Argument::Address(at) => self.address(at),
                    other => other.to_move(),
                };
                let all: Vec<String> = view.arguments.iter().map(render).collect();
                (
                    format!("{}({})", view.function, all.join(", ")),
                    trial.chain.view(view.function, arguments),
                )
            }
        };
        let expected = self.expected(&answer.map_err(failed)?);
        self.assertions += 1;
        self.push(format!("same({}, bcs::to_bytes(&{call}), {expected})", self.assertions));
        Ok(())
    }

    /// An answer as text; an object's address in it is put in by Move.
    fn expected(&self, answer: &[u8]) -> String {
        let place = |at: &Address| answer.windows(at.0.len()).position(|bytes| bytes == at.0);
        let found = self.objects.iter().filter_map(|(at, name)| Some((place(at)?, name)));
        // The first of them, as a map has no order.
        let Some((at, name)) = found.min() else { return move_bytes(answer) };
        let (head, rest) = (&answer[..at], &answer[at + Address::ZERO.0.len()..]);
        format!("with({}, {name}, {})", move_bytes(head), self.expected(rest))
    }

    /// Adds a statement.
    fn push(&mut self, statement: String) {
        self.body.push(format!("        {statement};\n"));
        if self.body.len() >= STATEMENTS_PER_FUNCTION {
            self.end_part();
        }
    }

    fn end_part(&mut self) {
        self.parts.push(self.body.concat());
        self.body.clear();
    }

    fn finish(
        mut self,
        index: u64,
        last: Option<(Operation, Address, String, u64)>,
        generator: &Generator,
        all: &mut Differential,
    ) -> String {
        self.end_part();
        let (mut text, mut calls) = (String::new(), String::new());
        for (part, body) in self.parts.iter().enumerate() {
            let name = format!("part_{index}_{part}");
            let _ = writeln!(text, "\n    fun {name}(objects: &mut vector<address>) {{");
            let _ = writeln!(text, "        let _ = objects.length();\n{body}    }}");
            let _ = writeln!(calls, "        {name}(&mut objects);");
        }
        let mut expectation = String::new();
        if let Some((operation, address, module, code)) = last {
            let call = self.render(&operation, generator);
            let _ = writeln!(calls, "        {call};");
            let address = address.to_long_string();
            let location = format!("location = {address}::{module}");
            expectation = format!("    #[expected_failure(abort_code = {code}, {location})]\n");
            all.aborts.insert((operation.function, module, code));
            *all.functions.entry(operation.function).or_default() += 1;
        }
        let head = format!("\n    #[test]\n{expectation}    fun sequence_{index}() {{\n");
        let start = "        start();\n        let objects = vector<address>[];\n";
        format!("{text}{head}{start}{calls}    }}\n")
    }
}

/// Functions that create an object, and their variants for tests, which return its address.
const CREATING: [(&str, &str); 4] = [
    ("channel::open(", "channel::open_for_test("),
    ("channel::open_in(", "channel::open_in_for_test("),
    ("dispute::accuse(", "dispute::accuse_for_test("),
    ("pool::create_pool(", "pool::create_for_test("),
];

/// The variant of a creating call that returns what it created.
fn returning(call: &str) -> String {
    let found = CREATING.iter().find(|(creating, _)| call.starts_with(creating));
    found.map_or_else(
        || call.to_owned(),
        |(creating, returning)| call.replacen(creating, returning, 1),
    )
}

fn next(generator: &mut Generator, trial: &mut Trial) -> Step {
    std::mem::swap(&mut generator.signed, &mut trial.signed);
    let step = generator.next(&trial.books, trial.chain.seconds());
    std::mem::swap(&mut generator.signed, &mut trial.signed);
    step
}

/// A call that aborts in the trial's state, if possible in a way not seen before.
fn last_call(
    trial: &Trial,
    generator: &mut Generator,
    seen: &BTreeSet<(&'static str, String, u64)>,
) -> Result<Option<(Operation, Address, String, u64)>, Violation> {
    let mut last = None;
    let mut trial = trial.clone();
    for _ in 0..ABORT_CANDIDATES {
        let Step::Call(operation) = next(generator, &mut trial) else { continue };
        // On a copy, so that what succeeds leaves no trace.
        let status = trial.clone().step(&Step::Call(operation.clone()))?;
        let Some(VmStatus::MoveAbort { module, code, .. }) = status else { continue };
        let is_new = !seen.contains(&(operation.function, module.name.clone(), code));
        last = Some((operation, module.address, module.name, code));
        if is_new {
            break;
        }
    }
    Ok(last)
}

/// `u64` as a view answers it, for tests.
#[cfg(test)]
fn number(value: u64) -> String {
    move_bytes(&crate::argument::bcs(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_become_move_tests_with_their_results() {
        let made = differential(3, 60, 30).unwrap();
        assert_eq!((made.operations, made.tests, made.modules.len()), (60, 2, 1));
        assert!(made.aborts.len() == 2 && made.assertions > 100);
        let source = &made.modules[0].source;
        assert!(source.contains("#[expected_failure(abort_code = "));
        let wealth = "bcs::to_bytes(&world::coins(@0x770e";
        assert!(source.contains(wealth) && source.contains(&number(WALLET_OCTAS)));
        assert_eq!(source.matches('{').count(), source.matches('}').count());
    }
}
