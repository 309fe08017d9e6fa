//! What the fuzz targets do with their input, so that the tests can replay it: parse, check,
//! execute. Panics on a finding: a panic inside the machine, or a value of the wrong kind in code
//! that was accepted.

#![allow(dead_code, missing_docs)]

use cactus_move_vm::{AccountAddress, CompiledModule, ModuleId, VmStatus};

use super::assembler::{
    ADDRESS, Assembler, BOOL, COPY, DROP, Function, KEY, STORE, U64, U64S, mutable, number, op,
    shared, structure,
};
use super::{World, bytecode};

const AT: AccountAddress = AccountAddress::small(0xf1);
/// Enough for some thousand instructions.
const GAS: u64 = 40;
/// The status of a value that is not what the check promised.
const UNSOUND: &str = "UNKNOWN_INVARIANT_VIOLATION_ERROR";

thread_local! {
    static FRAMEWORK: World = {
        let mut world = World::default();
        let folder = match env!("CARGO_MANIFEST_DIR").ends_with("fuzz") {
            true => "../../localnet/bytecode/framework",
            false => "../localnet/bytecode/framework",
        };
        world.publish(AccountAddress::ONE, bytecode(folder)).unwrap();
        world
    };
}

/// Parses, and prints what parsed.
pub fn parse(data: &[u8]) {
    let Ok(module) = CompiledModule::deserialize(data) else { return };
    let faces = (module.functions(), module.structs(), module.dependencies(), module.friends());
    let _ = (format!("{faces:?}"), module.aptos_metadata());
}

/// Checks a whole module of the input's bytes.
pub fn check(data: &[u8]) {
    let Ok(module) = CompiledModule::deserialize(data) else { return };
    FRAMEWORK.with(|world| {
        let mut session = world.vm.session(world, world.context(), GAS);
        let _ = session.publish(module.id().address, vec![data.to_vec()]);
    });
}

/// Executes a module whose functions follow the input, or one of the input's own bytes.
pub fn execute(data: &[u8]) {
    if data.starts_with(&[0xa1, 0x1c]) {
        run(data)
    } else {
        run(&generate(data))
    };
}

/// Publishes a module and calls its functions, each in turn with what the one before left.
/// Returns whether it was accepted.
pub fn run(bytes: &[u8]) -> bool {
    let Ok(module) = CompiledModule::deserialize(bytes) else { return false };
    FRAMEWORK.with(|world| {
        let mut session = world.vm.session(world, world.context(), 10_000);
        if let Err(status) = session.publish(module.id().address, vec![bytes.to_vec()]) {
            assert_ne!(status.code_name(), UNSOUND, "{status}");
            return false;
        }
        for function in module.functions() {
            for argument in [vec![], vec![0; 8], vec![1; 16], vec![1; 32]] {
                let mut session = world.vm.session(world, world.context(), 10_000);
                session.publish(module.id().address, vec![bytes.to_vec()]).unwrap();
                let args = vec![argument; function.params.len()];
                let types = vec!["u64".parse().unwrap(); function.type_params.len()];
                let called = session.call(module.id(), &function.name, types, args);
                sound(module.id(), called.map(drop));
                sound(module.id(), session.finish().map(drop));
            }
        }
        true
    })
}

fn sound(module: &ModuleId, result: Result<(), VmStatus>) {
    if let Err(status) = result {
        assert_ne!(status.code_name(), UNSOUND, "{module}: {status}");
    }
}

/// Numbers out of the input; zero after its end.
struct Input<'a>(std::slice::Iter<'a, u8>);

impl Input<'_> {
    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % limit.max(1)
    }
}

/// `Pair { a: u64, b: u64 }` and `Vault { pair: Pair, list: vector<u64> }`.
const PAIR: u8 = 0;
const VAULT: u8 = 1;
const ADDRESSES: [u8; 1] = [0];

fn types() -> Vec<Vec<u8>> {
    let values = [U64.to_vec(), structure(PAIR), U64S.to_vec()];
    let references = values.iter().flat_map(|token| [mutable(token), shared(token)]);
    let mut types: Vec<Vec<u8>> = values.iter().cloned().chain(references).collect();
    types.extend([ADDRESS.to_vec(), BOOL.to_vec(), mutable(&structure(VAULT))]);
    types
}

