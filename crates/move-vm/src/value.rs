//! Values while they are being computed with, and references into them.
//! Never knows types: the checker proved them, and encodings are driven by layouts.

use std::cell::RefCell;
use std::rc::Rc;

use ethnum::U256;

use crate::AccountAddress;
use crate::failure::{Failure, Outcome, TYPE_CONFUSION};

/// Deepest nesting of a value.
pub(crate) const VALUE_DEPTH_MAX: usize = 128;

/// Shared ownership exists only between a value's place and references into it.
pub(crate) type Shared<T> = Rc<RefCell<T>>;

/// Fields of a struct or variant, or elements of a vector.
#[derive(Debug, Default)]
pub(crate) struct Composite {
    /// The variant of an enum, zero otherwise.
    pub variant: u16,
    pub items: Vec<Value>,
}

/// A value. A signer is a composite of its address.
#[derive(Debug, Default)]
pub(crate) enum Value {
    /// Moved out, or never set.
    #[default]
    Nothing,
    Bool(bool),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    U128(u128),
    U256(Box<U256>),
    Address(Rc<AccountAddress>),
    /// `vector<u8>`
    Bytes(Shared<Vec<u8>>),
    /// A struct, enum, signer or other vector.
    Composite(Shared<Composite>),
    Reference(Reference),
    /// A local without inner place, once it has been borrowed.
    Cell(Shared<Value>),
}

/// A reference to a place.
#[derive(Debug, Clone)]
pub(crate) enum Reference {
    Bytes(Shared<Vec<u8>>),
    Composite(Shared<Composite>),
    Cell(Shared<Value>),
    Byte(Shared<Vec<u8>>, usize),
    Item(Shared<Composite>, usize),
}

impl Value {
    pub fn address(address: AccountAddress) -> Self {
        Self::Address(Rc::new(address))
    }

    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self::Bytes(Rc::new(RefCell::new(bytes)))
    }

    pub fn composite(variant: u16, items: Vec<Value>) -> Self {
        Self::Composite(Rc::new(RefCell::new(Composite { variant, items })))
    }

    pub fn signer(address: AccountAddress) -> Self {
        Self::composite(0, vec![Self::address(address)])
    }

    /// A deep copy, adding the number of bytes it takes to `size`.
    pub fn copy(&self, size: &mut u64) -> Outcome<Value> {
        self.copy_at(size, 0)
    }

    fn copy_at(&self, size: &mut u64, depth: usize) -> Outcome<Value> {
        if depth > VALUE_DEPTH_MAX {
            return Err(Failure::Execution("VM_MAX_VALUE_DEPTH_REACHED"));
        }
        *size += 16;
        Ok(match self {
            Self::Nothing => return Err(TYPE_CONFUSION),
            Self::Bool(value) => Self::Bool(*value),
            Self::U8(value) => Self::U8(*value),
            Self::U16(value) => Self::U16(*value),
            Self::U32(value) => Self::U32(*value),
            Self::U64(value) => Self::U64(*value),
            Self::U128(value) => Self::U128(*value),
            Self::U256(value) => Self::U256(value.clone()),
            Self::Address(value) => Self::Address(Rc::clone(value)),
            Self::Reference(reference) => Self::Reference(reference.clone()),
            Self::Cell(cell) => cell.borrow().copy_at(size, depth)?,
            Self::Bytes(bytes) => {
                let bytes = bytes.borrow();
                *size += length(bytes.len());
                Self::bytes(bytes.clone())
            }
            Self::Composite(composite) => {
                Self::Composite(Rc::new(RefCell::new(composite.borrow().copy_at(size, depth)?)))
            }
        })
    }

    /// Deep equality, adding the number of bytes looked at to `size`.
    pub fn equals(&self, other: &Value, size: &mut u64, depth: usize) -> Outcome<bool> {
        if depth > VALUE_DEPTH_MAX {
            return Err(Failure::Execution("VM_MAX_VALUE_DEPTH_REACHED"));
        }
        *size += 16;
        Ok(match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::U8(left), Self::U8(right)) => left == right,
            (Self::U16(left), Self::U16(right)) => left == right,
            (Self::U32(left), Self::U32(right)) => left == right,
            (Self::U64(left), Self::U64(right)) => left == right,
            (Self::U128(left), Self::U128(right)) => left == right,
            (Self::U256(left), Self::U256(right)) => left == right,
            (Self::Address(left), Self::Address(right)) => left == right,
            (Self::Bytes(left), Self::Bytes(right)) => {
                *size += length(left.borrow().len());
                *left.borrow() == *right.borrow()
            }
            (Self::Composite(left), Self::Composite(right)) => {
                left.borrow().equals(&right.borrow(), size, depth)?
            }
            (Self::Cell(cell), other) => cell.borrow().equals(other, size, depth)?,
            (value, Self::Cell(cell)) => value.equals(&cell.borrow(), size, depth)?,
            (Self::Reference(left), Self::Reference(right)) => {
                left.read(size)?.equals(&right.read(size)?, size, depth)?
            }
            _ => return Err(TYPE_CONFUSION),
        })
    }

    /// A reference to the value in `place`, which becomes a cell if it has no inner place.
    pub fn borrow(place: &mut Value) -> Outcome<Reference> {
        if let Some(reference) = place.inner_place() {
            return Ok(reference);
        }
        if matches!(place, Self::Nothing | Self::Reference(_)) {
            return Err(TYPE_CONFUSION);
        }
        let cell = Rc::new(RefCell::new(std::mem::take(place)));
        *place = Self::Cell(Rc::clone(&cell));
        Ok(Reference::Cell(cell))
    }

    fn inner_place(&self) -> Option<Reference> {
        match self {
            Self::Bytes(bytes) => Some(Reference::Bytes(Rc::clone(bytes))),
            Self::Composite(composite) => Some(Reference::Composite(Rc::clone(composite))),
            Self::Cell(cell) => Some(Reference::Cell(Rc::clone(cell))),
            _ => None,
        }
    }

    /// The value itself, out of its cell if it was a borrowed local.
    pub fn out_of_cell(self) -> Outcome<Value> {
        match self {
            Self::Nothing => Err(TYPE_CONFUSION),
            Self::Cell(cell) => Ok(cell.take()),
            value => Ok(value),
        }
    }

    /// The content of a struct, enum, signer or vector that is not `vector<u8>`.
    pub fn into_composite(self) -> Outcome<Composite> {
        match self {
            Self::Composite(composite) => Ok(composite.take()),
            _ => Err(TYPE_CONFUSION),
        }
    }

    pub fn into_bytes(self) -> Outcome<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.take()),
            _ => Err(TYPE_CONFUSION),
        }
    }

    pub fn into_reference(self) -> Outcome<Reference> {
        match self {
            Self::Reference(reference) => Ok(reference),
            _ => Err(TYPE_CONFUSION),
        }
    }

    pub fn into_address(self) -> Outcome<AccountAddress> {
        match self {
            Self::Address(address) => Ok(*address),
            _ => Err(TYPE_CONFUSION),
        }
    }

    pub fn into_bool(self) -> Outcome<bool> {
        match self {
            Self::Bool(value) => Ok(value),
            _ => Err(TYPE_CONFUSION),
        }
    }

    pub fn into_u64(self) -> Outcome<u64> {
        match self {
            Self::U64(value) => Ok(value),
            _ => Err(TYPE_CONFUSION),
        }
    }
}

