//! Modules of random code whose operand types are right, made from a fuzzer's input: structs, enums
//! with variants, generic ones of both, references into all of them, and a resource. Never looks
//! after lifetimes, moved locals or acquired resources: those are the check's matter.

#![allow(dead_code, missing_docs)]

use std::sync::LazyLock;

use cactus_move_vm::AccountAddress;

use super::assembler::{
    ADDRESS, Assembler, BOOL, COPY, DROP, Function, KEY, STORE, T, U64, U64S, Variant, generic,
    mutable, number, op, shared, structure,
};

const AT: AccountAddress = AccountAddress::small(0xf1);

/// Handles and definitions, by index:
/// `struct Pair { a: u64, b: u64 }`,
/// `struct Vault { pair: Pair, list: vector<u64>, shape: Shape }`, the only resource,
/// `enum Shape { Dot { a: u64 }, Line { a: u64, b: u64 }, Frame { pair: Pair } }`,
/// `struct Cell<T> { item: T, count: u64 }` and `enum Maybe<T> { No, Yes { item: T } }`.
const PAIR: u8 = 0;
const VAULT: u8 = 1;
const SHAPE: u8 = 2;
const CELL: u8 = 3;
const MAYBE: u8 = 4;

/// A type, as a signature writes it.
type Token = Vec<u8>;

/// What `Cell` and `Maybe` are instantiated with; the last is a generic function's own parameter.
static ARGUMENTS: LazyLock<[Token; 4]> =
    LazyLock::new(|| [U64.to_vec(), structure(PAIR), structure(SHAPE), T.to_vec()]);
/// The rules in functions without and with a type parameter.
static RULES: LazyLock<[Vec<Rule>; 2]> = LazyLock::new(|| [rules(false), rules(true)]);

/// Numbers out of the input; zero after its end.
struct Input<'a>(std::slice::Iter<'a, u8>);

impl Input<'_> {
    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % limit.max(1)
    }

    fn pick<'a, V>(&mut self, all: &'a [V]) -> Option<&'a V> {
        all.get(self.below(all.len()))
    }
}

/// An instruction with the operands it takes, topmost last, and gives.
struct Rule {
    code: Vec<u8>,
    takes: Vec<Token>,
    gives: Vec<Token>,
    acquires: bool,
}

fn rule(code: &[u8], takes: &[Token], gives: &[Token]) -> Rule {
    let acquires = matches!(code[0], op::MUT_BORROW_GLOBAL | op::IMM_BORROW_GLOBAL | op::MOVE_FROM);
    Rule { code: code.to_vec(), takes: takes.to_vec(), gives: gives.to_vec(), acquires }
}

/// Types with values of their own.
fn values(is_generic: bool) -> Vec<Token> {
    let mut all = vec![U64.to_vec(), structure(PAIR), U64S.to_vec(), structure(SHAPE)];
    for argument in arguments(is_generic) {
        all.extend([generic(CELL, argument), generic(MAYBE, argument)]);
    }
    all.extend(is_generic.then(|| T.to_vec()));
    all
}

fn arguments(is_generic: bool) -> &'static [Token] {
    &ARGUMENTS[..if is_generic { 4 } else { 3 }]
}

fn rules(is_generic: bool) -> Vec<Rule> {
    let mut all = plain_rules();
    for value in values(is_generic) {
        all.extend(reference_rules(&value));
        all.push(rule(&[op::READ_REF], &[mutable(&value)], std::slice::from_ref(&value)));
        all.push(rule(&[op::READ_REF], &[shared(&value)], std::slice::from_ref(&value)));
        all.push(rule(&[op::EQ], &[value.clone(), value.clone()], &[BOOL.to_vec()]));
    }
    all.extend(reference_rules(&structure(VAULT)));
    let (pair, shape, vault) = (structure(PAIR), structure(SHAPE), structure(VAULT));
    let number = U64.to_vec();
    all.extend(struct_rules(
        [op::PACK, op::UNPACK],
        PAIR,
        &pair,
        &[number.clone(), number.clone()],
    ));
    let inside = [pair.clone(), U64S.to_vec(), shape.clone()];
    all.extend(struct_rules([op::PACK, op::UNPACK], VAULT, &vault, &inside));
    let plain = [op::MUT_BORROW_FIELD, op::IMM_BORROW_FIELD];
    let fields = [(&pair, U64), (&pair, U64), (&vault, &pair), (&vault, U64S), (&vault, &shape)];
    for (index, (owner, field)) in (0..).zip(fields) {
        all.extend(field_rules(plain, index, owner, field));
    }
    let variants = [vec![number.clone()], vec![number.clone(), number.clone()], vec![pair.clone()]];
    for (variant, fields) in (0..).zip(&variants) {
        let codes = [op::PACK_VARIANT, op::UNPACK_VARIANT, op::TEST_VARIANT];
        all.extend(variant_rules(codes, variant, &shape, fields));
    }
    let of_variant = [op::MUT_BORROW_VARIANT_FIELD, op::IMM_BORROW_VARIANT_FIELD];
    for (index, field) in (0..).zip([U64, U64, &pair]) {
        all.extend(field_rules(of_variant, index, &shape, field));
    }
    for (index, argument) in (0..).zip(arguments(is_generic)) {
        all.extend(generic_rules(index, argument));
    }
    all
}