/// A module of four functions whose operand types are right. Whether references live long enough
/// and locals are set is the check's matter.
pub fn generate(data: &[u8]) -> Vec<u8> {
    let mut input = Input(data.iter());
    let mut module = Assembler::new(AT, "generated");
    module.signature(&[U64.to_vec()]);
    module.struct_handle(0, "Pair", COPY | DROP | STORE, &[]);
    module.struct_handle(0, "Vault", KEY | DROP, &[]);
    module.define_struct(PAIR, &[("a", U64.to_vec()), ("b", U64.to_vec())]);
    module.define_struct(VAULT, &[("pair", structure(PAIR)), ("list", U64S.to_vec())]);
    for (owner, field) in FIELDS {
        module.field(owner, field);
    }
    let types = types();
    let mut functions: Vec<(u8, Function)> = Vec::new();
    for name in ["f", "g", "h", "i"] {
        let pick = |input: &mut Input, most: usize| -> Vec<Vec<u8>> {
            let count = input.below(most + 1);
            (0..count).map(|_| types[input.below(types.len())].clone()).collect()
        };
        let parameters = pick(&mut input, 3);
        let returns = parameters.iter().take(input.below(2)).cloned().collect();
        let mut locals = pick(&mut input, 3);
        locals.extend([ADDRESS.to_vec(), BOOL.to_vec(), U64.to_vec()]);
        let mut function = Function { parameters, returns, locals, ..Function::default() };
        let (code, acquires) = Writer::new(&function, &functions).write(&mut input);
        function.acquires = if acquires { vec![VAULT] } else { Vec::new() };
        let handle = module.function(name, &function, &code);
        functions.push((handle, function));
    }
    module.finish()
}

/// Field handles by index: the owner and the position.
const FIELDS: [(u8, u8); 4] = [(PAIR, 0), (PAIR, 1), (VAULT, 0), (VAULT, 1)];

fn field_type(field: u8) -> Vec<u8> {
    match field {
        0 | 1 => U64.to_vec(),
        2 => structure(PAIR),
        _ => U64S.to_vec(),
    }
}

struct Writer<'a> {
    locals: Vec<Vec<u8>>,
    returns: &'a [Vec<u8>],
    callees: &'a [(u8, Function)],
    stack: Vec<Vec<u8>>,
    code: Vec<Vec<u8>>,
    /// Instructions before which the stack is empty.
    empty: Vec<usize>,
    acquires: bool,
}

impl<'a> Writer<'a> {
    fn new(function: &'a Function, callees: &'a [(u8, Function)]) -> Self {
        let locals = [function.parameters.clone(), function.locals.clone()].concat();
        Self {
            locals,
            returns: &function.returns,
            callees,
            stack: Vec::new(),
            code: Vec::new(),
            empty: Vec::new(),
            acquires: false,
        }
    }

    fn write(mut self, input: &mut Input) -> (Vec<Vec<u8>>, bool) {
        // A last address, a flag and a number that are always there.
        let last = self.locals.len() - 1;
        self.emit(number(1), 0, Some(U64.to_vec()));
        self.emit(vec![op::ST_LOC, byte(last)], 1, None);
        self.emit(vec![0x08], 0, Some(BOOL.to_vec()));
        self.emit(vec![op::ST_LOC, byte(last - 1)], 1, None);
        for _ in 0..input.below(40) {
            if self.stack.is_empty() {
                self.empty.push(self.code.len());
            }
            self.instruction(input);
        }
        while !self.stack.is_empty() {
            self.emit(vec![op::POP], 1, None);
        }
        for (local, token) in self.returns.iter().enumerate() {
            self.emit(vec![op::MOVE_LOC, byte(local)], 0, Some(token.clone()));
        }
        self.code.push(vec![op::RET]);
        (self.code, self.acquires)
    }

    fn emit(&mut self, code: Vec<u8>, taken: usize, given: Option<Vec<u8>>) {
        self.code.push(code);
        self.stack.truncate(self.stack.len() - taken);
        self.stack.extend(given);
    }

