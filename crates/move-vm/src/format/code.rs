//! Instructions and how they are read.
//! Never checks operands against tables; see `bounds`.

use ethnum::U256;

use super::reader::{Reader, malformed};
use crate::VmError;

const INSTRUCTIONS_MAX: u64 = 65_535;

/// Whether a reference may be written through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Shared,
    Mutable,
}

/// A table index: of the plain table, or of its instantiation table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Plain(u16),
    Generic(u16),
}

/// The integer types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    U8,
    U16,
    U32,
    U64,
    U128,
    U256,
}

/// Operations on two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Mod,
    Div,
    BitOr,
    BitAnd,
    Xor,
    Shl,
    Shr,
    Or,
    And,
    Eq,
    Neq,
    Lt,
    Gt,
    Le,
    Ge,
}

/// Operations on vectors whose element type is a signature of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VectorOp {
    Len,
    Borrow(Access),
    PushBack,
    PopBack,
    Swap,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Bytecode {
    Pop,
    Ret,
    BrTrue(u16),
    BrFalse(u16),
    Branch(u16),
    LdBool(bool),
    LdU8(u8),
    LdU16(u16),
    LdU32(u32),
    LdU64(u64),
    LdU128(Box<u128>),
    LdU256(Box<U256>),
    LdConst(u16),
    CopyLoc(u8),
    MoveLoc(u8),
    StLoc(u8),
    BorrowLoc(Access, u8),
    BorrowField(Access, Use),
    BorrowVariantField(Access, Use),
    Call(Use),
    Pack(Use),
    Unpack(Use),
    PackVariant(Use),
    UnpackVariant(Use),
    TestVariant(Use),
    ReadRef,
    WriteRef,
    FreezeRef,
    Binary(Binary),
    Not,
    Cast(Width),
    Abort,
    Nop,
    Exists(Use),
    BorrowGlobal(Access, Use),
    MoveFrom(Use),
    MoveTo(Use),
    Vector(VectorOp, u16),
    VecPack(u16, u64),
    VecUnpack(u16, u64),
}

/// A function's body: the signature of its locals without parameters, and its instructions.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub locals: u16,
    pub code: Vec<Bytecode>,
}

pub(super) fn read_code(reader: &mut Reader) -> Result<Code, VmError> {
    let locals = reader.index()?;
    let code = reader.list(INSTRUCTIONS_MAX, read_instruction)?;
    Ok(Code { locals, code })
}

fn read_instruction(reader: &mut Reader) -> Result<Bytecode, VmError> {
    let opcode = reader.byte()?;
    if let Some(plain) = without_operand(opcode) {
        return Ok(plain);
    }
    match opcode {
        0x06 | 0x07 | 0x31 | 0x32 | 0x48..=0x4a => read_load(reader, opcode),
        0x0a..=0x0e => read_local(reader, opcode),
        0x40..=0x47 => read_vector(reader, opcode),
        0x4e..=0x57 if reader.version < 7 => Err(malformed("enums need bytecode version 7")),
        0x58..=0x5a => Err(VmError::new("FEATURE_NOT_ENABLED", "function values")),
        0x5b..=0x67 => Err(VmError::new("FEATURE_NOT_ENABLED", "signed integers")),
        _ => read_indexed(reader, opcode),
    }
}

fn without_operand(opcode: u8) -> Option<Bytecode> {
    use Binary as B;
    use Bytecode as C;
    Some(match opcode {
        0x01 => C::Pop,
        0x02 => C::Ret,
        0x08 => C::LdBool(true),
        0x09 => C::LdBool(false),
        0x14 => C::ReadRef,
        0x15 => C::WriteRef,
        0x16 => C::Binary(B::Add),
        0x17 => C::Binary(B::Sub),
        0x18 => C::Binary(B::Mul),
        0x19 => C::Binary(B::Mod),
        0x1a => C::Binary(B::Div),
        0x1b => C::Binary(B::BitOr),
        0x1c => C::Binary(B::BitAnd),
        0x1d => C::Binary(B::Xor),
        0x1e => C::Binary(B::Or),
        0x1f => C::Binary(B::And),
        0x20 => C::Not,
        0x21 => C::Binary(B::Eq),
        0x22 => C::Binary(B::Neq),
        0x23 => C::Binary(B::Lt),
        0x24 => C::Binary(B::Gt),
        0x25 => C::Binary(B::Le),
        0x26 => C::Binary(B::Ge),
        0x27 => C::Abort,
        0x28 => C::Nop,
        0x2e => C::FreezeRef,
        0x2f => C::Binary(B::Shl),
        0x30 => C::Binary(B::Shr),
        0x33 => C::Cast(Width::U8),
        0x34 => C::Cast(Width::U64),
        0x35 => C::Cast(Width::U128),
        0x4b => C::Cast(Width::U16),
        0x4c => C::Cast(Width::U32),
        0x4d => C::Cast(Width::U256),
        _ => return None,
    })
}