/// Numbers, vectors and the resource.
fn plain_rules() -> Vec<Rule> {
    let (number, list, at) = (U64.to_vec(), U64S.to_vec(), ADDRESS.to_vec());
    let (to_list, into_list) = (mutable(U64S), shared(U64S));
    let (flag, vault) = (BOOL.to_vec(), structure(VAULT));
    let two = [number.clone(), number.clone()];
    let mut all = vec![
        rule(&[op::ADD], &two, std::slice::from_ref(&number)),
        rule(&[op::LT], &two, std::slice::from_ref(&flag)),
        rule(&[op::NOT], std::slice::from_ref(&flag), std::slice::from_ref(&flag)),
        rule(&[op::VEC_PACK, 0, 2, 0, 0, 0, 0, 0, 0, 0], &two, std::slice::from_ref(&list)),
        rule(&[op::VEC_LEN, 0], std::slice::from_ref(&into_list), std::slice::from_ref(&number)),
        rule(&[op::VEC_PUSH_BACK, 0], &[to_list.clone(), number.clone()], &[]),
        rule(&[op::VEC_POP_BACK, 0], std::slice::from_ref(&to_list), std::slice::from_ref(&number)),
        rule(&[op::VEC_SWAP, 0], &[to_list.clone(), number.clone(), number.clone()], &[]),
        rule(&[op::VEC_MUT_BORROW, 0], &[to_list.clone(), number.clone()], &[mutable(U64)]),
        rule(&[op::VEC_IMM_BORROW, 0], &[into_list, number.clone()], &[shared(U64)]),
        rule(&[op::VEC_IMM_BORROW, 0], &[to_list, number], &[shared(U64)]),
    ];
    let globals = [
        (op::EXISTS, flag),
        (op::MUT_BORROW_GLOBAL, mutable(&vault)),
        (op::IMM_BORROW_GLOBAL, shared(&vault)),
        (op::MOVE_FROM, vault),
    ];
    all.extend(
        globals.map(|(code, gives)| rule(&[code, VAULT], std::slice::from_ref(&at), &[gives])),
    );
    all
}

fn reference_rules(to: &[u8]) -> Vec<Rule> {
    vec![
        rule(&[op::WRITE_REF], &[to.to_vec(), mutable(to)], &[]),
        rule(&[op::FREEZE_REF], &[mutable(to)], &[shared(to)]),
        rule(&[op::EQ], &[shared(to), shared(to)], &[BOOL.to_vec()]),
    ]
}

fn struct_rules([pack, unpack]: [u8; 2], index: u8, owner: &Token, fields: &[Token]) -> Vec<Rule> {
    let owner = std::slice::from_ref(owner);
    vec![rule(&[pack, index], fields, owner), rule(&[unpack, index], owner, fields)]
}

fn variant_rules(codes: [u8; 3], index: u8, owner: &Token, fields: &[Token]) -> Vec<Rule> {
    let [pack, unpack, test] = codes;
    let mut all = struct_rules([pack, unpack], index, owner, fields);
    let references = [mutable(owner), shared(owner)];
    all.extend(references.map(|reference| rule(&[test, index], &[reference], &[BOOL.to_vec()])));
    all
}