impl Composite {
    fn copy_at(&self, size: &mut u64, depth: usize) -> Outcome<Composite> {
        let items = self.items.iter().map(|item| item.copy_at(size, depth + 1));
        Ok(Composite { variant: self.variant, items: items.collect::<Outcome<_>>()? })
    }

    fn equals(&self, other: &Composite, size: &mut u64, depth: usize) -> Outcome<bool> {
        if self.variant != other.variant || self.items.len() != other.items.len() {
            return Ok(false);
        }
        for (left, right) in self.items.iter().zip(&other.items) {
            if !left.equals(right, size, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Reference {
    /// A deep copy of what is referred to.
    pub fn read(&self, size: &mut u64) -> Outcome<Value> {
        match self {
            Self::Bytes(bytes) => {
                *size += length(bytes.borrow().len());
                Ok(Value::bytes(bytes.borrow().clone()))
            }
            Self::Composite(composite) => {
                let copy = composite.borrow().copy_at(size, 0)?;
                Ok(Value::Composite(Rc::new(RefCell::new(copy))))
            }
            Self::Cell(cell) => cell.borrow().copy(size),
            Self::Byte(bytes, index) => {
                bytes.borrow().get(*index).map(|byte| Value::U8(*byte)).ok_or(TYPE_CONFUSION)
            }
            Self::Item(composite, index) => {
                composite.borrow().items.get(*index).ok_or(TYPE_CONFUSION)?.copy(size)
            }
        }
    }

    /// Equality of what is referred to, without copying composites.
    pub fn equals(&self, other: &Reference, size: &mut u64) -> Outcome<bool> {
        match (self, other) {
            (Self::Bytes(left), Self::Bytes(right)) => {
                *size += length(left.borrow().len());
                Ok(*left.borrow() == *right.borrow())
            }
            (Self::Composite(left), Self::Composite(right)) => {
                left.borrow().equals(&right.borrow(), size, 0)
            }
            _ => self.read(size)?.equals(&other.read(size)?, size, 0),
        }
    }

    /// Replaces what is referred to.
    pub fn write(&self, value: Value) -> Outcome<()> {
        match self {
            Self::Bytes(bytes) => {
                let new = value.into_bytes()?;
                *bytes.borrow_mut() = new;
            }
            Self::Composite(composite) => {
                let new = value.into_composite()?;
                *composite.borrow_mut() = new;
            }
            Self::Cell(cell) => *cell.borrow_mut() = value,
            Self::Byte(bytes, index) => match (value, bytes.borrow_mut().get_mut(*index)) {
                (Value::U8(byte), Some(place)) => *place = byte,
                _ => return Err(TYPE_CONFUSION),
            },
            Self::Item(composite, index) => {
                *composite.borrow_mut().items.get_mut(*index).ok_or(TYPE_CONFUSION)? = value;
            }
        }
        Ok(())
    }

    /// The struct, enum, signer or vector referred to.
    pub fn composite(&self) -> Outcome<&Shared<Composite>> {
        match self {
            Self::Composite(composite) => Ok(composite),
            _ => Err(TYPE_CONFUSION),
        }
    }

    /// A reference to an item of the composite referred to.
    pub fn item(&self, index: usize) -> Outcome<Option<Reference>> {
        match self {
            Self::Bytes(bytes) => {
                let inside = index < bytes.borrow().len();
                Ok(inside.then(|| Self::Byte(Rc::clone(bytes), index)))
            }
            Self::Composite(composite) => {
                let content = composite.borrow();
                let Some(item) = content.items.get(index) else { return Ok(None) };
                let place = item.inner_place();
                Ok(Some(place.unwrap_or_else(|| Self::Item(Rc::clone(composite), index))))
            }
            _ => Err(TYPE_CONFUSION),
        }
    }

    /// A copy of the bytes of a `vector<u8>`.
    pub fn to_bytes(&self) -> Outcome<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.borrow().clone()),
            _ => Err(TYPE_CONFUSION),
        }
    }
}

/// A length as gas counts it.
pub(crate) fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