fn read_load(reader: &mut Reader, opcode: u8) -> Result<Bytecode, VmError> {
    Ok(match opcode {
        0x06 => Bytecode::LdU64(u64::from_le_bytes(reader.array()?)),
        0x07 => Bytecode::LdConst(reader.index()?),
        0x31 => Bytecode::LdU8(reader.byte()?),
        0x32 => Bytecode::LdU128(Box::new(u128::from_le_bytes(reader.array()?))),
        0x48 => Bytecode::LdU16(u16::from_le_bytes(reader.array()?)),
        0x49 => Bytecode::LdU32(u32::from_le_bytes(reader.array()?)),
        _ => Bytecode::LdU256(Box::new(U256::from_le_bytes(reader.array()?))),
    })
}

fn read_local(reader: &mut Reader, opcode: u8) -> Result<Bytecode, VmError> {
    let local = u8::try_from(reader.uleb(255)?).map_err(|_| malformed("local"))?;
    Ok(match opcode {
        0x0a => Bytecode::CopyLoc(local),
        0x0b => Bytecode::MoveLoc(local),
        0x0c => Bytecode::StLoc(local),
        0x0d => Bytecode::BorrowLoc(Access::Mutable, local),
        _ => Bytecode::BorrowLoc(Access::Shared, local),
    })
}

fn read_vector(reader: &mut Reader, opcode: u8) -> Result<Bytecode, VmError> {
    let element = reader.index()?;
    let op = match opcode {
        0x40 => return Ok(Bytecode::VecPack(element, u64::from_le_bytes(reader.array()?))),
        0x46 => return Ok(Bytecode::VecUnpack(element, u64::from_le_bytes(reader.array()?))),
        0x41 => VectorOp::Len,
        0x42 => VectorOp::Borrow(Access::Shared),
        0x43 => VectorOp::Borrow(Access::Mutable),
        0x44 => VectorOp::PushBack,
        0x45 => VectorOp::PopBack,
        _ => VectorOp::Swap,
    };
    Ok(Bytecode::Vector(op, element))
}

fn read_indexed(reader: &mut Reader, opcode: u8) -> Result<Bytecode, VmError> {
    use Access::{Mutable, Shared};
    use Bytecode as C;
    use Use::{Generic, Plain};
    if !matches!(opcode, 0x03..=0x05 | 0x0f..=0x13 | 0x29..=0x2d | 0x36..=0x3f | 0x4e..=0x57) {
        return Err(VmError::new("UNKNOWN_OPCODE", format!("opcode {opcode:#x}")));
    }
    let index = reader.index()?;
    Ok(match opcode {
        0x03 => C::BrTrue(index),
        0x04 => C::BrFalse(index),
        0x05 => C::Branch(index),
        0x0f => C::BorrowField(Mutable, Plain(index)),
        0x10 => C::BorrowField(Shared, Plain(index)),
        0x11 => C::Call(Plain(index)),
        0x12 => C::Pack(Plain(index)),
        0x13 => C::Unpack(Plain(index)),
        0x29 => C::Exists(Plain(index)),
        0x2a => C::BorrowGlobal(Mutable, Plain(index)),
        0x2b => C::BorrowGlobal(Shared, Plain(index)),
        0x2c => C::MoveFrom(Plain(index)),
        0x2d => C::MoveTo(Plain(index)),
        0x36 => C::BorrowField(Mutable, Generic(index)),
        0x37 => C::BorrowField(Shared, Generic(index)),
        0x38 => C::Call(Generic(index)),
        0x39 => C::Pack(Generic(index)),
        0x3a => C::Unpack(Generic(index)),
        0x3b => C::Exists(Generic(index)),
        0x3c => C::BorrowGlobal(Mutable, Generic(index)),
        0x3d => C::BorrowGlobal(Shared, Generic(index)),
        0x3e => C::MoveFrom(Generic(index)),
        0x3f => C::MoveTo(Generic(index)),
        0x4e => C::BorrowVariantField(Shared, Plain(index)),
        0x4f => C::BorrowVariantField(Mutable, Plain(index)),
        0x50 => C::BorrowVariantField(Shared, Generic(index)),
        0x51 => C::BorrowVariantField(Mutable, Generic(index)),
        0x52 => C::PackVariant(Plain(index)),
        0x53 => C::PackVariant(Generic(index)),
        0x54 => C::UnpackVariant(Plain(index)),
        0x55 => C::UnpackVariant(Generic(index)),
        0x56 => C::TestVariant(Plain(index)),
        _ => C::TestVariant(Generic(index)),
    })
}