fn field_rules([exclusive, common]: [u8; 2], index: u8, owner: &Token, field: &[u8]) -> Vec<Rule> {
    vec![
        rule(&[exclusive, index], &[mutable(owner)], &[mutable(field)]),
        rule(&[common, index], &[mutable(owner)], &[shared(field)]),
        rule(&[common, index], &[shared(owner)], &[shared(field)]),
    ]
}

/// `Cell` and `Maybe` of the argument of this index.
fn generic_rules(index: u8, argument: &Token) -> Vec<Rule> {
    let (cell, maybe) = (generic(CELL, argument), generic(MAYBE, argument));
    let fields = [argument.clone(), U64.to_vec()];
    let codes = [op::PACK_GENERIC, op::UNPACK_GENERIC];
    let mut all = struct_rules(codes, index, &cell, &fields);
    let codes = [op::MUT_BORROW_FIELD_GENERIC, op::IMM_BORROW_FIELD_GENERIC];
    all.extend(field_rules(codes, 2 * index, &cell, argument));
    all.extend(field_rules(codes, 2 * index + 1, &cell, U64));
    let codes = [op::PACK_VARIANT_GENERIC, op::UNPACK_VARIANT_GENERIC, op::TEST_VARIANT_GENERIC];
    all.extend(variant_rules(codes, 2 * index, &maybe, &[]));
    all.extend(variant_rules(codes, 2 * index + 1, &maybe, std::slice::from_ref(argument)));
    let codes = [op::MUT_BORROW_VARIANT_FIELD_GENERIC, op::IMM_BORROW_VARIANT_FIELD_GENERIC];
    all.extend(field_rules(codes, index, &maybe, argument));
    all
}

/// The module's types, and the places in them that code refers to by the indices of the rules.
fn types() -> Assembler {
    let mut module = Assembler::new(AT, "generated");
    module.signature(&[U64.to_vec()]);
    let plain = COPY | DROP | STORE;
    module.struct_handle(0, "Pair", plain, &[]);
    module.struct_handle(0, "Vault", KEY | DROP, &[]);
    module.struct_handle(0, "Shape", plain, &[]);
    module.struct_handle(0, "Cell", plain, &[plain]);
    module.struct_handle(0, "Maybe", plain, &[plain]);
    let (number, pair) = (|| U64.to_vec(), || structure(PAIR));
    module.define_struct(PAIR, &[("a", number()), ("b", number())]);
    let inside = [("pair", pair()), ("list", U64S.to_vec()), ("shape", structure(SHAPE))];
    module.define_struct(VAULT, &inside);
    let line = [("a", number()), ("b", number())];
    let variants: [Variant; 3] =
        [("Dot", &[("a", number())]), ("Line", &line), ("Frame", &[("pair", pair())])];
    module.define_enum(SHAPE, &variants);
    module.define_struct(CELL, &[("item", T.to_vec()), ("count", number())]);
    module.define_enum(MAYBE, &[("No", &[]), ("Yes", &[("item", T.to_vec())])]);
    for (owner, field) in [(PAIR, 0), (PAIR, 1), (VAULT, 0), (VAULT, 1), (VAULT, 2)] {
        module.field(owner, field);
    }
    for variant in 0..3 {
        module.variant(SHAPE, variant);
    }
    module.variant_field(SHAPE, 0, &[0, 1]);
    module.variant_field(SHAPE, 1, &[1]);
    module.variant_field(SHAPE, 0, &[2]);
    let (item, count) = (module.field(CELL, 0), module.field(CELL, 1));
    let (no, yes) = (module.variant(MAYBE, 0), module.variant(MAYBE, 1));
    let inside = module.variant_field(MAYBE, 0, &[1]);
    for argument in &*ARGUMENTS {
        let argument = std::slice::from_ref(argument);
        module.struct_instance(CELL, argument);
        for (field, variant) in [(item, no), (count, yes)] {
            module.field_instance(field, argument);
            module.variant_instance(variant, argument);
        }
        module.variant_field_instance(inside, argument);
    }
    module
}

