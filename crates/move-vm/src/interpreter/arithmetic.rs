//! Integers, booleans and equality.
//! Never wraps around: what does not fit is an arithmetic error.

use ethnum::U256;

use super::Machine;
use crate::failure::{Failure, Outcome, TYPE_CONFUSION};
use crate::format::{Binary, Width};
use crate::value::Value;

const ARITHMETIC_ERROR: Failure = Failure::Execution("ARITHMETIC_ERROR");

/// One operation on two integers of the same width.
macro_rules! integers {
    ($op:expr, $left:expr, $right:expr, $make:expr) => {{
        let (left, right) = ($left, $right);
        let checked = match $op {
            Binary::Add => left.checked_add(right),
            Binary::Sub => left.checked_sub(right),
            Binary::Mul => left.checked_mul(right),
            Binary::Div => left.checked_div(right),
            Binary::Mod => left.checked_rem(right),
            Binary::BitOr => Some(left | right),
            Binary::BitAnd => Some(left & right),
            Binary::Xor => Some(left ^ right),
            Binary::Lt => return Ok(Value::Bool(left < right)),
            Binary::Gt => return Ok(Value::Bool(left > right)),
            Binary::Le => return Ok(Value::Bool(left <= right)),
            Binary::Ge => return Ok(Value::Bool(left >= right)),
            _ => return Err(TYPE_CONFUSION),
        };
        Ok($make(checked.ok_or(ARITHMETIC_ERROR)?))
    }};
}

fn boxed(value: U256) -> Value {
    Value::U256(Box::new(value))
}

fn integer_binary(op: Binary, left: Value, right: Value) -> Outcome<Value> {
    match (left, right) {
        (Value::U8(left), Value::U8(right)) => integers!(op, left, right, Value::U8),
        (Value::U16(left), Value::U16(right)) => integers!(op, left, right, Value::U16),
        (Value::U32(left), Value::U32(right)) => integers!(op, left, right, Value::U32),
        (Value::U64(left), Value::U64(right)) => integers!(op, left, right, Value::U64),
        (Value::U128(left), Value::U128(right)) => integers!(op, left, right, Value::U128),
        (Value::U256(left), Value::U256(right)) => integers!(op, *left, *right, boxed),
        _ => Err(TYPE_CONFUSION),
    }
}

/// Shifts drop what leaves the width; shifting by the width or more is an error.
fn shift(left_shift: bool, value: Value, by: u8) -> Outcome<Value> {
    macro_rules! shifted {
        ($value:expr, $make:expr) => {{
            let by = u32::from(by);
            let result = if left_shift { $value.checked_shl(by) } else { $value.checked_shr(by) };
            $make(result.ok_or(ARITHMETIC_ERROR)?)
        }};
    }
    Ok(match value {
        Value::U8(value) => shifted!(value, Value::U8),
        Value::U16(value) => shifted!(value, Value::U16),
        Value::U32(value) => shifted!(value, Value::U32),
        Value::U64(value) => shifted!(value, Value::U64),
        Value::U128(value) => shifted!(value, Value::U128),
        // A width of 256 cannot be reached by a `u8`.
        Value::U256(value) => {
            let by = u32::from(by);
            boxed(if left_shift { *value << by } else { *value >> by })
        }
        _ => return Err(TYPE_CONFUSION),
    })
}

fn widen(value: Value) -> Outcome<U256> {
    Ok(match value {
        Value::U8(value) => U256::from(value),
        Value::U16(value) => U256::from(value),
        Value::U32(value) => U256::from(value),
        Value::U64(value) => U256::from(value),
        Value::U128(value) => U256::from(value),
        Value::U256(value) => *value,
        _ => return Err(TYPE_CONFUSION),
    })
}

fn narrow(value: U256, width: Width) -> Outcome<Value> {
    macro_rules! fit {
        ($make:expr) => {
            value.try_into().map($make).map_err(|_| ARITHMETIC_ERROR)
        };
    }
    match width {
        Width::U8 => fit!(Value::U8),
        Width::U16 => fit!(Value::U16),
        Width::U32 => fit!(Value::U32),
        Width::U64 => fit!(Value::U64),
        Width::U128 => fit!(Value::U128),
        Width::U256 => Ok(boxed(value)),
    }
}

impl Machine<'_, '_> {
    pub(super) fn binary(&mut self, op: Binary) -> Outcome<()> {
        let right = self.pop()?;
        let left = self.pop()?;
        let value = match op {
            Binary::Or => Value::Bool(left.into_bool()? | right.into_bool()?),
            Binary::And => Value::Bool(left.into_bool()? & right.into_bool()?),
            Binary::Eq => Value::Bool(self.equal(&left, &right)?),
            Binary::Neq => Value::Bool(!self.equal(&left, &right)?),
            Binary::Shl | Binary::Shr => match right {
                Value::U8(by) => shift(op == Binary::Shl, left, by)?,
                _ => return Err(TYPE_CONFUSION),
            },
            _ => integer_binary(op, left, right)?,
        };
        self.push(value)
    }

    fn equal(&mut self, left: &Value, right: &Value) -> Outcome<bool> {
        let mut size = 0;
        let equal = match (left, right) {
            (Value::Reference(left), Value::Reference(right)) => left.equals(right, &mut size)?,
            _ => left.equals(right, &mut size, 0)?,
        };
        self.state.meter.allocate(size)?;
        Ok(equal)
    }

    pub(super) fn cast(&mut self, width: Width) -> Outcome<()> {
        let value = match (self.pop()?, width) {
            (Value::U64(value), Width::U64) => Value::U64(value),
            (Value::U64(value), Width::U128) => Value::U128(u128::from(value)),
            (value, width) => narrow(widen(value)?, width)?,
        };
        self.push(value)
    }
}
