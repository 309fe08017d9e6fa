//! Executes functions: frames, calls and the dispatch of instructions.
//! Never recurses on the host's stack, however deep Move code calls.

mod arithmetic;
mod places;

use std::sync::Arc;

use crate::failure::{Failure, Outcome, TYPE_CONFUSION};
use crate::format::{Bytecode, Code, CompiledModule, Use};
use crate::gas::cost;
use crate::loader::Callee;
use crate::natives::NativeCall;
use crate::state::State;
use crate::types::TyList;
use crate::value::{Value, length};
use crate::{AbortReason, ModuleId, VmStatus};

/// Deepest nesting of calls, as in Aptos.
const CALL_DEPTH_MAX: usize = 1_024;
/// Most operands, as in Aptos.
const STACK_MAX: usize = 1_024;

/// A function being executed.
struct Frame {
    module: u32,
    code: Arc<CompiledModule>,
    function: u16,
    /// The next instruction.
    at: usize,
    /// Where its locals start.
    base: usize,
    types: TyList,
}

/// What follows an instruction.
enum Flow {
    Next,
    Jump(u16),
    Call(Callee, TyList),
    Return,
}

/// A call from outside: the function, its type arguments and its arguments.
pub(crate) struct Invocation {
    pub callee: Callee,
    pub types: TyList,
    pub arguments: Vec<Value>,
}

/// Runs one invocation to its end.
pub(crate) fn execute(state: &mut State, invocation: Invocation) -> Result<Vec<Value>, VmStatus> {
    let Invocation { callee, types, arguments } = invocation;
    let mut machine =
        Machine { state, stack: arguments, locals: Vec::new(), frames: Vec::new(), native: None };
    let outcome = machine.start(callee, types).and_then(|()| machine.run());
    match outcome {
        Ok(()) => Ok(machine.stack),
        Err(failure) => Err(machine.status(failure)),
    }
}

struct Machine<'m, 's> {
    state: &'m mut State<'s>,
    stack: Vec<Value>,
    locals: Vec<Value>,
    frames: Vec<Frame>,
    /// The native function being executed, for the place of an abort.
    native: Option<Callee>,
}

impl Machine<'_, '_> {
    fn start(&mut self, callee: Callee, types: TyList) -> Outcome<()> {
        if callee.native.is_some() {
            self.call_native(callee, types)
        } else {
            self.enter(callee, types)
        }
    }