/// `entry fun put(account: &signer)`, which leaves a `Vault` at the account.
fn define_put(module: &mut Assembler) {
    let put = Function { parameters: vec![shared(&[0xc])], is_entry: true, ..Function::default() };
    let code = [
        vec![op::MOVE_LOC, 0],
        number(1),
        number(2),
        vec![op::PACK, PAIR],
        vec![op::VEC_PACK, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        number(3),
        vec![op::PACK_VARIANT, 0],
        vec![op::PACK, VAULT],
        vec![op::MOVE_TO, VAULT],
        vec![op::RET],
    ];
    module.function("put", &put, &code);
}

/// A function that was written, for those that come later.
struct Callee {
    /// The opcode and the index of the call, and the type argument if it is generic.
    calls: Vec<(Vec<u8>, Option<Token>)>,
    function: Function,
}

/// A module of `put` and four functions, of which the second and the last are generic.
pub fn generate(data: &[u8]) -> Vec<u8> {
    let mut input = Input(data.iter());
    let mut module = types();
    define_put(&mut module);
    let mut callees: Vec<Callee> = Vec::new();
    for (name, is_generic) in [("f", false), ("g", true), ("h", false), ("i", true)] {
        let mut function = signature(&mut input, is_generic);
        let (code, acquires) = Writer::new(&function, &callees, is_generic).write(&mut input);
        function.acquires = if acquires { vec![VAULT] } else { Vec::new() };
        let handle = module.function(name, &function, &code);
        let calls = if is_generic {
            let mut instance = |argument: &Token| {
                let index = module.function_instance(handle, std::slice::from_ref(argument));
                (vec![op::CALL_GENERIC, index], Some(argument.clone()))
            };
            ARGUMENTS.iter().map(&mut instance).collect()
        } else {
            vec![(vec![op::CALL, handle], None)]
        };
        callees.push(Callee { calls, function });
    }
    module.finish()
}

fn signature(input: &mut Input, is_generic: bool) -> Function {
    let values = values(is_generic);
    let references = values.iter().flat_map(|token| [mutable(token), shared(token)]);
    let mut types: Vec<Token> = values.iter().cloned().chain(references).collect();
    types.extend([ADDRESS.to_vec(), BOOL.to_vec()]);
    types.extend([structure(VAULT), mutable(&structure(VAULT)), shared(&structure(VAULT))]);
    let pick = |input: &mut Input, most: usize| -> Vec<Token> {
        let count = input.below(most + 1);
        (0..count).filter_map(|_| input.pick(&types).cloned()).collect()
    };
    let parameters = pick(input, 3);
    let returns = parameters.iter().take(input.below(2)).cloned().collect();
    let mut locals = pick(input, 4);
    locals.extend([ADDRESS.to_vec(), BOOL.to_vec(), U64.to_vec()]);
    let type_parameters = if is_generic { vec![COPY | DROP | STORE] } else { Vec::new() };
    Function { parameters, returns, locals, type_parameters, ..Function::default() }
}

struct Writer<'a> {
    locals: Vec<Token>,
    /// Which of them hold something, loops left aside.
    is_set: Vec<bool>,
    returns: &'a [Token],
    callees: &'a [Callee],
    is_generic: bool,
    stack: Vec<Token>,
    code: Vec<Vec<u8>>,
    /// Instructions before which the stack is empty.
    empty: Vec<usize>,
    acquires: bool,
}

impl<'a> Writer<'a> {
    fn new(function: &'a Function, callees: &'a [Callee], is_generic: bool) -> Self {
        let locals = [function.parameters.clone(), function.locals.clone()].concat();
        let is_set = (0..locals.len()).map(|local| local < function.parameters.len()).collect();
        Self {
            locals,
            is_set,
            returns: &function.returns,
            callees,
            is_generic,
            stack: Vec::new(),
            code: Vec::new(),
            empty: Vec::new(),
            acquires: false,
        }
    }

    fn write(mut self, input: &mut Input) -> (Vec<Vec<u8>>, bool) {
        // A flag and a number that are always there.
        let last = self.locals.len() - 1;
        self.emit(number(1), 0, &[U64.to_vec()]);
        self.store(last);
        self.emit(vec![op::LD_TRUE], 0, &[BOOL.to_vec()]);
        self.store(last - 1);
        for _ in 0..input.below(60) {
            if self.stack.is_empty() {
                self.empty.push(self.code.len());
            }
            self.instruction(input);
        }
        while !self.stack.is_empty() {
            self.emit(vec![op::POP], 1, &[]);
        }
        for (local, token) in self.returns.iter().enumerate() {
            self.emit(vec![op::MOVE_LOC, byte(local)], 0, std::slice::from_ref(token));
        }
        self.code.push(vec![op::RET]);
        (self.code, self.acquires)
    }

