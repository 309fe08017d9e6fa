//! Lifetimes of references: nothing is written, moved or overwritten while something else could
//! still see it, no reference outlives its place, and mutable references handed on are the only
//! way to what they refer to. Never checks types: those were checked before.

use super::Body;
use super::blocks::Block;
use super::borrows::{Budget, FRAME, Graph, Label, RefId, TooComplex};
use crate::VmError;
use crate::format::{Access, Binary, Bytecode, Token, Use, VectorOp};

/// What is known at a point between blocks: the reference in each local, named after it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    locals: Vec<Option<RefId>>,
    graph: Graph,
}

/// The name between blocks of the reference in a local.
fn name_of(local: usize) -> RefId {
    RefId(u32::try_from(local).unwrap_or(u32::MAX).saturating_add(1))
}

pub(super) fn check(
    body: &Body,
    blocks: &[Block],
    parameters: usize,
    budget: &mut Budget,
) -> Result<(), VmError> {
    let complex = |_: TooComplex| body.error("PROGRAM_TOO_COMPLEX", 0);
    let mut start = Known { locals: vec![None; body.locals.len()], graph: Graph::new() };
    for (local, token) in body.locals.iter().enumerate().take(parameters) {
        if token.is_reference() {
            start.graph.add(name_of(local), matches!(token, Token::MutReference(_)));
            start.locals[local] = Some(name_of(local));
        }
    }
    let mut entries: Vec<Option<Known>> = vec![None; blocks.len()];
    entries[0] = Some(start);
    let mut open = std::collections::BTreeSet::from([0]);
    while let Some(index) = open.pop_first() {
        let Some(known) = entries[index].clone() else { continue };
        let mut lifetimes = Lifetimes::new(body, known, budget);
        for at in blocks[index].start..blocks[index].end {
            lifetimes.at = at;
            lifetimes.step(&body.code.code[at])?;
        }
        let known = lifetimes.end()?;
        for next in &blocks[index].next {
            let joined = match &entries[*next] {
                None => known.clone(),
                Some(old) => join(old.clone(), &known, budget).map_err(complex)?,
            };
            if entries[*next].as_ref() != Some(&joined) {
                entries[*next] = Some(joined);
                open.insert(*next);
            }
        }
    }
    Ok(())
}

/// What holds whichever way control came. A reference that only one way brought is gone.
fn join(mut old: Known, new: &Known, budget: &mut Budget) -> Result<Known, TooComplex> {
    let mut other = new.clone();
    for local in 0..old.locals.len() {
        match (old.locals[local], other.locals[local]) {
            (Some(id), None) => old.graph.release(id, budget)?,
            (None, Some(id)) => other.graph.release(id, budget)?,
            _ => continue,
        }
        old.locals[local] = None;
        other.locals[local] = None;
    }
    old.graph.join(&other.graph, budget)?;
    Ok(old)
}

struct Lifetimes<'a> {
    body: &'a Body<'a>,
    budget: &'a mut Budget,
    at: usize,
    locals: Vec<Option<RefId>>,
    graph: Graph,
    /// Operands: the reference, or `None` for a value.
    stack: Vec<Option<RefId>>,
    next: RefId,
}

type Checked<T = ()> = Result<T, VmError>;

impl<'a> Lifetimes<'a> {
    fn new(body: &'a Body<'a>, known: Known, budget: &'a mut Budget) -> Self {
        let next = name_of(body.locals.len());
        let Known { locals, graph } = known;
        Self { body, budget, at: 0, locals, graph, stack: Vec::new(), next }
    }

    /// What is known after the block. The stack is empty.
    fn end(self) -> Checked<Known> {
        let Self { body, budget, at, locals, graph, .. } = self;
        let name = |id: RefId| {
            let local = locals.iter().position(|local| *local == Some(id));
            local.map_or(id, name_of)
        };
        let graph = graph.renamed(name, budget);
        let graph = graph.map_err(|_| body.error("PROGRAM_TOO_COMPLEX", at))?;
        let renamed = |(local, id): (usize, &Option<RefId>)| id.map(|_| name_of(local));
        Ok(Known { locals: locals.iter().enumerate().map(renamed).collect(), graph })
    }

    fn refuse<T>(&self, code: &'static str) -> Checked<T> {
        Err(self.body.error(code, self.at))
    }

    fn unless(&self, bad: bool, code: &'static str) -> Checked {
        if bad { self.refuse(code) } else { Ok(()) }
    }

    fn done<T>(&self, result: Result<T, TooComplex>) -> Checked<T> {
        result.or_else(|_| self.refuse("PROGRAM_TOO_COMPLEX"))
    }

