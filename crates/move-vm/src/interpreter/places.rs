//! Instructions that touch places: locals, references, fields, vectors and global storage.
//! Never copies a value without charging for it.

use super::Machine;
use crate::failure::{Failure, Outcome, TYPE_CONFUSION};
use crate::format::{Access, Bytecode, CompiledModule, Token, Use, VectorOp};
use crate::gas::cost;
use crate::types::{Ty, TyList, TyNode};
use crate::value::{Reference, Value, length};

const VECTOR_ERROR: Failure = Failure::Execution("VECTOR_OPERATION_ERROR");
const VARIANT_MISMATCH: Failure = Failure::Execution("STRUCT_VARIANT_MISMATCH");

impl Machine<'_, '_> {
    pub(super) fn place(
        &mut self,
        module: &CompiledModule,
        op: &Bytecode,
        base: usize,
    ) -> Outcome<()> {
        match op {
            Bytecode::CopyLoc(local) => {
                let mut size = 0;
                let value = self.local(base, *local)?.copy(&mut size)?;
                self.state.meter.allocate(size)?;
                self.push(value)
            }
            Bytecode::MoveLoc(local) => {
                let value = std::mem::take(self.local(base, *local)?).out_of_cell()?;
                self.push(value)
            }
            Bytecode::StLoc(local) => {
                let value = self.pop()?;
                *self.local(base, *local)? = value;
                Ok(())
            }
            Bytecode::BorrowLoc(_, local) => {
                let reference = Value::borrow(self.local(base, *local)?)?;
                self.push(Value::Reference(reference))
            }
            Bytecode::ReadRef => {
                let reference = self.pop()?.into_reference()?;
                let mut size = 0;
                let value = reference.read(&mut size)?;
                self.state.meter.allocate(size)?;
                self.push(value)
            }
            Bytecode::WriteRef => {
                let reference = self.pop()?.into_reference()?;
                reference.write(self.pop()?)
            }
            Bytecode::BorrowField(_, used) => {
                let handle = match used {
                    Use::Plain(index) => *index,
                    Use::Generic(index) => module.field_insts[usize::from(*index)].of,
                };
                let field = module.field_handles[usize::from(handle)].field;
                self.borrow_field(usize::from(field))
            }
            Bytecode::BorrowVariantField(_, used) => self.borrow_variant_field(module, *used),
            Bytecode::Pack(used) | Bytecode::Unpack(used) => {
                let def = match used {
                    Use::Plain(index) => *index,
                    Use::Generic(index) => module.struct_insts[usize::from(*index)].of,
                };
                let count = module.struct_def(def).fields(None).ok_or(TYPE_CONFUSION)?.len();
                if matches!(op, Bytecode::Pack(_)) {
                    return self.pack(0, count);
                }
                self.unpack(0, count)
            }
            Bytecode::PackVariant(used)
            | Bytecode::UnpackVariant(used)
            | Bytecode::TestVariant(used) => self.variant(module, op, *used),
            Bytecode::Exists(used)
            | Bytecode::BorrowGlobal(_, used)
            | Bytecode::MoveFrom(used)
            | Bytecode::MoveTo(used) => self.global(module, op, *used),
            Bytecode::Vector(op, _) => self.vector(*op),
            Bytecode::VecPack(element, count) => self.pack_vector(module, *element, *count),
            Bytecode::VecUnpack(_, count) => self.unpack_vector(*count),
            _ => Err(TYPE_CONFUSION),
        }
    }

    fn local(&mut self, base: usize, local: u8) -> Outcome<&mut Value> {
        self.locals.get_mut(base + usize::from(local)).ok_or(TYPE_CONFUSION)
    }

    fn borrow_field(&mut self, field: usize) -> Outcome<()> {
        let owner = self.pop()?.into_reference()?;
        let reference = owner.item(field)?.ok_or(TYPE_CONFUSION)?;
        self.push(Value::Reference(reference))
    }

