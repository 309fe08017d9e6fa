//! Types of operands: walks each block with a stack of types, which is empty between blocks.
//! Never joins stacks: a value that outlives its block must be in a local, whose type is fixed.

use super::Body;
use super::blocks::Block;
use super::operands::Operands;
use crate::format::{Access, Bytecode, Token, Use, VectorOp, Width};
use crate::value::length;
use crate::{AbilitySet, VmError};

/// Most operands within one block.
const OPERANDS_MAX: usize = 1_024;

pub(super) fn check(body: &Body, blocks: &[Block]) -> Result<(), VmError> {
    let mut operands = Operands { body, at: 0, stack: Vec::new() };
    for block in blocks {
        for at in block.start..block.end {
            operands.at = at;
            operands.instruction(&body.code.code[at])?;
            if operands.stack.len() > OPERANDS_MAX {
                return Err(operands.error("VALUE_STACK_OVERFLOW"));
            }
        }
        if !operands.stack.is_empty() {
            return Err(operands.error("POSITIVE_STACK_SIZE_AT_BLOCK_END"));
        }
    }
    Ok(())
}

impl Operands<'_> {
    fn instruction(&mut self, op: &Bytecode) -> Result<(), VmError> {
        match op {
            Bytecode::Pop => {
                let token = self.pop()?;
                self.need(&token, AbilitySet::DROP, "POP_WITHOUT_DROP_ABILITY")
            }
            Bytecode::Ret => {
                let body = self.body;
                let returns = body.module.signature(body.handle.returns);
                returns.iter().rev().try_for_each(|token| self.expect(token))
            }
            Bytecode::BrTrue(_) | Bytecode::BrFalse(_) => self.expect(&Token::Bool),
            Bytecode::Abort => self.expect(&Token::U64),
            Bytecode::Branch(_) | Bytecode::Nop => Ok(()),
            Bytecode::LdBool(_) => self.push(Token::Bool),
            Bytecode::LdU8(_) => self.push(Token::U8),
            Bytecode::LdU16(_) => self.push(Token::U16),
            Bytecode::LdU32(_) => self.push(Token::U32),
            Bytecode::LdU64(_) => self.push(Token::U64),
            Bytecode::LdU128(_) => self.push(Token::U128),
            Bytecode::LdU256(_) => self.push(Token::U256),
            Bytecode::LdConst(index) => {
                self.push(self.body.module.constants[usize::from(*index)].token.clone())
            }
            Bytecode::Binary(op) => self.binary(*op),
            Bytecode::Not => {
                self.expect(&Token::Bool)?;
                self.push(Token::Bool)
            }
            Bytecode::Cast(width) => {
                self.integer()?;
                self.push(match width {
                    Width::U8 => Token::U8,
                    Width::U16 => Token::U16,
                    Width::U32 => Token::U32,
                    Width::U64 => Token::U64,
                    Width::U128 => Token::U128,
                    Width::U256 => Token::U256,
                })
            }
            Bytecode::Call(used) => self.call(*used),
            Bytecode::Pack(used) => self.pack(*used, true),
            Bytecode::Unpack(used) => self.pack(*used, false),
            Bytecode::PackVariant(used) => self.pack_variant(*used, true),
            Bytecode::UnpackVariant(used) => self.pack_variant(*used, false),
            Bytecode::TestVariant(used) => self.test_variant(*used),
            Bytecode::Exists(used)
            | Bytecode::BorrowGlobal(_, used)
            | Bytecode::MoveFrom(used)
            | Bytecode::MoveTo(used) => self.global(op, *used),
            Bytecode::Vector(op, element) => self.vector(*op, *element),
            Bytecode::VecPack(element, count) | Bytecode::VecUnpack(element, count) => {
                let packing = matches!(op, Bytecode::VecPack(..));
                self.pack_vector(*element, *count, packing)
            }
            other => self.place(other),
        }
    }

    fn place(&mut self, op: &Bytecode) -> Result<(), VmError> {
        match op {
            Bytecode::CopyLoc(local) => {
                let token = self.local(*local);
                self.need(&token, AbilitySet::COPY, "COPYLOC_WITHOUT_COPY_ABILITY")?;
                self.push(token)
            }
            Bytecode::MoveLoc(local) => self.push(self.local(*local)),
            Bytecode::StLoc(local) => self.expect(&self.local(*local)),
            Bytecode::BorrowLoc(access, local) => {
                let token = self.local(*local);
                if token.is_reference() {
                    return Err(self.error("BORROWLOC_REFERENCE_ERROR"));
                }
                self.push(reference(*access, token))
            }
            Bytecode::BorrowField(access, used) => self.borrow_field(*access, *used),
            Bytecode::BorrowVariantField(access, used) => self.borrow_variant_field(*access, *used),
            Bytecode::ReadRef => {
                let token = self.referred(Access::Shared)?;
                self.need(&token, AbilitySet::COPY, "READREF_WITHOUT_COPY_ABILITY")?;
                self.push(token)
            }
            Bytecode::WriteRef => {
                let token = self.referred(Access::Mutable)?;
                self.need(&token, AbilitySet::DROP, "WRITEREF_WITHOUT_DROP_ABILITY")?;
                self.expect(&token)
            }
            Bytecode::FreezeRef => {
                let token = self.referred(Access::Mutable)?;
                self.push(reference(Access::Shared, token))
            }
            _ => Err(self.error("UNKNOWN_OPCODE")),
        }
    }

    fn call(&mut self, used: Use) -> Result<(), VmError> {
        let module = self.body.module;
        let (handle, arguments): (_, &[Token]) = match used {
            Use::Plain(handle) => (handle, &[]),
            Use::Generic(inst) => {
                let inst = module.function_insts[usize::from(inst)];
                (inst.of, module.signature(inst.type_args))
            }
        };
        let handle = module.function_handle(handle);
        self.satisfied(handle.type_params.iter().copied(), arguments)?;
        for token in module.signature(handle.parameters).iter().rev() {
            let token = self.substitute(token, arguments)?;
            self.expect(&token)?;
        }
        for token in module.signature(handle.returns) {
            let token = self.substitute(token, arguments)?;
            self.push(token)?;
        }
        Ok(())
    }

    fn global(&mut self, op: &Bytecode, used: Use) -> Result<(), VmError> {
        let (token, _) = self.structure(used)?;
        self.need(&token, AbilitySet::KEY, "TYPE_MISMATCH")?;
        match op {
            Bytecode::MoveTo(_) => {
                self.expect(&token)?;
                self.expect(&reference(Access::Shared, Token::Signer))
            }
            _ => {
                self.expect(&Token::Address)?;
                self.push(match op {
                    Bytecode::Exists(_) => Token::Bool,
                    Bytecode::BorrowGlobal(access, _) => reference(*access, token),
                    _ => token,
                })
            }
        }
    }

    fn vector(&mut self, op: VectorOp, element: u16) -> Result<(), VmError> {
        let element = self.element(element)?;
        let vector = Token::Vector(Box::new(element.clone()));
        if op == VectorOp::Swap {
            self.expect(&Token::U64)?;
        }
        if matches!(op, VectorOp::Swap | VectorOp::Borrow(_)) {
            self.expect(&Token::U64)?;
        }
        if op == VectorOp::PushBack {
            self.expect(&element)?;
        }
        let access = match op {
            VectorOp::Len => Access::Shared,
            VectorOp::Borrow(access) => access,
            _ => Access::Mutable,
        };
        if self.referred(access)? != vector {
            return Err(self.error("TYPE_MISMATCH"));
        }
        match op {
            VectorOp::Len => self.push(Token::U64),
            VectorOp::Borrow(access) => self.push(reference(access, element)),
            VectorOp::PopBack => self.push(element),
            VectorOp::PushBack | VectorOp::Swap => Ok(()),
        }
    }

    fn pack_vector(&mut self, element: u16, count: u64, packing: bool) -> Result<(), VmError> {
        let element = self.element(element)?;
        let vector = Token::Vector(Box::new(element.clone()));
        if count > length(OPERANDS_MAX) {
            return Err(self.error("VALUE_STACK_OVERFLOW"));
        }
        if packing {
            for _ in 0..count {
                self.expect(&element)?;
            }
            return self.push(vector);
        }
        self.expect(&vector)?;
        (0..count).try_for_each(|_| self.push(element.clone()))
    }
}

/// A reference to a type.
pub(super) fn reference(access: Access, token: Token) -> Token {
    match access {
        Access::Shared => Token::Reference(Box::new(token)),
        Access::Mutable => Token::MutReference(Box::new(token)),
    }
}