    fn pop(&mut self) -> Checked<Option<RefId>> {
        match self.stack.pop() {
            Some(operand) => Ok(operand),
            None => self.refuse("NEGATIVE_STACK_SIZE_WITHIN_BLOCK"),
        }
    }

    fn pop_reference(&mut self) -> Checked<RefId> {
        match self.pop()? {
            Some(id) => Ok(id),
            None => self.refuse("TYPE_MISMATCH"),
        }
    }

    fn pop_values(&mut self, count: usize) -> Checked {
        (0..count).try_for_each(|_| self.pop().map(drop))
    }

    fn push_values(&mut self, count: usize) {
        self.stack.resize(self.stack.len() + count, None);
    }

    fn release(&mut self, id: RefId) -> Checked {
        let released = self.graph.release(id, self.budget);
        self.done(released)
    }

    fn reference(&mut self, mutable: bool) -> RefId {
        let id = self.next;
        self.next = RefId(id.0.saturating_add(1));
        self.graph.add(id, mutable);
        id
    }

    /// Pushes a new reference to exactly a place of another.
    fn borrow(&mut self, lender: RefId, path: &[Label], mutable: bool) -> Checked {
        let id = self.reference(mutable);
        let borrowed = self.graph.borrow_exactly(lender, path, id, self.budget);
        self.done(borrowed)?;
        self.stack.push(Some(id));
        Ok(())
    }

    fn step(&mut self, op: &Bytecode) -> Checked {
        match op {
            Bytecode::Pop => match self.pop()? {
                Some(id) => self.release(id),
                None => Ok(()),
            },
            Bytecode::Ret => self.leave(),
            Bytecode::BrTrue(_) | Bytecode::BrFalse(_) | Bytecode::Abort => self.pop_values(1),
            Bytecode::Branch(_) | Bytecode::Nop | Bytecode::Cast(_) | Bytecode::Not => Ok(()),
            Bytecode::CopyLoc(_)
            | Bytecode::MoveLoc(_)
            | Bytecode::StLoc(_)
            | Bytecode::BorrowLoc(..) => self.local(op),
            Bytecode::BorrowField(..) | Bytecode::BorrowVariantField(..) => self.borrow_field(op),
            Bytecode::ReadRef | Bytecode::WriteRef | Bytecode::FreezeRef => self.dereference(op),
            Bytecode::Binary(Binary::Eq | Binary::Neq) => {
                self.compare()?;
                self.compare()?;
                self.push_values(1);
                Ok(())
            }
            Bytecode::Binary(_) => self.pop_values(1),
            Bytecode::Call(used) => self.call(*used),
            Bytecode::Pack(_)
            | Bytecode::Unpack(_)
            | Bytecode::PackVariant(_)
            | Bytecode::UnpackVariant(_)
            | Bytecode::VecPack(..)
            | Bytecode::VecUnpack(..) => self.pack(op),
            Bytecode::TestVariant(_) => {
                self.compare()?;
                self.push_values(1);
                Ok(())
            }
            Bytecode::Exists(_)
            | Bytecode::BorrowGlobal(..)
            | Bytecode::MoveFrom(_)
            | Bytecode::MoveTo(_) => self.global(op),
            Bytecode::Vector(op, _) => self.vector(*op),
            _ => {
                self.push_values(1);
                Ok(())
            }
        }
    }

    fn local(&mut self, op: &Bytecode) -> Checked {
        match op {
            Bytecode::CopyLoc(local) => match self.locals[usize::from(*local)] {
                Some(id) => self.borrow(id, &[], self.graph.is_mutable(id)),
                None => {
                    let borrowed =
                        self.graph.is_mutably_borrowed(FRAME, Some(Label::Local(*local)));
                    self.unless(borrowed, "COPYLOC_EXISTS_BORROW_ERROR")?;
                    self.push_values(1);
                    Ok(())
                }
            },
            Bytecode::MoveLoc(local) => {
                let borrowed = self.graph.is_borrowed(FRAME, Some(Label::Local(*local)));
                self.unless(borrowed, "MOVELOC_EXISTS_BORROW_ERROR")?;
                let moved = self.locals[usize::from(*local)].take();
                self.stack.push(moved);
                Ok(())
            }
            Bytecode::StLoc(local) => {
                let borrowed = self.graph.is_borrowed(FRAME, Some(Label::Local(*local)));
                self.unless(borrowed, "STLOC_UNSAFE_TO_DESTROY_ERROR")?;
                if let Some(old) = self.locals[usize::from(*local)].take() {
                    self.release(old)?;
                }
                self.locals[usize::from(*local)] = self.pop()?;
                Ok(())
            }
            Bytecode::BorrowLoc(access, local) => {
                let label = Label::Local(*local);
                let mutable = *access == Access::Mutable;
                let seen = !mutable && self.graph.is_mutably_borrowed(FRAME, Some(label));
                self.unless(seen, "BORROWLOC_EXISTS_BORROW_ERROR")?;
                self.borrow(FRAME, &[label], mutable)
            }
            _ => self.refuse("UNKNOWN_OPCODE"),
        }
    }