    fn borrow_variant_field(&mut self, module: &CompiledModule, used: Use) -> Outcome<()> {
        let handle = match used {
            Use::Plain(index) => index,
            Use::Generic(index) => module.variant_field_insts[usize::from(index)].of,
        };
        let handle = &module.variant_field_handles[usize::from(handle)];
        let owner = self.pop()?.into_reference()?;
        let variant = owner.composite()?.borrow().variant;
        if !handle.variants.contains(&variant) {
            return Err(VARIANT_MISMATCH);
        }
        let reference = owner.item(usize::from(handle.field))?.ok_or(TYPE_CONFUSION)?;
        self.push(Value::Reference(reference))
    }

    fn pack(&mut self, variant: u16, count: usize) -> Outcome<()> {
        self.state.meter.allocate(16 * (1 + length(count)))?;
        let first = self.stack.len().checked_sub(count).ok_or(TYPE_CONFUSION)?;
        let items = self.stack.split_off(first);
        self.push(Value::composite(variant, items))
    }

    fn unpack(&mut self, variant: u16, count: usize) -> Outcome<()> {
        let content = self.pop()?.into_composite()?;
        if content.variant != variant {
            return Err(VARIANT_MISMATCH);
        }
        if content.items.len() != count {
            return Err(TYPE_CONFUSION);
        }
        content.items.into_iter().try_for_each(|item| self.push(item))
    }

    fn variant(&mut self, module: &CompiledModule, op: &Bytecode, used: Use) -> Outcome<()> {
        let handle = match used {
            Use::Plain(index) => index,
            Use::Generic(index) => module.variant_insts[usize::from(index)].of,
        };
        let handle = module.variant_handles[usize::from(handle)];
        if matches!(op, Bytecode::TestVariant(_)) {
            let owner = self.pop()?.into_reference()?;
            let variant = owner.composite()?.borrow().variant;
            return self.push(Value::Bool(variant == handle.variant));
        }
        let fields = module.struct_def(handle.owner).fields(Some(handle.variant));
        let count = fields.ok_or(TYPE_CONFUSION)?.len();
        if matches!(op, Bytecode::PackVariant(_)) {
            return self.pack(handle.variant, count);
        }
        self.unpack(handle.variant, count)
    }

    /// The concrete type of the struct that an instruction names.
    fn struct_type(&mut self, module: &CompiledModule, used: Use) -> Outcome<Ty> {
        let (index, types) = self.top().map(|frame| (frame.module, frame.types))?;
        let (def, types) = match used {
            Use::Plain(def) => (def, TyList::EMPTY),
            Use::Generic(inst) => {
                let inst = module.struct_insts[usize::from(inst)];
                (inst.of, self.state.signature(index, inst.type_args, types)?)
            }
        };
        self.state.loader.struct_ty(index, def, types)
    }

    fn global(&mut self, module: &CompiledModule, op: &Bytecode, used: Use) -> Outcome<()> {
        self.state.meter.charge(cost::GLOBAL)?;
        let ty = self.struct_type(module, used)?;
        let top = self.pop()?;
        let result = match op {
            Bytecode::Exists(_) => Value::Bool(self.state.exists(top.into_address()?, ty)?),
            Bytecode::MoveFrom(_) => self.state.take(top.into_address()?, ty)?,
            Bytecode::BorrowGlobal(access, _) => {
                let mutable = *access == Access::Mutable;
                let content = self.state.borrow(top.into_address()?, ty, mutable)?;
                Value::Reference(Reference::Composite(content))
            }
            _ => {
                let mut size = 0;
                let signer = self.pop()?.into_reference()?.read(&mut size)?;
                let address = signer.into_composite()?.items.pop().ok_or(TYPE_CONFUSION)?;
                return self.state.put(address.into_address()?, ty, top);
            }
        };
        self.push(result)
    }