    /// Adds an instruction that fits the operands; none if the chosen one does not.
    fn instruction(&mut self, input: &mut Input) {
        let local = input.below(self.locals.len());
        let token = self.locals[local].clone();
        let is_reference = token[0] == 6 || token[0] == 7;
        match input.below(20) {
            0 => self.emit(number(byte(local)), 0, Some(U64.to_vec())),
            1..=3 => self.emit(vec![op::COPY_LOC, byte(local)], 0, Some(token)),
            4 | 5 => self.emit(vec![op::MOVE_LOC, byte(local)], 0, Some(token)),
            6 | 7 => {
                let fits = self.locals.iter().position(|one| Some(one) == self.stack.last());
                if let Some(local) = fits {
                    self.emit(vec![op::ST_LOC, byte(local)], 1, None);
                }
            }
            8 if !is_reference => {
                self.emit(vec![op::MUT_BORROW_LOC, byte(local)], 0, Some(mutable(&token)));
            }
            9 if !is_reference => {
                self.emit(vec![op::IMM_BORROW_LOC, byte(local)], 0, Some(shared(&token)));
            }
            10 => self.call(input),
            11 => self.branch(input),
            12 if !self.stack.is_empty() => self.emit(vec![op::POP], 1, None),
            _ => self.on_top(input),
        }
    }

    /// An instruction on the topmost operands.
    fn on_top(&mut self, input: &mut Input) {
        let Some(top) = self.stack.last().cloned() else { return };
        let below = self.stack.len().checked_sub(2).map(|at| self.stack[at].clone());
        if top == ADDRESS {
            self.acquires = true;
            let code = [op::MUT_BORROW_GLOBAL, op::MOVE_FROM][input.below(2)];
            let given = match code {
                op::MOVE_FROM => structure(VAULT),
                _ => mutable(&structure(VAULT)),
            };
            return self.emit(vec![code, VAULT], 1, Some(given));
        }
        if top == U64 {
            let vector = below.filter(|below| matches!(below[..], [6 | 7, 0xa, 3]));
            return match (vector.map(|below| below[0]), input.below(3)) {
                (Some(7), 0) => {
                    self.emit(vec![op::VEC_MUT_BORROW, ADDRESSES[0]], 2, Some(mutable(U64)));
                }
                (Some(7), 1) => self.emit(vec![op::VEC_PUSH_BACK, 0], 2, None),
                (Some(_), _) => self.emit(vec![op::VEC_IMM_BORROW, 0], 2, Some(shared(U64))),
                _ => {}
            };
        }
        let Some((7, to)) = top.split_first().map(|(first, rest)| (*first, rest.to_vec())) else {
            if let Some((6, to)) = top.split_first() {
                self.emit(vec![op::READ_REF], 1, Some(to.to_vec()));
            }
            return;
        };
        match input.below(5) {
            0 if to != structure(VAULT) => self.emit(vec![op::READ_REF], 1, Some(to)),
            1 if below.as_ref() == Some(&to) => self.emit(vec![op::WRITE_REF], 2, None),
            2 => self.emit(vec![op::FREEZE_REF], 1, Some(shared(&to))),
            3 if to == U64S => self.emit(vec![op::VEC_POP_BACK, 0], 1, Some(U64.to_vec())),
            _ if to[0] == 8 => {
                let field = to[1] * 2 + byte(input.below(2));
                let given = mutable(&field_type(field));
                self.emit(vec![op::MUT_BORROW_FIELD, field], 1, Some(given));
            }
            _ => {}
        }
    }

    fn call(&mut self, input: &mut Input) {
        let callees = self.callees;
        if callees.is_empty() {
            return;
        }
        let (handle, callee) = &callees[input.below(callees.len())];
        if self.stack.ends_with(&callee.parameters) {
            self.acquires |= !callee.acquires.is_empty();
            self.emit(vec![op::CALL, *handle], callee.parameters.len(), None);
            self.stack.extend(callee.returns.iter().cloned());
        }
    }

    /// Goes back to where the stack was empty, as long as a flag says so.
    fn branch(&mut self, input: &mut Input) {
        if !self.stack.is_empty() || self.empty.is_empty() {
            return;
        }
        let to = self.empty[input.below(self.empty.len())];
        let flag = self.locals.len() - 2;
        self.code.push(vec![op::COPY_LOC, byte(flag)]);
        self.code.push(vec![op::BR_FALSE, byte(to)]);
    }
}

/// Small by construction.
fn byte(value: usize) -> u8 {
    u8::try_from(value % 128).unwrap()
}