    fn run(&mut self) -> Outcome<()> {
        while let Some(frame) = self.frames.last() {
            let module = Arc::clone(&frame.code);
            let body = &module.function_defs[usize::from(frame.function)].code;
            let body = body.as_ref().ok_or(TYPE_CONFUSION)?;
            match self.run_frame(&module, body)? {
                Flow::Call(callee, types) => self.start(callee, types)?,
                _ => {
                    if let Some(frame) = self.frames.pop() {
                        self.locals.truncate(frame.base);
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs the top frame until it calls or returns.
    fn run_frame(&mut self, module: &CompiledModule, body: &Code) -> Outcome<Flow> {
        let (mut at, base) =
            self.frames.last().map(|top| (top.at, top.base)).ok_or(TYPE_CONFUSION)?;
        loop {
            let instruction = body.code.get(at).ok_or(TYPE_CONFUSION)?;
            at += 1;
            let flow = self.charged_step(module, instruction, base);
            match flow {
                Ok(Flow::Next) => {}
                Ok(Flow::Jump(to)) => at = usize::from(to),
                other => {
                    if let Some(top) = self.frames.last_mut() {
                        top.at = at;
                    }
                    return other;
                }
            }
        }
    }

    fn charged_step(
        &mut self,
        module: &CompiledModule,
        op: &Bytecode,
        base: usize,
    ) -> Outcome<Flow> {
        self.state.meter.charge(cost::INSTRUCTION)?;
        self.step(module, op, base)
    }

    fn step(&mut self, module: &CompiledModule, op: &Bytecode, base: usize) -> Outcome<Flow> {
        match op {
            Bytecode::Pop => drop(self.pop()?),
            Bytecode::Ret => return Ok(Flow::Return),
            Bytecode::Branch(to) => return Ok(Flow::Jump(*to)),
            Bytecode::BrTrue(to) => return self.branch(true, *to),
            Bytecode::BrFalse(to) => return self.branch(false, *to),
            Bytecode::Call(used) => return self.call(module, *used),
            Bytecode::Abort => {
                self.state.meter.charge(cost::ABORT)?;
                return Err(Failure::Abort(self.pop()?.into_u64()?));
            }
            Bytecode::Nop | Bytecode::FreezeRef => {}
            Bytecode::LdBool(value) => self.push(Value::Bool(*value))?,
            Bytecode::LdU8(value) => self.push(Value::U8(*value))?,
            Bytecode::LdU16(value) => self.push(Value::U16(*value))?,
            Bytecode::LdU32(value) => self.push(Value::U32(*value))?,
            Bytecode::LdU64(value) => self.push(Value::U64(*value))?,
            Bytecode::LdU128(value) => self.push(Value::U128(**value))?,
            Bytecode::LdU256(value) => self.push(Value::U256(value.clone()))?,
            Bytecode::LdConst(index) => self.load_constant(module, *index)?,
            Bytecode::Binary(op) => self.binary(*op)?,
            Bytecode::Cast(width) => self.cast(*width)?,
            Bytecode::Not => {
                let value = self.pop()?.into_bool()?;
                self.push(Value::Bool(!value))?;
            }
            other => self.place(module, other, base)?,
        }
        Ok(Flow::Next)
    }

    fn branch(&mut self, when: bool, to: u16) -> Outcome<Flow> {
        Ok(if self.pop()?.into_bool()? == when { Flow::Jump(to) } else { Flow::Next })
    }

    fn call(&mut self, module: &CompiledModule, used: Use) -> Outcome<Flow> {
        let (index, types) = self.top().map(|frame| (frame.module, frame.types))?;
        let (handle, types) = match used {
            Use::Plain(handle) => (handle, TyList::EMPTY),
            Use::Generic(inst) => {
                let inst = module.function_insts[usize::from(inst)];
                (inst.of, self.state.signature(index, inst.type_args, types)?)
            }
        };
        let State { loader, source, .. } = self.state;
        Ok(Flow::Call(loader.callee(index, handle, source)?, types))
    }

    fn load_constant(&mut self, module: &CompiledModule, index: u16) -> Outcome<()> {
        let data = &module.constants[usize::from(index)].data;
        self.state.meter.allocate(16 + length(data.len()))?;
        let top = self.top()?.module;
        let State { loader, source, .. } = self.state;
        let layout = loader.constant(top, index, source)?;
        let value = crate::codec::decode(&layout, data)?;
        self.push(value)
    }

    fn enter(&mut self, callee: Callee, types: TyList) -> Outcome<()> {
        if self.frames.len() >= CALL_DEPTH_MAX {
            return Err(Failure::Execution("CALL_STACK_OVERFLOW"));
        }
        let code = Arc::clone(self.state.loader.module(callee.module));
        let def = &code.function_defs[usize::from(callee.function)];
        let parameters = code.signature(code.handle_of(def).parameters).len();
        let body = def.code.as_ref().ok_or(TYPE_CONFUSION)?;
        let locals = code.signature(body.locals).len();
        let per_argument = cost::CALL_PER_ARGUMENT * length(parameters);
        self.state.meter.charge(cost::CALL + per_argument)?;
        let base = self.locals.len();
        let first = self.stack.len().checked_sub(parameters).ok_or(TYPE_CONFUSION)?;
        self.locals.extend(self.stack.drain(first..));
        self.locals.resize_with(base + parameters + locals, Value::default);
        let frame =
            Frame { module: callee.module, function: callee.function, at: 0, base, types, code };
        self.frames.push(frame);
        Ok(())
    }

    fn call_native(&mut self, callee: Callee, types: TyList) -> Outcome<()> {
        let native = callee.native.ok_or(TYPE_CONFUSION)?;
        self.native = Some(callee);
        self.state.meter.charge(cost::NATIVE)?;
        let types = Arc::clone(self.state.loader.types.list(types));
        native(&mut NativeCall { state: self.state, types: &types, stack: &mut self.stack })?;
        self.native = None;
        Ok(())
    }

    fn top(&self) -> Outcome<&Frame> {
        self.frames.last().ok_or(TYPE_CONFUSION)
    }

    fn pop(&mut self) -> Outcome<Value> {
        self.stack.pop().ok_or(TYPE_CONFUSION)
    }

    fn push(&mut self, value: Value) -> Outcome<()> {
        if self.stack.len() >= STACK_MAX {
            return Err(Failure::Execution("EXECUTION_STACK_OVERFLOW"));
        }
        self.stack.push(value);
        Ok(())
    }

    /// Adds the place to a failure.
    fn status(&self, failure: Failure) -> VmStatus {
        let Some((module, function, offset)) = self.place_of_failure() else {
            return status_without_place(failure);
        };
        match failure {
            Failure::Abort(code) => abort_status(&module, function, code),
            Failure::Execution(status) => {
                VmStatus::ExecutionFailure { status, module: module.id().clone(), function, offset }
            }
            other => status_without_place(other),
        }
    }

    fn place_of_failure(&self) -> Option<(Arc<CompiledModule>, String, u16)> {
        let (module, function, at) = match (&self.native, self.frames.last()) {
            (Some(callee), _) => {
                (Arc::clone(self.state.loader.module(callee.module)), callee.function, 0)
            }
            (None, frame) => frame.map(|top| (Arc::clone(&top.code), top.function, top.at))?,
        };
        let def = &module.function_defs[usize::from(function)];
        let name = module.name(module.handle_of(def).name).to_owned();
        let offset = u16::try_from(at.saturating_sub(1)).unwrap_or(u16::MAX);
        Some((module, name, offset))
    }
}

/// The status of a failure outside of any function.
pub(crate) fn status_without_place(failure: Failure) -> VmStatus {
    match failure {
        Failure::Abort(_) => VmStatus::MiscellaneousError("ABORTED"),
        Failure::Execution(status) | Failure::Other(status) => VmStatus::MiscellaneousError(status),
        Failure::OutOfGas => VmStatus::OutOfGas,
        Failure::Rejected(error) => VmStatus::Rejected(*error),
        Failure::Storage(error) => VmStatus::Storage(error),
    }
}

/// Names the abort as Aptos does: by the reason, the low 12 bits, then by the whole code.
fn abort_status(module: &CompiledModule, function: String, code: u64) -> VmStatus {
    let errors = module.aptos_metadata().error_map;
    let found = errors.get(&(code & 0xfff)).or_else(|| errors.get(&code));
    let reason = found.map(|known| {
        Box::new(AbortReason {
            name: known.code_name.clone(),
            description: known.code_description.clone(),
        })
    });
    let module: ModuleId = module.id().clone();
    VmStatus::MoveAbort { module, function, code, reason }
}