    fn emit(&mut self, code: Vec<u8>, taken: usize, given: &[Token]) {
        self.code.push(code);
        self.stack.truncate(self.stack.len() - taken);
        self.stack.extend_from_slice(given);
    }

    /// Adds an instruction that fits the operands; none if the chosen one does not.
    fn instruction(&mut self, input: &mut Input) {
        match input.below(20) {
            0 => self.emit(number(byte(input.below(4))), 0, &[U64.to_vec()]),
            1..=7 => self.load(input),
            8 | 9 => {
                let fits = |local: &usize| Some(&self.locals[*local]) == self.stack.last();
                let locals: Vec<usize> = (0..self.locals.len()).filter(fits).collect();
                input.pick(&locals).into_iter().for_each(|local| self.store(*local));
            }
            10 => self.call(input),
            11 => self.branch(input),
            12 if !self.stack.is_empty() => self.emit(vec![op::POP], 1, &[]),
            _ => self.on_top(input),
        }
    }

    /// Copies, moves or borrows a local, now and then one that holds nothing.
    fn load(&mut self, input: &mut Input) {
        let careless = input.below(64) == 63;
        let any = |local: &usize| self.is_set[*local] || careless;
        let locals: Vec<usize> = (0..self.locals.len()).filter(any).collect();
        let Some(local) = input.pick(&locals).copied() else { return };
        let token = self.locals[local].clone();
        let is_reference = token[0] == 6 || token[0] == 7;
        let (code, given) = match input.below(6) {
            0 if !is_reference => (op::IMM_BORROW_LOC, shared(&token)),
            1 | 2 if !is_reference => (op::MUT_BORROW_LOC, mutable(&token)),
            3 | 4 if token != structure(VAULT) => (op::COPY_LOC, token),
            // What is returned in the end stays.
            _ if local < self.returns.len() && !careless => return,
            _ => {
                self.is_set[local] = false;
                (op::MOVE_LOC, token)
            }
        };
        self.emit(vec![code, byte(local)], 0, &[given]);
    }

    /// Puts the topmost operand into a local of its type.
    fn store(&mut self, local: usize) {
        self.is_set[local] = true;
        self.emit(vec![op::ST_LOC, byte(local)], 1, &[]);
    }

    /// An instruction on the topmost operands.
    fn on_top(&mut self, input: &mut Input) {
        let rules = &RULES[usize::from(self.is_generic)];
        let fits = |rule: &&Rule| self.stack.ends_with(&rule.takes);
        let fitting: Vec<&Rule> = rules.iter().filter(fits).collect();
        if let Some(rule) = input.pick(&fitting) {
            self.acquires |= rule.acquires;
            self.emit(rule.code.clone(), rule.takes.len(), &rule.gives);
        }
    }

    fn call(&mut self, input: &mut Input) {
        let Some(Callee { calls, function }) = input.pick(self.callees) else { return };
        let Some((code, argument)) = input.pick(calls) else { return };
        if argument.as_deref() == Some(T) && !self.is_generic {
            return;
        }
        let put_in = |tokens: &[Token]| -> Vec<Token> {
            tokens.iter().map(|token| substitute(token, argument.as_ref())).collect()
        };
        let (takes, gives) = (put_in(&function.parameters), put_in(&function.returns));
        // `Cell<Cell<u64>>` and the like have no rules.
        if self.stack.ends_with(&takes) {
            self.acquires |= !function.acquires.is_empty();
            self.emit(code.clone(), takes.len(), &gives);
        }
    }

    /// Goes back to where the stack was empty, as long as a flag says so.
    fn branch(&mut self, input: &mut Input) {
        if !self.stack.is_empty() {
            return;
        }
        let Some(to) = input.pick(&self.empty).copied() else { return };
        let flag = self.locals.len() - 2;
        self.code.push(vec![op::COPY_LOC, byte(flag)]);
        self.code.push(vec![op::BR_FALSE, byte(to)]);
    }
}

/// A type with the argument in place of the type parameter, which stands last if anywhere.
fn substitute(token: &Token, argument: Option<&Token>) -> Token {
    match (token.strip_suffix(T), argument) {
        (Some(head), Some(argument)) => [head, argument].concat(),
        _ => token.clone(),
    }
}

/// Small by construction.
fn byte(value: usize) -> u8 {
    u8::try_from(value % 128).unwrap()
}