    fn borrow_field(&mut self, op: &Bytecode) -> Checked {
        let module = self.body.module;
        let (access, label) = match op {
            Bytecode::BorrowField(access, used) => {
                let handle = index(*used, &module.field_insts);
                let handle = module.field_handles[usize::from(handle)];
                (*access, Label::Field(handle.owner, handle.field))
            }
            Bytecode::BorrowVariantField(access, used) => {
                let handle = index(*used, &module.variant_field_insts);
                let handle = &module.variant_field_handles[usize::from(handle)];
                (*access, Label::Field(handle.owner, handle.field))
            }
            _ => return self.refuse("UNKNOWN_OPCODE"),
        };
        let owner = self.pop_reference()?;
        let mutable = access == Access::Mutable;
        let bad = match access {
            Access::Mutable => self.graph.is_borrowed_whole(owner),
            Access::Shared => !self.graph.is_readable(owner, Some(label)),
        };
        self.unless(bad, "FIELD_EXISTS_MUTABLE_BORROW_ERROR")?;
        self.borrow(owner, &[label], mutable)?;
        self.release(owner)
    }

    fn dereference(&mut self, op: &Bytecode) -> Checked {
        let id = self.pop_reference()?;
        match op {
            Bytecode::WriteRef => {
                self.unless(!self.graph.is_writable(id), "WRITEREF_EXISTS_BORROW_ERROR")?;
                self.pop_values(1)?;
            }
            Bytecode::FreezeRef => {
                let seen = self.graph.is_mutably_borrowed(id, None);
                self.unless(seen, "FREEZEREF_EXISTS_MUTABLE_BORROW_ERROR")?;
                self.borrow(id, &[], false)?;
            }
            _ => {
                let unreadable = !self.graph.is_readable(id, None);
                self.unless(unreadable, "READREF_EXISTS_MUTABLE_BORROW_ERROR")?;
                self.push_values(1);
            }
        }
        self.release(id)
    }

    /// Takes an operand that is only looked at.
    fn compare(&mut self) -> Checked {
        let Some(id) = self.pop()? else { return Ok(()) };
        let unreadable = !self.graph.is_readable(id, None);
        self.unless(unreadable, "READREF_EXISTS_MUTABLE_BORROW_ERROR")?;
        self.release(id)
    }

    fn global(&mut self, op: &Bytecode) -> Checked {
        let module = self.body.module;
        match op {
            Bytecode::MoveTo(_) => {
                self.pop_values(1)?;
                let signer = self.pop_reference()?;
                self.release(signer)
            }
            Bytecode::BorrowGlobal(access, used) => {
                self.pop_values(1)?;
                let label = Label::Global(index(*used, &module.struct_insts));
                let mutable = *access == Access::Mutable;
                let seen = match access {
                    Access::Mutable => self.graph.is_borrowed(FRAME, Some(label)),
                    Access::Shared => self.graph.is_mutably_borrowed(FRAME, Some(label)),
                };
                self.unless(seen, "GLOBAL_REFERENCE_ERROR")?;
                self.borrow(FRAME, &[label], mutable)
            }
            Bytecode::MoveFrom(used) => {
                let label = Label::Global(index(*used, &module.struct_insts));
                let seen = self.graph.is_borrowed(FRAME, Some(label));
                self.unless(seen, "GLOBAL_REFERENCE_ERROR")
            }
            _ => Ok(()),
        }
    }