    /// Whether the elements of a vector literal are bytes.
    fn is_bytes(&self, module: &CompiledModule, element: u16) -> Outcome<bool> {
        match module.signature(element).first() {
            Some(Token::U8) => Ok(true),
            Some(Token::Parameter(index)) => {
                let types = &self.state.loader.types;
                let ty = types.list(self.top()?.types).get(usize::from(*index));
                Ok(types.node(*ty.ok_or(TYPE_CONFUSION)?) == TyNode::U8)
            }
            _ => Ok(false),
        }
    }

    fn pack_vector(&mut self, module: &CompiledModule, element: u16, count: u64) -> Outcome<()> {
        self.state.meter.allocate(16u64.saturating_mul(count.saturating_add(1)))?;
        let first =
            usize::try_from(count).ok().and_then(|count| self.stack.len().checked_sub(count));
        let items = self.stack.split_off(first.ok_or(TYPE_CONFUSION)?);
        if !self.is_bytes(module, element)? {
            return self.push(Value::composite(0, items));
        }
        let byte = |item| match item {
            Value::U8(byte) => Ok(byte),
            _ => Err(TYPE_CONFUSION),
        };
        let bytes = items.into_iter().map(byte).collect::<Outcome<_>>()?;
        self.push(Value::bytes(bytes))
    }

    fn unpack_vector(&mut self, count: u64) -> Outcome<()> {
        let items: Vec<Value> = match self.pop()? {
            Value::Bytes(bytes) => bytes.take().into_iter().map(Value::U8).collect(),
            other => other.into_composite()?.items,
        };
        if length(items.len()) != count {
            return Err(VECTOR_ERROR);
        }
        items.into_iter().try_for_each(|item| self.push(item))
    }

    fn vector(&mut self, op: VectorOp) -> Outcome<()> {
        match op {
            VectorOp::Len => {
                let count = match self.pop()?.into_reference()? {
                    Reference::Bytes(bytes) => bytes.borrow().len(),
                    other => other.composite()?.borrow().items.len(),
                };
                self.push(Value::U64(length(count)))
            }
            VectorOp::Borrow(_) => {
                let index = self.pop_index()?;
                let vector = self.pop()?.into_reference()?;
                let reference = vector.item(index)?.ok_or(VECTOR_ERROR)?;
                self.push(Value::Reference(reference))
            }
            VectorOp::PushBack => {
                self.state.meter.allocate(16)?;
                let item = self.pop()?;
                match (self.pop()?.into_reference()?, item) {
                    (Reference::Bytes(bytes), Value::U8(byte)) => bytes.borrow_mut().push(byte),
                    (Reference::Composite(content), item) => content.borrow_mut().items.push(item),
                    _ => return Err(TYPE_CONFUSION),
                }
                Ok(())
            }
            VectorOp::PopBack => {
                let item = match self.pop()?.into_reference()? {
                    Reference::Bytes(bytes) => bytes.borrow_mut().pop().map(Value::U8),
                    other => other.composite()?.borrow_mut().items.pop(),
                };
                self.push(item.ok_or(VECTOR_ERROR)?.out_of_cell()?)
            }
            VectorOp::Swap => self.swap(),
        }
    }

    fn swap(&mut self) -> Outcome<()> {
        let (right, left) = (self.pop_index()?, self.pop_index()?);
        let vector = self.pop()?.into_reference()?;
        let check = |count: usize| {
            if left < count && right < count { Ok(()) } else { Err(VECTOR_ERROR) }
        };
        match vector {
            Reference::Bytes(bytes) => {
                check(bytes.borrow().len())?;
                bytes.borrow_mut().swap(left, right);
            }
            other => {
                let content = other.composite()?;
                check(content.borrow().items.len())?;
                content.borrow_mut().items.swap(left, right);
            }
        }
        Ok(())
    }

    /// An index; one too large for the host is out of bounds anyway.
    fn pop_index(&mut self) -> Outcome<usize> {
        Ok(usize::try_from(self.pop()?.into_u64()?).unwrap_or(usize::MAX))
    }
}