    fn vector(&mut self, op: VectorOp) -> Checked {
        let operands = match op {
            VectorOp::Len | VectorOp::PopBack => 0,
            VectorOp::Borrow(_) | VectorOp::PushBack => 1,
            VectorOp::Swap => 2,
        };
        self.pop_values(operands)?;
        let vector = self.pop_reference()?;
        match op {
            VectorOp::Len => {}
            VectorOp::Borrow(access) => {
                let mutable = access == Access::Mutable;
                let seen = match access {
                    Access::Mutable => !self.graph.is_writable(vector),
                    Access::Shared => !self.graph.is_readable(vector, None),
                };
                self.unless(seen, "VEC_BORROW_ELEMENT_EXISTS_MUTABLE_BORROW_ERROR")?;
                let element = self.reference(mutable);
                self.graph.borrow_somewhere(vector, element);
                self.stack.push(Some(element));
            }
            _ => {
                let seen = !self.graph.is_writable(vector);
                self.unless(seen, "VEC_UPDATE_EXISTS_MUTABLE_BORROW_ERROR")?;
            }
        }
        if matches!(op, VectorOp::Len | VectorOp::PopBack) {
            self.push_values(1);
        }
        self.release(vector)
    }

    fn pack(&mut self, op: &Bytecode) -> Checked {
        let module = self.body.module;
        let fields = |used: Use| {
            let def = module.struct_def(index(used, &module.struct_insts));
            def.fields(None).map_or(0, <[_]>::len)
        };
        let variant_fields = |used: Use| {
            let handle = index(used, &module.variant_insts);
            let handle = module.variant_handles[usize::from(handle)];
            let fields = module.struct_def(handle.owner).fields(Some(handle.variant));
            fields.map_or(0, <[_]>::len)
        };
        let (taken, given) = match op {
            Bytecode::Pack(used) => (fields(*used), 1),
            Bytecode::PackVariant(used) => (variant_fields(*used), 1),
            Bytecode::Unpack(used) => (1, fields(*used)),
            Bytecode::UnpackVariant(used) => (1, variant_fields(*used)),
            Bytecode::VecPack(_, count) => (usize::try_from(*count).unwrap_or(usize::MAX), 1),
            // The type check bounded the count.
            Bytecode::VecUnpack(_, count) => (1, usize::try_from(*count).unwrap_or(0)),
            _ => return self.refuse("UNKNOWN_OPCODE"),
        };
        self.pop_values(taken)?;
        self.push_values(given);
        Ok(())
    }

    /// Mutable arguments must be the only way to what they refer to; results may borrow from any
    /// argument; no resource that the callee acquires may be borrowed.
    fn call(&mut self, used: Use) -> Checked {
        let module = self.body.module;
        let callee = index(used, &module.function_insts);
        let handle = module.function_handle(callee);
        let own = module.function_defs.iter().find(|def| def.handle == callee);
        for resource in own.iter().flat_map(|def| &def.acquires) {
            let seen = self.graph.is_borrowed(FRAME, Some(Label::Global(*resource)));
            self.unless(seen, "GLOBAL_REFERENCE_ERROR")?;
        }
        let mut arguments = Vec::new();
        for _ in module.signature(handle.parameters) {
            let Some(id) = self.pop()? else { continue };
            let shared = self.graph.is_mutable(id) && !self.graph.is_writable(id);
            self.unless(shared, "CALL_BORROWED_MUTABLE_REFERENCE_ERROR")?;
            arguments.push(id);
        }
        for token in module.signature(handle.returns) {
            if !token.is_reference() {
                self.push_values(1);
                continue;
            }
            let mutable = matches!(token, Token::MutReference(_));
            let result = self.reference(mutable);
            for id in arguments
                .iter()
                .filter(|id| !mutable || self.graph.is_mutable(**id))
                .copied()
                .collect::<Vec<_>>()
            {
                self.graph.borrow_somewhere(id, result);
            }
            self.stack.push(Some(result));
        }
        arguments.into_iter().try_for_each(|id| self.release(id))
    }

    /// Locals and resources must not be borrowed, and mutable results must be unique.
    fn leave(&mut self) -> Checked {
        for local in 0..self.locals.len() {
            if let Some(id) = self.locals[local].take() {
                self.release(id)?;
            }
        }
        let seen = self.graph.is_borrowed(FRAME, None);
        self.unless(seen, "UNSAFE_RET_LOCAL_OR_RESOURCE_STILL_BORROWED")?;
        let results: Vec<RefId> = self.stack.drain(..).flatten().collect();
        for id in &results {
            let shared = self.graph.is_mutable(*id) && !self.graph.is_writable(*id);
            self.unless(shared, "RET_BORROWED_MUTABLE_REFERENCE_ERROR")?;
        }
        results.into_iter().try_for_each(|id| self.release(id))
    }
}

/// The table index behind a use.
fn index(used: Use, insts: &[crate::format::Instantiation]) -> u16 {
    match used {
        Use::Plain(index) => index,
        Use::Generic(inst) => insts[usize::from(inst)].of,
    }
}
